/* test_chat_templates.c - files of a model that change its prompts: the tokens that a
 * tokenizer adds, and chat templates, which are compared with the released ones. */
#include "tests/runtime/prepare/prompt_run.h"

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

static void tokens_that_a_tokenizer_adds_are_followed_or_refused(void **state)
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

static void unknown_templates_are_refused(void **state)
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

static void the_default_of_named_templates_is_used(void **state)
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

/* A model without a template has only the base form; the message says why. */
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
        cmocka_unit_test(tokens_that_a_tokenizer_adds_are_followed_or_refused),
        cmocka_unit_test(unknown_templates_are_refused),
        cmocka_unit_test(the_default_of_named_templates_is_used),
        cmocka_unit_test(other_templates_are_named),
        cmocka_unit_test(a_missing_template_is_named),
    };
    /* cases name images of this folder */
    if (chdir(LVLM_FIXTURES "/images") != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
