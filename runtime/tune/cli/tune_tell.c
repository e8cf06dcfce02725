/* tune_tell.c - output that the verbs of lvlm-tune share. */
#include <stdio.h>

#include "runtime/tune/cli/tune_commands.h"

void tune_tell_zeros(const lvlm_zero_gradients *zeros)
{
    for (size_t i = 0; i < zeros->n_groups; i++) {
        const lvlm_zero_group *const g = &zeros->groups[i];
        fprintf(stderr,
                PROGRAM ": %s: no gradient in %zu of %zu trained tensors (%s%s): %s\n",
                g->part, g->n, g->n_trained, g->names[0], g->n > 1 ? ", ..." : "",
                g->cause);
    }
}
