/* export_part.c - the tower or the language model of a model, as transformers saves it
 * by itself: CLIPVisionModel, SiglipVisionModel; LlamaForCausalLM and the like.
 *
 *   tensors        those of the part, under the hub's names without the model's prefix
 *   config.json    the part's section, with what the model decides for it
 *   side files     the tower's processor; the language model's tokenizer */
#include <string.h>

#include "convert/export_parts.h"
#include "convert/part_files.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/side_file.h"

/* A part that transformers has a class for. */
typedef struct form {
    const char *part;
    const char *word; /* of the canonical configuration */
    const char *type; /* model_type of its section of config.json */
    const char *class;
} form;

static const form forms[] = {
    { "vision", "clip", "clip_vision_model", "CLIPVisionModel" },
    { "vision", "siglip", "siglip_vision_model", "SiglipVisionModel" },
    { "text", "llama", "llama", "LlamaForCausalLM" },
    { "text", "qwen2", "qwen2", "Qwen2ForCausalLM" },
    { "text", "gemma", "gemma", "GemmaForCausalLM" },
    { "text", "gemma2", "gemma2", "Gemma2ForCausalLM" },
};

enum { N_FORMS = sizeof forms / sizeof forms[0] };

/* Prefixes of the hub's names of models => of the part's own. */
static const struct {
    const char *model, *own;
} prefixes[] = {
    { "vision_tower.vision_model.", "vision_model." },
    { "language_model.model.", "model." },
    { "language_model.lm_head.", "lm_head." },
};

/* ---- names ----------------------------------------------------------------------- */

bool export_part_has(const lvlm_export *ex, const char *canonical)
{
    const char *const part = ex->options.part;
    return part == NULL || lvlm_starts_with(canonical, part);
}

const char *export_part_name(lvlm_export *ex, const char *name)
{
    for (size_t i = 0; ex->options.part != NULL && name != NULL && i < 3; i++)
        if (lvlm_starts_with(name, prefixes[i].model))
            return lvlm_arena_printf(&ex->arena, "%s%s", prefixes[i].own,
                                     name + strlen(prefixes[i].model));
    return name;
}

/* ---- files ----------------------------------------------------------------------- */

bool export_part_keeps(const lvlm_export *ex, const char *name)
{
    const char *const part = ex->options.part;
    if (part == NULL || strcmp(name, "config.json") == 0) return true;
    const char *const *files = lvlm_part_files(part);
    while (*files != NULL && strcmp(*files, name) != 0) files++;
    return *files != NULL;
}

/* Newer versions of transformers keep the processor of pictures in another file. */
int export_part_pictures(lvlm_export *ex, lvlm_error *err)
{
    static const char name[] = "preprocessor_config.json";
    const char *const part = ex->options.part;
    cJSON *json = NULL;
    char *text = NULL;
    if (part == NULL || strcmp(part, "vision") != 0 ||
        lvlm_checkpoint_side_file(ex->model, name) != NULL)
        return 0;
    TRY(lvlm_part_pictures(&json, ex->model, err));
    int rc = json != NULL ? lvlm_json_print_pretty(&text, json, err) : 0;
    if (text != NULL) rc = export_add_text(ex, name, text, err);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

/* ---- config.json ----------------------------------------------------------------- */

static bool set_flag(cJSON *to, const char *key, bool value)
{
    return lvlm_json_set(to, key, cJSON_CreateBool(value));
}

/* Does the tower have SigLIP's pooling head, which the class makes by default? */
static bool has_pooling(const lvlm_manifest *m)
{
    for (size_t i = 0; i < m->n_extras; i++)
        if (lvlm_starts_with(m->extras[i].canonical, "vision.head.")) return true;
    return false;
}

/* What the rest of the model decided: the rows of the table of word vectors, whether
 * the head is tied. PaliGemma's mask and rows of images are not the part's. */
static bool settle(cJSON *config, const lvlm_export *ex, const form *f)
{
    const lvlm_manifest *const m = &ex->manifest;
    const lvlm_target *const table = lvlm_manifest_find(m, LVLM_EMBED_TABLE);
    const lvlm_target *const head = lvlm_manifest_find(m, "text.head.weight");
    if (strcmp(f->part, "vision") == 0)
        return strcmp(f->type, "siglip_vision_model") != 0 ||
               set_flag(config, "vision_use_head", has_pooling(m));
    cJSON_DeleteItemFromObjectCaseSensitive(config, "use_bidirectional_attention");
    cJSON_DeleteItemFromObjectCaseSensitive(config, "num_image_tokens");
    return set_flag(config, LVLM_TIE_KEY,
                    head == NULL || head->state == LVLM_TARGET_TIED) &&
           (table == NULL ||
            lvlm_json_set(config, "vocab_size",
                          cJSON_CreateNumber((double)table->shape.dims[0])));
}

static bool describe(cJSON *config, const lvlm_export *ex, const form *f)
{
    static const char *const keys[] = { "dtype", "torch_dtype" };
    const lvlm_target *const table =
        lvlm_manifest_find(&ex->manifest, LVLM_EMBED_TABLE);
    bool ok =
        lvlm_json_set(config, "architectures", cJSON_CreateStringArray(&f->class, 1)) &&
        lvlm_json_set(config, "model_type", cJSON_CreateString(f->type));
    for (size_t i = 0; i < 2 && table != NULL && table->here.tensor != NULL; i++)
        ok = ok && lvlm_json_set(config, keys[i],
                                 cJSON_CreateString(
                                     lvlm_dtype_torch_name(table->here.tensor->dtype)));
    return ok && settle(config, ex, f);
}

/* The word of a part whose section does not name its type. */
static const char *word_of(const lvlm_export *ex, bool vision)
{
    const cJSON *const config = ex->manifest.config;
    const char *const word = lvlm_json_string(
        lvlm_json_path(config, vision ? "vision.tower" : "text.decoder"));
    return word != NULL || vision ? word : ex->manifest.family->text_type;
}

/* The class of a section, or LVLM_EFORMAT. */
static int find_form(const form **out, const lvlm_export *ex, const cJSON *section,
                     lvlm_error *err)
{
    const char *const part = ex->options.part;
    const char *const type = lvlm_json_string(lvlm_json_get(section, "model_type"));
    const char *const word = word_of(ex, strcmp(part, "vision") == 0);
    for (size_t i = 0; i < N_FORMS && section != NULL; i++) {
        const char *const own = type != NULL ? forms[i].type : forms[i].word;
        const char *const said = type != NULL ? type : word;
        *out = &forms[i];
        if (strcmp(forms[i].part, part) == 0 && said != NULL && strcmp(own, said) == 0)
            return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "its %s is a part of %s, which transformers has no class of its "
                     "own for; known are CLIP and SigLIP, Llama, Qwen2, Gemma and "
                     "Gemma 2",
                     strcmp(part, "vision") == 0 ? "tower" : "language model",
                     ex->manifest.family->title);
}

int export_part_config(char **text, const lvlm_export *ex, const lvlm_side_file *side,
                       lvlm_error *err)
{
    const char *const part = ex->options.part;
    cJSON *json = NULL, *config = NULL;
    const form *f = NULL;
    TRY(lvlm_side_file_parse(&json, side, err));
    const cJSON *const section = lvlm_json_get(
        json, strcmp(part, "vision") == 0 ? "vision_config" : "text_config");
    int rc = find_form(&f, ex, section, err);
    if (rc == 0) {
        config = cJSON_Duplicate(section, true);
        rc = config != NULL && describe(config, ex, f)
                 ? lvlm_json_print_pretty(text, config, err)
                 : lvlm_fail_memory(err);
    }
    lvlm_json_free(config);
    lvlm_json_free(json);
    return rc;
}
