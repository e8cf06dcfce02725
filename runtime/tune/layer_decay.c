/* layer_decay.c - learning rates by depth in the tower; see layer_decay.h. */
#include "runtime/tune/layer_decay.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "runtime/part.h"

double lvlm_layer_factor(const lvlm_manifest *m, const lvlm_target *t, double decay)
{
    const bool in_block = t->section->count != NULL;
    const char *prefix = "";                /* of the blocks that were met last, */
    size_t first = 0, n_blocks = 0, at = 0; /* the first of them, how many in all */
    assert(decay > 0);
    assert(t >= m->targets && t < m->targets + m->n_targets);
    if (lvlm_part_of(t->name) != LVLM_PART_VISION) return 1;
    for (size_t i = 0; i < m->n_targets; i++) { /* in order of use */
        const lvlm_target *const u = &m->targets[i];
        if (lvlm_part_of(u->name) != LVLM_PART_VISION) continue;
        if (u->section->count != NULL) {
            if (strcmp(u->section->native, prefix) != 0) first = n_blocks;
            prefix = u->section->native;
            if (first + u->block >= n_blocks) n_blocks = first + (size_t)u->block + 1;
        }
        if (u == t) at = in_block ? first + (size_t)t->block : n_blocks;
    }
    const bool is_stem = at == 0 && !in_block;
    return pow(decay, (double)(is_stem ? n_blocks + 1 : n_blocks - at));
}
