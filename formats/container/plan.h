/* plan.h - an output file as a list of steps, one per tensor.
 *
 * A plan needs only headers and can be printed before any data is read; execute.h
 * executes it. Both directions of conversion are plans; they differ in the steps. */
#ifndef LVLM_FORMATS_CONTAINER_PLAN_H
#define LVLM_FORMATS_CONTAINER_PLAN_H

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/container/numeric.h"
#include "formats/container/tensor.h"
#include "formats/container/transform.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_step_kind {
    LVLM_STEP_COPY,    /* inputs[0] or its first values, in their dtype or another */
    LVLM_STEP_GATHER,  /* a native tensor from a source tensor: inputs[0] */
    LVLM_STEP_SCATTER, /* a source tensor from its native parts: all inputs */
    LVLM_STEP_JOIN,    /* U8: the concatenated bytes of all inputs */
    LVLM_STEP_WRITTEN, /* values that `write` puts */
    LVLM_STEP_ZEROS,   /* padding */
} lvlm_step_kind;

typedef struct lvlm_step lvlm_step;
/* Destination of the values of one step. */
typedef struct lvlm_sink lvlm_sink;

/* Append values, converted to the type of the step's tensor. Errors are returned by
 * lvlm_execute. */
void lvlm_sink_put(lvlm_sink *sink, lvlm_dtype dtype, const void *values, size_t n);

/* Put all values of step->out, in order, with lvlm_sink_put. Called from any thread. */
typedef int (*lvlm_write)(void *user, const lvlm_step *step, lvlm_sink *sink,
                          lvlm_error *err);

struct lvlm_step {
    lvlm_tensor out; /* name, dtype, shape, n_bytes; offset in the output file */
    lvlm_step_kind kind;
    /* borrowed; converted to out's type. WRITTEN: for `write`, and checked */
    const lvlm_tensor *const *inputs;
    const lvlm_elements *parts; /* SCATTER: inputs as arrays */
    size_t n_inputs;
    lvlm_transform transform;  /* GATHER, SCATTER */
    lvlm_write write;          /* WRITTEN */
    void *user;                /* of `write` */
    const char *const *expect; /* digests that the inputs must have, or NULL */
    lvlm_narrowing narrowing;  /* effect of out's type on values: set by execution */
    lvlm_hex_digest digest;    /* of the bytes written: set by execution */
};

typedef struct lvlm_plan {
    lvlm_step *steps; /* in order of offset, without holes */
    size_t n_steps;
    uint64_t n_bytes;  /* end of the last step */
    lvlm_arena *arena; /* borrowed, set by the creator of the plan: holds all of it */
    size_t capacity;   /* steps that fit */
} lvlm_plan;

/* Append a step that writes `out` (name, dtype and shape are used) at the plan's end.
 * *step is valid until the next call. LVLM_EFORMAT if the sizes do not fit 64 bits. */
LVLM_MUST_CHECK int lvlm_plan_add(lvlm_step **step, lvlm_plan *plan,
                                  const lvlm_tensor *out, lvlm_error *err);

/* Append a copy of one tensor under another name, dtype and shape (same numel); `step`
 * may be NULL. */
LVLM_MUST_CHECK int lvlm_plan_copy(lvlm_step **step, lvlm_plan *plan,
                                   const lvlm_tensor *out, const lvlm_tensor *input,
                                   lvlm_error *err);

/* Append bytes in memory, as U8. They must outlive the plan. */
LVLM_MUST_CHECK int lvlm_plan_bytes(lvlm_plan *plan, const char *name,
                                    const unsigned char *bytes, uint64_t n_bytes,
                                    lvlm_error *err);

/* Does the step copy all bytes of its input as they are? */
bool lvlm_step_keeps_bytes(const lvlm_step *step);

/* The effect of narrower types on values, summed over all steps. */
lvlm_narrowing lvlm_plan_narrowing(const lvlm_plan *plan);

LVLM_END_DECLS

#endif
