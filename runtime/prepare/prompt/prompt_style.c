/* prompt_style.c - the table of styles, and the choice for a model.
 *
 *   chosen by the family's word, --raw, and side files: chat template or chat_format */
#include "runtime/prepare/prompt/prompt_style.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "formats/container/side_file.h"
#include "formats/family/chat_templates.h"
#include "runtime/prepare/prompt/prompt_template.h"

/* Tags recognised in guarded text, and special tokens kept in answers. */
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
#define VIDEOS       .video_place = "<|video_pad|>", .video = "<|vision_start|><|video_pad|><|vision_end|>"
#define HELPFUL      "You are a helpful assistant."
#define NO_TURNS     "the model ships no chat template that writes turns"
#define KNOWLEDGE    "Cutting Knowledge Date: December 2023\nToday Date: "

/* LLaVA: the language model's own turns; pictures first. */
#define LLAVA(id)                                                                        \
    .word = "llava", .option = id, .place = "<image>", .image = "<image>\n",             \
    .images_first = true, .form = { .expands = true, .opaque = true }

static const char *const vicuna_roles[] = { "", "USER", "ASSISTANT" };
static const char *const gemma_roles[] = { "", "user", "model" };

static const prompt_style styles[] = {
    { .name = "LLaVA-1.5 of the hub", LLAVA("llava"),
      .forms = template_forms_llava, .trained_as = "vicuna_v1",
      .write = prompt_write_turns, .roles = vicuna_roles,
      .open = "", .opened = ":", .lead = " ", .text_end = " ", .close = "",
      .affixed = true, .joined = true },
    { .name = "Vicuna v1", LLAVA("vicuna_v1"),
      .forms = template_forms_vicuna_v1,
      .write = prompt_write_turns, .roles = vicuna_roles,
      .open = "", .opened = ":", .lead = " ", .close = " ", .eos_closes = true,
      .system = LVLM_VICUNA_SYSTEM, .affixed = true, .joined = true },
    { .name = "ChatML", LLAVA("chatml"),
      .forms = template_forms_text_chatml,
      .write = prompt_write_turns,
      .open = "<|im_start|>", .opened = "\n", .close = "<|im_end|>\n", .system = HELPFUL,
      .affixed = true },
    { .name = "Gemma's turns", LLAVA("gemma"),
      .forms = template_forms_text_gemma,
      .write = prompt_write_turns, .roles = gemma_roles,
      .open = "<start_of_turn>", .opened = "\n", .close = "<end_of_turn>\n",
      .strips = true, .alternates = true, .bos = true },
    { .name = "the base form of LLaVA", .word = "llava", .option = "plain",
      .unturned = NO_TURNS,
      .base = true, .end = "\n", .write = prompt_write_plain, .place = "<image>", .image = "<image>",
      .affixed = true, .form = { .expands = true, .opaque = true } },
    { .name = "ChatML", .word = "chatml",
      .forms = template_forms_chatml,
      .write = prompt_write_turns, .place = "<|image_pad|>", .image = VISION_PLACE, VIDEOS,
      .open = "<|im_start|>", .opened = "\n", .close = "<|im_end|>\n", .system = HELPFUL,
      .affixed = true, .form = { .expands = true, .typed = true }, .kept = qwen2_kept },
    { .name = "the base form of Qwen2-VL", .word = "chatml",
      .forms = template_forms_qwen2_base, .unturned = NO_TURNS,
      .base = true, .end = "<|endoftext|>",
      .write = prompt_write_text, .place = "<|image_pad|>", .image = VISION_PLACE, VIDEOS,
      .affixed = true, .form = { .expands = true, .typed = true }, .kept = qwen2_kept },
    { .name = "Llama 3.2", .word = "llama3",
      .forms = template_forms_llama32,
      .write = prompt_write_turns, .place = "<|image|>", .image = "<|image|>",
      .open = "<|start_header_id|>", .opened = "<|end_header_id|>\n\n", .close = "<|eot_id|>",
      .knowledge = KNOWLEDGE, .bos = true, .form = { .crossed = true, .opaque = true } },
    { .name = "Llama 3", .word = "llama3",
      .forms = template_forms_llama3,
      .write = prompt_write_turns, .place = "<|image|>", .image = "<|image|>",
      .open = "<|start_header_id|>", .opened = "<|end_header_id|>\n\n", .close = "<|eot_id|>",
      .bos = true, .form = { .crossed = true, .opaque = true } },
    { .name = "the base form of Llama 3.2", .word = "llama3",
      .unturned = NO_TURNS,
      .base = true, .end = "<|end_of_text|>",
      .write = prompt_write_text, .place = "<|image|>", .image = "<|image|>",
      .bos = true, .affixed = true, .form = { .crossed = true, .opaque = true } },
    { .name = "PaliGemma", .word = "paligemma",
      .base = true, .write = prompt_write_prefix, .place = "<image>", .image = "<image>",
      .bos = true,
      .form = { .expands = true, .prefix = true } },
    { .name = "Qwen-VL's chat", .word = "qwen", .chat_format = "chatml",
      .write = prompt_write_turns, .place = "<img>", .image = "<img>", .image_close = "</img>\n",
      .numbered = true, .open = "<|im_start|>", .opened = "\n", .close = "<|im_end|>\n",
      .system = HELPFUL, .separate = true, .tags = qwen_tags, .kept = qwen_kept },
    { .name = "the base form of Qwen-VL", .word = "qwen",
      .unturned = "generation_config.json says chat_format raw",
      .base = true, .end = "<|endoftext|>",
      .write = prompt_write_text, .place = "<img>", .image = "<img>", .image_close = "</img>",
      .kept = qwen_kept },
};
// clang-format on

enum { N_STYLES = sizeof styles / sizeof styles[0] };

/* ---- the choice ----------------------------------------------------------------- */

/* The styles of a family: one base form, and others recognised by the name of a format
 * or by templates. */
typedef struct choice {
    const prompt_style *base;
    const prompt_style *at[N_STYLES];
    const template_form *forms[N_STYLES]; /* theirs */
    size_t n;
    bool formats, templates;
} choice;

static choice choices_for(const char *word)
{
    choice c = { .n = 0 };
    for (size_t i = 0; i < N_STYLES; i++) {
        if (strcmp(styles[i].word, word) != 0) continue;
        if (styles[i].base) c.base = &styles[i];
        c.formats |= styles[i].chat_format != NULL;
        c.templates |= styles[i].forms != NULL;
        c.forms[c.n] = styles[i].forms;
        c.at[c.n++] = &styles[i];
    }
    return c;
}

/* Files without a format belong to fine-tuned models: the reference implementation
 * trains on chat. */
static int choose_format(const prompt_style **out, const choice *c,
                         const lvlm_checkpoint *cp, bool training, lvlm_error *err)
{
    static const char name[] = "generation_config.json";
    cJSON *json = NULL;
    TRY(lvlm_side_file_json(&json, cp, name, err));
    const cJSON *const format = lvlm_json_given(json, "chat_format");
    const char *word = lvlm_json_string(format);
    if (word == NULL && format != NULL) word = "(not a text)";
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

/* Append advice to the error of a refused template. */
static int add_way_out(const choice *c, lvlm_error *err, bool training)
{
    const lvlm_error why = *err;
    return lvlm_fail(err, why.code,
                     "%s; %s%sconvert the model with its released template", why.text,
                     training ? "" : "write the prompt out and pass it with --raw, or ",
                     c->base->option != NULL ? "name one with --template, or " : "");
}

/* The style with the template's form; the base form if there is no template. */
static int choose_template(const prompt_style **out, const choice *c,
                           const lvlm_checkpoint *cp, bool training, lvlm_error *err)
{
    prompt_template t;
    size_t i;
    int rc = prompt_template_read(&t, cp, err);
    if (rc == 0) rc = prompt_template_find(&i, &t, c->forms, c->n, err);
    if (rc == 0) *out = i < c->n ? c->at[i] : c->base;
    if (rc == LVLM_EFORMAT && t.file != NULL && err != NULL)
        rc = add_way_out(c, err, training);
    prompt_template_free(&t);
    return rc;
}

/* Note the template of a model that is not prompted by one. */
static int ignore_template(const choice *c, const lvlm_checkpoint *cp, lvlm_error *err)
{
    prompt_template t;
    int rc = prompt_template_read(&t, cp, err);
    if (rc == 0 && t.file != NULL)
        rc = lvlm_notes_add(cp->notes, err,
                            "%s: its chat template is not used: the model is prompted "
                            "as %s",
                            t.file, c->base->name);
    prompt_template_free(&t);
    return rc;
}

/* The style of a name; LVLM_EUSAGE has those that there are. */
static int choose_named(const prompt_style **out, const choice *c, const char *name,
                        lvlm_error *err)
{
    lvlm_strbuf names = LVLM_STRBUF_INIT(1 << 12);
    for (size_t i = 0; i < c->n; i++) {
        *out = c->at[i];
        if (c->at[i]->option == NULL) continue;
        if (strcmp(c->at[i]->option, name) == 0) {
            lvlm_strbuf_free(&names);
            return 0;
        }
        lvlm_strbuf_printf(&names, "%s%s", names.length > 0 ? ", " : "",
                           c->at[i]->option);
    }
    const int rc =
        names.length > 0
            ? lvlm_fail(err, LVLM_EUSAGE, "template '%.64s': expected one of %s", name,
                        names.text)
            : lvlm_fail(err, LVLM_EUSAGE,
                        "template '%.64s': the model has no choice of templates", name);
    lvlm_strbuf_free(&names);
    return rc;
}

/* Training may write another style than the template's, and says what the base form
 * leaves out. */
static int retrain(const prompt_style **out, const choice *c, const lvlm_checkpoint *cp,
                   lvlm_error *err)
{
    const char *const from = (*out)->name, *const as = (*out)->trained_as;
    if ((*out)->base && (*out)->option != NULL)
        return lvlm_notes_add(
            cp->notes, err,
            "conversations are trained as %s, as the model ships no chat template: "
            "what is asked about a picture is not written; --template names a form "
            "that writes it",
            from);
    if (as == NULL) return 0;
    TRY(choose_named(out, c, as, err));
    return lvlm_notes_add(
        cp->notes, err,
        "conversations are trained as %s, whose answers end with eos: the model's "
        "template, %s, ends them with a blank",
        (*out)->name, from);
}

int prompt_style_choose(const prompt_style **out, const lvlm_manifest *manifest,
                        const lvlm_prompt_options *options, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = manifest->checkpoint;
    const lvlm_family *const family = manifest->family;
    FAIL_IF(family->prompts == NULL, err, LVLM_EFORMAT,
            "%s: writing prompts is not supported; only ready tensors are",
            family->title);
    const choice c = choices_for(family->prompts);
    FAIL_IF(c.base == NULL, err, LVLM_EFORMAT, "%s: its prompts '%s' are not known",
            family->title, family->prompts);
    *out = c.base;
    if (options->chat_template != NULL)
        return choose_named(out, &c, options->chat_template, err);
    if (options->raw) return 0;
    if (c.templates) {
        TRY(choose_template(out, &c, cp, options->training, err));
        return options->training ? retrain(out, &c, cp, err) : 0;
    }
    TRY(ignore_template(&c, cp, err));
    return c.formats ? choose_format(out, &c, cp, options->training, err) : 0;
}

const prompt_style *prompt_style_base(const lvlm_manifest *manifest)
{
    assert(manifest->family->prompts != NULL);
    return choices_for(manifest->family->prompts).base;
}

int prompt_style_window(size_t *out, const lvlm_checkpoint *cp, lvlm_error *err)
{
    static const char name[] = "generation_config.json";
    cJSON *json = NULL;
    uint64_t window = 0;
    int rc = lvlm_side_file_json(&json, cp, name, err);
    const cJSON *const item = lvlm_json_get(json, "max_window_size");
    if (rc == 0 && item != NULL && !lvlm_json_u64(&window, item))
        rc = lvlm_fail(err, LVLM_EFORMAT, "%s: max_window_size is not a whole number",
                       name);
    lvlm_json_free(json);
    *out = (size_t)window;
    return rc;
}
