/* merge_proof.h - is a model its base with an adapter folded in, by whose arithmetic?
 *
 *   once         base + scale B A in double, rounded once to the stored type: ours
 *   peft...      PEFT's merge: B A in float32, times the scale, the change perhaps
 *                rounded to the adapter's own type or to that of the weights, added in
 *                float32, rounded
 *
 * The order in which a library adds up a sum of float32 is not known, so a value agrees
 * with PEFT's arithmetic if any order gives it: between the results of the smallest and
 * of the largest sum that rounding permits. In 16-bit types both are the same for
 * nearly every value. */
#ifndef LVLM_VERIFY_COMPARE_MERGE_PROOF_H
#define LVLM_VERIFY_COMPARE_MERGE_PROOF_H

#include "formats/adapter/adapter.h"
#include "verify/metrics.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_merge_order {
    LVLM_MERGE_ONCE,
    LVLM_MERGE_PEFT,          /* the change stays in float32 */
    LVLM_MERGE_PEFT_SAFE,     /* safe_merge: it is rounded to the weights' type */
    LVLM_MERGE_PEFT_OWN,      /* it is rounded to the adapter's own type */
    LVLM_MERGE_PEFT_OWN_SAFE, /* to that, then to the weights' */
    LVLM_MERGE_PEFT_TWICE, /* B A is, and again after the scale: no cast to float32 */
    LVLM_MERGE_PEFT_TWICE_SAFE,
    LVLM_N_MERGE_ORDERS,
} lvlm_merge_order;

/* "once", "peft", "peft_safe", ...; and in words. */
const char *lvlm_merge_order_name(lvlm_merge_order order);
const char *lvlm_merge_order_words(lvlm_merge_order order);

typedef enum lvlm_merge_kind {
    LVLM_MERGED_ADAPTED,
    LVLM_MERGED_SAVED, /* the adapter saves it whole */
    LVLM_MERGED_KEPT,  /* it stays as it was */
} lvlm_merge_kind;

/* One tensor of the merged model. */
typedef struct lvlm_merge_tensor {
    const char *name; /* native */
    lvlm_merge_kind kind;
    const char *problem; /* "is missing", "has another shape", "is not in the base";
                            NULL: it was compared */
    unsigned fits;       /* bit n: every value agrees with order n; others than ADAPTED
                            fit all or none */
    uint64_t n_differ;   /* values that are not those of LVLM_MERGE_ONCE */
    lvlm_distance distance; /* from those */
    /* ADAPTED: the change is that many times what the adapter says, in least squares,
     * and what then remains of it, relative to it */
    double times, rest;
} lvlm_merge_tensor;

typedef struct lvlm_merge_result {
    size_t n_adapted, n_saved, n_kept;
    size_t n_neither; /* tensors that fit no order */
    unsigned fits;    /* orders that all tensors fit */
    unsigned used;    /* orders that at least one adapted tensor fits */
} lvlm_merge_result;

typedef struct lvlm_merge_options {
    /* One tensor, in order of use; borrowed for the call. */
    void (*row)(void *user, const lvlm_merge_tensor *tensor);
    void *user;
    void (*progress)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *progress_user;
} lvlm_merge_options;

/* `adapter` is one of the model of `base`. LVLM_ECHECK if `merged` is of another
 * family. */
LVLM_MUST_CHECK int lvlm_merge_check(lvlm_merge_result *out, const lvlm_manifest *base,
                                     const lvlm_adapter *adapter,
                                     const lvlm_manifest *merged,
                                     const lvlm_merge_options *options,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
