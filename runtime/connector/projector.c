/* projector.c - the connector that pools squares of patches and projects them.
 *
 *   x[u] = patches of square u, row by row, end to end    pool^2 of them, each C wide
 *   n[u] = norm x[u]                                      patch by patch; merger only
 *   m[u] = act(W1 n[u] + b1)                              merger only
 *   z[u] = W2 m[u] + b2
 *
 * C = the tower's width, S = pool^2 C, H = text.hidden; "linear" pools nothing. A tower
 * that groups its patches by the same squares is taken as it is: squares are computed
 * and emitted in its order, and leave in that of the images. Else patches are gathered
 * first, in the order of the images. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/connector/connector.h"
#include "runtime/model/configure.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rows.h"

typedef struct projector {
    size_t in, pool, out; /* C, side of a square in patches, H */
    unsigned has;
    lvlm_activation activation;
    norm_layer norm;     /* (C) */
    weight_matrix fc1_w; /* (S,S) */
    weight_vector fc1_b; /* (S) */
    weight_matrix fc2_w; /* (H,S) */
    weight_vector fc2_b; /* (H) */
} projector;

enum { LINEAR = 1, MERGER = 2, NORM_BIAS = 4 };

static const config_row linear_settings[] = {
    CONFIG("vision.out", projector, in),
    CONFIG("text.hidden", projector, out),
    CONFIG_END,
};

static const config_row merger_settings[] = {
    CONFIG("vision.hidden", projector, in),
    CONFIG("vision.norm_eps", projector, norm.eps),
    CONFIG_MAYBE("vision.rms_norms", projector, norm.rms),
    CONFIG("connector.activation", projector, activation),
    CONFIG("text.hidden", projector, out),
    CONFIG_END,
};

// clang-format off
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(projector, field, bits)

static const weight_row rows[] = {
    { "proj.weight", { LVLM_DIM_HIDDEN, LVLM_DIM_VISION_OUT }, WHEN(LINEAR, fc2_w) },
    { "proj.bias",   { LVLM_DIM_HIDDEN },                      WHEN(LINEAR, fc2_b) },
    { "norm.weight", { LVLM_DIM_VISION_HIDDEN },               WHEN(MERGER, norm.w) },
    { "norm.bias",   { LVLM_DIM_VISION_HIDDEN },               WHEN(MERGER | NORM_BIAS, norm.b) },
    { "fc1.weight",  { LVLM_DIM_MERGED, LVLM_DIM_MERGED },     WHEN(MERGER, fc1_w) },
    { "fc1.bias",    { LVLM_DIM_MERGED },                      WHEN(MERGER, fc1_b) },
    { "fc2.weight",  { LVLM_DIM_HIDDEN, LVLM_DIM_MERGED },     WHEN(MERGER, fc2_w) },
    { "fc2.bias",    { LVLM_DIM_HIDDEN },                      WHEN(MERGER, fc2_b) },
    WEIGHT_END,
};
// clang-format on

/* ---- life ----------------------------------------------------------------------- */

static int projector_open(void **out, const lvlm_manifest *manifest,
                          const lvlm_image_rows *rule, unsigned has,
                          const config_row *settings, lvlm_error *err)
{
    projector *const c = *out = lvlm_calloc(1, sizeof *c);
    if (c == NULL) return lvlm_fail_memory(err);
    c->pool = rule->pool;
    TRY(configure(c, settings, manifest->config, err));
    c->has = has | (has & MERGER && !c->norm.rms ? NORM_BIAS : 0);
    return 0;
}

static int linear_open(void **out, const lvlm_manifest *manifest,
                       const lvlm_image_rows *rule, lvlm_error *err)
{
    return projector_open(out, manifest, rule, LINEAR, linear_settings, err);
}

static int merger_open(void **out, const lvlm_manifest *manifest,
                       const lvlm_image_rows *rule, lvlm_error *err)
{
    return projector_open(out, manifest, rule, MERGER, merger_settings, err);
}

static int projector_bind(void *connector, weights *w, lvlm_error *err)
{
    const projector *const c = connector;
    return weights_bind(w, connector, rows, c->has, "connector.", err);
}

static size_t projector_width(const void *connector)
{
    return ((const projector *)connector)->in;
}

/* S */
static size_t square_of(const projector *c)
{
    return c->pool * c->pool * c->in;
}

static size_t projector_scratch(const void *connector, const features *f,
                                size_t n_threads)
{
    const projector *const c = connector;
    const size_t S = square_of(c), out = linear_scratch(S, c->out, n_threads);
    const size_t hidden = linear_scratch(S, S, n_threads), norm = norm_scratch(f->R);
    if (c->has & LINEAR) return out;
    const size_t most = out > hidden ? out : hidden;
    return most > norm ? most : norm;
}

static void projector_announce(const void *connector, stages *s)
{
    const projector *const c = connector;
    if (c->has & MERGER) stages_announce(s, "connector.norm");
    stages_announce(s, "connector.out");
}

/* ---- memory --------------------------------------------------------------------- */

/* Of one pass, R patches in U squares. */
typedef struct projector_tape {
    size_t *from;            /* (R) which of the tower's rows is gathered; NULL: none */
    const real *x;           /* (R,C) what is projected: gathered, or the tower's own */
    real *gathered, *normed; /* (R,C), which is (U,S) too */
    real *pre, *hidden;      /* (U,S) before and after the activation */
    real *merged;            /* (U,H) in the tower's order, where that is another */
    real *dgathered, *dnormed, *dpre, *dhidden, *dmerged; /* as those */
} projector_tape;

/* Are the tower's rows squares of the connector's side, or its single patches? */
static bool is_grouped(const projector *c, const features *f)
{
    return f->group == c->pool;
}

static bool is_reordered(const projector *c, const features *f)
{
    return is_grouped(c, f) && f->order != NULL;
}

static int projector_tape_make(const void *connector, void **tape, workspace *memory,
                               const features *f, bool keep, lvlm_error *err)
{
    const projector *const c = connector;
    const size_t S = square_of(c), U = f->R / (c->pool * c->pool);
    const size_t gathered = is_grouped(c, f) ? 0 : f->R;
    const size_t squares = c->has & MERGER ? U : 0;
    const size_t merged = is_reordered(c, f) ? U : 0;
    projector_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    const workspace_slot slots[] = {
        { &p->gathered, gathered, c->in },
        { &p->normed, squares, S },
        { &p->pre, squares, S },
        { &p->hidden, squares, S },
        { &p->merged, merged, c->out },
        { &p->dgathered, keep ? gathered : 0, c->in },
        { &p->dnormed, keep ? squares : 0, S },
        { &p->dpre, keep ? squares : 0, S },
        { &p->dhidden, keep ? squares : 0, S },
        { &p->dmerged, keep ? merged : 0, c->out },
    };
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "connector", err));
    if (gathered == 0) return 0;
    return features_squares(&p->from, f, c->pool, &memory->lists, err);
}

/* ---- forward -------------------------------------------------------------------- */

/* Squares of single patches have the shape of the tower's rows. */
static int emit_out(const projector *c, stages *s, const real *data, const features *f,
                    lvlm_error *err)
{
    lvlm_shape shape = f->shape;
    shape.dims[shape.n - 1] /= c->pool * c->pool;
    shape.dims[shape.n++] = c->out;
    return stages_emit(s, "connector.out", data, shape, err);
}

static int projector_forward(const void *connector, void *tape, real *out,
                             const features *f, stages *s, const ops_scratch *scratch,
                             lvlm_error *err)
{
    const projector *const c = connector;
    projector_tape *const p = tape;
    const size_t S = square_of(c), U = f->R / (c->pool * c->pool), H = c->out;
    if (p->from != NULL)
        gather_rows_forward(p->gathered, f->rows, p->from, f->R, c->in);
    const real *x = p->x = p->from != NULL ? p->gathered : f->rows;
    if (c->has & MERGER) {
        norm_forward(p->normed, x, &c->norm, f->R, c->in);
        TRY(features_emit(s, "connector.norm", p->normed, f, c->in, err));
        dense_forward(p->pre, p->normed, &c->fc1_w, &c->fc1_b, U, S, S, scratch);
        activation_forward(p->hidden, p->pre, c->activation, U * S);
        x = p->hidden;
    }
    real *const z = p->merged != NULL ? p->merged : out;
    dense_forward(z, x, &c->fc2_w, &c->fc2_b, U, S, H, scratch);
    TRY(emit_out(c, s, z, f, err));
    for (size_t u = 0; z != out && u < U; u++)
        memcpy(out + f->order[u] * H, z + u * H, H * sizeof *out);
    return 0;
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (R,C) += of what is projected, from dz (U,H); dx may be NULL. */
static void merger_backward(const projector *c, projector_tape *p, real *dx,
                            const real *dz, size_t U, const ops_scratch *scratch)
{
    const size_t S = square_of(c), bytes = U * S * sizeof(real);
    memset(p->dhidden, 0, bytes);
    memset(p->dpre, 0, bytes);
    memset(p->dnormed, 0, bytes);
    dense_backward(p->dhidden, dz, p->hidden, &c->fc2_w, &c->fc2_b, U, S, c->out,
                   scratch);
    activation_backward(p->dpre, p->dhidden, p->pre, c->activation, U * S);
    dense_backward(p->dnormed, p->dpre, p->normed, &c->fc1_w, &c->fc1_b, U, S, S,
                   scratch);
    norm_backward(dx, p->dnormed, p->x, &c->norm, U * c->pool * c->pool, c->in,
                  scratch);
}

static void projector_backward(const void *connector, void *tape, real *drows,
                               const real *dout, const features *f,
                               const ops_scratch *scratch)
{
    const projector *const c = connector;
    projector_tape *const p = tape;
    const size_t U = f->R / (c->pool * c->pool);
    const bool gathers = p->from != NULL && drows != NULL;
    real *const dx = gathers ? p->dgathered : drows;
    const real *dz = dout;
    if (p->merged != NULL) {
        gather_rows_forward(p->dmerged, dout, f->order, U, c->out);
        dz = p->dmerged;
    }
    if (gathers) memset(dx, 0, f->R * c->in * sizeof *dx);
    if (c->has & MERGER)
        merger_backward(c, p, dx, dz, U, scratch);
    else
        dense_backward(dx, dz, p->x, &c->fc2_w, &c->fc2_b, U, square_of(c), c->out,
                       scratch);
    if (gathers) gather_rows_backward(drows, dx, p->from, f->R, c->in);
}

#define PROJECTOR(name, how)                                                           \
    {                                                                                  \
        .word = name, .open = how, .bind = projector_bind, .free = lvlm_free,          \
        .width = projector_width, .scratch = projector_scratch,                        \
        .announce = projector_announce, .tape_make = projector_tape_make,              \
        .forward = projector_forward, .backward = projector_backward                   \
    }

const vision_connector linear_connector = PROJECTOR("linear", linear_open);
const vision_connector merger_connector = PROJECTOR("merger", merger_open);
