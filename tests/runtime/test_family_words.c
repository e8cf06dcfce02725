/* test_family_words.c - a family names its image processor, its prompts and its rule of
 * labels: each word is known, and one that is not is an error. */
#include "runtime/prepare/image/vision_settings.h"
#include "runtime/prepare/prompt/prompt_style.h"
#include "runtime/tune/data/labels.h"
#include "tests/runtime/prepare/bare_model.h"

typedef int choose_fn(const lvlm_manifest *manifest, lvlm_error *err);

static int choose_processor(const lvlm_manifest *m, lvlm_error *err)
{
    const lvlm_vision_options options = { .resampling = LVLM_RESAMPLING_PILLOW };
    vision_settings settings;
    return vision_settings_read(&settings, m, &options, false, err);
}

static int choose_prompts(const lvlm_manifest *m, lvlm_error *err)
{
    const prompt_style *style;
    const lvlm_prompt_options options = { .raw = true };
    return prompt_style_choose(&style, m, &options, err);
}

static int choose_labels(const lvlm_manifest *m, lvlm_error *err)
{
    lvlm_labeller labeller;
    return lvlm_labeller_init(&labeller, m, NULL, err);
}

static void unknown_words_are_errors(void **state)
{
    const lvlm_family *const known = lvlm_family_by_name("paligemma");
    const struct {
        choose_fn *choose;
        size_t offset; /* of the word in the family */
        const char *unknown, *none;
    } all[] = {
        { choose_processor, offsetof(lvlm_family, processor),
          "PaliGemma: its processor 'x' is not known",
          "PaliGemma: preparing images is not supported; only ready tensors are" },
        { choose_prompts, offsetof(lvlm_family, prompts),
          "PaliGemma: its prompts 'x' are not known",
          "PaliGemma: writing prompts is not supported; only ready tensors are" },
        { choose_labels, offsetof(lvlm_family, labels),
          "PaliGemma: its rule of labels 'x' is not known",
          "PaliGemma: which tokens of a text are learnt is not known" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bare_model m;
        lvlm_error err = { 0 };
        lvlm_family family = *known;
        const char **const word = (const char **)((char *)&family + all[i].offset);
        bare_model_open(&m, "real_sizes/paligemma-3b-448");
        m.manifest.family = &family;
        *word = "x";
        assert_int_equal(all[i].choose(&m.manifest, &err), LVLM_EFORMAT);
        assert_non_null(strstr(err.text, all[i].unknown));
        *word = NULL;
        assert_int_equal(all[i].choose(&m.manifest, &err), LVLM_EFORMAT);
        assert_non_null(strstr(err.text, all[i].none));
        bare_model_close(&m);
    }
}

/* The models lack files that are needed later; the words are read first. */
static void words_of_all_families_are_known(void **state)
{
    choose_fn *const all[] = { choose_processor, choose_prompts };
    (void)state;
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++) {
        bare_model m;
        lvlm_error err = { 0 };
        bare_model_open(&m, "real_sizes/paligemma-3b-448");
        m.manifest.family = *f;
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (all[i](&m.manifest, &err) < 0)
                assert_null(strstr(err.text, "' is not known"));
        bare_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_words_are_errors),
        cmocka_unit_test(words_of_all_families_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
