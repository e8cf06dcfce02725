/* variant.h - a model with other settings, or other values of some tensors, than its
 * file has. Private to verify/cause.
 *
 * It is a manifest: tensors that are as before are those of the file. */
#ifndef LVLM_VERIFY_CAUSE_VARIANT_H
#define LVLM_VERIFY_CAUSE_VARIANT_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

enum { VARIANT_TENSORS = 256 }; /* that one variant can change */

typedef struct variant {
    const lvlm_manifest *base;
    lvlm_manifest manifest; /* its targets and config are owned */
    lvlm_tensor made[VARIANT_TENSORS];
    size_t n_made;
    double epsilon;        /* of the coarsest type that rounded changed numbers; 0 */
    const char *reference; /* whose behaviour; NULL: the replay's */
} variant;

/* As the file is. Free with variant_free. */
LVLM_MUST_CHECK int variant_make(variant *v, const lvlm_manifest *base,
                                 lvlm_error *err);
void variant_free(variant *v);
/* Undo every change. */
LVLM_MUST_CHECK int variant_reset(variant *v, lvlm_error *err);

/* Set "text.rope_theta" to a copy of `value`. */
LVLM_MUST_CHECK int variant_set(variant *v, const char *path, const cJSON *value,
                                lvlm_error *err);

/* Tensor `to` gets the values of `from`, both targets of the base. */
void variant_use(variant *v, const lvlm_target *to, const lvlm_target *from);

/* Tensor `of` gets values of its own, to be put into another order; they are those of
 * the base. NULL: out of memory, or too many. */
double *variant_values(variant *v, const lvlm_target *of);
/* The same, to be altered: those of the base were rounded when they were stored. */
double *variant_rounded(variant *v, const lvlm_target *of);

LVLM_END_DECLS

#endif
