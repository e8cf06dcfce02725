/* merger.c - the connector of Qwen2-VL: squares of patches become rows of the text.
 *
 *   n[p] = norm h[p]                              LayerNorm or RMSNorm, as in the tower
 *   m[u] = act(W1 [n(G u) ... n(G u + G-1)] + b1) G = merge^2 patches end to end
 *   z[u] = W2 m[u] + b2
 *
 * C = vision.hidden, G C = the width of a square, H = text.hidden. Squares are computed
 * and handed out as stages in the tower's order, and leave in that of the images. */
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/connector/connector.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"

typedef struct merger {
    size_t width, merge, out; /* C, side of a square, H */
    lvlm_activation activation;
    norm_layer norm;     /* (C) */
    weight_matrix fc1_w; /* (G C,G C) */
    weight_vector fc1_b; /* (G C) */
    weight_matrix fc2_w; /* (H,G C) */
    weight_vector fc2_b; /* (H) */
} merger;

static const config_row config_rows[] = {
    CONFIG("vision.hidden", merger, width),
    CONFIG("vision.merge", merger, merge),
    CONFIG("vision.norm_eps", merger, norm.eps),
    CONFIG_MAYBE("vision.rms_norms", merger, norm.rms),
    CONFIG("connector.activation", merger, activation),
    CONFIG("text.hidden", merger, out),
    CONFIG_END,
};

enum { LAYER_NORM = 1 };

// clang-format off
#define FIELD(field) WEIGHT_FIELD(merger, field)

static const weight_row rows[] = {
    { "norm.weight", { LVLM_DIM_VISION_HIDDEN },           FIELD(norm.w) },
    { "norm.bias",   { LVLM_DIM_VISION_HIDDEN },           WEIGHT_FIELD_WHEN(merger, norm.b, LAYER_NORM) },
    { "fc1.weight",  { LVLM_DIM_MERGED, LVLM_DIM_MERGED }, FIELD(fc1_w) },
    { "fc1.bias",    { LVLM_DIM_MERGED },                  FIELD(fc1_b) },
    { "fc2.weight",  { LVLM_DIM_HIDDEN, LVLM_DIM_MERGED }, FIELD(fc2_w) },
    { "fc2.bias",    { LVLM_DIM_HIDDEN },                  FIELD(fc2_b) },
    WEIGHT_END,
};
// clang-format on

static int merger_open(void **out, const lvlm_manifest *manifest, lvlm_error *err)
{
    merger *const c = *out = lvlm_calloc(1, sizeof *c);
    if (c == NULL) return lvlm_fail_memory(err);
    return configure(c, config_rows, manifest->config, err);
}

static int merger_bind(void *connector, weights *w, lvlm_error *err)
{
    const merger *const c = connector;
    return weights_bind(w, connector, rows, c->norm.rms ? 0 : LAYER_NORM, "connector.",
                        err);
}

static size_t merger_rows(const merger *c, const features *seen)
{
    return seen->R / (c->merge * c->merge);
}

static size_t merger_scratch(const void *connector, const features *seen,
                             size_t n_threads)
{
    const merger *const c = connector;
    const size_t square = c->merge * c->merge * c->width;
    const size_t a = linear_scratch(square, square, n_threads);
    const size_t b = linear_scratch(square, c->out, n_threads);
    const size_t n = norm_scratch(seen->R);
    const size_t most = a > b ? a : b;
    return most > n ? most : n;
}

static void merger_announce(const void *connector, stages *s)
{
    (void)connector;
    stages_announce(s, "connector.norm");
    stages_announce(s, "connector.out");
}

/* Memory of one pass, U squares. */
typedef struct merger_tape {
    real *normed;       /* (R,C), which is (U,G C) too */
    real *pre, *hidden; /* (U,G C) before and behind the activation */
    real *merged;       /* (U,H) in the tower's order */
    real *dmerged, *dhidden, *dpre, *dnormed; /* as those */
    void *memory;
} merger_tape;

static void merger_tape_free(void *tape)
{
    merger_tape *const p = tape;
    if (p == NULL) return;
    lvlm_free(p->memory);
    lvlm_free(p);
}

static uint64_t merger_tape_bytes(const void *tape)
{
    const merger_tape *const p = tape;
    return workspace_bytes(p->memory);
}

static int merger_tape_make(const void *connector, void **tape, const features *seen,
                            bool keep, lvlm_error *err)
{
    const merger *const c = connector;
    const size_t U = merger_rows(c, seen), square = c->merge * c->merge * c->width;
    merger_tape *const p = *tape = lvlm_calloc(1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    const workspace_slot slots[] = {
        { &p->normed, seen->R, c->width },
        { &p->pre, U, square },
        { &p->hidden, U, square },
        { &p->merged, U, c->out },
        { &p->dmerged, keep ? U : 0, c->out },
        { &p->dhidden, keep ? U : 0, square },
        { &p->dpre, keep ? U : 0, square },
        { &p->dnormed, keep ? seen->R : 0, c->width },
    };
    return workspace_allocate(&p->memory, slots, sizeof slots / sizeof *slots, "merger",
                              err);
}

/* Where square number u of the tower stands among the images' own. */
static size_t place_of(const features *seen, size_t u)
{
    return seen->order != NULL ? seen->order[u] : u;
}

static int merger_forward(const void *connector, void *tape, real *out,
                          const features *seen, stages *s, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const merger *const c = connector;
    merger_tape *const p = tape;
    const size_t U = merger_rows(c, seen), square = c->merge * c->merge * c->width;
    norm_forward(p->normed, seen->rows, &c->norm, seen->R, c->width);
    TRY(features_emit(s, "connector.norm", p->normed, seen, c->width, err));
    dense_forward(p->pre, p->normed, &c->fc1_w, &c->fc1_b, U, square, square, scratch);
    activation_forward(p->hidden, p->pre, c->activation, U * square);
    dense_forward(p->merged, p->hidden, &c->fc2_w, &c->fc2_b, U, square, c->out,
                  scratch);
    TRY(stages_emit(s, "connector.out", p->merged, SHAPE(U, c->out), err));
    for (size_t u = 0; u < U; u++)
        memcpy(out + place_of(seen, u) * c->out, p->merged + u * c->out,
               c->out * sizeof *out);
    return 0;
}

static void merger_backward(const void *connector, void *tape, real *drows,
                            const real *dout, const features *seen,
                            const ops_scratch *scratch)
{
    const merger *const c = connector;
    merger_tape *const p = tape;
    const size_t U = merger_rows(c, seen), square = c->merge * c->merge * c->width;
    real *const dpre = p->dpre;
    for (size_t u = 0; u < U; u++)
        memcpy(p->dmerged + u * c->out, dout + place_of(seen, u) * c->out,
               c->out * sizeof *dout);
    memset(p->dhidden, 0, U * square * sizeof *p->dhidden);
    memset(dpre, 0, U * square * sizeof *dpre);
    memset(p->dnormed, 0, U * square * sizeof *p->dnormed);
    dense_backward(p->dhidden, p->dmerged, p->hidden, &c->fc2_w, &c->fc2_b, U, square,
                   c->out, scratch);
    activation_backward(dpre, p->dhidden, p->pre, c->activation, U * square);
    dense_backward(p->dnormed, dpre, p->normed, &c->fc1_w, &c->fc1_b, U, square, square,
                   scratch);
    norm_backward(drows, p->dnormed, seen->rows, &c->norm, seen->R, c->width, scratch);
}

const vision_connector merger_connector = {
    .word = "merger",
    .open = merger_open,
    .bind = merger_bind,
    .free = lvlm_free,
    .scratch = merger_scratch,
    .announce = merger_announce,
    .tape_make = merger_tape_make,
    .tape_free = merger_tape_free,
    .tape_bytes = merger_tape_bytes,
    .forward = merger_forward,
    .backward = merger_backward,
};
