/* pass.h - one computation of a model, with gradients as further stages. */
#ifndef LVLM_VERIFY_PASS_H
#define LVLM_VERIFY_PASS_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

/* A forward over the tensors of `inputs` that start with `prefix`, as
 * lvlm_model_forward; with `grads` then a backward of the mean loss, whose gradients go
 * to the sink as "grad.NAME", by the names of the source checkpoint, in its order. The
 * model was opened with every weight trained (lvlm_pass_trains_all). LVLM_EFORMAT when
 * no label counts. */
LVLM_MUST_CHECK int lvlm_pass_run(lvlm_model *model, const lvlm_checkpoint *inputs,
                                  const char *prefix, bool grads,
                                  const lvlm_stage_sink *sink, lvlm_error *err);

/* For lvlm_model_options.trains. */
bool lvlm_pass_trains_all(void *user, const lvlm_manifest *manifest,
                          const lvlm_target *target);

LVLM_END_DECLS

#endif
