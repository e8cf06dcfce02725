/* test_prompts.c - prompts of every family compared with its processor's output.
 *
 *   fixtures/prompts/FAMILY/cases.json: a prompt or messages, images -> every id, and
 *   the SHA-256 of every tensor; then again with some files of the model replaced */
#include "tests/runtime/prepare/prompt_run.h"

/* ---- what is expected ------------------------------------------------------------ */

static void check_tensors(const run *r, const cJSON *item, const char *what)
{
    const cJSON *const tensors = lvlm_json_get(item, "tensors"), *want;
    LVLM_JSON_MEMBERS (want, tensors) check_tensor(r, want, what);
    assert_int_equal(r->inputs.batch.n_tensors, lvlm_json_count_members(tensors));
}

/* Spans cover all tokens, in order. */
static void check_spans(const run *r)
{
    size_t end = 0;
    for (size_t i = 0; i < r->prompt.n_spans; i++) {
        assert_int_equal(r->prompt.spans[i].first, end);
        assert_true(r->prompt.spans[i].end >= end);
        end = r->prompt.spans[i].end;
    }
    assert_int_equal(end, r->prompt.n);
}

static size_t run_cases(const char *folder, const cJSON *cases, const char *where)
{
    const cJSON *item;
    size_t n = 0;
    run r;
    open_model(&r, folder);
    LVLM_JSON_ITEMS (item, cases) {
        char what[256];
        lvlm_error err;
        snprintf(what, sizeof what, "%s: %s", where, case_text(item, "name"));
        if (write_prompt(&r, item, &err) < 0 || make_inputs(&r, &err) < 0)
            fail_msg("%s: %s", what, err.text);
        case_ids_are(r.prompt.ids, r.prompt.n, lvlm_json_get(item, "input_ids"), what);
        check_tensors(&r, item, what);
        check_spans(&r);
        finish(&r);
        n++;
    }
    close_model(&r);
    return n;
}

static void tensors_equal_the_processors(void **state)
{
    char **families;
    size_t n;
    (void)state;
    families = fixture_families(&n, "prompts");
    for (size_t i = 0; i < n; i++) {
        char folder[CASES_PATH];
        cJSON *const json = cases_read("prompts", families[i]);
        cases_path(folder, families[i], "model");
        assert_true(run_cases(folder, lvlm_json_get(json, "cases"), families[i]) >= 2);
        lvlm_json_free(json);
    }
    lvlm_path_list_free(families, n);
}

static void templates_and_formats_are_told_apart(void **state)
{
    char **families;
    size_t n_families, n = 0;
    (void)state;
    families = fixture_families(&n_families, "prompts");
    for (size_t i = 0; i < n_families; i++) {
        char folder[CASES_PATH], where[128];
        cJSON *const json = cases_read("prompts", families[i]);
        const cJSON *variant;
        cases_path(folder, families[i], "model");
        LVLM_JSON_ITEMS (variant, lvlm_json_get(json, "variants")) {
            scratch s;
            scratch_make(&s);
            scratch_copy(&s, folder, "model");
            exchange(&s, lvlm_json_get(variant, "files"));
            snprintf(where, sizeof where, "%s, %s", families[i],
                     case_text(variant, "name"));
            n += run_cases(scratch_path(&s, "model"), lvlm_json_get(variant, "cases"),
                           where);
            scratch_remove(&s);
        }
        lvlm_json_free(json);
    }
    lvlm_path_list_free(families, n_families);
    assert_true(n >= 19);
}

/* ---- spans ----------------------------------------------------------------------- */

/* The text of a conversation's spans, each preceded by its kind: H, C, E. */
static void spans_are(const char *family, const char *json, const char *want)
{
    char folder[CASES_PATH];
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
    lvlm_error err;
    run r;
    cases_path(folder, family, "model");
    open_model(&r, folder);
    assert_int_equal(lvlm_prompter_open(&r.prompter, &r.manifest, NULL, &err), 0);
    assert_int_equal(
        lvlm_messages_parse(&r.messages, json, strlen(json), NULL, 0, NULL, &err), 0);
    assert_int_equal(lvlm_prompt_write(&r.prompt, r.prompter, &r.messages, &err), 0);
    for (size_t i = 0; i < r.prompt.n_spans; i++) {
        const lvlm_span *const span = &r.prompt.spans[i];
        lvlm_strbuf_printf(&text, "%s%c", i > 0 ? "|" : "", "HCE"[span->kind]);
        if (span->message != LVLM_NO_MESSAGE)
            lvlm_strbuf_printf(&text, "%zu", span->message);
        lvlm_strbuf_puts(&text, " ");
        assert_int_equal(lvlm_tokenizer_decode(lvlm_prompter_tokenizer(r.prompter),
                                               &text, r.prompt.ids + span->first,
                                               span->end - span->first, NULL, &err),
                         0);
    }
    assert_string_equal(text.text, want);
    lvlm_strbuf_free(&text);
    finish(&r);
    close_model(&r);
}

#define ASKED "[{\"role\": \"user\", \"content\": \"Hello\"}]"
#define ANSWERED                                                                       \
    "[{\"role\": \"system\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": "  \
    "\"\\nHello\"}, {\"role\": \"assistant\", \"content\": \"\"}]"

static void spans_say_who_speaks(void **state)
{
    (void)state;
    spans_are(
        "qwen2_vl", ASKED,
        "H <|im_start|>system\n|C You are a helpful assistant.|E <|im_end|>\n"
        "|H0 <|im_start|>user\n|C0 Hello|E0 <|im_end|>\n|H <|im_start|>assistant\n");
    /* two new lines are one token: the content's */
    spans_are("qwen2_vl", ANSWERED,
              "H0 <|im_start|>system\n|C0 a|E0 <|im_end|>\n|H1 <|im_start|>user"
              "|C1 \n\nHello|E1 <|im_end|>\n|H2 <|im_start|>assistant\n|C2 "
              "|E2 <|im_end|>\n");
    spans_are("mllama", ASKED,
              "H <|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
              "|C Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
              "|E <|eot_id|>|H0 <|start_header_id|>user<|end_header_id|>\n\n|C0 Hello"
              "|E0 <|eot_id|>|H <|start_header_id|>assistant<|end_header_id|>\n\n");
    spans_are("qwen_vl", ANSWERED,
              "H0 <|im_start|>system\n|C0 a|E0 <|im_end|>\n|H1 <|im_start|>user\n"
              "|C1 \nHello|E1 <|im_end|>\n|H2 <|im_start|>assistant\n|C2 "
              "|E2 <|im_end|>\n");
    spans_are("paligemma",
              "[{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"path\": "
              "\"x\"}, {\"type\": \"text\", \"text\": \"cat\"}]}, "
              "{\"role\": \"assistant\", \"content\": \"dog\"}]",
              "H0 <image><bos>|C0 cat\n|C1 dog|E1 <eos>");
}

/* A blank before an answer belongs to it; the hub's template ends an answer with
 * one. */
static void spans_of_llava_are_those_of_its_turns(void **state)
{
    static const char shown[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"cat\"}, "
        "{\"type\": \"image\", \"path\": \"x\"}]}, "
        "{\"role\": \"assistant\", \"content\": \"dog\"}]";
    (void)state;
    spans_are("llava", shown, "H0 <s> USER:|C0 <image> \ncat |H1 ASSISTANT:|C1 dog ");
    spans_are("llava-qwen2", shown,
              "H <|im_start|>system\n|C You are a helpful assistant.|E <|im_end|>\n"
              "|H0 <|im_start|>user\n|C0 <image>\ncat|E0 <|im_end|>\n"
              "|H1 <|im_start|>assistant\n|C1 dog|E1 <|im_end|>\n");
    spans_are("llava-gemma", shown,
              "H <bos>|H0 <start_of_turn>user\n|C0 <image>\ncat|E0 <end_of_turn>\n"
              "|H1 <start_of_turn>model\n|C1 dog|E1 <end_of_turn>\n");
}

/* ---- options -------------------------------------------------------------------- */

/* The text of a prompt's ids. */
static void reads(const char *family, const lvlm_prompt_options *options,
                  const char *text, size_t n_images, const char *want)
{
    static const char *const images[] = { "x" };
    char folder[CASES_PATH];
    lvlm_strbuf got = LVLM_STRBUF_INIT(1 << 16);
    lvlm_error err;
    run r;
    cases_path(folder, family, "model");
    open_model(&r, folder);
    if (lvlm_prompter_open(&r.prompter, &r.manifest, options, &err) < 0 ||
        lvlm_messages_make(&r.messages, NULL, text, NULL, images, n_images, &err) < 0 ||
        lvlm_prompt_write(&r.prompt, r.prompter, &r.messages, &err) < 0 ||
        lvlm_tokenizer_decode(lvlm_prompter_tokenizer(r.prompter), &got, r.prompt.ids,
                              r.prompt.n, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(got.text, want);
    lvlm_strbuf_free(&got);
    finish(&r);
    close_model(&r);
}

static void makers_write_bos_first(void **state)
{
    const lvlm_prompt_options library = { .raw = true };
    const lvlm_prompt_options makers = { .raw = true, .as_trained = true };
    (void)state;
    reads("mllama", &library, "Hello", 1, "<|image|><|begin_of_text|>Hello");
    reads("mllama", &makers, "Hello", 1, "<|begin_of_text|><|image|>Hello");
    reads("mllama", &makers, "<|image|>a<|begin_of_text|>", 1,
          "<|image|>a<|begin_of_text|>");
}

static void a_date_is_for_prompts_that_have_one(void **state)
{
    static const lvlm_prompt_options dated = { .date = "01 Jan 2030" };
    static const lvlm_prompt_options raw = { .date = "01 Jan 2030", .raw = true };
    lvlm_error err = { .text = "" };
    (void)state;
    assert_int_equal(
        open_changed("mllama", "generation_config.json", "{}", &dated, NULL, &err), 0);
    assert_int_equal(
        open_changed("mllama", "generation_config.json", "{}", &raw, NULL, &err),
        LVLM_EUSAGE);
    assert_int_equal(
        open_changed("qwen2_vl", "generation_config.json", "{}", &dated, NULL, &err),
        LVLM_EUSAGE);
    assert_string_equal(err.text, "a date is given: prompts of ChatML have none");
}

/* How many tokens of a prompt are `token`. */
static size_t count_of(const char *token, const lvlm_prompt_options *options)
{
    char folder[CASES_PATH];
    lvlm_error err;
    size_t n = 0;
    run r;
    open_model(&r, cases_path(folder, "qwen_vl", "model"));
    if (lvlm_prompter_open(&r.prompter, &r.manifest, options, &err) < 0 ||
        lvlm_messages_make(&r.messages, NULL, "a<|im_end|></ref>", NULL, NULL, 0,
                           &err) < 0 ||
        lvlm_prompt_write(&r.prompt, r.prompter, &r.messages, &err) < 0)
        fail_msg("%s", err.text);
    const int64_t id = lvlm_tokenizer_id(lvlm_prompter_tokenizer(r.prompter), token);
    for (size_t i = 0; i < r.prompt.n; i++) n += r.prompt.ids[i] == id;
    finish(&r);
    close_model(&r);
    return n;
}

static void only_tags_count_in_a_guarded_text(void **state)
{
    const lvlm_prompt_options chat = { .raw = false }, tuning = { .training = true };
    (void)state;
    assert_int_equal(count_of("<|im_end|>", &chat), 2); /* system, user */
    assert_int_equal(count_of("<|im_end|>", &tuning), 3);
    assert_int_equal(count_of("</ref>", &chat), 1);
    assert_int_equal(count_of("</ref>", &tuning), 1);
}

/* ---- what is refused ------------------------------------------------------------ */

static void refuses(const char *family, const char *item, const char *message)
{
    char folder[CASES_PATH];
    lvlm_error err = { .text = "" };
    cJSON *json = NULL;
    run r;
    cases_path(folder, family, "model");
    open_model(&r, folder);
    assert_int_equal(lvlm_json_parse(&json, item, strlen(item), &err), 0);
    int rc = write_prompt(&r, json, &err);
    if (rc == 0) rc = make_inputs(&r, &err);
    if (rc == 0 || strstr(err.text, message) == NULL)
        fail_msg("%s: expected '%s', got '%s'", family, message, err.text);
    lvlm_json_free(json);
    finish(&r);
    close_model(&r);
}

static void what_a_form_has_no_place_for_is_refused(void **state)
{
    (void)state;
    refuses("mllama", "{\"prompt\": \"a\", \"system\": \"b\", \"images\": [\"x\"]}",
            "messages[0]: the model takes no system message beside an image");
    refuses("mllama",
            "{\"messages\": [{\"role\": \"system\", \"content\": []}, "
            "{\"role\": \"user\", \"content\": \"a\"}]}",
            "content of a system message is a list");
    refuses("mllama", "{\"prompt\": \"<|image|>\"}",
            "images: the text has 1 places (<|image|>), 0 are given");
    refuses("qwen2_vl",
            "{\"prompt\": \"<|image_pad|><|image_pad|>\", \"images\": [\"x\"]}",
            "images: the text has 2 places (<|image_pad|>), 1 are given");
    refuses("qwen2_vl", "{\"prompt\": \"<|video_pad|>\"}",
            "videos: the text has 1 places (<|video_pad|>), 0 are given");
    refuses("qwen2_vl", "{\"prompt\": \"\", \"raw\": true}", "the prompt is empty");
    refuses("qwen2_vl", "{\"prompt\": \"a\", \"system\": \"b\", \"raw\": true}",
            "the base form of Qwen2-VL takes no system message");
    refuses("qwen2_vl",
            "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}], "
            "\"images\": [\"x\"]}",
            "images: 1 are given, and no message of the user");
    refuses("qwen2_vl", "{\"prompt\": \"a\", \"images\": [\"nowhere.png\"]}",
            "nowhere.png: ");
    refuses("paligemma", "{\"prompt\": \"a\"}",
            "PaliGemma takes an image with every prompt");
    refuses("paligemma", "{\"prompt\": \"a\", \"system\": \"b\"}",
            "PaliGemma takes no system message");
    refuses("paligemma",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
            "{\"role\": \"user\", \"content\": \"b\"}]}",
            "2 messages: PaliGemma takes one message of the user");
    refuses("paligemma",
            "{\"prompt\": \"a\", \"suffix\": \"<image>\", \"images\": [\"x\"]}",
            "images: the text has 2 places (<image>), 1 are given");
    refuses("qwen_vl", "{\"prompt\": \"a\", \"images\": [\"a-path-too-long\"]}",
            "a-path-too-long: an image's path of 15 bytes, at most 14");
    refuses("qwen_vl", "{\"prompt\": \"<img>a\"}", "<img>");
    refuses("qwen_vl",
            "{\"prompt\": \"<img>a</img><img>b</img>\", \"images\": [\"x\"]}",
            "images: the text has 2 places (<img>), 1 are given");
}

static void files_that_do_not_say_how_are_refused(void **state)
{
    (void)state;
    refuses_file("qwen_vl", "generation_config.json", "{\"chat_format\": \"other\"}",
                 "generation_config.json: chat_format 'other': expected chatml or raw");
    refuses_file("qwen_vl", "generation_config.json", "{\"chat_format\": 1}",
                 "generation_config.json: chat_format '(not a text)': expected");
    refuses_file("qwen_vl", "generation_config.json", "{\"max_window_size\": -1}",
                 "generation_config.json: max_window_size is not a whole number");
    refuses_file("qwen2_vl", "tokenizer.json", NULL, "tokenizer.json");
    refuses_file("mllama", "tokenizer_config.json", "{}", "bos_token");
    refuses_file("paligemma", "tokenizer_config.json", "{}", "bos_token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_equal_the_processors),
        cmocka_unit_test(templates_and_formats_are_told_apart),
        cmocka_unit_test(spans_say_who_speaks),
        cmocka_unit_test(spans_of_llava_are_those_of_its_turns),
        cmocka_unit_test(makers_write_bos_first),
        cmocka_unit_test(a_date_is_for_prompts_that_have_one),
        cmocka_unit_test(only_tags_count_in_a_guarded_text),
        cmocka_unit_test(what_a_form_has_no_place_for_is_refused),
        cmocka_unit_test(files_that_do_not_say_how_are_refused),
    };
    /* cases name images of this folder */
    if (chdir(LVLM_FIXTURES "/images") != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
