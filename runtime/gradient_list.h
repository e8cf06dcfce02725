/* gradient_list.h - the gradients of a model as a list of tensors, under native
 * names or those of the checkpoint that it came from; and its trained weights.
 *
 * A source tensor that conversion split, turned or reshaped gets its gradient back
 * in its own layout. */
#ifndef LVLM_RUNTIME_GRADIENT_LIST_H
#define LVLM_RUNTIME_GRADIENT_LIST_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_gradient_list {
    lvlm_tensor *tensors; /* in order of use, or of the source; room for one more */
    size_t n;
    lvlm_arena arena;
} lvlm_gradient_list;

/* Gradients of everything that is trained. With `source_names` a tensor of which only a
 * part is trained is left out, and so is a made one that is part of a fused one on the
 * hub. Native ones are borrowed from the model. Free with lvlm_gradient_list_free, also
 * after a failure. */
LVLM_MUST_CHECK int lvlm_gradient_list_make(lvlm_gradient_list *out, lvlm_model *model,
                                            bool source_names, lvlm_error *err);

typedef enum lvlm_weight_values {
    LVLM_WEIGHTS_TRAINED, /* those that the model owns, in its precision */
    LVLM_WEIGHTS_STORED,  /* those of its file, in the type there */
} lvlm_weight_values;

/* The same of the values of all weights that the model owns, under the names of the
 * source; both kinds give the same names in the same order. */
LVLM_MUST_CHECK int lvlm_weight_list_make(lvlm_gradient_list *out, lvlm_model *model,
                                          lvlm_weight_values values, lvlm_error *err);
void lvlm_gradient_list_free(lvlm_gradient_list *list);

/* The name of one of the model's targets in the checkpoint that it came from; of one
 * that was made, which that has not, the hub's. NULL: out of memory. */
const char *lvlm_gradient_source_name(const lvlm_manifest *manifest,
                                      const lvlm_target *target, lvlm_arena *arena);

LVLM_END_DECLS

#endif
