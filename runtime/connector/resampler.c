/* resampler.c - the connector of Qwen-VL: queries look at all patches of an image.
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
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/connector/connector.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/resize.h"

typedef struct resampler {
    size_t in, width, heads, queries, out; /* C, D, heads, Q, H */
    double norm_eps;
    lvlm_stored kv_w;                  /* (D,C), absent: the identity */
    const real *query;                 /* (Q,D) */
    const real *positions;             /* (Q,D) */
    const real *norm_q_w, *norm_q_b;   /* (D) */
    const real *norm_kv_w, *norm_kv_b; /* (D) */
    lvlm_stored q_w, k_w, v_w, o_w;    /* (D,D) */
    const real *q_b, *k_b, *v_b, *o_b; /* (D) */
    const real *norm_w, *norm_b;       /* (D) norm_out */
    lvlm_stored proj_w;                /* (H,D) */
} resampler;

static const config_row config_rows[] = {
    CONFIG("vision.hidden", resampler, in),
    CONFIG("connector.hidden", resampler, width),
    CONFIG("connector.heads", resampler, heads),
    CONFIG("connector.queries", resampler, queries),
    CONFIG("connector.norm_eps", resampler, norm_eps),
    CONFIG("text.hidden", resampler, out),
    CONFIG_END,
};

// clang-format off
#define D LVLM_DIM_CONNECTOR_HIDDEN
#define FIELD(field) WEIGHT_FIELD(resampler, field)

static const weight_row rows[] = {
    { "kv.weight",        { D, LVLM_DIM_VISION_HIDDEN }, FIELD(kv_w) },
    { "queries",          { LVLM_DIM_QUERIES, D },       FIELD(query) },
    { "positions.weight", { LVLM_DIM_QUERIES, D },       FIELD(positions) },
    { "norm_q.weight",    { D },                         FIELD(norm_q_w) },
    { "norm_q.bias",      { D },                         FIELD(norm_q_b) },
    { "norm_kv.weight",   { D },                         FIELD(norm_kv_w) },
    { "norm_kv.bias",     { D },                         FIELD(norm_kv_b) },
    { "attn.q.weight",    { D, D },                      FIELD(q_w) },
    { "attn.q.bias",      { D },                         FIELD(q_b) },
    { "attn.k.weight",    { D, D },                      FIELD(k_w) },
    { "attn.k.bias",      { D },                         FIELD(k_b) },
    { "attn.v.weight",    { D, D },                      FIELD(v_w) },
    { "attn.v.bias",      { D },                         FIELD(v_b) },
    { "attn.out.weight",  { D, D },                      FIELD(o_w) },
    { "attn.out.bias",    { D },                         FIELD(o_b) },
    { "norm_out.weight",  { D },                         FIELD(norm_w) },
    { "norm_out.bias",    { D },                         FIELD(norm_b) },
    { "proj.weight",      { LVLM_DIM_HIDDEN, D },        FIELD(proj_w) },
    WEIGHT_END,
};

#undef D
// clang-format on

/* Activations. */
typedef struct resampler_acts {
    real *x, *keyed, *k, *v; /* (N*P,D) keyed: with positions */
    real *table;             /* (P,D) positions resampled */
    real *q, *each;          /* (Q,D) one image's; (N*Q,D) the same for every image */
    real *attn, *normed;     /* (N*Q,D) */
    size_t *lo, *hi;         /* (N*Q) rows of the query's image */
    void *memory;
} resampler_acts;

/* ---- life ----------------------------------------------------------------------- */

static int resampler_open(void **out, const lvlm_manifest *manifest, lvlm_error *err)
{
    resampler *const c = *out = lvlm_calloc(1, sizeof *c);
    if (c == NULL) return lvlm_fail_memory(err);
    TRY(configure(c, config_rows, manifest->config, err));
    FAIL_IF(c->width % c->heads != 0, err, LVLM_EFORMAT,
            "configuration: connector.hidden %zu is no multiple of connector.heads %zu",
            c->width, c->heads);
    return 0;
}

static int resampler_bind(void *connector, weights *w, lvlm_error *err)
{
    return weights_bind(w, connector, rows, 0, "connector.", err);
}

static size_t resampler_rows(const void *connector, const vision_rows *seen)
{
    const resampler *const c = connector;
    return seen->n_images * c->queries;
}

static size_t resampler_scratch(const void *connector, const vision_rows *seen,
                                size_t n_threads)
{
    const resampler *const c = connector;
    const size_t needs[] = {
        linear_scratch(c->in, c->width, n_threads),
        linear_scratch(c->width, c->width, n_threads),
        linear_scratch(c->width, c->out, n_threads),
        attention_scratch(seen->n_images * c->queries, seen->R, c->heads,
                          c->width / c->heads, n_threads),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

static void resampler_announce(const void *connector, stages *s)
{
    (void)connector;
    stages_announce(s, "connector.attn");
    stages_announce(s, "connector.ln_post");
    stages_announce(s, "connector.out");
}

static int acts_make(resampler_acts *a, const resampler *c, const vision_rows *seen,
                     lvlm_error *err)
{
    const size_t R = seen->R, D = c->width, NQ = seen->n_images * c->queries;
    const workspace_slot slots[] = {
        { &a->x, R, D },     { &a->keyed, R, D },       { &a->k, R, D },
        { &a->v, R, D },     { &a->table, seen->P, D }, { &a->q, c->queries, D },
        { &a->each, NQ, D }, { &a->attn, NQ, D },       { &a->normed, NQ, D },
    };
    TRY(workspace_allocate(&a->memory, slots, sizeof slots / sizeof *slots, "resampler",
                           err));
    a->lo = lvlm_calloc(NQ, 2 * sizeof *a->lo);
    FAIL_IF(a->lo == NULL, err, LVLM_ENOMEM, "resampler: out of memory");
    a->hi = a->lo + NQ;
    for (size_t n = 0; n < NQ; n++) {
        a->lo[n] = n / c->queries * seen->P;
        a->hi[n] = a->lo[n] + seen->P;
    }
    return 0;
}

/* ---- forward -------------------------------------------------------------------- */

/* keys and values of all patches */
static void make_keys(resampler_acts *a, const resampler *c, const vision_rows *seen,
                      const ops_scratch *scratch)
{
    const size_t R = seen->R, D = c->width;
    const size_t grid = (size_t)sqrt((double)seen->P),
                 side = (size_t)sqrt((double)c->queries);
    if (c->kv_w.data != NULL)
        linear_forward(a->x, seen->rows, c->kv_w, NULL, R, c->in, D, scratch);
    else
        memcpy(a->x, seen->rows, R * D * sizeof *a->x);
    layernorm_forward(a->x, a->x, c->norm_kv_w, c->norm_kv_b, (real)c->norm_eps, R, D);
    resize_forward(a->table, c->positions, side, grid, D);
    memcpy(a->keyed, a->x, R * D * sizeof *a->x);
    add_rows_forward(a->keyed, a->table, R, seen->P, D);
    linear_forward(a->k, a->keyed, c->k_w, c->k_b, R, D, D, scratch);
    linear_forward(a->v, a->x, c->v_w, c->v_b, R, D, D, scratch);
}

/* queries, the same for every image */
static void make_queries(resampler_acts *a, const resampler *c, const vision_rows *seen,
                         const ops_scratch *scratch)
{
    const size_t Q = c->queries, D = c->width;
    layernorm_forward(a->attn, c->query, c->norm_q_w, c->norm_q_b, (real)c->norm_eps, Q,
                      D);
    add_forward(a->attn, c->positions, Q * D);
    linear_forward(a->q, a->attn, c->q_w, c->q_b, Q, D, D, scratch);
    for (size_t i = 0; i < seen->n_images; i++)
        memcpy(a->each + i * Q * D, a->q, Q * D * sizeof *a->q);
}

static int run(const resampler *c, real *out, resampler_acts *a,
               const vision_rows *seen, stages *s, const ops_scratch *scratch,
               lvlm_error *err)
{
    const size_t N = seen->n_images, Q = c->queries, D = c->width;
    const attention_dims dims = { .Tq = N * Q,
                                  .Tk = seen->R,
                                  .heads = c->heads,
                                  .kv_heads = c->heads,
                                  .D = D / c->heads,
                                  .scale = (real)(1 / sqrt((double)(D / c->heads))),
                                  .lo = a->lo,
                                  .hi = a->hi };
    make_keys(a, c, seen, scratch);
    make_queries(a, c, seen, scratch);
    attention_forward(a->each, a->each, a->k, a->v, &dims, scratch);
    linear_forward(a->attn, a->each, c->o_w, c->o_b, N * Q, D, D, scratch);
    TRY(stages_emit(s, "connector.attn", a->attn, SHAPE(N, Q, D), err));
    layernorm_forward(a->normed, a->attn, c->norm_w, c->norm_b, (real)c->norm_eps,
                      N * Q, D);
    TRY(stages_emit(s, "connector.ln_post", a->normed, SHAPE(N, Q, D), err));
    linear_forward(out, a->normed, c->proj_w, NULL, N * Q, D, c->out, scratch);
    return stages_emit(s, "connector.out", out, SHAPE(N, Q, c->out), err);
}

static int resampler_forward(const void *connector, real *out, const vision_rows *seen,
                             stages *s, const ops_scratch *scratch, lvlm_error *err)
{
    const resampler *const c = connector;
    resampler_acts acts = { 0 };
    int rc = acts_make(&acts, c, seen, err);
    if (rc == 0) rc = run(c, out, &acts, seen, s, scratch, err);
    lvlm_free(acts.lo);
    lvlm_free(acts.memory);
    return rc;
}

const vision_connector resampler_connector = {
    .word = "resampler",
    .open = resampler_open,
    .bind = resampler_bind,
    .free = lvlm_free,
    .rows = resampler_rows,
    .scratch = resampler_scratch,
    .announce = resampler_announce,
    .forward = resampler_forward,
};
