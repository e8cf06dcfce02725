/* adapter_fold.h - an adapter folded into the weights of its model.
 *
 *   exact  = stored + scale B A     in double, row by row
 *   merged = exact, rounded once to the type that the weight is stored in */
#ifndef LVLM_FORMATS_ADAPTER_FOLD_H
#define LVLM_FORMATS_ADAPTER_FOLD_H

#include "formats/adapter.h"
#include "formats/base/digest.h"
#include "formats/base/outfile.h"

LVLM_BEGIN_DECLS

/* What rounding to the stored types cost, over all adapted tensors. */
typedef struct lvlm_fold_cost {
    size_t n_tensors;
    uint64_t n_values;
    uint64_t n_lost;       /* moved by the adapter, and yet the same when rounded */
    uint64_t n_not_finite; /* not finite with the adapter, and finite before */
    double max_error;      /* largest |merged - exact| */
    double error2;         /* sums of squares: merged - exact, */
    double exact2;         /* exact, */
    double change2;        /* exact - stored */
} lvlm_fold_cost;

typedef struct lvlm_fold {
    const lvlm_adapter *adapter; /* every a and b has data */
    const cJSON *provenance;     /* of the new file */
    size_t threads;
    /* Told how many bytes of tensors are written, from any thread; may be NULL. */
    void (*progress)(void *user, uint64_t n_bytes);
    void *user;
} lvlm_fold;

/* Can it be folded in? LVLM_EFORMAT when a module is tied to a table of vectors and has
 * no weight of its own, or is missing. */
LVLM_MUST_CHECK int lvlm_fold_check(const lvlm_adapter *adapter, lvlm_error *err);

/* Write the adapter's model, a native file, again into `file` with the adapter folded
 * in, and commit it (rewrite.h). LVLM_ECHECK names a tensor that is corrupt, or the
 * first in which a value overflows its stored type, with how many do in all; *cost
 * counts them too. */
LVLM_MUST_CHECK int lvlm_fold_save(lvlm_fold_cost *cost, const lvlm_fold *fold,
                                   lvlm_outfile *file, lvlm_hex_digest root,
                                   lvlm_error *err);

LVLM_END_DECLS

#endif
