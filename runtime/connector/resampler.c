/* resampler.c - the connector of Qwen-VL: queries attend to all patches of an image.
 *
 *   x[p] = norm_kv(Wkv h[p])                      Wkv: the identity where widths agree
 *   q[j] = Wq (norm_q(query[j]) + position[j]) + bq
 *   k[p] = Wk (x[p] + position[p]) + bk           positions resampled to the patches
 *   v[p] = Wv x[p] + bv
 *   a[j] = Wo attention(q, k, v)[j] + bo          no residual, no MLP
 *   z[j] = W norm_out(a[j])
 *
 * N images of P patches, Q queries, D = connector.hidden, C = the tower's width, H =
 * text.hidden. Queries are the same for every image. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "runtime/block/configure.h"
#include "runtime/block/workspace.h"
#include "runtime/connector/connector.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/resize.h"

typedef struct resampler {
    vision_connector base;
    size_t width, heads, queries;         /* D, heads, Q */
    size_t side;                          /* of the square of queries */
    weight_matrix kv_w;                   /* (D,C), absent: the identity */
    weight_vector query;                  /* (Q,D) */
    weight_vector positions;              /* (Q,D) */
    norm_layer norm_q, norm_kv, norm_out; /* (D) */
    weight_matrix q_w, k_w, v_w, o_w;     /* (D,D) */
    weight_vector q_b, k_b, v_b, o_b;     /* (D) */
    weight_matrix proj_w;                 /* (H,D) */
} resampler;

static const config_row config_rows[] = {
    CONFIG("vision.hidden", resampler, base.in),
    CONFIG("connector.hidden", resampler, width),
    CONFIG("connector.heads", resampler, heads),
    CONFIG("connector.norm_eps", resampler, norm_q.eps),
    CONFIG_END,
};

// clang-format off
#define FIELD(field) WEIGHT_FIELD(resampler, field)

static const weight_row rows[] = {
    { "kv.weight",        FIELD(kv_w) },
    { "queries",          FIELD(query) },
    { "positions.weight", FIELD(positions) },
    { "norm_q.weight",    FIELD(norm_q.w) },
    { "norm_q.bias",      FIELD(norm_q.b) },
    { "norm_kv.weight",   FIELD(norm_kv.w) },
    { "norm_kv.bias",     FIELD(norm_kv.b) },
    { "attn.q.weight",    FIELD(q_w) },
    { "attn.q.bias",      FIELD(q_b) },
    { "attn.k.weight",    FIELD(k_w) },
    { "attn.k.bias",      FIELD(k_b) },
    { "attn.v.weight",    FIELD(v_w) },
    { "attn.v.bias",      FIELD(v_b) },
    { "attn.out.weight",  FIELD(o_w) },
    { "attn.out.bias",    FIELD(o_b) },
    { "norm_out.weight",  FIELD(norm_out.w) },
    { "norm_out.bias",    FIELD(norm_out.b) },
    { "proj.weight",      FIELD(proj_w) },
    WEIGHT_END,
};
// clang-format on

/* Memory of one pass: N images of P patches, R = N P rows. */
typedef struct resampler_tape {
    real *wide, *x, *keyed;     /* (R,D) after Wkv, its norm, and positions */
    real *k, *v;                /* (R,D) */
    real *table;                /* (P,D) positions on the grid of the images */
    real *placed, *q;           /* (Q,D) queries with positions; after Wq */
    real *each, *heads;         /* (N Q,D) q for every image; what attention gives */
    real *attn, *normed;        /* (N Q,D) */
    real *dwide, *dx, *dk, *dv; /* (R,D) */
    real *dq, *dplaced;         /* (Q,D) */
    real *deach, *dheads, *dattn, *dnormed; /* (N Q,D) */
    size_t *lo, *hi;                        /* (N Q) rows of the query's image */
} resampler_tape;

/* ---- life ----------------------------------------------------------------------- */

static int resampler_open(void *connector, const lvlm_manifest *manifest,
                          const lvlm_image_rows *rule, lvlm_error *err)
{
    resampler *const c = connector;
    assert(rule->queries > 0);
    c->queries = rule->queries;
    c->side = lvlm_image_rows_grid(rule, &(lvlm_grid){ 1, 1, 1 }).h;
    TRY(configure(c, config_rows, manifest->config, err));
    FAIL_IF(
        c->width % c->heads != 0, err, LVLM_EFORMAT,
        "configuration: connector.hidden %zu is not a multiple of connector.heads %zu",
        c->width, c->heads);
    c->norm_kv.eps = c->norm_out.eps = c->norm_q.eps;
    return 0;
}

/* Without ranges. */
static attention_dims dims_of(const resampler *c, const features *f)
{
    const size_t D = c->width / c->heads;
    return (attention_dims){ .Tq = f->n_images * c->queries,
                             .Tk = f->R,
                             .heads = c->heads,
                             .kv_heads = c->heads,
                             .D = D,
                             .scale = (real)(1 / sqrt((double)D)) };
}

static size_t resampler_scratch(const void *connector, const features *f,
                                size_t n_threads)
{
    const resampler *const c = connector;
    assert(f->P > 0 && f->R == f->n_images * f->P && f->C == c->base.in);
    const attention_dims attention = dims_of(c, f);
    return LARGEST(linear_scratch(c->base.in, c->width, n_threads),
                   linear_scratch(c->width, c->width, n_threads),
                   linear_scratch(c->width, c->base.out, n_threads),
                   attention_scratch(&attention, n_threads),
                   norm_scratch(f->R + f->n_images * c->queries));
}

static void resampler_announce(const void *connector, stages *s)
{
    (void)connector;
    stages_announce(s, "connector.attn");
    stages_announce(s, "connector.ln_post");
    stages_announce(s, "connector.out");
}

static int resampler_tape_make(const void *connector, void **tape, workspace *memory,
                               const features *f, bool keep, lvlm_error *err)
{
    const resampler *const c = connector;
    const size_t R = f->R, D = c->width, Q = c->queries, NQ = f->n_images * Q;
    resampler_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    const workspace_slot slots[] = {
        { &p->wide, R, D },
        { &p->x, R, D },
        { &p->keyed, R, D },
        { &p->k, R, D },
        { &p->v, R, D },
        { &p->table, f->P, D },
        { &p->placed, Q, D },
        { &p->q, Q, D },
        { &p->each, NQ, D },
        { &p->heads, NQ, D },
        { &p->attn, NQ, D },
        { &p->normed, NQ, D },
        { &p->dwide, keep ? R : 0, D },
        { &p->dx, keep ? R : 0, D },
        { &p->dk, keep ? R : 0, D },
        { &p->dv, keep ? R : 0, D },
        { &p->dq, keep ? Q : 0, D },
        { &p->dplaced, keep ? Q : 0, D },
        { &p->deach, keep ? NQ : 0, D },
        { &p->dheads, keep ? NQ : 0, D },
        { &p->dattn, keep ? NQ : 0, D },
        { &p->dnormed, keep ? NQ : 0, D },
    };
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "resampler", err));
    p->lo = lvlm_arena_alloc(&memory->lists, 2 * NQ, sizeof *p->lo);
    if (p->lo == NULL) return lvlm_fail_memory(err);
    p->hi = p->lo + NQ;
    for (size_t n = 0; n < NQ; n++) {
        p->lo[n] = n / Q * f->P;
        p->hi[n] = p->lo[n] + f->P;
    }
    return 0;
}

/* ---- forward -------------------------------------------------------------------- */

/* keys and values of all patches */
static void make_keys(resampler_tape *p, const resampler *c, const features *f,
                      const ops_scratch *scratch)
{
    const size_t R = f->R, D = c->width;
    assert(f->rows != NULL && f->grids[0].h * f->grids[0].w == f->P);
    if (c->kv_w.w.data != NULL)
        dense_forward(p->wide, f->rows, &c->kv_w, NULL, R, c->base.in, D, scratch);
    else
        memcpy(p->wide, f->rows, R * D * sizeof *p->wide);
    norm_forward(p->x, p->wide, &c->norm_kv, R, D);
    resize_forward(p->table, c->positions.v, c->side, f->grids[0].h, D);
    memcpy(p->keyed, p->x, R * D * sizeof *p->keyed);
    add_rows_forward(p->keyed, p->table, R, f->P, D);
    dense_forward(p->k, p->keyed, &c->k_w, &c->k_b, R, D, D, scratch);
    dense_forward(p->v, p->x, &c->v_w, &c->v_b, R, D, D, scratch);
}

/* queries, the same for every image */
static void make_queries(resampler_tape *p, const resampler *c, const features *f,
                         const ops_scratch *scratch)
{
    const size_t Q = c->queries, D = c->width;
    assert(c->query.v != NULL && c->positions.v != NULL);
    norm_forward(p->placed, c->query.v, &c->norm_q, Q, D);
    add_forward(p->placed, c->positions.v, Q * D);
    dense_forward(p->q, p->placed, &c->q_w, &c->q_b, Q, D, D, scratch);
    for (size_t i = 0; i < f->n_images; i++)
        memcpy(p->each + i * Q * D, p->q, Q * D * sizeof *p->q);
}

static int resampler_forward(const void *connector, void *tape, real *out,
                             const features *f, stages *s, const ops_scratch *scratch,
                             lvlm_error *err)
{
    const resampler *const c = connector;
    resampler_tape *const p = tape;
    const size_t N = f->n_images, Q = c->queries, D = c->width;
    attention_dims dims = dims_of(c, f);
    dims.lo = p->lo, dims.hi = p->hi;
    if (stages_computes(s, "connector.attn")) {
        make_keys(p, c, f, scratch);
        make_queries(p, c, f, scratch);
        attention_forward(p->heads, p->each, p->k, p->v, &dims, scratch);
        dense_forward(p->attn, p->heads, &c->o_w, &c->o_b, N * Q, D, D, scratch);
    }
    TRY(stages_emit(s, "connector.attn", p->attn, SHAPE(N, Q, D), err));
    if (stages_computes(s, "connector.ln_post"))
        norm_forward(p->normed, p->attn, &c->norm_out, N * Q, D);
    TRY(stages_emit(s, "connector.ln_post", p->normed, SHAPE(N, Q, D), err));
    if (stages_computes(s, "connector.out"))
        dense_forward(out, p->normed, &c->proj_w, NULL, N * Q, D, c->base.out, scratch);
    return stages_emit(s, "connector.out", out, SHAPE(N, Q, c->base.out), err);
}

/* ---- backward ------------------------------------------------------------------- */

/* From p->dk and p->dv to the patches' side. */
static void keys_backward(resampler_tape *p, const resampler *c, real *drows,
                          const features *f, const ops_scratch *scratch)
{
    const size_t R = f->R, D = c->width, bytes = R * D * sizeof(real);
    memset(p->dx, 0, bytes);
    memset(p->dwide, 0, bytes);
    dense_backward(p->dx, p->dk, p->keyed, &c->k_w, &c->k_b, R, D, D, scratch);
    if (c->positions.grad != NULL) {
        memset(p->table, 0, f->P * D * sizeof *p->table);
        add_rows_backward(p->table, p->dx, R, f->P, D);
        resize_backward(c->positions.grad, p->table, c->side, f->grids[0].h, D);
    }
    dense_backward(p->dx, p->dv, p->x, &c->v_w, &c->v_b, R, D, D, scratch);
    norm_backward(p->dwide, p->dx, p->wide, &c->norm_kv, R, D, scratch);
    if (c->kv_w.w.data != NULL)
        dense_backward(drows, p->dwide, f->rows, &c->kv_w, NULL, R, c->base.in, D,
                       scratch);
    else if (drows != NULL)
        add_forward(drows, p->dwide, R * D);
}

/* From p->deach, summed over the images, to the queries' side. */
static void queries_backward(resampler_tape *p, const resampler *c, const features *f,
                             const ops_scratch *scratch)
{
    const size_t Q = c->queries, D = c->width;
    memset(p->dq, 0, Q * D * sizeof *p->dq);
    memset(p->dplaced, 0, Q * D * sizeof *p->dplaced);
    for (size_t i = 0; i < f->n_images; i++)
        add_forward(p->dq, p->deach + i * Q * D, Q * D);
    dense_backward(p->dplaced, p->dq, p->placed, &c->q_w, &c->q_b, Q, D, D, scratch);
    if (c->positions.grad != NULL) add_forward(c->positions.grad, p->dplaced, Q * D);
    norm_backward(c->query.grad, p->dplaced, c->query.v, &c->norm_q, Q, D, scratch);
}

static void resampler_backward(const void *connector, void *tape, real *drows,
                               const real *dout, const features *f,
                               const ops_scratch *scratch)
{
    const resampler *const c = connector;
    resampler_tape *const p = tape;
    const size_t NQ = f->n_images * c->queries, D = c->width;
    assert(p->dk != NULL && dout != NULL);
    attention_dims dims = dims_of(c, f);
    dims.lo = p->lo, dims.hi = p->hi;
    real *const cleared[] = { p->dnormed, p->dattn, p->dheads, p->deach };
    for (size_t i = 0; i < sizeof cleared / sizeof *cleared; i++)
        memset(cleared[i], 0, NQ * D * sizeof(real));
    memset(p->dk, 0, f->R * D * sizeof *p->dk);
    memset(p->dv, 0, f->R * D * sizeof *p->dv);
    dense_backward(p->dnormed, dout, p->normed, &c->proj_w, NULL, NQ, D, c->base.out,
                   scratch);
    norm_backward(p->dattn, p->dnormed, p->attn, &c->norm_out, NQ, D, scratch);
    dense_backward(p->dheads, p->dattn, p->heads, &c->o_w, &c->o_b, NQ, D, D, scratch);
    attention_backward(p->deach, p->dk, p->dv, p->dheads, p->each, p->k, p->v, &dims,
                       scratch);
    keys_backward(p, c, drows, f, scratch);
    queries_backward(p, c, f, scratch);
}

const connector_kind resampler_connector = {
    .size = sizeof(resampler),
    .rows = rows,
    .open = resampler_open,
    .scratch = resampler_scratch,
    .announce = resampler_announce,
    .tape_make = resampler_tape_make,
    .forward = resampler_forward,
    .backward = resampler_backward,
};
