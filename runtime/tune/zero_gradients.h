/* zero_gradients.h - trained weights whose gradient is zero everywhere, and why: so a
 * missing projection or a closed gate is noticed in training. */
#ifndef LVLM_RUNTIME_TUNE_ZERO_GRADIENTS_H
#define LVLM_RUNTIME_TUNE_ZERO_GRADIENTS_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

/* Weights of one part with one likely cause. */
typedef struct lvlm_zero_group {
    const char *part;   /* "vision", "connector", "text" */
    const char *cause;  /* a clause: "the batch holds no image" */
    const char **names; /* (n) native, in order of use */
    size_t n;
    size_t n_trained; /* tensors of this part that are trained */
} lvlm_zero_group;

typedef struct lvlm_zero_gradients {
    lvlm_zero_group *groups;
    size_t n_groups;
    lvlm_arena arena;
} lvlm_zero_gradients;

/* Find them after a backward pass of `model` that returned `step`. Causes are read from
 * the values in the model's file: they are right until the first step has changed
 * weights. Free with lvlm_zero_gradients_free, also after a failure, which is
 * LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_zero_gradients_find(lvlm_zero_gradients *out,
                                             const lvlm_model *model,
                                             const lvlm_model_step *step,
                                             lvlm_error *err);
void lvlm_zero_gradients_free(lvlm_zero_gradients *zeros);

LVLM_END_DECLS

#endif
