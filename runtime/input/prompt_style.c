/* prompt_style.c - the table of styles, and which of them a model has.
 *
 *   canonical words, --raw, the chat template or chat_format among the side files */
#include "runtime/input/prompt_style.h"

#include <string.h>

#include "formats/base/json.h"

/* All that counts in a guarded text; what names things in answers is kept in them. */
#define NAMING "<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"
static const char *const qwen_tags[] = { NAMING, "<img>", "</img>", "<imgpad>", NULL };
static const char *const qwen_kept[] = { NAMING, NULL };
static const char *const qwen2_kept[] = {
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    NULL,
};

// clang-format off
#define VISION_PLACE "<|vision_start|><|image_pad|><|vision_end|>"
#define HELPFUL      "You are a helpful assistant."
#define LLAMA_HEADER "'<|start_header_id|>' + message['role'] + '<|end_header_id|>"
#define KNOWLEDGE    "Cutting Knowledge Date: December 2023\nToday Date: "

/* Of several that a template fits the first counts. Marks are compared with "\n" of a
 * template's strings written out. */
static const prompt_style styles[] = {
    { .name = "ChatML", .splice = "image_tokens", .mask = "causal",
      .marks = { "<|im_start|>system\n" HELPFUL "<|im_end|>\n", "<|im_start|>assistant\n" },
      .never = { "trim", "strip(" },
      .write = prompt_write_turns, .place = "<|image_pad|>", .image = VISION_PLACE,
      .open = "<|im_start|>", .opened = "\n", .close = "<|im_end|>\n", .system = HELPFUL,
      .affixed = true, .form = { .expands = true, .typed = true }, .kept = qwen2_kept },
    { .name = "the base form of Qwen2-VL", .splice = "image_tokens", .mask = "causal",
      .marks = { "{% if messages is string %}{{ messages }}{% else %}" },
      .base = true, .write = prompt_write_text, .place = "<|image_pad|>", .image = VISION_PLACE,
      .affixed = true, .form = { .expands = true, .typed = true }, .kept = qwen2_kept },
    { .name = "Llama 3.2", .splice = "cross_attention", .mask = "causal",
      .marks = { LLAMA_HEADER, "\"Cutting Knowledge Date: December 2023\n\"", "\"Today Date: \"" },
      .write = prompt_write_turns, .place = "<|image|>", .image = "<|image|>",
      .open = "<|start_header_id|>", .opened = "<|end_header_id|>\n\n", .close = "<|eot_id|>",
      .knowledge = KNOWLEDGE, .bos = true, .form = { .crossed = true } },
    { .name = "Llama 3", .splice = "cross_attention", .mask = "causal",
      .marks = { LLAMA_HEADER }, .never = { "Cutting Knowledge Date", "trim" },
      .write = prompt_write_turns, .place = "<|image|>", .image = "<|image|>",
      .open = "<|start_header_id|>", .opened = "<|end_header_id|>\n\n", .close = "<|eot_id|>",
      .bos = true, .form = { .crossed = true } },
    { .name = "the base form of Llama 3.2", .splice = "cross_attention", .mask = "causal",
      .base = true, .write = prompt_write_text, .place = "<|image|>", .image = "<|image|>",
      .bos = true, .affixed = true, .form = { .crossed = true } },
    { .name = "PaliGemma", .splice = "image_tokens", .mask = "prefix_lm",
      .base = true, .write = prompt_write_prefix, .place = "<image>", .image = "<image>",
      .bos = true,
      .form = { .expands = true, .prefix = true } },
    { .name = "Qwen-VL's chat", .splice = "between_tags", .mask = "causal", .chat_format = "chatml",
      .write = prompt_write_turns, .place = "<img>", .image = "<img>", .image_close = "</img>\n",
      .numbered = true, .open = "<|im_start|>", .opened = "\n", .close = "<|im_end|>\n",
      .system = HELPFUL, .separate = true, .tags = qwen_tags, .kept = qwen_kept },
    { .name = "the base form of Qwen-VL", .splice = "between_tags", .mask = "causal",
      .base = true, .write = prompt_write_text, .place = "<img>", .image = "<img>", .image_close = "</img>",
      .kept = qwen_kept },
};
// clang-format on

enum { N_STYLES = sizeof styles / sizeof styles[0] };

/* ---- what a model ships --------------------------------------------------------- */

/* As transformers looks for it; the last is the tokenizer's own. */
static const char *const template_files[] = { "processor_config.json",
                                              "chat_template.json",
                                              "chat_template.jinja",
                                              "tokenizer_config.json" };

/* A template in a JSON file: a text, or a list of named ones. */
static const char *template_in(const cJSON *json)
{
    const cJSON *const item = lvlm_json_get(json, "chat_template"), *named;
    LVLM_JSON_ITEMS (named, item) {
        const char *const name = lvlm_json_string(lvlm_json_get(named, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            return lvlm_json_string(lvlm_json_get(named, "template"));
    }
    return lvlm_json_string(item);
}

/* Copy `text` with "\n", as a string in a template has it, as a new line. */
static int write_out(char **out, const char *text, size_t n, lvlm_arena *arena,
                     lvlm_error *err)
{
    char *const copy = lvlm_arena_strndup(arena, text, n);
    if (copy == NULL) return lvlm_fail_memory(err);
    char *to = copy;
    for (const char *at = copy; *at != '\0'; at++) {
        const bool line = at[0] == '\\' && at[1] == 'n';
        *to++ = line ? '\n' : *at;
        at += line;
    }
    *to = '\0';
    *out = copy;
    return 0;
}

/* The template of one file; *out stays NULL when it has none. */
static int read_template(char **out, const lvlm_side_file *file, lvlm_arena *arena,
                         lvlm_error *err)
{
    const char *const bytes = (const char *)file->bytes;
    const char *const end = strrchr(file->name, '.');
    if (strcmp(end, ".jinja") == 0)
        return write_out(out, bytes, (size_t)file->n_bytes, arena, err);
    cJSON *json = NULL;
    int rc = lvlm_json_parse(&json, bytes, (size_t)file->n_bytes, err);
    const char *const text = rc == 0 ? template_in(json) : NULL;
    if (text != NULL) rc = write_out(out, text, strlen(text), arena, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", file->name);
    lvlm_json_free(json);
    return rc;
}

/* The template that a model ships and the file it is in; NULL when it ships none. */
static int find_template(char **out, const char **file, const lvlm_checkpoint *cp,
                         lvlm_arena *arena, lvlm_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof template_files / sizeof template_files[0]; i++) {
        const lvlm_side_file *const side =
            lvlm_checkpoint_side_file(cp, template_files[i]);
        if (side == NULL || side->n_bytes == 0) continue;
        *file = side->name;
        TRY(read_template(out, side, arena, err));
        if (*out != NULL) return 0;
    }
    return 0;
}

/* ---- the choice ----------------------------------------------------------------- */

static bool is_for(const prompt_style *style, const cJSON *config)
{
    const char *const splice = lvlm_json_string(lvlm_json_path(config, "text.splice"));
    const char *const mask = lvlm_json_string(lvlm_json_path(config, "text.mask"));
    return splice != NULL && strcmp(splice, style->splice) == 0 && mask != NULL &&
           strcmp(mask, style->mask) == 0;
}

static bool fits_template(const prompt_style *style, const char *text)
{
    if (style->marks[0] == NULL) return false;
    for (size_t i = 0; i < 3 && style->marks[i] != NULL; i++)
        if (strstr(text, style->marks[i]) == NULL) return false;
    for (size_t i = 0; i < 2 && style->never[i] != NULL; i++)
        if (strstr(text, style->never[i]) != NULL) return false;
    return true;
}

/* What a model can have: one base form, and others that are told by a format's name or
 * by templates. */
typedef struct choice {
    const prompt_style *base;
    const prompt_style *at[N_STYLES];
    size_t n;
    bool formats, templates;
} choice;

static choice choices_for(const cJSON *config)
{
    choice c = { .n = 0 };
    for (size_t i = 0; i < N_STYLES; i++) {
        if (!is_for(&styles[i], config)) continue;
        if (styles[i].base) c.base = &styles[i];
        c.formats |= styles[i].chat_format != NULL;
        c.templates |= styles[i].marks[0] != NULL;
        c.at[c.n++] = &styles[i];
    }
    return c;
}

/* Files without a format are of fine-tuned models: the makers' code trains on chat. */
static int choose_format(const prompt_style **out, const choice *c,
                         const lvlm_checkpoint *cp, bool training, lvlm_error *err)
{
    static const char name[] = "generation_config.json";
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, name);
    cJSON *json = NULL;
    if (file != NULL) {
        const int rc = lvlm_json_parse(&json, (const char *)file->bytes,
                                       (size_t)file->n_bytes, err);
        if (rc < 0) lvlm_prefix(err, "%s: ", name);
        TRY(rc);
    }
    const char *word = lvlm_json_string(lvlm_json_get(json, "chat_format"));
    const bool raw = word != NULL && strcmp(word, "raw") == 0;
    int rc = 0;
    *out = raw && !training ? c->base : NULL;
    if (raw) word = NULL;
    for (size_t i = 0; i < c->n && *out == NULL; i++)
        if (c->at[i]->chat_format != NULL &&
            (word == NULL || strcmp(word, c->at[i]->chat_format) == 0))
            *out = c->at[i];
    if (*out == NULL)
        rc = lvlm_fail(err, LVLM_EFORMAT,
                       "%s: chat_format '%.64s': expected chatml or raw", name, word);
    lvlm_json_free(json);
    return rc;
}

static int choose_template(const prompt_style **out, const choice *c,
                           const lvlm_checkpoint *cp, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    const char *file = NULL;
    char *text = NULL;
    int rc = find_template(&text, &file, cp, &arena, err);
    *out = text == NULL ? c->base : NULL;
    for (size_t i = 0; rc == 0 && i < c->n && *out == NULL; i++)
        if (fits_template(c->at[i], text)) *out = c->at[i];
    if (rc == 0 && *out == NULL)
        rc = lvlm_fail(err, LVLM_EFORMAT,
                       "%s: its chat template is none of those known for such a model; "
                       "--raw takes a prompt as it is",
                       file);
    lvlm_arena_free(&arena);
    return rc;
}

int prompt_style_choose(const prompt_style **out, const lvlm_manifest *manifest,
                        const lvlm_prompt_options *options, lvlm_error *err)
{
    const choice c = choices_for(manifest->config);
    FAIL_IF(c.base == NULL, err, LVLM_EFORMAT,
            "%s: how such a model is prompted is not known", manifest->family->title);
    *out = c.base;
    if (options->raw) return 0;
    if (c.formats)
        return choose_format(out, &c, manifest->checkpoint, options->training, err);
    if (c.templates) return choose_template(out, &c, manifest->checkpoint, err);
    return 0;
}
