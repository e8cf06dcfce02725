/* gradients.h - memory for what is trained: gradients, and owned copies of the values
 * that training changes; one array of each per native tensor. */
#ifndef LVLM_RUNTIME_MODEL_GRADIENTS_H
#define LVLM_RUNTIME_MODEL_GRADIENTS_H

#include "runtime/model.h"
#include "runtime/part.h"
#include "runtime/real.h"

typedef struct gradients {
    const lvlm_manifest *manifest; /* borrowed */
    real **at;                     /* (n_targets) NULL: frozen; each owned */
    real **values;                 /* (n_targets) NULL: stays in the file; each owned */
    bool trains[LVLM_N_PARTS];     /* is anything of the part trained? */
} gradients;

/* Zeros, and copies of the values where options->own_weights, for every tensor that
 * options->trains names. A tied tensor shares the gradient of the one that it is tied
 * to. Free with gradients_free, also after a failure. */
int gradients_make(gradients *g, const lvlm_manifest *manifest,
                   const lvlm_model_options *options, lvlm_error *err);
void gradients_free(gradients *g);

#endif
