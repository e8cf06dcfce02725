/* test_answers.c - answers to prompts about images are those of the reference.
 *
 *   fixtures/prompts/FAMILY/model -> native file -> prompt, images -> tensors -> greedy
 *   tokens and their text, streamed: those of the library's generate after its own
 *   processor (cases.json) */
#include <unistd.h>

#include "formats/base/utf8.h"
#include "runtime/generate/generate.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "tests/convert/converted.h"
#include "tests/runtime/prepare/prompt_cases.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

enum { MOST = 64 };

/* An answer. */
typedef struct heard {
    lvlm_text_stream stream;
    lvlm_strbuf text;
    int64_t ids[MOST];
    size_t n;
} heard;

static int hear(void *user, int64_t id, lvlm_error *err)
{
    heard *const h = user;
    size_t n_bytes; /* rows of the table without a token have no text */
    FAIL_IF(h->n == MOST, err, LVLM_ECHECK, "too many tokens");
    h->ids[h->n++] = id;
    if (lvlm_tokenizer_token(h->stream.tokenizer, id, &n_bytes) == NULL) return 0;
    TRY(lvlm_text_stream_put(&h->stream, &h->text, id, err));
    FAIL_IF(!lvlm_utf8_valid(h->text.text != NULL ? h->text.text : "", h->text.length),
            err, LVLM_ECHECK, "a character is cut");
    return 0;
}

static int answer(heard *h, lvlm_model *model, const cJSON *item, lvlm_error *err)
{
    const lvlm_manifest *const manifest = lvlm_model_manifest(model);
    const bool raw = cJSON_IsTrue(lvlm_json_get(item, "raw"));
    const lvlm_prompt_options options = { .raw = raw };
    const lvlm_token_sink sink = { hear, h };
    lvlm_vision_input *vision = NULL;
    lvlm_prompter *prompter = NULL;
    lvlm_session *session = NULL;
    lvlm_messages messages = { .n = 0 };
    lvlm_prompt prompt = { .n = 0 };
    lvlm_prompt *const prompts[] = { &prompt };
    lvlm_prompt_inputs inputs;
    lvlm_generation settings;
    lvlm_generated made;
    int rc;
    memset(&inputs, 0, sizeof inputs);
    if ((rc = lvlm_prompter_open(&prompter, manifest, &options, err)) < 0 ||
        (rc = lvlm_vision_input_open(&vision, manifest, NULL, err)) < 0 ||
        (rc = case_messages(&messages, item, err)) < 0 ||
        (rc = lvlm_prompt_write(&prompt, prompter, &messages, err)) < 0 ||
        (rc = lvlm_prompt_inputs_make(&inputs, prompts, 1, vision, NULL, err)) < 0 ||
        (rc = lvlm_generation_read(&settings, manifest, err)) < 0 ||
        (rc = lvlm_session_begin(&session, model, &inputs.batch, "", NULL, err)) < 0)
        goto done;
    lvlm_text_stream_init(&h->stream, lvlm_prompter_tokenizer(prompter),
                          lvlm_prompter_answer(prompter));
    settings.chatml &= !raw;
    settings.max_new_tokens = lvlm_json_count(lvlm_json_path(item, "generated.tokens"));
    if ((rc = lvlm_generate(&made, session, &settings, &sink, err)) == 0)
        rc = lvlm_text_stream_end(&h->stream, &h->text, err);
    lvlm_text_stream_free(&h->stream);
done:
    lvlm_session_end(session);
    lvlm_prompt_inputs_free(&inputs);
    lvlm_prompt_free(&prompt);
    lvlm_messages_free(&messages);
    lvlm_vision_input_close(vision);
    lvlm_prompter_close(prompter);
    return rc;
}

static void expect(lvlm_model *model, const cJSON *item, const char *family)
{
    const cJSON *const said = lvlm_json_get(item, "generated");
    heard h = { .text = LVLM_STRBUF_INIT(1 << 16) };
    char what[256];
    lvlm_error err;
    (void)snprintf(what, sizeof what, "%s: %s", family, case_text(item, "name"));
    if (answer(&h, model, item, &err) < 0) fail_msg("%s: %s", what, err.text);
    case_ids_are(h.ids, h.n, lvlm_json_get(said, "tokens"), what);
    assert_string_equal(h.text.text, case_text(said, "text"));
    lvlm_strbuf_free(&h.text);
}

static size_t run_family(scratch *s, const char *family)
{
    char path[CASES_PATH];
    cJSON *const json = cases_read("prompts", family);
    const char *const native = scratch_path(s, "model.lvlm");
    const cJSON *item;
    size_t n = 0;
    native_convert(cases_path(path, family, "model"), native);
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "cases")) {
        const char *const reference =
            lvlm_json_string(lvlm_json_path(item, "generated.reference"));
        const lvlm_model_options options = { .threads = 2, .reference = reference };
        lvlm_model *model = NULL;
        lvlm_error err;
        if (reference == NULL) continue;
        if (lvlm_model_open(&model, native, &options, &err) < 0)
            fail_msg("%s: %s", family, err.text);
        expect(model, item, family);
        lvlm_model_free(model);
        n++;
    }
    lvlm_json_free(json);
    return n;
}

static void answers_are_those_of_the_reference(void **state)
{
    char **families;
    size_t n;
    scratch s;
    (void)state;
    scratch_make(&s);
    families = fixture_families(&n, "prompts");
    for (size_t i = 0; i < n; i++) assert_true(run_family(&s, families[i]) >= 2);
    lvlm_path_list_free(families, n);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_reference),
    };
    /* cases name images of this folder */
    if (chdir(LVLM_FIXTURES "/images") != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
