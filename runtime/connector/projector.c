/* projector.c - the connector that pools squares of patches and projects them.
 *
 *   x[u] = patches of square u, row by row, end to end    pool^2 of them, each C wide
 *   n[u] = norm x[u]                                      patch by patch
 *   m[u] = act(W1 n[u] + b1)
 *   z[u] = W2 m[u] + b2
 *
 * What a kind lacks is left out: "linear" is W2 of single patches, "mlp" has no norm,
 * "merger" has all; and so are biases that the family's table does not have.
 * C = the features' width, S = pool^2 C, M = the hidden width, H = text.hidden. A tower
 * that groups its patches by the same squares is taken as it is: squares are computed
 * and emitted in its order, and leave in that of the images. Else patches are gathered
 * first, in the order of the images. */
#include <assert.h>
#include <string.h>

#include "runtime/block/configure.h"
#include "runtime/connector/connector.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rows.h"

typedef struct projector {
    vision_connector base;
    size_t pool;   /* side of a square in patches */
    size_t hidden; /* M; 0: there is no W1 */
    lvlm_activation activation;
    norm_layer norm;     /* (C) eps 0: there is none */
    weight_matrix fc1_w; /* (M,S) */
    weight_vector fc1_b; /* (M) */
    weight_matrix fc2_w; /* (H,M), (H,S) without W1 */
    weight_vector fc2_b; /* (H) */
} projector;

static const config_row linear_settings[] = {
    CONFIG("vision.out", projector, base.in),
    CONFIG_END,
};

static const config_row mlp_settings[] = {
    CONFIG("vision.out", projector, base.in),
    CONFIG("connector.hidden", projector, hidden),
    CONFIG("connector.activation", projector, activation),
    CONFIG_END,
};

static const config_row merger_settings[] = {
    CONFIG("vision.hidden", projector, base.in),
    CONFIG("vision.norm_eps", projector, norm.eps),
    CONFIG_MAYBE("vision.rms_norms", projector, norm.rms),
    CONFIG("connector.activation", projector, activation),
    CONFIG_END,
};

static const struct {
    const char *word;
    const config_row *settings;
} kinds[] = {
    { "linear", linear_settings },
    { "mlp", mlp_settings },
    { "merger", merger_settings },
};

// clang-format off
#define FIELD(field) WEIGHT_FIELD(projector, field)

/* A connector has proj, or fc1 and fc2. */
static const weight_row rows[] = {
    { "proj.weight", FIELD(fc2_w) },
    { "proj.bias",   FIELD(fc2_b) },
    { "norm.weight", FIELD(norm.w) },
    { "norm.bias",   FIELD(norm.b) },
    { "fc1.weight",  FIELD(fc1_w) },
    { "fc1.bias",    FIELD(fc1_b) },
    { "fc2.weight",  FIELD(fc2_w) },
    { "fc2.bias",    FIELD(fc2_b) },
    WEIGHT_END,
};
// clang-format on

/* S */
static size_t square_of(const projector *c)
{
    return c->pool * c->pool * c->base.in;
}

static bool has_norm(const projector *c)
{
    return c->norm.eps > 0;
}

static int projector_open(void *connector, const lvlm_manifest *manifest,
                          const lvlm_image_rows *rule, lvlm_error *err)
{
    projector *const c = connector;
    size_t i = 0;
    for (; strcmp(kinds[i].word, rule->connector) != 0; i++)
        assert(i + 1 < sizeof kinds / sizeof *kinds);
    c->pool = rule->pool;
    TRY(configure(c, kinds[i].settings, manifest->config, err));
    if (has_norm(c)) c->hidden = square_of(c);
    return 0;
}

static size_t projector_scratch(const void *connector, const features *f,
                                size_t n_threads)
{
    const projector *const c = connector;
    const size_t S = square_of(c), M = c->hidden;
    return LARGEST(linear_scratch(M > 0 ? M : S, c->base.out, n_threads),
                   M > 0 ? linear_scratch(S, M, n_threads) : 0,
                   has_norm(c) ? norm_scratch(f->R) : 0);
}

/* A map before the activation, of single features, is a stage of its own. */
static bool shows_linear_1(const projector *c)
{
    return c->hidden > 0 && !has_norm(c);
}

static void projector_announce(const void *connector, stages *s)
{
    const projector *const c = connector;
    if (has_norm(c)) stages_announce(s, "connector.norm");
    if (shows_linear_1(c)) stages_announce(s, "connector.linear_1");
    stages_announce(s, "connector.out");
}

/* ---- memory --------------------------------------------------------------------- */

/* Of one pass, R patches in U squares. */
typedef struct projector_tape {
    size_t *from;            /* (R) which of the tower's rows is gathered; NULL: none */
    const real *x;           /* (R,C) what is projected: gathered, or the tower's own */
    real *gathered, *normed; /* (R,C), which is (U,S) too */
    real *pre, *hidden;      /* (U,M) before and after the activation */
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
    const size_t M = c->hidden, U = f->R / (c->pool * c->pool);
    const size_t gathered = is_grouped(c, f) ? 0 : f->R;
    const size_t normed = has_norm(c) ? f->R : 0;
    const size_t merged = is_reordered(c, f) ? U : 0;
    assert(f->C == c->base.in && f->R % (c->pool * c->pool) == 0);
    projector_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    const workspace_slot slots[] = {
        { &p->gathered, gathered, c->base.in },
        { &p->normed, normed, c->base.in },
        { &p->pre, U, M },
        { &p->hidden, U, M },
        { &p->merged, merged, c->base.out },
        { &p->dgathered, keep ? gathered : 0, c->base.in },
        { &p->dnormed, keep ? normed : 0, c->base.in },
        { &p->dpre, keep ? U : 0, M },
        { &p->dhidden, keep ? U : 0, M },
        { &p->dmerged, keep ? merged : 0, c->base.out },
    };
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "connector", err));
    if (gathered == 0) return 0;
    return features_squares(&p->from, f, c->pool, &memory->lists, err);
}

/* ---- forward -------------------------------------------------------------------- */

/* A stage of the squares; those of single patches have the shape of the features. */
static int emit(const projector *c, stages *s, const char *name, const real *data,
                const features *f, size_t width, lvlm_error *err)
{
    lvlm_shape shape = f->shape;
    assert(shape.n > 0 && shape.dims[shape.n - 1] % (c->pool * c->pool) == 0);
    shape.dims[shape.n - 1] /= c->pool * c->pool;
    shape.dims[shape.n++] = width;
    return stages_emit(s, name, data, shape, err);
}

static int projector_forward(const void *connector, void *tape, real *out,
                             const features *f, stages *s, const ops_scratch *scratch,
                             lvlm_error *err)
{
    const projector *const c = connector;
    projector_tape *const p = tape;
    const size_t U = f->R / (c->pool * c->pool), S = square_of(c);
    const size_t M = c->hidden, H = c->base.out;
    if (p->from != NULL)
        gather_rows_forward(p->gathered, f->rows, p->from, f->R, c->base.in);
    const real *x = p->x = p->from != NULL ? p->gathered : f->rows;
    if (has_norm(c)) {
        norm_forward(p->normed, x, &c->norm, f->R, c->base.in);
        TRY(features_emit(s, "connector.norm", p->normed, f, c->base.in, err));
        x = p->normed;
    }
    if (M > 0) {
        dense_forward(p->pre, x, &c->fc1_w, &c->fc1_b, U, S, M, scratch);
        if (shows_linear_1(c)) TRY(emit(c, s, "connector.linear_1", p->pre, f, M, err));
        activation_forward(p->hidden, p->pre, NULL, c->activation, U * M);
        x = p->hidden;
    }
    real *const z = p->merged != NULL ? p->merged : out;
    dense_forward(z, x, &c->fc2_w, &c->fc2_b, U, M > 0 ? M : S, H, scratch);
    TRY(emit(c, s, "connector.out", z, f, H, err));
    for (size_t u = 0; z != out && u < U; u++)
        memcpy(out + f->order[u] * H, z + u * H, H * sizeof *out);
    return 0;
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (R,C) += the gradient of the projected rows, from dz (U,H); dx may be NULL. */
static void layers_backward(const projector *c, projector_tape *p, real *dx,
                            const real *dz, size_t U, const ops_scratch *scratch)
{
    const size_t S = square_of(c), M = c->hidden, R = U * c->pool * c->pool;
    const real *const n = has_norm(c) ? p->normed : p->x;
    assert(n != NULL); /* of forward */
    real *const dn = has_norm(c) ? p->dnormed : dx;
    if (has_norm(c)) memset(dn, 0, R * c->base.in * sizeof *dn);
    if (M == 0) {
        dense_backward(dn, dz, n, &c->fc2_w, &c->fc2_b, U, S, c->base.out, scratch);
    } else {
        memset(p->dhidden, 0, U * M * sizeof *p->dhidden);
        memset(p->dpre, 0, U * M * sizeof *p->dpre);
        dense_backward(p->dhidden, dz, p->hidden, &c->fc2_w, &c->fc2_b, U, M,
                       c->base.out, scratch);
        activation_backward(p->dpre, NULL, p->dhidden, p->pre, NULL, c->activation,
                            U * M);
        dense_backward(dn, p->dpre, n, &c->fc1_w, &c->fc1_b, U, S, M, scratch);
    }
    if (has_norm(c)) norm_backward(dx, dn, p->x, &c->norm, R, c->base.in, scratch);
}

static void projector_backward(const void *connector, void *tape, real *drows,
                               const real *dout, const features *f,
                               const ops_scratch *scratch)
{
    const projector *const c = connector;
    projector_tape *const p = tape;
    const size_t U = f->R / (c->pool * c->pool);
    const bool gathers = p->from != NULL && drows != NULL;
    assert(drows == NULL || drows != dout);
    real *const dx = gathers ? p->dgathered : drows;
    const real *dz = dout;
    if (p->merged != NULL) {
        gather_rows_forward(p->dmerged, dout, f->order, U, c->base.out);
        dz = p->dmerged;
    }
    if (gathers) memset(dx, 0, f->R * c->base.in * sizeof *dx);
    layers_backward(c, p, dx, dz, U, scratch);
    if (gathers) gather_rows_backward(drows, dx, p->from, f->R, c->base.in);
}

const connector_kind projector_connector = {
    .size = sizeof(projector),
    .rows = rows,
    .open = projector_open,
    .scratch = projector_scratch,
    .announce = projector_announce,
    .tape_make = projector_tape_make,
    .forward = projector_forward,
    .backward = projector_backward,
};
