/* variant.c - a model with other settings or values; see variant.h. */
#include "verify/cause/variant.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"

/* Targets and index as those of the base. */
static void copy_targets(variant *v)
{
    const lvlm_manifest *const b = v->base;
    memcpy(v->manifest.targets, b->targets, b->n_targets * sizeof *b->targets);
    for (size_t i = 0; i < b->n_targets; i++)
        v->manifest.by_name[i] = v->manifest.targets + (b->by_name[i] - b->targets);
}

static int copy_config(variant *v, lvlm_error *err)
{
    lvlm_json_free(v->manifest.config);
    v->manifest.config = cJSON_Duplicate(v->base->config, true);
    return v->manifest.config != NULL ? 0 : lvlm_fail_memory(err);
}

static void free_values(variant *v)
{
    for (size_t i = 0; i < v->n_made; i++) {
        /* variant_values made it, and nothing else points into it */
        union {
            const unsigned char *borrowed;
            void *owned;
        } data = { .borrowed = v->made[i].data };
        lvlm_free(data.owned);
    }
    v->n_made = 0;
}

int variant_make(variant *v, const lvlm_manifest *base, lvlm_error *err)
{
    *v = (variant){ .base = base, .manifest = *base };
    v->manifest.config = NULL;
    v->manifest.targets = lvlm_calloc(base->n_targets, sizeof *v->manifest.targets);
    v->manifest.by_name = lvlm_calloc(base->n_targets, sizeof(lvlm_target *));
    if (v->manifest.targets == NULL || v->manifest.by_name == NULL)
        return lvlm_fail_memory(err);
    copy_targets(v);
    return copy_config(v, err);
}

void variant_free(variant *v)
{
    free_values(v);
    lvlm_json_free(v->manifest.config);
    lvlm_free(v->manifest.targets);
    lvlm_free(v->manifest.by_name);
}

int variant_reset(variant *v, lvlm_error *err)
{
    free_values(v);
    copy_targets(v);
    v->reference = NULL;
    v->epsilon = 0;
    return copy_config(v, err);
}

int variant_set(variant *v, const char *path, const cJSON *value, lvlm_error *err)
{
    const char *const dot = strchr(path, '.');
    assert(dot != NULL && strchr(dot + 1, '.') == NULL);
    char part[32];
    (void)snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
    cJSON *const object = cJSON_GetObjectItemCaseSensitive(v->manifest.config, part);
    cJSON *const copy = cJSON_Duplicate(value, true);
    if (object == NULL || copy == NULL) {
        lvlm_json_free(copy);
        return lvlm_fail_memory(err);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(object, dot + 1);
    if (cJSON_AddItemToObject(object, dot + 1, copy)) return 0;
    lvlm_json_free(copy);
    return lvlm_fail_memory(err);
}

/* The variant's own target. */
static lvlm_target *own(variant *v, const lvlm_target *of)
{
    assert(of >= v->base->targets && of < v->base->targets + v->base->n_targets);
    return &v->manifest.targets[of - v->base->targets];
}

void variant_use(variant *v, const lvlm_target *to, const lvlm_target *from)
{
    own(v, to)->here.tensor = from->here.tensor;
}

double *variant_values(variant *v, const lvlm_target *of)
{
    const lvlm_tensor *const t = of->here.tensor;
    if (v->n_made == VARIANT_TENSORS) return NULL;
    const size_t n = (size_t)lvlm_tensor_numel(t);
    double *const values = lvlm_malloc(n * sizeof *values);
    if (values == NULL) return NULL;
    lvlm_convert_values(values, LVLM_F64, t->data, t->dtype, n);
    lvlm_tensor *const made = &v->made[v->n_made++];
    *made = *t;
    made->dtype = LVLM_F64;
    made->n_bytes = n * sizeof *values;
    made->data = (const unsigned char *)values;
    made->map = NULL;
    made->detached = true;
    own(v, of)->here.tensor = made;
    return values;
}

double *variant_rounded(variant *v, const lvlm_target *of)
{
    const lvlm_dtype dtype = of->here.tensor->dtype;
    const double epsilon = dtype == LVLM_F64    ? DBL_EPSILON
                           : dtype == LVLM_F32  ? FLT_EPSILON
                           : dtype == LVLM_BF16 ? 0x1p-7
                                                : 0x1p-10;
    v->epsilon = fmax(v->epsilon, epsilon);
    return variant_values(v, of);
}
