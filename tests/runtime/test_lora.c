/* test_lora.c - the settings of --lora, and the modules that it selects, which are
 * those that PEFT selects. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "runtime/tune/lora.h"
#include "tests/support/fixture_model.h"
#include "tests/support/fixtures.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- words ---------------------------------------------------------------------- */

static void every_setting_is_parsed(void **state)
{
    lvlm_lora l;
    lvlm_error err;
    (void)state;
    if (lvlm_lora_parse(&l,
                        "r=4,alpha=2.5,targets=q,mlp.fc1,dropout=0.1,"
                        "save=wte,lm_head,rslora=true",
                        &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(l.config.r, 4);
    assert_true(l.config.alpha == 2.5 && l.config.dropout == 0.1 && l.config.rslora);
    assert_int_equal(l.n_targets, 2);
    assert_string_equal(l.targets[0], "q");
    assert_string_equal(l.targets[1], "mlp.fc1");
    assert_int_equal(l.n_saved, 2);
    assert_string_equal(l.saved[1], "lm_head");
    assert_true(l.shaped && l.dropout);
    assert_int_equal(lvlm_lora_parse(&l, "dropout=0", &err), 0);
    assert_true(!l.shaped && l.dropout);
    assert_int_equal(l.config.r, 8); /* as PEFT */
    assert_true(l.config.alpha == 8 && !l.config.rslora && l.n_targets == 0);
}

static void invalid_settings_are_refused_by_name(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "", "expected KEY=VALUE" },
        { "q", "'q': expected KEY=VALUE" },
        { "r=4,q", "'q': expected KEY=VALUE" },
        { "targets=q,,v", "'': expected KEY=VALUE" },
        { "r=0", "a rank is at least 1" },
        { "r=1.5", "r=1.5: expected a whole number" },
        { "r=-1", "r=-1: expected a number" },
        { "r=9999999999", "r=9999999999: expected a number" },
        { "r=4x", "r=4x: expected a number" },
        { "alpha=inf", "alpha=inf: expected a number" },
        { "alpha=nan", "alpha=nan: expected a number" },
        { "dropout=1", "dropout=1: expected a number from 0 to below 1" },
        { "rslora=yes", "rslora=yes: expected true or false" },
        { "save=", "save=: expected names of modules" },
        { "rank=4", "rank: expected r, alpha, dropout, targets, save or rslora" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        lvlm_lora l;
        lvlm_error err = { .text = "" };
        assert_int_equal(lvlm_lora_parse(&l, cases[i].text, &err), LVLM_EUSAGE);
        if (strstr(err.text, cases[i].why) == NULL)
            fail_msg("'%s' is not in: %s", cases[i].why, err.text);
    }
}

/* ---- modules -------------------------------------------------------------------- */

static int begin(lvlm_adapter *x, const fixture_model *m, const char *text,
                 lvlm_error *err)
{
    lvlm_lora l;
    if (lvlm_lora_parse(&l, text, err) < 0) fail_msg("%s", err->text);
    return lvlm_lora_open(x, &l, NULL, &m->manifest, err);
}

/* "targets=" and the target_modules of an adapter. */
static void targets_of(char *out, size_t size, const cJSON *config)
{
    const cJSON *item;
    size_t n = (size_t)snprintf(out, size, "targets");
    LVLM_JSON_ITEMS (item, lvlm_json_get(config, "target_modules"))
        n += (size_t)snprintf(out + n, size - n, "%c%s", strchr(out, '=') ? ',' : '=',
                              lvlm_json_string(item));
    assert_true(n < size);
}

/* The recorded adapters name these target_modules. */
static void targets_select_the_modules_that_peft_selects(void **state)
{
    char **names;
    size_t n;
    (void)state;
    assert_int_equal(lvlm_path_list_others(&names, &n, LVLM_FIXTURES "/lora", NULL), 0);
    assert_true(n >= 5);
    for (size_t i = 0; i < n; i++) {
        fixture_model m;
        lvlm_adapter ours, theirs;
        lvlm_error err;
        char dir[256], targets[256];
        (void)snprintf(dir, sizeof dir, "lora/%s/end", names[i]);
        cJSON *const config = fixture_json(dir, "adapter_config.json");
        (void)snprintf(dir, sizeof dir, LVLM_FIXTURES "/lora/%s/end", names[i]);
        targets_of(targets, sizeof targets, config);
        fixture_model_open(
            &m, LVLM_FIXTURES,
            lvlm_json_string(lvlm_json_get(config, "base_model_name_or_path")));
        if (begin(&ours, &m, targets, &err) < 0 ||
            lvlm_adapter_open(&theirs, dir, &m.manifest, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(ours.n, theirs.n);
        for (size_t j = 0; j < ours.n; j++)
            assert_string_equal(ours.at[j].module->name, theirs.at[j].module->name);
        lvlm_adapter_free(&ours);
        lvlm_adapter_free(&theirs);
        fixture_model_close(&m);
        lvlm_json_free(config);
    }
    lvlm_path_list_free(names, n);
}

static void words_select_modules(void **state)
{
    static const struct {
        const char *fixture, *text, *first; /* a module of its own, the first one */
        size_t n;
    } cases[] = {
        /* only of the language model, by default q and v */
        { "paligemma-odd", "r=2", "model.language_model.layers.0.self_attn.q_proj", 2 },
        { "paligemma-odd", "targets=o,gate,up,down",
          "model.language_model.layers.0.self_attn.o_proj", 4 },
        { "mllama-odd", "targets=q", "model.language_model.layers.0.self_attn.q_proj",
          5 },
        /* q and k and v are c_attn */
        { "qwen_vl-odd", "targets=q,k,v", "transformer.h.0.attn.c_attn", 1 },
        { "qwen_vl-odd", "targets=gate", "transformer.h.0.mlp.w2", 1 },
        /* native names, in both parts */
        { "paligemma-odd", "targets=attn.q",
          "model.vision_tower.encoder.layers.0.self_attn.q_proj", 2 },
        { "paligemma-odd", "targets=vision.blocks.0.attn.q",
          "model.vision_tower.encoder.layers.0.self_attn.q_proj", 1 },
        { "qwen2_vl-odd", "targets=connector.fc1", "model.visual.merger.mlp.0", 1 },
        /* a module's name goes before a native one: fc1 of the merger is mlp.0 there */
        { "qwen2_vl-odd", "targets=fc1", "model.visual.blocks.0.mlp.fc1", 2 },
        { "paligemma-odd", "targets=lm_head", "lm_head", 1 },
        { "paligemma-odd", "targets=all-linear",
          "model.vision_tower.encoder.layers.0.self_attn.q_proj", 14 },
        { "mllama-odd", "targets=all-linear",
          "model.vision_model.transformer.layers.0.self_attn.q_proj", 72 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture_model m;
        fixture_model_open(&m, LVLM_FIXTURES, cases[i].fixture);
        lvlm_adapter x;
        lvlm_error err;
        if (begin(&x, &m, cases[i].text, &err) < 0) fail_msg("%s", err.text);
        if (x.n != cases[i].n || strcmp(x.at[0].module->name, cases[i].first) != 0)
            fail_msg("%s: %zu modules, the first is %s", cases[i].text, x.n,
                     x.at[0].module->name);
        lvlm_adapter_free(&x);
        fixture_model_close(&m);
    }
}

static void what_cannot_be_adapted_is_refused(void **state)
{
    static const struct {
        const char *fixture, *text, *why;
    } cases[] = {
        { "paligemma-odd", "targets=q_prj",
          "names no linear map of PaliGemma; the nearest is q_proj" },
        { "paligemma-odd", "targets=layer_norm1", "names no linear map" },
        { "paligemma-odd", "targets=embed_tokens",
          "names model.language_model.embed_tokens, which is not a linear map" },
        { "qwen2_vl-odd", "targets=proj", "names model.visual.patch_embed.proj" },
        { "qwen_vl-odd", "targets=q,v", "a part of transformer.h.0.attn.c_attn" },
        { "qwen_vl-odd", "r=2", "name it whole (c_attn), or all three" },
        { "qwen_vl-odd", "targets=attn_pool.attn.out_proj",
          "which is not a linear map of its own" },
        { "paligemma-odd", "targets=lm_head,dropout=0.1",
          "(lm_head) is not supported" },
        { "paligemma-odd", "save=lm_hat",
          "--lora save: modules_to_save: 'lm_hat' names no module of PaliGemma" },
        { "paligemma-odd", "save=q_proj,self_attn", "inside of each other" },
        { "paligemma-odd", "save=language_model",
          "every target is in a module that save= names" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture_model m;
        fixture_model_open(&m, LVLM_FIXTURES, cases[i].fixture);
        lvlm_adapter x;
        lvlm_error err = { .text = "" };
        assert_int_equal(begin(&x, &m, cases[i].text, &err), LVLM_EUSAGE);
        if (strstr(err.text, cases[i].why) == NULL)
            fail_msg("'%s' is not in: %s", cases[i].why, err.text);
        lvlm_adapter_free(&x);
        fixture_model_close(&m);
    }
}

/* Words of `save` are PEFT's: they name modules, of tied ones both. */
static void saved_modules_are_not_adapted(void **state)
{
    static const struct {
        const char *fixture, *text, *words;
        size_t n, n_saved;
    } cases[] = {
        { "qwen_vl-odd", "targets=c_attn,w1,save=wte,lm_head", "[\"wte\",\"lm_head\"]",
          2, 2 },
        { "paligemma-odd", "save=lm_head", "[\"model.language_model.embed_tokens\"]", 2,
          2 },
        { "paligemma-odd", "targets=all-linear,save=multi_modal_projector",
          "[\"multi_modal_projector\"]", 13, 2 },
        { "paligemma-untied", "save=head", "[\"head\"]", 2, 1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture_model m;
        fixture_model_open(&m, LVLM_FIXTURES, cases[i].fixture);
        lvlm_adapter x;
        lvlm_error err;
        cJSON *settings = NULL;
        char *text = NULL;
        if (begin(&x, &m, cases[i].text, &err) < 0 ||
            lvlm_adapter_settings(&settings, &x, &err) < 0 ||
            lvlm_json_print(&text, lvlm_json_get(settings, "modules_to_save"), &err) <
                0)
            fail_msg("%s", err.text);
        assert_string_equal(text, cases[i].words);
        assert_int_equal(x.n, cases[i].n);
        assert_int_equal(x.n_saved, cases[i].n_saved);
        lvlm_free(text);
        lvlm_json_free(settings);
        lvlm_adapter_free(&x);
        fixture_model_close(&m);
    }
}

static void only_dropout_of_a_continued_adapter_can_change(void **state)
{
    static const char dir[] = LVLM_FIXTURES "/lora/paligemma/end";
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-odd");
    lvlm_lora l;
    lvlm_adapter x;
    lvlm_error err = { .text = "" };
    (void)state;
    assert_int_equal(lvlm_lora_parse(&l, "dropout=0.25", &err), 0);
    if (lvlm_lora_open(&x, &l, dir, &m.manifest, &err) < 0) fail_msg("%s", err.text);
    assert_true(x.config.dropout == 0.25 && x.config.r == 4 && x.n == 4);
    lvlm_adapter_free(&x);
    assert_int_equal(lvlm_lora_parse(&l, "r=4", &err), 0);
    assert_int_equal(lvlm_lora_open(&x, &l, dir, &m.manifest, &err), LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "only dropout"));
    lvlm_adapter_free(&x);
    fixture_model_close(&m);
}

/* ---- values --------------------------------------------------------------------- */

static void a_is_drawn_uniformly_from_the_seed(void **state)
{
    enum { r = 50, in = 100 };
    static float a[r * in], again[r * in], other[r * in];
    const lvlm_module one = { .name = "a.q_proj", .in = in, .out = 7 };
    const lvlm_module two = { .name = "a.v_proj", .in = in, .out = 7 };
    const lvlm_adapted x = { .module = &one, .r = r }, y = { .module = &two, .r = r };
    double sum = 0, sum2 = 0, most = 0;
    (void)state;
    lvlm_lora_draw(LVLM_F32, a, &x, 3);
    lvlm_lora_draw(LVLM_F32, again, &x, 3);
    assert_memory_equal(a, again, sizeof a);
    lvlm_lora_draw(LVLM_F32, other, &x, 4);
    assert_memory_not_equal(a, other, sizeof a);
    lvlm_lora_draw(LVLM_F32, other, &y, 3);
    assert_memory_not_equal(a, other, sizeof a);
    for (size_t i = 0; i < (size_t)r * in; i++) {
        sum += a[i];
        sum2 += (double)a[i] * a[i];
        most = fmax(most, fabs((double)a[i]));
    }
    /* uniform in +-0.1: mean 0, variance 0.01 / 3; four standard deviations */
    assert_true(most <= 0.1 && most > 0.0999);
    assert_true(fabs(sum / (r * in)) < 4 * 0.1 / sqrt(3.0 * r * in));
    assert_true(fabs(sum2 / (r * in) - 0.01 / 3) < 4 * 0.003 / sqrt((double)r * in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_is_parsed),
        cmocka_unit_test(invalid_settings_are_refused_by_name),
        cmocka_unit_test(targets_select_the_modules_that_peft_selects),
        cmocka_unit_test(words_select_modules),
        cmocka_unit_test(what_cannot_be_adapted_is_refused),
        cmocka_unit_test(saved_modules_are_not_adapted),
        cmocka_unit_test(only_dropout_of_a_continued_adapter_can_change),
        cmocka_unit_test(a_is_drawn_uniformly_from_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
