/* plan.c - steps appended one behind the other. */
#include "convert/plan.h"

#include <assert.h>

lvlm_step *lvlm_plan_add(lvlm_plan *plan, const char *name, lvlm_dtype dtype,
                         const lvlm_shape *shape)
{
    lvlm_step *step = &plan->steps[plan->n_steps++];
    const bool fits = lvlm_shape_bytes(&step->out.n_bytes, shape, dtype);
    assert(fits); /* every shape here comes from a validated tensor */
    (void)fits;
    step->out.name = name;
    step->out.dtype = dtype;
    step->out.shape = *shape;
    step->out.offset = plan->n_bytes;
    plan->n_bytes += step->out.n_bytes;
    return step;
}

int lvlm_plan_copy(lvlm_plan *plan, const char *name, lvlm_dtype dtype,
                   const lvlm_shape *shape, const lvlm_tensor *input, lvlm_arena *arena,
                   lvlm_error *err)
{
    const lvlm_tensor **inputs = lvlm_arena_alloc(arena, 1, sizeof *inputs);
    if (inputs == NULL) return lvlm_fail_memory(err);
    inputs[0] = input;
    lvlm_step *step = lvlm_plan_add(plan, name, dtype, shape);
    step->kind = LVLM_STEP_COPY;
    step->inputs = inputs;
    step->n_inputs = 1;
    return 0;
}

int lvlm_plan_bytes(lvlm_plan *plan, const char *name, const unsigned char *bytes,
                    uint64_t n_bytes, lvlm_arena *arena, lvlm_error *err)
{
    lvlm_tensor *input = lvlm_arena_alloc(arena, 1, sizeof *input);
    if (input == NULL) return lvlm_fail_memory(err);
    *input = (lvlm_tensor){ .name = name,
                            .dtype = LVLM_U8,
                            .shape = { 1, { n_bytes } },
                            .data = bytes,
                            .n_bytes = n_bytes };
    return lvlm_plan_copy(plan, name, LVLM_U8, &input->shape, input, arena, err);
}
