/* adapters.h - the low-rank pairs of a model in one precision: values, gradients, and
 * the weight that each of them adapts. */
#ifndef LVLM_RUNTIME_MODEL_ADAPTERS_H
#define LVLM_RUNTIME_MODEL_ADAPTERS_H

#include "runtime/model.h"
#include "runtime/ops/lowrank.h"
#include "runtime/part.h"

typedef struct adapters {
    const lvlm_adapter *list; /* borrowed; NULL: there are none */
    lowrank *pairs;           /* (n, LVLM_MODULE_PARTS) of each part, owned */
    const lowrank **of;       /* (n_targets) of each weight, or NULL; owned */
    real *values;    /* owned: A (r,in) of a module, then B (out,r), its parts' rows one
                     part after another; then the next module's */
    real *gradients; /* owned, the same */
    size_t numel;    /* of values */
    size_t *starts;  /* (n) where a module's A begins; owned */
    lowrank_noise noise;
} adapters;

/* Those of `list`, which may be NULL: its values where it has some, else zeros. Free
 * with adapters_free, also after a failure. */
int adapters_make(adapters *x, const lvlm_manifest *manifest, const lvlm_adapter *list,
                  lvlm_error *err);
void adapters_free(adapters *x);

/* Is a weight of the part adapted? */
bool adapters_touch(const adapters *x, lvlm_weight_part part);
/* Elements of ops_scratch. */
size_t adapters_scratch(const adapters *x, size_t n_threads);
/* As lvlm_model_factors. */
bool adapters_factors(const adapters *x, lvlm_factors *out, size_t i);

#endif
