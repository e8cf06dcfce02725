/* cross.h - what blocks with cross-attention attend to: the connector's rows of the
 * tiles that any row sees (cross_view.h), n_keys of them. */
#ifndef LVLM_RUNTIME_TEXT_CROSS_H
#define LVLM_RUNTIME_TEXT_CROSS_H

#include "runtime/batch/cross_view.h"
#include "runtime/block/transformer.h"

typedef struct cross_keys {
    const lvlm_cross_view *cross_view; /* borrowed; NULL: nothing to attend to */
    size_t *from;                      /* (n_keys) which row of the connector */
    real *states;                      /* (n_keys,C) */
    real *dstates; /* (n_keys,C) their gradient, from all blocks, or NULL */
    real *sees;    /* (N) 1 or 0 */
} cross_keys;

/* For N rows, states C wide; `has_gradient`: of states. */
int cross_keys_make(cross_keys *keys, workspace *memory,
                    const lvlm_cross_view *cross_view, size_t N, size_t C,
                    bool has_gradient, lvlm_error *err);
/* Rows of the states and of the arrays computed from them; one where there are none,
 * as an empty array would have no address. */
size_t cross_rows(const lvlm_cross_view *cross_view);
/* What of a block's view is the same for all such blocks. */
void cross_keys_view(transformer_view *view, const cross_keys *keys);

#endif
