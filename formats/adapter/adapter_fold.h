/* adapter_fold.h - an adapter folded into the weights of its model.
 *
 *   exact  = stored + scale B A     in double, row by row
 *   merged = exact, rounded once to the weight's stored type
 *
 * Of a module that is saved whole the exact values are those of the adapter.
 *
 * Distinct adapters may be folded in distinct threads. */
#ifndef LVLM_FORMATS_ADAPTER_ADAPTER_FOLD_H
#define LVLM_FORMATS_ADAPTER_ADAPTER_FOLD_H

#include "formats/adapter/adapter.h"
#include "formats/base/digest.h"
#include "formats/base/outfile.h"
#include "formats/base/run.h"

LVLM_BEGIN_DECLS

/* What rounding to the stored types cost, over all tensors that change. */
typedef struct lvlm_fold_cost {
    size_t n_tensors, n_replaced; /* all, those that are saved whole */
    uint64_t n_values;
    uint64_t n_lost;       /* changed by the adapter, but not after rounding */
    uint64_t n_not_finite; /* finite before, not finite with the adapter */
    double max_error;      /* largest |merged - exact| */
    double error2;         /* sum of (merged - exact)^2 */
    double exact2;         /* sum of exact^2 */
    double change2;        /* sum of (exact - stored)^2 */
    lvlm_hex_digest root;  /* of the new file */
} lvlm_fold_cost;

/* The two factors of one native tensor of an adapted module, in double; of b only the
 * rows of that tensor. */
typedef struct lvlm_fold_factors {
    size_t rows, in, r;
    double scale;
    double *a, *b;    /* (r,in), (rows,r) */
    lvlm_arena arena; /* of the arrays */
} lvlm_fold_factors;

/* Of part number `part`, which has that many rows. Free, also after a failure. */
LVLM_MUST_CHECK int lvlm_fold_factors_make(lvlm_fold_factors *out,
                                           const lvlm_adapted *adapted, size_t part,
                                           size_t rows, lvlm_error *err);
void lvlm_fold_factors_free(lvlm_fold_factors *factors);

/* Can the adapter be folded in? LVLM_EFORMAT if a module is missing, or is tied to an
 * embedding and has no weight of its own. */
LVLM_MUST_CHECK int lvlm_fold_check(const lvlm_adapter *adapter, lvlm_error *err);

/* Write the adapter's model, which is a native file, to `file` with the adapter folded
 * into the weights that it adapts, each in its stored type, and commit it. Every a, b
 * and saved tensor has data. Nothing else changes, except that the provenance counts
 * the adapter and records the step: `trained`, a step of the history (history.h) if the
 * adapter was trained now, NULL if it was opened. LVLM_ECHECK names a
 * corrupt tensor, or the first tensor with a value that overflows its stored type and
 * the total number of such values, which is also in *cost. */
LVLM_MUST_CHECK int lvlm_fold_save(lvlm_fold_cost *cost, const lvlm_adapter *adapter,
                                   const cJSON *trained, lvlm_outfile *file,
                                   const lvlm_run *run, lvlm_error *err);

LVLM_END_DECLS

#endif
