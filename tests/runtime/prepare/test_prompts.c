/* test_prompts.c - prompts of every family compared with its processor's output.
 *
 *   fixtures/prompts/FAMILY/cases.json: a prompt or messages, images -> every id, and
 *   the SHA-256 of every tensor; then again with some files of the model exchanged */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/digest.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "tests/runtime/prepare/prompt_cases.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

/* A model folder, a case and its results. */
typedef struct run {
    lvlm_checkpoint *cp;
    lvlm_manifest manifest;
    lvlm_vision_input *vision;
    lvlm_prompter *prompter;
    lvlm_messages messages;
    lvlm_prompt prompt;
    lvlm_prompt_inputs inputs;
} run;

static void open_model(run *r, const char *folder)
{
    const lvlm_open_options headers = { .headers_only = true };
    lvlm_error err;
    memset(r, 0, sizeof *r);
    if (lvlm_checkpoint_open(&r->cp, folder, &headers, &err) < 0 ||
        lvlm_manifest_build(&r->manifest, r->cp, &err) < 0 ||
        lvlm_vision_input_open(&r->vision, &r->manifest, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

static void close_model(run *r)
{
    lvlm_vision_input_close(r->vision);
    lvlm_manifest_free(&r->manifest);
    lvlm_checkpoint_close(r->cp);
}

static int write_prompt(run *r, const cJSON *item, lvlm_error *err)
{
    const lvlm_prompt_options options = { .raw =
                                              cJSON_IsTrue(lvlm_json_get(item, "raw")),
                                          .date = case_text(item, "date") };
    TRY(lvlm_prompter_open(&r->prompter, &r->manifest, &options, err));
    TRY(case_messages(&r->messages, item, err));
    return lvlm_prompt_write(&r->prompt, r->prompter, &r->messages, err);
}

static int make_inputs(run *r, lvlm_error *err)
{
    lvlm_prompt *const prompts[] = { &r->prompt };
    return lvlm_prompt_inputs_make(&r->inputs, prompts, 1, r->vision, err);
}

static void finish(run *r)
{
    lvlm_prompt_inputs_free(&r->inputs);
    lvlm_prompt_free(&r->prompt);
    lvlm_messages_free(&r->messages);
    lvlm_prompter_close(r->prompter);
    r->prompter = NULL;
}

/* ---- what is expected ------------------------------------------------------------ */

static void check_ids(const run *r, const cJSON *item, const char *what)
{
    const cJSON *const ids = lvlm_json_get(item, "input_ids"), *id;
    size_t i = 0;
    LVLM_JSON_ITEMS (id, ids) {
        uint64_t want = 0;
        assert_true(lvlm_json_u64(&want, id));
        if (i >= r->prompt.n || r->prompt.ids[i] != (int64_t)want)
            fail_msg("%s: token %zu differs", what, i);
        i++;
    }
    if (i != r->prompt.n) fail_msg("%s: %zu tokens, got %zu", what, i, r->prompt.n);
}

static void check_tensors(const run *r, const cJSON *item, const char *what)
{
    const cJSON *const tensors = lvlm_json_get(item, "tensors"), *want;
    size_t n = 0;
    LVLM_JSON_MEMBERS (want, tensors) {
        const lvlm_tensor *const got =
            lvlm_checkpoint_find(&r->inputs.batch, want->string);
        char hex[LVLM_DIGEST_HEX + 1];
        if (got == NULL) fail_msg("%s: %s is missing", what, want->string);
        cJSON *const shape = lvlm_shape_json(&got->shape);
        if (!cJSON_Compare(shape, lvlm_json_get(want, "shape"), true))
            fail_msg("%s: %s: another shape", what, want->string);
        lvlm_json_free(shape);
        assert_string_equal(lvlm_dtype_name(got->dtype), case_text(want, "dtype"));
        assert_int_equal(lvlm_digest_bytes(hex, got->data, (size_t)got->n_bytes, NULL),
                         0);
        if (strcmp(hex, case_text(want, "sha256")) != 0)
            fail_msg("%s: %s differs", what, want->string);
        n++;
    }
    assert_int_equal(r->inputs.batch.n_tensors, n);
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
        check_ids(&r, item, what);
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
        cJSON *const json = cases_read(families[i]);
        cases_path(folder, families[i], "model");
        assert_true(run_cases(folder, lvlm_json_get(json, "cases"), families[i]) >= 2);
        lvlm_json_free(json);
    }
    lvlm_path_list_free(families, n);
}

/* Exchange files of a copy of the model; a null text: remove. */
static void exchange(scratch *s, const cJSON *files)
{
    const cJSON *file;
    LVLM_JSON_MEMBERS (file, files) {
        char name[128];
        const char *const text = lvlm_json_string(file);
        snprintf(name, sizeof name, "model/%s", file->string);
        if (text != NULL)
            scratch_write(s, name, text, strlen(text));
        else
            assert_int_equal(unlink(scratch_path(s, name)), 0);
    }
}

static void templates_and_formats_are_told_apart(void **state)
{
    char **families;
    size_t n_families, n = 0;
    (void)state;
    families = fixture_families(&n_families, "prompts");
    for (size_t i = 0; i < n_families; i++) {
        char folder[CASES_PATH], where[128];
        cJSON *const json = cases_read(families[i]);
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

/* Open the prompter of a model without one of its files, or with another text in it;
 * `notes` receives what it skips. */
static int open_changed(const char *family, const char *file, const char *text,
                        const lvlm_prompt_options *options, lvlm_notes *notes,
                        lvlm_error *err)
{
    char folder[CASES_PATH];
    scratch s;
    cJSON *const files = cJSON_CreateObject();
    cJSON_AddItemToObject(files, file,
                          text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
    cases_path(folder, family, "model");
    scratch_make(&s);
    scratch_copy(&s, folder, "model");
    exchange(&s, files);
    lvlm_json_free(files);
    run r;
    open_model(&r, scratch_path(&s, "model"));
    r.cp->notes = notes;
    const int rc = lvlm_prompter_open(&r.prompter, &r.manifest, options, err);
    if (rc < 0) r.prompter = NULL;
    finish(&r);
    close_model(&r);
    scratch_remove(&s);
    return rc;
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
    refuses("qwen2_vl", "{\"prompt\": \"<|video_pad|>\"}", "videos are not read");
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

static void refuses_file(const char *family, const char *file, const char *text,
                         const char *message)
{
    lvlm_error err = { .text = "" };
    assert_int_equal(open_changed(family, file, text, NULL, NULL, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL)
        fail_msg("%s: expected '%s', got '%s'", family, message, err.text);
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

/* ---- what a tokenizer adds ------------------------------------------------------ */

/* The text of a model's file with another `value`, in JSON, of member `key`. Owned. */
static char *file_with(const char *family, const char *name, const char *key,
                       const char *value)
{
    char path[CASES_PATH];
    lvlm_infile *file = NULL;
    cJSON *json = NULL, *item = NULL;
    char *out = NULL;
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/prompts/%s/model/%s", family,
                   name);
    assert_int_equal(lvlm_infile_open(&file, path, NULL), 0);
    assert_int_equal(
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, NULL),
        0);
    assert_int_equal(lvlm_json_parse(&item, value, strlen(value), NULL), 0);
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    cJSON_AddItemToObject(json, key, item);
    assert_int_equal(lvlm_json_print(&out, json, NULL), 0);
    lvlm_json_free(json);
    lvlm_infile_close(file);
    return out;
}

#define TEMPLATE(single, ids)                                                          \
    "{\"type\": \"TemplateProcessing\", \"single\": " single                           \
    ", \"special_tokens\": {\"<|im_end|>\": {\"ids\": " ids "}}}"
#define END "{\"SpecialToken\": {\"id\": \"<|im_end|>\"}}"
#define TEXT "{\"Sequence\": {\"id\": \"A\"}}"

static void what_a_tokenizer_adds_is_followed_or_refused(void **state)
{
    static const struct {
        const char *file, *key, *value, *message; /* NULL: taken */
    } cases[] = {
        { "tokenizer.json", "post_processor", TEMPLATE("[" END ", " TEXT "]", "[332]"),
          NULL },
        { "tokenizer.json", "post_processor", "{\"type\": \"ByteLevel\"}", NULL },
        { "tokenizer.json", "post_processor", "{\"type\": \"RobertaProcessing\"}",
          "tokenizer.json: post_processor: type 'RobertaProcessing' is not known" },
        { "tokenizer.json", "post_processor",
          "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"BertProcessing\"}]}",
          "type 'BertProcessing' is not known" },
        { "tokenizer.json", "post_processor",
          "{\"type\": \"Sequence\", \"processors\": [" TEMPLATE("[" TEXT "]", "[]") //
          ", " TEMPLATE("[" TEXT "]", "[]") "]}",
          "post_processor: two templates" },
        { "tokenizer.json", "post_processor", TEMPLATE("[" END "]", "[332]"),
          "expected tokens around one sequence A" },
        { "tokenizer.json", "post_processor", TEMPLATE("[" TEXT ", " TEXT "]", "[]"),
          "expected tokens around one sequence A" },
        { "tokenizer.json", "post_processor",
          TEMPLATE("[{\"Sequence\": {\"id\": \"B\"}}]", "[]"),
          "expected tokens around one sequence A" },
        { "tokenizer.json", "post_processor", TEMPLATE("1", "[]"),
          "expected tokens around one sequence A" },
        { "tokenizer.json", "post_processor", TEMPLATE("[" END ", " TEXT "]", "[7]"),
          "special_tokens: '<|im_end|>': expected the one id 332" },
        { "tokenizer.json", "post_processor",
          TEMPLATE("[{\"SpecialToken\": {\"id\": \"<|none|>\"}}, " TEXT "]", "[7]"),
          "post_processor: '<|none|>' is not a token" },
        { "tokenizer_config.json", "add_bos_token", "false", NULL },
        { "tokenizer_config.json", "add_bos_token", "null", NULL },
        { "tokenizer_config.json", "add_eos_token", "true", NULL },
        { "tokenizer_config.json", "add_bos_token", "true",
          "tokenizer_config.json: add_bos_token: there is no such token" },
        { "tokenizer_config.json", "add_eos_token", "\"yes\"",
          "tokenizer_config.json: add_eos_token: expected true or false" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *const text =
            file_with("qwen2_vl", cases[i].file, cases[i].key, cases[i].value);
        lvlm_error err = { .text = "" };
        const int rc = open_changed("qwen2_vl", cases[i].file, text, NULL, NULL, &err);
        const char *const wanted = cases[i].message;
        if (rc != (wanted == NULL ? 0 : LVLM_EFORMAT) ||
            (wanted != NULL && strstr(err.text, wanted) == NULL))
            fail_msg("%s: %s: '%s'", cases[i].key, cases[i].value, err.text);
        lvlm_free(text);
    }
}

/* ---- chat templates ------------------------------------------------------------- */

static void templates_that_are_not_known_are_refused(void **state)
{
    static const lvlm_prompt_options raw = { .raw = true },
                                     training = { .training = true };
    static const char changed[] = "{\"chat_template\": \"{{ messages | trim }}\"}";
    static const char way_out[] = "write the prompt out and pass it with --raw, or "
                                  "convert the model with its released template";
    lvlm_error err = { .text = "" };
    (void)state;
    refuses_file("qwen2_vl", "chat_template.json", changed,
                 "chat_template.json: its chat template is not a released one, and "
                 "templates are not executed: {{ messages | trim }} where that of "
                 "Qwen2-VL-Instruct has {% set image_count");
    refuses_file("qwen2_vl", "chat_template.json", changed, way_out);
    assert_int_equal(
        open_changed("qwen2_vl", "chat_template.json", changed, &raw, NULL, &err), 0);
    assert_int_equal(
        open_changed("qwen2_vl", "chat_template.json", changed, &training, NULL, &err),
        LVLM_EFORMAT);
    assert_null(strstr(err.text, "--raw")); /* train has no such option */
    assert_non_null(strstr(err.text, "; convert the model with its released template"));
    refuses_file("qwen2_5_vl", "chat_template.json",
                 "{\"chat_template\": \"{% for message in messages %}\"}",
                 "its end where that of lvlm's own fixtures has {% if loop['first']");
    refuses_file("qwen2_vl", "chat_template.json", "{\"chat_template\": \"\"}",
                 "its end where");
    refuses_file("mllama", "processor_config.json", "{\"chat_template\": \"?\"}",
                 "processor_config.json: its chat template is not a released one");
    refuses_file("mllama", "chat_template.json", "{\"chat_template\": \"{{\"}",
                 "chat_template.json: line 1: a tag is not closed; write");
    refuses_file("mllama", "chat_template.json", "{\"chat_template\": 1}",
                 "chat_template: expected a text, or texts with names; write");
    refuses_file("mllama", "chat_template.json", "{\"chat_template\": null}",
                 "chat_template.json: chat_template: is not there");
    refuses_file("mllama", "chat_template.json", "{", "chat_template.json: ");
}

/* An object with `text` as the template of the model's file, in one of three forms. */
static char *named_template(const char *family, bool list, const char *name)
{
    char path[CASES_PATH];
    lvlm_infile *file = NULL;
    cJSON *old = NULL, *const json = cJSON_CreateObject();
    cases_path(path, family, "model/chat_template.json");
    assert_int_equal(lvlm_infile_open(&file, path, NULL), 0);
    assert_int_equal(
        lvlm_json_parse(&old, (const char *)file->bytes, (size_t)file->n_bytes, NULL),
        0);
    const char *const text = lvlm_json_string(lvlm_json_get(old, "chat_template"));
    cJSON *const all = list ? cJSON_AddArrayToObject(json, "chat_template")
                            : cJSON_AddObjectToObject(json, "chat_template");
    for (size_t i = 0; i < 2; i++) {
        const char *const as = i == 0 ? "tool_use" : name;
        const char *const said = i == 0 ? "?" : text;
        if (list) {
            cJSON *const item = cJSON_CreateObject();
            cJSON_AddStringToObject(item, "name", as);
            cJSON_AddStringToObject(item, "template", said);
            cJSON_AddItemToArray(all, item);
        } else {
            cJSON_AddStringToObject(all, as, said);
        }
    }
    char *out = NULL;
    assert_int_equal(lvlm_json_print(&out, json, NULL), 0);
    lvlm_json_free(json);
    lvlm_json_free(old);
    lvlm_infile_close(file);
    return out;
}

static void of_named_templates_the_default_counts(void **state)
{
    (void)state;
    for (int list = 0; list < 2; list++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_error err = { .text = "" };
        char *text = named_template("qwen2_vl", list, "default");
        assert_int_equal(
            open_changed("qwen2_vl", "chat_template.json", text, NULL, &notes, &err),
            0);
        assert_int_equal(notes.n, 1);
        assert_string_equal(notes.at[0],
                            "chat_template.json: chat template 'tool_use' is not used: "
                            "prompts follow the one named default");
        lvlm_free(text);
        text = named_template("qwen2_vl", list, "rag");
        refuses_file("qwen2_vl", "chat_template.json", text,
                     "chat_template.json: chat_template: none is named default");
        lvlm_free(text);
        lvlm_notes_free(&notes);
    }
}

/* The first file is used; another one that is equal is not noted. */
static void other_templates_are_named(void **state)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_error err = { .text = "" };
    char *const text = named_template("mllama", true, "default");
    (void)state;
    assert_int_equal(
        open_changed("mllama", "processor_config.json", text, NULL, &notes, &err), 0);
    assert_int_equal(notes.n, 1); /* tool_use */
    assert_int_equal(
        open_changed("mllama", "chat_template.jinja", "?", NULL, &notes, &err), 0);
    assert_int_equal(notes.n, 2);
    assert_string_equal(
        notes.at[1], "chat_template.jinja: its chat template is not used: it differs "
                     "from that in chat_template.json, which counts first");
    assert_int_equal(
        open_changed("paligemma", "chat_template.jinja", "?", NULL, &notes, &err), 0);
    assert_string_equal(notes.at[2],
                        "chat_template.jinja: its chat template is not used: the model "
                        "is prompted as PaliGemma");
    assert_int_equal(
        open_changed("qwen_vl", "chat_template.jinja", "?", NULL, &notes, &err), 0);
    assert_int_equal(notes.n, 4);
    lvlm_free(text);
    lvlm_notes_free(&notes);
}

/* If a model has only the base form because it lacks a template, the message explains
 * it. */
static void a_missing_template_is_named(void **state)
{
    static const char turns[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": "
        "\"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}";
    static const char *const names[] = { "qwen2_vl", "mllama" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char folder[CASES_PATH];
        lvlm_error err = { .text = "" };
        cJSON *json = NULL;
        scratch s;
        run r;
        scratch_make(&s);
        scratch_copy(&s, cases_path(folder, names[i], "model"), "model");
        assert_int_equal(unlink(scratch_path(&s, "model/chat_template.json")), 0);
        open_model(&r, scratch_path(&s, "model"));
        assert_int_equal(lvlm_json_parse(&json, turns, sizeof turns - 1, &err), 0);
        assert_int_equal(write_prompt(&r, json, &err), LVLM_EFORMAT);
        if (strstr(err.text, "takes one message of the user: the model ships no chat "
                             "template that writes turns") == NULL)
            fail_msg("%s", err.text);
        lvlm_json_free(json);
        finish(&r);
        close_model(&r);
        scratch_remove(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_equal_the_processors),
        cmocka_unit_test(templates_and_formats_are_told_apart),
        cmocka_unit_test(spans_say_who_speaks),
        cmocka_unit_test(makers_write_bos_first),
        cmocka_unit_test(a_date_is_for_prompts_that_have_one),
        cmocka_unit_test(only_tags_count_in_a_guarded_text),
        cmocka_unit_test(what_a_form_has_no_place_for_is_refused),
        cmocka_unit_test(files_that_do_not_say_how_are_refused),
        cmocka_unit_test(what_a_tokenizer_adds_is_followed_or_refused),
        cmocka_unit_test(templates_that_are_not_known_are_refused),
        cmocka_unit_test(of_named_templates_the_default_counts),
        cmocka_unit_test(other_templates_are_named),
        cmocka_unit_test(a_missing_template_is_named),
    };
    if (chdir(LVLM_FIXTURES "/images") != 0) return 1; /* images go by bare names */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
