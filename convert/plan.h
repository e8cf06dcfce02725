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
#include "formats/numeric.h"
#include "formats/tensor.h"
#include "formats/transform.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_step_kind {
    LVLM_STEP_COPY, /* inputs[0] as it is, or element by element into another dtype */
    LVLM_STEP_FORWARD, /* a native tensor out of a source tensor: inputs[0] */
    LVLM_STEP_INVERSE, /* a source tensor out of its native parts: all inputs */
    LVLM_STEP_JOIN,    /* U8: the bytes of all inputs, one after the other */
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
    const lvlm_elements *parts;       /* INVERSE: the same as arrays */
    size_t n_inputs;
    lvlm_transform transform;  /* FORWARD, INVERSE */
    lvlm_init init;            /* MADE */
    const char *const *expect; /* digests that the inputs must have, or NULL */
    lvlm_narrowing narrowing;  /* what out's type made of the values: by execution */
    lvlm_hex_digest digest;    /* of the bytes written: set by execution */
} lvlm_step;

typedef struct lvlm_plan {
    lvlm_step *steps; /* in order of offset, without holes */
    size_t n_steps;
    uint64_t n_bytes;  /* where the last one ends */
    lvlm_arena *arena; /* borrowed, set by whoever makes the plan: where all of it is */
    size_t capacity;   /* steps that there is room for */
} lvlm_plan;

/* Append a step that makes `out` (name, dtype and shape count); its offset becomes the
 * plan's end. *step stays in place until the next one is appended. LVLM_EFORMAT when
 * the sizes do not fit 64 bits. */
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

/* What narrower types made of all values, added up. */
lvlm_narrowing lvlm_plan_narrowing(const lvlm_plan *plan);

LVLM_END_DECLS

#endif
