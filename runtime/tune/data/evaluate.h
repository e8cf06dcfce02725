/* evaluate.h - the loss of a model over data that it is not trained on. */
#ifndef LVLM_RUNTIME_TUNE_DATA_EVALUATE_H
#define LVLM_RUNTIME_TUNE_DATA_EVALUATE_H

#include "runtime/model.h"
#include "runtime/tune/data/dataset.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_evaluation {
    double loss; /* mean over the labels that count, of all examples */
    size_t n_targets;
} lvlm_evaluation;

/* One pass over `data`. The model's gradients do not change. `stop` is called before
 * each batch and may be NULL: LVLM_ESTOPPED if it returns another value than 0.
 * LVLM_ECHECK names the batch whose loss is not finite; after a failure the loss is
 * NaN. */
LVLM_MUST_CHECK int lvlm_evaluate(lvlm_evaluation *out, lvlm_model *model,
                                  lvlm_dataset *data, int (*stop)(void),
                                  lvlm_error *err);

LVLM_END_DECLS

#endif
