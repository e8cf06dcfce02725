/* plan.h - what will be written: one output file as a list of steps, one for each
 * tensor.
 *
 * A plan is made from headers alone and can be printed before anything is read;
 * execute.h carries it out. Both directions of conversion are plans: they differ in
 * the steps. */
#ifndef LVLM_CONVERT_PLAN_H
#define LVLM_CONVERT_PLAN_H

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/tensor.h"
#include "formats/transform.h"

typedef enum lvlm_step_kind {
    LVLM_STEP_COPY, /* inputs[0] as it is, or element by element into another dtype */
    LVLM_STEP_FORWARD, /* a native tensor out of a source tensor: inputs[0] */
    LVLM_STEP_INVERSE, /* a source tensor out of its native parts: all inputs */
    LVLM_STEP_MADE,    /* values that are made here */
    LVLM_STEP_ZEROS,   /* padding */
} lvlm_step_kind;

/* How --init-missing makes a tensor. */
typedef struct lvlm_init {
    enum { LVLM_INIT_NONE, LVLM_INIT_ZEROS, LVLM_INIT_NORMAL, LVLM_INIT_XAVIER } kind;
    double std; /* NORMAL */
    uint64_t seed;
} lvlm_init;

typedef struct lvlm_step {
    lvlm_tensor out; /* name, dtype, shape, n_bytes; offset in the output file */
    lvlm_step_kind kind;
    const lvlm_tensor *const *inputs; /* borrowed; their dtype is converted to out's */
    const void *const *parts;         /* INVERSE: the data of each input */
    size_t n_inputs;
    lvlm_transform transform;  /* FORWARD, INVERSE */
    lvlm_init init;            /* MADE */
    const char *const *expect; /* digests that the inputs must have, or NULL */
    uint64_t n_infinite;       /* values that F16 cannot hold: set by execution */
    char digest[LVLM_DIGEST_HEX + 1]; /* of the bytes written: set by execution */
} lvlm_step;

typedef struct lvlm_plan {
    lvlm_step *steps; /* in order of offset, without holes */
    size_t n_steps;
    uint64_t n_bytes; /* where the last one ends */
} lvlm_plan;

/* Append a step; its offset becomes the plan's end. `steps` has room. */
lvlm_step *lvlm_plan_add(lvlm_plan *plan, const char *name, lvlm_dtype dtype,
                         const lvlm_shape *shape);

/* Append a copy of one tensor under another name, dtype and shape (same numel). */
LVLM_MUST_CHECK int lvlm_plan_copy(lvlm_plan *plan, const char *name, lvlm_dtype dtype,
                                   const lvlm_shape *shape, const lvlm_tensor *input,
                                   lvlm_arena *arena, lvlm_error *err);

/* Append bytes that stand in memory, as U8. They must outlive the plan. */
LVLM_MUST_CHECK int lvlm_plan_bytes(lvlm_plan *plan, const char *name,
                                    const unsigned char *bytes, uint64_t n_bytes,
                                    lvlm_arena *arena, lvlm_error *err);

#endif
