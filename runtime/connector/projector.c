/* projector.c - the connector that pools squares of patches and projects them.
 *
 *   x[u] = patches of square u, row by row, end to end    pool^2 of them, each C wide
 *   n[u] = norm x[u]                                      patch by patch
 *   m[u] = act(W1 n[u] + b1)                              as often as there are maps
 *   z[u] = W2 m[u] + b2                                   before the last one
 *
 * What a kind lacks is left out: "linear" is the last map of single patches, "mlp" and
 * "deep_mlp" have two and more of them, "merger" has all; and so are biases that the
 * family's table does not have.
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

enum { MAX_MAPS = 8 };

/* One of the maps. */
typedef struct projector_map {
    weight_matrix w; /* (out,in) */
    weight_vector b; /* (out) */
} projector_map;

typedef struct projector {
    vision_connector base;
    size_t pool;    /* side of a square in patches */
    size_t hidden;  /* M; 0: there is one map */
    size_t further; /* maps after the first one */
    lvlm_activation activation;
    norm_layer norm;              /* (C) eps 0: there is none */
    projector_map maps[MAX_MAPS]; /* the first takes S, the last gives H, else M */
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

static const config_row deep_mlp_settings[] = {
    CONFIG("vision.out", projector, base.in),
    CONFIG("connector.hidden", projector, hidden),
    CONFIG("connector.further", projector, further),
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
    { "deep_mlp", deep_mlp_settings },
    { "merger", merger_settings },
};

// clang-format off
#define FIELD(field) WEIGHT_FIELD(projector, field)
#define MAP(name, i) { name ".weight", FIELD(maps[i].w) }, { name ".bias", FIELD(maps[i].b) }

/* A connector has proj, or fc1, fc2 and so on. */
static const weight_row rows[] = {
    MAP("proj", 0),
    { "norm.weight", FIELD(norm.w) },
    { "norm.bias",   FIELD(norm.b) },
    MAP("fc1", 0), MAP("fc2", 1), MAP("fc3", 2), MAP("fc4", 3),
    MAP("fc5", 4), MAP("fc6", 5), MAP("fc7", 6), MAP("fc8", 7),
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
    if (c->hidden > 0 && c->further == 0) c->further = 1;
    FAIL_IF(c->further >= MAX_MAPS, err, LVLM_EFORMAT,
            "configuration: connector.further %zu: a connector has at most %d maps",
            c->further, MAX_MAPS);
    return 0;
}

/* Widths of map i. */
static size_t taken_by(const projector *c, size_t i)
{
    return i == 0 ? square_of(c) : c->hidden;
}

static size_t given_by(const projector *c, size_t i)
{
    assert(i <= c->further && c->further < MAX_MAPS);
    return i == c->further ? c->base.out : c->hidden;
}

static size_t projector_scratch(const void *connector, const features *f,
                                size_t n_threads)
{
    const projector *const c = connector;
    size_t most = has_norm(c) ? norm_scratch(f->R) : 0;
    for (size_t i = 0; i <= c->further; i++)
        most = LARGEST(most, linear_scratch(taken_by(c, i), given_by(c, i), n_threads));
    return most;
}

/* Maps before an activation, of single features, are stages of their own. */
static const char last_stage[] = "connector.out";
static const char *const linear_stages[MAX_MAPS - 1] = {
    "connector.linear_1", "connector.linear_2", "connector.linear_3",
    "connector.linear_4", "connector.linear_5", "connector.linear_6",
    "connector.linear_7",
};

static size_t shown_maps(const projector *c)
{
    return has_norm(c) ? 0 : c->further;
}

static void projector_announce(const void *connector, stages *s)
{
    const projector *const c = connector;
    if (has_norm(c)) stages_announce(s, "connector.norm");
    for (size_t i = 0; i < shown_maps(c); i++) stages_announce(s, linear_stages[i]);
    stages_announce(s, last_stage);
}

/* ---- memory --------------------------------------------------------------------- */

/* Of one pass, R patches in U squares. */
typedef struct projector_tape {
    size_t *from;            /* (R) which of the tower's rows is gathered; NULL: none */
    const real *x;           /* (R,C) what is projected: gathered, or the tower's own */
    real *gathered, *normed; /* (R,C), which is (U,S) too */
    /* (U,M) before and after the activation of each map but the last */
    real *pre[MAX_MAPS - 1], *hidden[MAX_MAPS - 1];
    real *merged; /* (U,H) in the tower's order, where that is another */
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
    enum { OTHERS = 8 };
    size_t n = OTHERS;
    workspace_slot slots[OTHERS + 2 * (MAX_MAPS - 1)] = {
        { &p->gathered, gathered, c->base.in },
        { &p->normed, normed, c->base.in },
        { &p->merged, merged, c->base.out },
        { &p->dgathered, keep ? gathered : 0, c->base.in },
        { &p->dnormed, keep ? normed : 0, c->base.in },
        { &p->dpre, keep ? U : 0, M },
        { &p->dhidden, keep ? U : 0, M },
        { &p->dmerged, keep ? merged : 0, c->base.out },
    };
    for (size_t i = 0; i < c->further; i++) {
        slots[n++] = (workspace_slot){ &p->pre[i], U, M };
        slots[n++] = (workspace_slot){ &p->hidden[i], U, M };
    }
    TRY(workspace_take(memory, slots, n, "connector", err));
    if (gathered == 0) return 0;
    return features_squares(&p->from, f, c->pool, &memory->lists, err);
}

/* ---- forward -------------------------------------------------------------------- */

/* A stage of the squares; those of single patches have the shape of the features. */
static int emit(const projector *c, stages *s, const char *name, real *data,
                const features *f, size_t width, lvlm_error *err)
{
    lvlm_shape shape = f->shape;
    assert(shape.n > 0 && shape.dims[shape.n - 1] % (c->pool * c->pool) == 0);
    shape.dims[shape.n - 1] /= c->pool * c->pool;
    shape.dims[shape.n++] = width;
    return stages_emit(s, name, data, shape, err);
}

/* *x, what the first map takes, becomes what the last one takes. */
static int hidden_forward(const real **x, const projector *c, projector_tape *p,
                          const features *f, stages *s, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const size_t U = f->R / (c->pool * c->pool), M = c->hidden;
    for (size_t i = 0; i < c->further; i++) {
        const projector_map *const map = &c->maps[i];
        const bool shown = i < shown_maps(c);
        const bool computes = stages_computes(s, shown ? linear_stages[i] : last_stage);
        if (computes)
            dense_forward(p->pre[i], *x, &map->w, &map->b, U, taken_by(c, i), M,
                          scratch);
        if (shown) TRY(emit(c, s, linear_stages[i], p->pre[i], f, M, err));
        if (shown || computes) /* else what follows is given */
            activation_forward(p->hidden[i], p->pre[i], NULL, c->activation, U * M);
        *x = p->hidden[i];
    }
    return 0;
}

static int projector_forward(const void *connector, void *tape, real *out,
                             const features *f, stages *s, const ops_scratch *scratch,
                             lvlm_error *err)
{
    const projector *const c = connector;
    projector_tape *const p = tape;
    const size_t U = f->R / (c->pool * c->pool), H = c->base.out;
    const projector_map *const last = &c->maps[c->further];
    if (p->from != NULL)
        gather_rows_forward(p->gathered, f->rows, p->from, f->R, c->base.in);
    const real *x = p->x = p->from != NULL ? p->gathered : f->rows;
    if (has_norm(c)) {
        if (stages_computes(s, "connector.norm"))
            norm_forward(p->normed, x, &c->norm, f->R, c->base.in);
        TRY(features_emit(s, "connector.norm", p->normed, f, c->base.in, err));
        x = p->normed;
    }
    TRY(hidden_forward(&x, c, p, f, s, scratch, err));
    real *const z = p->merged != NULL ? p->merged : out;
    if (stages_computes(s, last_stage))
        dense_forward(z, x, &last->w, &last->b, U, taken_by(c, c->further), H, scratch);
    TRY(emit(c, s, last_stage, z, f, H, err));
    for (size_t u = 0; z != out && u < U; u++)
        memcpy(out + f->order[u] * H, z + u * H, H * sizeof *out);
    return 0;
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (R,C) += the gradient of the projected rows, from dz (U,H); dx may be NULL. */
static void layers_backward(const projector *c, projector_tape *p, real *dx,
                            const real *dz, size_t U, const ops_scratch *scratch)
{
    const size_t M = c->hidden, R = U * c->pool * c->pool;
    const real *const n = has_norm(c) ? p->normed : p->x;
    assert(n != NULL); /* of forward */
    real *const dn = has_norm(c) ? p->dnormed : dx;
    if (has_norm(c)) memset(dn, 0, R * c->base.in * sizeof *dn);
    for (size_t i = c->further; i > 0; i--) {
        const projector_map *const map = &c->maps[i];
        memset(p->dhidden, 0, U * M * sizeof *p->dhidden);
        dense_backward(p->dhidden, dz, p->hidden[i - 1], &map->w, &map->b, U, M,
                       given_by(c, i), scratch);
        memset(p->dpre, 0, U * M * sizeof *p->dpre);
        activation_backward(p->dpre, NULL, p->dhidden, p->pre[i - 1], NULL,
                            c->activation, U * M);
        dz = p->dpre;
    }
    dense_backward(dn, dz, n, &c->maps[0].w, &c->maps[0].b, U, taken_by(c, 0),
                   given_by(c, 0), scratch);
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
