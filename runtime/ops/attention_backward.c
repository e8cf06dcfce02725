/* attention_backward.c - the gradients of softmax attention; see attention_run.h.
 *
 *   queries   per (kv head, run of queries), tiles of keys: S = Q K^T, dP = drop(dout
 *             V^T), and of each row the largest score, the sum of P and delta, the mean
 *             of dP weighted by P; then dS = P (dP - delta) cap', dq += scale dS K
 *   keys      per (kv head, block of keys), for the runs of queries in order:
 *             P and dS again, dv += drop(P)^T dout, dk += scale dS^T Q
 *
 * A run whose keys are one tile computes S and dP once in the first pass, else twice.
 * Each gradient belongs to one task with one fixed order of sums. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/ops/attention_run.h"
#include "runtime/ops/vmath.h"

enum {
    QUERY_ROWS = 64, /* of a run in the first pass ... */
    TILE = 8192,     /* ... and its keys at a time */
    KEY_ROWS = 128,  /* of a run in the second pass ... */
    KEY_BLOCK = 128, /* ... and the keys of a task */
};

/* Of every row, by kv head, query and head: what the second pass needs of the first. */
typedef struct row_stats {
    real *most;   /* the largest score */
    real *weight; /* 1 / sum of exp(s - most); 0: no key is visible */
    real *delta;
} row_stats;

typedef struct backward_args {
    const attention_dims *d;
    real *dq, *dk, *dv;   /* each may be NULL */
    const real *dout, *q; /* (Tq,heads*D) */
    const real *k, *v;    /* (Tk,kv_heads*D) */
    row_stats stats;      /* (kv_heads,Tq,G) */
    unsigned terms;       /* of attention_terms */
} backward_args;

/* One task's scratch. */
typedef struct task {
    size_t g;            /* the kv head */
    size_t tile;         /* the most keys at a time */
    real *q, *dout, *dq; /* (R,D) */
    real *s, *dp;        /* (R,tile) */
    real *p;             /* (tile) */
    product_place place;
} task;

static size_t task_numel(size_t R, size_t D, size_t tile)
{
    const size_t place =
        product_place_numel(max_size(R, KEY_BLOCK), max_size(max_size(D, tile), R));
    return (R * (3 * D + 2 * tile) + tile + place + 15) / 16 * 16;
}

static task task_at(real *own, size_t g, size_t R, size_t D, size_t tile,
                    unsigned terms)
{
    task t = { .g = g, .tile = tile };
    t.q = own;
    t.dout = t.q + R * D;
    t.dq = t.dout + R * D;
    t.s = t.dq + R * D;
    t.dp = t.s + R * tile;
    t.p = t.dp + R * tile;
    t.place = (product_place){ t.p + tile, terms };
    return t;
}

static size_t query_tile(const attention_dims *d)
{
    return min_size(d->Tk, TILE);
}

static size_t thread_numel(const attention_dims *d)
{
    const size_t queries = attention_rows(d, attention_step(d, QUERY_ROWS));
    const size_t keys = attention_rows(d, attention_step(d, KEY_ROWS));
    return max_size(task_numel(queries, d->D, query_tile(d)),
                    task_numel(keys, d->D, KEY_BLOCK));
}

size_t attention_backward_scratch(const attention_dims *d, size_t n_threads)
{
    return thread_numel(d) * n_threads + 3 * d->heads * d->Tq;
}

static row_stats stats_of(const backward_args *a, const task *t,
                          const attention_run *run)
{
    const size_t at = (t->g * a->d->Tq + run->q0) * attention_group(a->d);
    return (row_stats){ a->stats.most + at, a->stats.weight + at, a->stats.delta + at };
}

/* S, and dP = drop(dout V^T), of all rows and the keys [k0, k1). */
static void multiply(const backward_args *a, const task *t, const attention_run *run,
                     size_t k0, size_t k1, bool needs_dp)
{
    const attention_dims *const d = a->d;
    const size_t R = (run->q1 - run->q0) * attention_group(d);
    const size_t width = k1 - k0;
    const attention_tile v = attention_tile_at(a->v, d, t->g, k0);
    assert(width <= t->tile && k1 <= d->Tk);
    attention_scores(t->s, t->q, attention_tile_at(a->k, d, t->g, k0), d, R, width,
                     &t->place);
    if (!needs_dp) return;
    product_nt(t->dp, width, t->dout, d->D, v.data, v.ld, R, width, d->D, 1, 0,
               &t->place);
    attention_drop(t->dp, d, t->g, run, k0, k1);
}

/* p = exp(s - most), and s = p cap'; both 0 outside [from, to).  p, s (width) */
static void weigh(real *p, real *s, real most, size_t from, size_t to, size_t width,
                  real cap)
{
    assert(from <= to && to <= width);
    memset(p, 0, from * sizeof *p);
    memset(p + to, 0, (width - to) * sizeof *p);
    vexp(p + from, s + from, most, to - from);
    if (cap == 0) {
        memcpy(s, p, width * sizeof *s);
        return;
    }
    memset(s, 0, from * sizeof *s);
    memset(s + to, 0, (width - to) * sizeof *s);
#pragma omp simd
    for (size_t i = from; i < to; i++) s[i] = p[i] * (1 - (s[i] / cap) * (s[i] / cap));
}

/* dp becomes dS, 0 outside [from, to); s as weigh left it.  dp, s (width) */
static void grad_scores(real *dp, const real *s, real weight, real delta, size_t from,
                        size_t to, size_t width)
{
    memset(dp, 0, from * sizeof *dp);
    memset(dp + to, 0, (width - to) * sizeof *dp);
#pragma omp simd
    for (size_t i = from; i < to; i++) dp[i] = s[i] * weight * (dp[i] - delta);
}

/* ---- queries --------------------------------------------------------------------- */

/* A tile of row r joins its sums; until the last one `weight` is the sum of exp. */
static void take_row(const row_stats *stats, size_t r, const task *t, real *s,
                     const real *dp, size_t from, size_t to, size_t width, real cap)
{
    real *const most = &stats->most[r], *const sum = &stats->weight[r];
    assert(from < to);
    const real here = vmax(s + from, to - from);
    if (*sum == 0) {
        *most = here;
    } else if (here > *most) {
        *sum *= real_exp(*most - here);
        *most = here;
    }
    weigh(t->p, s, *most, from, to, width, cap);
    const real more = vsum(t->p + from, to - from);
    const real mean = (real)vmean(t->p + from, dp + from, to - from);
    *sum += more;
    if (*sum == more) /* all there is so far */
        stats->delta[r] = mean;
    else
        stats->delta[r] += (mean - stats->delta[r]) * (more / *sum);
}

/* S and dP of the keys [k0, k1), and what they add to each row's sums. */
static void take_tile(const backward_args *a, const task *t, const row_stats *stats,
                      const attention_run *run, size_t k0, size_t k1)
{
    const size_t G = attention_group(a->d), R = (run->q1 - run->q0) * G;
    const size_t width = k1 - k0;
    multiply(a, t, run, k0, k1, true);
    for (size_t r = 0; r < R; r++) {
        size_t from, to;
        attention_visible(&from, &to, a->d, run->q0 + r / G, k0, k1);
        if (from < to)
            take_row(stats, r, t, t->s + r * width, t->dp + r * width, from, to, width,
                     a->d->softcap);
    }
}

/* t->dq += the part of the keys [k0, k1), whose S and dP are there or made again. */
static void grad_tile(const backward_args *a, const task *t, const row_stats *stats,
                      const attention_run *run, size_t k0, size_t k1, bool again)
{
    const attention_dims *const d = a->d;
    const size_t G = attention_group(d), R = (run->q1 - run->q0) * G;
    const size_t width = k1 - k0, ldk = d->kv_heads * d->D;
    if (again) multiply(a, t, run, k0, k1, true);
    for (size_t r = 0; r < R; r++) {
        real *const s = t->s + r * width, *const dp = t->dp + r * width;
        size_t from, to;
        attention_visible(&from, &to, d, run->q0 + r / G, k0, k1);
        if (again) weigh(t->p, s, stats->most[r], from, to, width, d->softcap);
        grad_scores(dp, s, stats->weight[r], stats->delta[r], from, to, width);
    }
    product_nn(t->dq, d->D, t->dp, width, a->k + k0 * ldk + t->g * d->D, ldk, R, d->D,
               width, d->scale, k0 == run->k0 ? 0 : 1, &t->place);
}

/* dq (Tq,heads*D) += that of a run's rows */
static void add_dq(const backward_args *a, const task *t, const attention_run *run)
{
    const size_t width = attention_group(a->d) * a->d->D;
    assert(run->q1 <= a->d->Tq);
    for (size_t q = run->q0; q < run->q1; q++) {
        real *const to = a->dq + q * a->d->heads * a->d->D + t->g * width;
        const real *const from = t->dq + (q - run->q0) * width;
        for (size_t c = 0; c < width; c++) to[c] += from[c];
    }
}

static void backward_queries(const backward_args *a, const task *t,
                             const attention_run *run)
{
    const size_t R = (run->q1 - run->q0) * attention_group(a->d);
    const row_stats stats = stats_of(a, t, run);
    const bool again = run->k1 - run->k0 > t->tile;
    memset(stats.weight, 0, R * sizeof *stats.weight);
    if (run->k0 >= run->k1) return;
    attention_gather(t->q, a->q, a->d, t->g, run);
    attention_gather(t->dout, a->dout, a->d, t->g, run);
    for (size_t k0 = run->k0; k0 < run->k1; k0 += t->tile)
        take_tile(a, t, &stats, run, k0, min_size(k0 + t->tile, run->k1));
    for (size_t r = 0; r < R; r++)
        if (stats.weight[r] != 0) stats.weight[r] = 1 / stats.weight[r];
    if (a->dq == NULL) return;
    for (size_t k0 = run->k0; k0 < run->k1; k0 += t->tile)
        grad_tile(a, t, &stats, run, k0, min_size(k0 + t->tile, run->k1), again);
    add_dq(a, t, run);
}

/* ---- keys ------------------------------------------------------------------------ */

/* The part of a run's rows in dk and dv of its keys. */
static void backward_keys(const backward_args *a, const task *t,
                          const attention_run *run)
{
    const attention_dims *const d = a->d;
    const size_t G = attention_group(d), R = (run->q1 - run->q0) * G;
    const size_t width = run->k1 - run->k0, ldk = d->kv_heads * d->D;
    const size_t at = run->k0 * ldk + t->g * d->D;
    const row_stats stats = stats_of(a, t, run);
    assert(a->dk != NULL || a->dv != NULL);
    attention_gather(t->q, a->q, d, t->g, run);
    attention_gather(t->dout, a->dout, d, t->g, run);
    multiply(a, t, run, run->k0, run->k1, a->dk != NULL);
    for (size_t r = 0; r < R; r++) {
        real *const s = t->s + r * width, *const dp = t->dp + r * width;
        size_t from, to;
        attention_visible(&from, &to, d, run->q0 + r / G, run->k0, run->k1);
        weigh(t->p, s, stats.most[r], from, to, width, d->softcap);
        if (a->dk != NULL)
            grad_scores(dp, s, stats.weight[r], stats.delta[r], from, to, width);
#pragma omp simd
        for (size_t i = 0; i < width; i++) s[i] = t->p[i] * stats.weight[r];
    }
    if (a->dv != NULL) {
        attention_drop(t->s, d, t->g, run, run->k0, run->k1);
        product_tn(a->dv + at, ldk, t->s, width, t->dout, d->D, width, d->D, R, 1, 1,
                   &t->place);
    }
    if (a->dk != NULL)
        product_tn(a->dk + at, ldk, t->dp, width, t->q, d->D, width, d->D, R, d->scale,
                   1, &t->place);
}

/* ---- tasks ----------------------------------------------------------------------- */

/* dq of the queries [q0, q0 + step) */
static void query_task(const backward_args *a, size_t g, size_t q0, size_t step,
                       real *own)
{
    const attention_dims *const d = a->d;
    const task t =
        task_at(own, g, attention_rows(d, step), d->D, query_tile(d), a->terms);
    const size_t end = min_size(q0 + step, d->Tq);
    for (attention_run run = attention_run_at(d, q0, end); run.q0 < end;
         run = attention_run_at(d, run.q1, end))
        backward_queries(a, &t, &run);
}

/* dk and dv of the keys [k0, k0 + KEY_BLOCK) */
static void key_task(const backward_args *a, size_t g, size_t k0, real *own)
{
    const attention_dims *const d = a->d;
    const size_t step = attention_step(d, KEY_ROWS),
                 k1 = min_size(k0 + KEY_BLOCK, d->Tk);
    const task t = task_at(own, g, attention_rows(d, step), d->D, KEY_BLOCK, a->terms);
    for (size_t q0 = 0; q0 < d->Tq;) {
        const size_t end = min_size((q0 / step + 1) * step, d->Tq);
        attention_run run = attention_run_at(d, q0, end);
        q0 = run.q1;
        run.k0 = max_size(run.k0, k0);
        run.k1 = min_size(run.k1, k1);
        if (run.k0 < run.k1) backward_keys(a, &t, &run);
    }
}

void attention_backward(real *dq, real *dk, real *dv, const real *dout, const real *q,
                        const real *k, const real *v, const attention_dims *dims,
                        const ops_scratch *scratch)
{
    const attention_dims d = *dims;
    const size_t stride = thread_numel(&d), step = attention_step(&d, QUERY_ROWS);
    const size_t n = d.heads * d.Tq;
    real *const most = scratch->data + stride * scratch->n_threads;
    const backward_args a = { .d = &d,
                              .dq = dq,
                              .dk = dk,
                              .dv = dv,
                              .dout = dout,
                              .q = q,
                              .k = k,
                              .v = v,
                              .stats = { most, most + n, most + 2 * n },
                              .terms = attention_terms(&d, scratch) };
    const int parallel = d.Tq * d.Tk * d.heads * d.D > LVLM_PARALLEL_MIN;
    attention_check(&d, scratch);
    assert(dq == NULL || dq != dout);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (parallel)
    for (size_t g = 0; g < d.kv_heads; g++)
        for (size_t q0 = 0; q0 < d.Tq; q0 += step)
            query_task(&a, g, q0, step,
                       scratch->data + (size_t)omp_get_thread_num() * stride);
    if (dk == NULL && dv == NULL) return;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (parallel)
    for (size_t g = 0; g < d.kv_heads; g++)
        for (size_t k0 = 0; k0 < d.Tk; k0 += KEY_BLOCK)
            key_task(&a, g, k0, scratch->data + (size_t)omp_get_thread_num() * stride);
}
