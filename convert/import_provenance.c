/* import_provenance.c - what was converted, by which program and how. */
#include <assert.h>
#include <fnmatch.h>
#include <string.h>

#include "convert/import_parts.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/version.h"

static const char *source_kind(const lvlm_import *im)
{
    const lvlm_checkpoint *const cp = im->source;
    if (im->options.joined != NULL) return im->options.joined;
    if (cp->kind == LVLM_CHECKPOINT_NPZ) return "big_vision npz";
    return fnmatch("*.bin", cp->files[0].name, 0) == 0 ? "huggingface pytorch_model.bin"
                                                       : "huggingface safetensors";
}

int import_describe_narrowing(lvlm_import *im, const lvlm_narrowing *n, lvlm_error *err)
{
    assert(im->provenance != NULL);
    cJSON *const json = cJSON_CreateObject();
    if (!lvlm_json_set(im->provenance, "narrowed", json) ||
        cJSON_AddNumberToObject(json, "rounded", (double)n->n_rounded) == NULL ||
        cJSON_AddNumberToObject(json, "overflowed", (double)n->n_overflowed) == NULL ||
        cJSON_AddNumberToObject(json, "flushed", (double)n->n_flushed) == NULL)
        return lvlm_fail_memory(err);
    return 0;
}

static int reserve_narrowing(lvlm_import *im, lvlm_error *err)
{
    const uint64_t most = im->plan.n_bytes; /* an upper bound of the number of values */
    const lvlm_narrowing longest = { .n_rounded = most,
                                     .n_overflowed = most,
                                     .n_flushed = most };
    char *text = NULL;
    if (!im->options.change_dtype) return 0;
    TRY(import_describe_narrowing(im, &longest, err));
    TRY(lvlm_json_print(&text, im->provenance, err));
    im->provenance_bytes = strlen(text);
    lvlm_free(text);
    return 0;
}

/* Word tables that got more rows: how many they had and have, and what they hold. */
static int describe_growth(lvlm_import *im, lvlm_error *err)
{
    char how[96];
    if (im->options.n_growths == 0) return 0;
    const lvlm_growth *const g = &im->options.growths[0];
    const lvlm_target *const table =
        lvlm_manifest_find(&im->manifest, LVLM_EMBED_TABLE);
    cJSON *const json = cJSON_CreateObject();
    assert(table != NULL);
    lvlm_init_describe(how, &g->init);
    if (!lvlm_json_set(im->provenance, "vocabulary", json) ||
        !lvlm_json_set(json, "from",
                       cJSON_CreateNumber((double)g->table->shape.dims[0])) ||
        !lvlm_json_set(json, "to", cJSON_CreateNumber((double)table->shape.dims[0])) ||
        !lvlm_json_set(im->provenance, "new_rows", cJSON_CreateString(how)))
        return lvlm_fail_memory(err);
    return 0;
}

int import_describe(lvlm_import *im, lvlm_error *err)
{
    assert(im->provenance == NULL && im->source->n_files > 0);
    const cJSON *version = lvlm_json_get(im->source->config, "transformers_version");
    cJSON *p = cJSON_CreateObject();
    im->provenance = p;
    if (cJSON_AddStringToObject(p, "converter", "lvlm-convert " LVLM_VERSION) == NULL ||
        cJSON_AddStringToObject(p, "source", source_kind(im)) == NULL ||
        cJSON_AddStringToObject(
            p, "dtype",
            im->options.change_dtype ? lvlm_dtype_name(im->options.dtype) : "keep") ==
            NULL ||
        (im->source->kind == LVLM_CHECKPOINT_NPZ &&
         cJSON_AddStringToObject(
             p, "config", im->source->config_made ? "made from shapes" : "given") ==
             NULL) ||
        (lvlm_json_string(version) != NULL &&
         cJSON_AddStringToObject(p, "transformers_version",
                                 lvlm_json_string(version)) == NULL))
        return lvlm_fail_memory(err);
    TRY(describe_growth(im, err));
    return reserve_narrowing(im, err);
}
