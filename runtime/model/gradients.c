/* gradients.c - memory for gradients; see gradients.h. */
#include "runtime/model/gradients.h"

#include <string.h>

#include "formats/base/alloc.h"

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int gradients_make(gradients *g, const lvlm_manifest *manifest,
                   const lvlm_model_options *options, lvlm_error *err)
{
    *g = (gradients){ .manifest = manifest };
    if (options->trains == NULL) return 0;
    g->at = lvlm_calloc(manifest->n_targets, sizeof *g->at);
    if (g->at == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < manifest->n_targets; i++) {
        const lvlm_target *t = &manifest->targets[i];
        uint64_t numel = 0;
        if (t->source == NULL || !lvlm_target_is_stored(t) ||
            !options->trains(options->user, t->name))
            continue;
        (void)lvlm_shape_numel(&numel, &t->shape);
        g->at[i] = lvlm_calloc((size_t)numel, sizeof **g->at);
        FAIL_IF(g->at[i] == NULL, err, LVLM_ENOMEM,
                "out of memory for the gradient of %s", t->name);
        g->vision |= starts_with(t->name, "vision.");
        g->connector |= starts_with(t->name, "connector.");
        g->text |= starts_with(t->name, "text.");
    }
    return 0;
}

void gradients_free(gradients *g)
{
    for (size_t i = 0; g->at != NULL && i < g->manifest->n_targets; i++)
        lvlm_free(g->at[i]);
    lvlm_free(g->at);
    g->at = NULL;
}
