/* pass.c - forward and backward into one sink; see replay_parts.h. */
#include "verify/replay/replay_parts.h"

#include <assert.h>

#include "runtime/gradient_list.h"

bool lvlm_pass_trains_all(void *user, const lvlm_manifest *manifest,
                          const lvlm_target *target)
{
    (void)user, (void)manifest, (void)target;
    return true;
}

static int hand_out_gradients(lvlm_model *model, const lvlm_stage_sink *sink,
                              lvlm_error *err)
{
    lvlm_gradient_list list = { .arena = LVLM_ARENA_INIT };
    int rc = lvlm_gradient_list_make(&list, model, true, err);
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        lvlm_tensor gradient = list.tensors[i];
        gradient.name = lvlm_arena_printf(&list.arena, LVLM_RECORDED_GRADIENT "%s",
                                          list.tensors[i].name);
        if (gradient.name == NULL)
            rc = lvlm_fail_memory(err);
        else if (sink->wants(sink->user, gradient.name))
            rc = sink->take(sink->user, &gradient, err);
    }
    lvlm_gradient_list_free(&list);
    return rc;
}

int lvlm_pass_run(lvlm_model *model, const lvlm_checkpoint *inputs, const char *prefix,
                  bool grads, const lvlm_stage_sink *sink, lvlm_error *err)
{
    lvlm_model_step step;
    assert(sink->take != NULL && sink->wants != NULL);
    TRY(lvlm_model_forward(model, inputs, prefix, sink, err));
    if (!grads) return 0;
    TRY(lvlm_model_backward(model, &step, inputs, prefix, 0, err));
    FAIL_IF(step.n_targets == 0, err, LVLM_EFORMAT,
            "no label counts, so there is no loss to differentiate");
    return hand_out_gradients(model, sink, err);
}
