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
    double norm_eps;
    bool rms_norm;
    lvlm_activation activation;
    const real *norm_w, *norm_b; /* (C) b: LayerNorm only */
    lvlm_stored fc1_w;           /* (G C,G C) */
    const real *fc1_b;           /* (G C) */
    lvlm_stored fc2_w;           /* (H,G C) */
    const real *fc2_b;           /* (H) */
} merger;

static const config_row config_rows[] = {
    CONFIG("vision.hidden", merger, width),
    CONFIG("vision.merge", merger, merge),
    CONFIG("vision.norm_eps", merger, norm_eps),
    CONFIG_MAYBE("vision.rms_norms", merger, rms_norm),
    CONFIG("connector.activation", merger, activation),
    CONFIG("text.hidden", merger, out),
    CONFIG_END,
};

enum { LAYER_NORM = 1 };

// clang-format off
#define FIELD(field) WEIGHT_FIELD(merger, field)

static const weight_row rows[] = {
    { "norm.weight", { LVLM_DIM_VISION_HIDDEN },           FIELD(norm_w) },
    { "norm.bias",   { LVLM_DIM_VISION_HIDDEN },           WEIGHT_FIELD_WHEN(merger, norm_b, LAYER_NORM) },
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
    return weights_bind(w, connector, rows, c->rms_norm ? 0 : LAYER_NORM, "connector.",
                        err);
}

static size_t merger_rows(const void *connector, const vision_rows *seen)
{
    const merger *const c = connector;
    return seen->R / (c->merge * c->merge);
}

static size_t merger_scratch(const void *connector, const vision_rows *seen,
                             size_t n_threads)
{
    const merger *const c = connector;
    const size_t square = c->merge * c->merge * c->width;
    const size_t a = linear_scratch(square, square, n_threads);
    const size_t b = linear_scratch(square, c->out, n_threads);
    (void)seen;
    return a > b ? a : b;
}

static void merger_announce(const void *connector, stages *s)
{
    (void)connector;
    stages_announce(s, "connector.norm");
    stages_announce(s, "connector.out");
}

/* Activations: normed (R,C) is (U,G C) too; hidden (U,G C); merged (U,H) */
static int run(const merger *c, real *out, real *normed, real *hidden, real *merged,
               const vision_rows *seen, stages *s, const ops_scratch *scratch,
               lvlm_error *err)
{
    const size_t U = merger_rows(c, seen), square = c->merge * c->merge * c->width;
    if (c->rms_norm)
        rmsnorm_forward(normed, seen->rows, c->norm_w, 0, (real)c->norm_eps, seen->R,
                        c->width);
    else
        layernorm_forward(normed, seen->rows, c->norm_w, c->norm_b, (real)c->norm_eps,
                          seen->R, c->width);
    TRY(seen_emit(s, "connector.norm", normed, seen, c->width, err));
    linear_forward(hidden, normed, c->fc1_w, c->fc1_b, U, square, square, scratch);
    activation_forward(hidden, hidden, c->activation, U * square);
    linear_forward(merged, hidden, c->fc2_w, c->fc2_b, U, square, c->out, scratch);
    TRY(stages_emit(s, "connector.out", merged, SHAPE(U, c->out), err));
    for (size_t u = 0; u < U; u++)
        memcpy(out + (seen->order != NULL ? seen->order[u] : u) * c->out,
               merged + u * c->out, c->out * sizeof *out);
    return 0;
}

static int merger_forward(const void *connector, real *out, const vision_rows *seen,
                          stages *s, const ops_scratch *scratch, lvlm_error *err)
{
    const merger *const c = connector;
    const size_t U = merger_rows(c, seen), square = c->merge * c->merge * c->width;
    real *normed = NULL, *hidden = NULL, *merged = NULL;
    void *memory = NULL;
    const workspace_slot slots[] = { { &normed, seen->R, c->width },
                                     { &hidden, U, square },
                                     { &merged, U, c->out } };
    TRY(workspace_allocate(&memory, slots, 3, "merger", err));
    const int rc = run(c, out, normed, hidden, merged, seen, s, scratch, err);
    lvlm_free(memory);
    return rc;
}

const vision_connector merger_connector = {
    .word = "merger",
    .open = merger_open,
    .bind = merger_bind,
    .free = lvlm_free,
    .rows = merger_rows,
    .scratch = merger_scratch,
    .announce = merger_announce,
    .forward = merger_forward,
};
