/* plan.c - appends steps. */
#include "formats/container/plan.h"

#include <assert.h>

#include "formats/base/size.h"

int lvlm_plan_add(lvlm_step **step, lvlm_plan *plan, const lvlm_tensor *out,
                  lvlm_error *err)
{
    assert(plan->arena != NULL && out->name != NULL);
    lvlm_step *const steps = lvlm_arena_room(plan->arena, plan->steps, plan->n_steps,
                                             &plan->capacity, sizeof *steps);
    uint64_t n_bytes, end;
    if (steps == NULL) return lvlm_fail_memory(err);
    plan->steps = steps;
    FAIL_IF(!lvlm_shape_bytes(&n_bytes, &out->shape, out->dtype) ||
                !lvlm_add_u64(&end, plan->n_bytes, n_bytes),
            err, LVLM_EFORMAT, "tensor '%s': sizes up to it overflow 64 bits",
            out->name);
    lvlm_step *const added = &steps[plan->n_steps++];
    *added = (lvlm_step){ .out = { .name = out->name,
                                   .dtype = out->dtype,
                                   .shape = out->shape,
                                   .n_bytes = n_bytes,
                                   .offset = plan->n_bytes } };
    plan->n_bytes = end;
    *step = added;
    return 0;
}

int lvlm_plan_copy(lvlm_step **step, lvlm_plan *plan, const lvlm_tensor *out,
                   const lvlm_tensor *input, lvlm_error *err)
{
    assert(input != NULL);
    lvlm_step *added = NULL;
    const lvlm_tensor **inputs = lvlm_arena_alloc(plan->arena, 1, sizeof *inputs);
    if (inputs == NULL) return lvlm_fail_memory(err);
    inputs[0] = input;
    TRY(lvlm_plan_add(&added, plan, out, err));
    added->kind = LVLM_STEP_COPY;
    added->inputs = inputs;
    added->n_inputs = 1;
    if (step != NULL) *step = added;
    return 0;
}

int lvlm_plan_bytes(lvlm_plan *plan, const char *name, const unsigned char *bytes,
                    uint64_t n_bytes, lvlm_error *err)
{
    assert(bytes != NULL || n_bytes == 0);
    lvlm_tensor *input = lvlm_arena_alloc(plan->arena, 1, sizeof *input);
    if (input == NULL) return lvlm_fail_memory(err);
    *input = (lvlm_tensor){ .name = name,
                            .dtype = LVLM_U8,
                            .shape = { 1, { n_bytes } },
                            .data = bytes,
                            .n_bytes = n_bytes };
    return lvlm_plan_copy(NULL, plan, input, input, err);
}

bool lvlm_step_keeps_bytes(const lvlm_step *step)
{
    return step->kind == LVLM_STEP_COPY && step->inputs[0]->dtype == step->out.dtype &&
           step->inputs[0]->n_bytes == step->out.n_bytes;
}

lvlm_narrowing lvlm_plan_narrowing(const lvlm_plan *plan)
{
    lvlm_narrowing sum = { 0 };
    for (size_t i = 0; i < plan->n_steps; i++)
        lvlm_narrowing_add(&sum, &plan->steps[i].narrowing);
    return sum;
}
