/* gradients.c - memory for gradients; see gradients.h. */
#include "runtime/model/gradients.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "runtime/ops/stored.h"

static int copy_values(gradients *g, size_t i, size_t numel, lvlm_error *err)
{
    const lvlm_target *t = &g->manifest->targets[i];
    assert(g->at[i] != NULL && g->values[i] == NULL);
    FAIL_IF(
        t->here.tensor->data == NULL || !lvlm_dtype_is_weight(t->here.tensor->dtype),
        err, LVLM_EFORMAT, "tensor '%s': has no values that can be trained", t->name);
    g->values[i] = lvlm_calloc(numel, sizeof **g->values);
    FAIL_IF(g->values[i] == NULL, err, LVLM_ENOMEM, "out of memory for %s", t->name);
    stored_widen(g->values[i],
                 (lvlm_stored){ t->here.tensor->data, t->here.tensor->dtype }, 0,
                 numel);
    return 0;
}

int gradients_make(gradients *g, const lvlm_manifest *manifest,
                   const lvlm_model_options *options, lvlm_error *err)
{
    *g = (gradients){ .manifest = manifest };
    if (options->trains == NULL) return 0;
    g->at = lvlm_calloc(manifest->n_targets, sizeof *g->at);
    g->values = lvlm_calloc(manifest->n_targets, sizeof *g->values);
    if (g->at == NULL || g->values == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < manifest->n_targets; i++) {
        const lvlm_target *t = &manifest->targets[i];
        uint64_t numel = 0;
        if (t->here.tensor == NULL || !lvlm_target_is_stored(t) ||
            !options->trains(options->user, manifest, t))
            continue;
        (void)lvlm_shape_numel(&numel, &t->shape);
        g->at[i] = lvlm_calloc((size_t)numel, sizeof **g->at);
        FAIL_IF(g->at[i] == NULL, err, LVLM_ENOMEM,
                "out of memory for the gradient of %s", t->name);
        if (options->own_weights) TRY(copy_values(g, i, (size_t)numel, err));
        g->trains[lvlm_part_of(t->name)] = true;
    }
    return 0;
}

void gradients_free(gradients *g)
{
    for (size_t i = 0; g->at != NULL && i < g->manifest->n_targets; i++)
        lvlm_free(g->at[i]);
    for (size_t i = 0; g->values != NULL && i < g->manifest->n_targets; i++)
        lvlm_free(g->values[i]);
    lvlm_free(g->at);
    lvlm_free(g->values);
    g->at = g->values = NULL;
}
