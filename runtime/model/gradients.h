/* gradients.h - memory for what is trained: gradients, and values that stand in for the
 * file's, one array each a native tensor. */
#ifndef LVLM_RUNTIME_MODEL_GRADIENTS_H
#define LVLM_RUNTIME_MODEL_GRADIENTS_H

#include "runtime/model.h"
#include "runtime/real.h"

typedef struct gradients {
    const lvlm_manifest *manifest; /* borrowed */
    real **at;                     /* (n_targets) NULL: frozen; each owned */
    real **values;                 /* (n_targets) NULL: stays in the file; each owned */
    bool vision, connector, text;  /* is anything of that part trained? */
} gradients;

/* Zeros, and copies of the values where options->own_weights, for every tensor that
 * options->trains names. A tied tensor shares the gradient of the one that it is tied
 * to. Free with gradients_free, also after a failure. */
int gradients_make(gradients *g, const lvlm_manifest *manifest,
                   const lvlm_model_options *options, lvlm_error *err);
void gradients_free(gradients *g);

#endif
