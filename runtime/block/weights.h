/* weights.h - a part's weights: which tensor goes into which field. Which of them a
 * model has, and their shapes, is in the family's table (family.h).
 *
 *   static const weight_row rows[] = {
 *       { "norm1.weight", WEIGHT_FIELD(block, norm1) },
 *       { "fc1.weight", WEIGHT_FIELD(block, fc1) },
 *       WEIGHT_END };
 *
 * The field's type says how it is kept: a weight_matrix stays in the mapped file in its
 * stored dtype, a weight_vector is widened once, all of them into one allocation. */
#ifndef LVLM_RUNTIME_BLOCK_WEIGHTS_H
#define LVLM_RUNTIME_BLOCK_WEIGHTS_H

#include "formats/checkpoint/manifest.h"
#include "runtime/ops/lowrank.h"
#include "runtime/ops/stored.h"

/* A matrix as the file holds it, where its gradient is summed up (NULL: nowhere, it is
 * frozen), and the adapter beside it, or NULL. */
typedef struct weight_matrix {
    lvlm_stored w;
    real *grad;
    const lowrank *adapter;
} weight_matrix;

/* A vector, widened. */
typedef struct weight_vector {
    const real *v;
    real *grad;
} weight_vector;

/* LayerNorm or RMSNorm over the last axis, (C); its settings, and its weights once they
 * are bound. */
typedef struct norm_layer {
    weight_vector w, b; /* (C) b: LayerNorm only */
    bool rms;           /* else LayerNorm */
    int64_t offset;     /* RMSNorm: weights are used as offset + w */
    double eps;
} norm_layer;

/* y = x w^T + b, and what the adapter adds.  x (N,I)  y (N,O)  b: all NULL for none */
void dense_forward(real *y, const real *x, const weight_matrix *w,
                   const weight_vector *b, size_t N, size_t I, size_t O,
                   const ops_scratch *scratch);
/* dx += ..., NULL: not needed; the gradients of w, b and adapter += ..., where they
 * have one. x is read only when w has one, or an adapter.  dx (N,I)  dy (N,O)
 * x (N,I) */
void dense_backward(real *dx, const real *dy, const real *x, const weight_matrix *w,
                    const weight_vector *b, size_t N, size_t I, size_t O,
                    const ops_scratch *scratch);

/* y = norm x, of N rows of C; y may be x. */
void norm_forward(real *y, const real *x, const norm_layer *norm, size_t N, size_t C);
/* dx += ..., NULL: not needed; the gradients of w and b += ..., where they have one.
 * dx, dy, x (N,C) */
void norm_backward(real *dx, const real *dy, const real *x, const norm_layer *norm,
                   size_t N, size_t C, const ops_scratch *scratch);

typedef enum weight_kind { WEIGHT_MATRIX, WEIGHT_VECTOR } weight_kind;

typedef struct weight_row {
    const char *name; /* after the prefix; NULL ends the table */
    weight_kind kind;
    size_t offset;
} weight_row;

// clang-format off
#define WEIGHT_FIELD(type, field)                                                     \
    _Generic(((type *)0)->field,                                                      \
             weight_matrix: WEIGHT_MATRIX, weight_vector: WEIGHT_VECTOR),                \
    offsetof(type, field)
#define WEIGHT_END { NULL, WEIGHT_MATRIX, 0 }
// clang-format on

typedef struct weights {
    const lvlm_manifest *manifest; /* borrowed */
    real *const *grads; /* (n_targets of the manifest) where gradients go, NULL: frozen;
                           NULL altogether: nothing is trained. Borrowed */
    real *const *values; /* (n_targets) values that replace the file's; borrowed */
    const lowrank *const *adapters; /* (n_targets) or NULL; borrowed */
    size_t n_trained; /* fields that were bound and have a gradient or an adapter */
    real *vectors;    /* owned; NULL: weights_bind only measures */
    size_t numel;     /* of vectors, once measured */
    size_t used;
} weights;

/* Set the fields of `part` for tensors `prefix` + row name. A tensor that the family's
 * table does not have leaves its field absent. Bind every part twice: weights_bind of
 * all, weights_allocate, weights_bind of all again. LVLM_EFORMAT names the tensor:
 * missing, shape got and expected, dtype that is not a weight. A tied tensor is read
 * from its source. */
int weights_bind(weights *w, void *part, const weight_row *rows, const char *prefix,
                 lvlm_error *err);
int weights_allocate(weights *w, lvlm_error *err);
void weights_free(weights *w);

/* Release the pages of matrices whose names start with `prefix`: they are read from the
 * mapped file again when they are needed. */
void weights_release_pages(const weights *w, const char *prefix);

#endif
