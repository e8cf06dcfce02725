/* attention.c - softmax attention, forward.
 *
 *   task          a kv head, a run of queries, sometimes a part of the keys
 *   per tile      S = Q K^T; the largest score of a row so far is its `most`,
 *                 P = exp(S - most), out += P V, sum += the row of P; where `most`
 *                 rises, out and sum are scaled to it. Dropout takes P out of `out`,
 *                 not out of the sum
 *   at the end    out / sum
 *
 * Few queries (a text that is continued) make few tasks: then the keys are divided too,
 * and the parts are added in order. Each output element belongs to one task, and tiles,
 * parts and runs depend on the sizes only, so results do not depend on the number of
 * threads. */
#include "runtime/ops/attention.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "runtime/ops/attention_run.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/vmath.h"

enum {
    ROWS = 128,     /* of a task, about */
    TILE = 512,     /* keys */
    PART = 1024,    /* keys of a task where keys are divided */
    UNLIKE = 64,    /* queries of a run whose ranges are not all the same */
    FINE_TERMS = 2, /* of scores, and of what becomes shared keys and values */
};

/* ---- what both directions share -------------------------------------------------- */

attention_run attention_run_at(const attention_dims *d, size_t q0, size_t end)
{
    attention_run run = { q0, q0, SIZE_MAX, 0 };
    assert(q0 <= end && end <= d->Tq);
    for (; run.q1 < end; run.q1++) {
        const size_t from = d->lo[run.q1], to = d->hi[run.q1];
        if (from >= to) continue;
        if (run.k0 < run.k1 && (from >= run.k1 || to <= run.k0)) break;
        if (run.q1 - q0 >= UNLIKE && (from != d->lo[q0] || to != d->hi[q0])) break;
        run.k0 = min_size(run.k0, from);
        run.k1 = max_size(run.k1, to);
    }
    return run;
}

void attention_gather(real *rows, const real *x, const attention_dims *d, size_t g,
                      const attention_run *run)
{
    const size_t width = attention_group(d) * d->D;
    assert(g < d->kv_heads && run->q1 <= d->Tq);
    for (size_t t = run->q0; t < run->q1; t++, rows += width)
        memcpy(rows, x + t * d->heads * d->D + g * width, width * sizeof *rows);
}

void attention_scores(real *s, const real *q, attention_tile k, const attention_dims *d,
                      size_t R, size_t width, const product_place *place)
{
    const real cap = d->softcap;
    const product_place fine = { place->data, place->terms > 0 ? FINE_TERMS : 0 };
    product_nt(s, width, q, d->D, k.data, k.ld, R, width, d->D,
               cap > 0 ? d->scale / cap : d->scale, 0, &fine);
    if (cap == 0) return;
    vtanh(s, s, R * width);
#pragma omp simd
    for (size_t i = 0; i < R * width; i++) s[i] *= cap;
}

void attention_visible(size_t *from, size_t *to, const attention_dims *d, size_t t,
                       size_t k0, size_t k1)
{
    assert(t < d->Tq && k0 <= k1 && k1 <= d->Tk);
    *from = min_size(max_size(d->lo[t], k0), k1) - k0;
    *to = max_size(min_size(max_size(d->hi[t], k0), k1) - k0, *from);
}

void attention_drop(real *s, const attention_dims *d, size_t g,
                    const attention_run *run, size_t k0, size_t k1)
{
    const size_t G = attention_group(d), R = (run->q1 - run->q0) * G;
    if (!dropout_drops(&d->drop)) return;
    for (size_t r = 0; r < R; r++) {
        const size_t t = run->q0 + r / G;
        size_t from, to;
        attention_visible(&from, &to, d, t, k0, k1);
        if (from == to) continue;
        real *const seen = s + r * (k1 - k0) + from;
        dropout_values(seen, seen, d->drop.rate,
                       dropout_stream(&d->drop, t, g * G + r % G), k0 + from - d->lo[t],
                       to - from, false);
    }
}

unsigned attention_terms(const attention_dims *d, const ops_scratch *scratch)
{
    return d->Tq > LINEAR_ALIKE ? scratch->terms : 0;
}

ops_scratch attention_key_scratch(const ops_scratch *scratch, size_t heads,
                                  size_t kv_heads)
{
    ops_scratch out = *scratch;
    assert(kv_heads > 0 && kv_heads <= heads);
    if (out.terms > 0 && kv_heads < heads) out.terms = FINE_TERMS;
    return out;
}

size_t attention_scratch(const attention_dims *d, size_t n_threads)
{
    return max_size(attention_forward_scratch(d, n_threads),
                    attention_backward_scratch(d, n_threads));
}

void attention_check(const attention_dims *d, const ops_scratch *scratch)
{
    assert(d->D > 0 && d->kv_heads > 0 && d->heads % d->kv_heads == 0);
    assert(d->softcap >= 0);
    for (size_t t = 0; t < d->Tq; t++) assert(d->hi[t] <= d->Tk);
    assert(scratch->numel >= attention_scratch(d, scratch->n_threads));
    (void)d, (void)scratch;
}

/* A thread's scratch, and attention_terms. */
typedef struct worker {
    real *own;
    unsigned terms;
} worker;

static worker worker_of(const attention_dims *d, const ops_scratch *scratch,
                        size_t stride)
{
    return (worker){ scratch->data + (size_t)omp_get_thread_num() * stride,
                     attention_terms(d, scratch) };
}

/* ---- sums of weighted values ----------------------------------------------------- */

/* R rows, each sums over the keys so far: of P V, and of P, with P = exp(s - most). */
typedef struct partial {
    real *out;        /* (R,D) */
    real *most, *sum; /* (R) sum 0: no key yet */
} partial;

static size_t partial_numel(size_t R, size_t D)
{
    return R * (D + 2);
}

static partial partial_at(real *memory, size_t R, size_t D)
{
    return (partial){ memory, memory + R * D, memory + R * D + R };
}

/* The row's `most` becomes `most`, which is larger. What would be denormal is 0. */
static void raise(const partial *p, size_t r, real most, size_t D)
{
    const real least = LVLM_REAL_BITS == 32 ? (real)0x1p-102 : (real)0x1p-970;
    real *const out = p->out + r * D;
    real factor;
    assert(most > p->most[r]);
    vexp(&factor, &p->most[r], most, 1);
    for (size_t c = 0; c < D; c++) {
        const real x = out[c] * factor;
        out[c] = x < least && x > -least ? 0 : x;
    }
    p->sum[r] *= factor;
    p->most[r] = most;
}

/* s (width) of row r becomes P, 0 outside [from, to). */
static void take_row(const partial *p, size_t r, real *s, size_t from, size_t to,
                     size_t width, size_t D)
{
    if (from < to) {
        const real most = vmax(s + from, to - from);
        if (p->sum[r] == 0)
            p->most[r] = most;
        else if (most > p->most[r])
            raise(p, r, most, D);
        vexp(s + from, s + from, p->most[r], to - from);
        p->sum[r] += vsum(s + from, to - from);
    }
    memset(s, 0, from * sizeof *s);
    memset(s + to, 0, (width - to) * sizeof *s);
}

/* Keys or values [k0, k1) of kv head g: where they are, or widened into `own`.
 * x (Tk,kv_heads*D)  own (k1-k0,D) */
static attention_tile tile_of(real *own, lvlm_stored x, const attention_dims *d,
                              size_t g, size_t k0, size_t k1)
{
    const size_t D = d->D;
    if (x.dtype == LVLM_REAL_DTYPE) return attention_tile_at(x.data, d, g, k0);
    for (size_t k = k0; k < k1; k++)
        stored_widen(own + (k - k0) * D, x, (k * d->kv_heads + g) * D, D);
    return (attention_tile){ own, D };
}

/* The rows of a run over its keys in [first, end). */
static void sum_run(const partial *p, worker w, const real *q, lvlm_stored k,
                    lvlm_stored v, const attention_dims *d, size_t g,
                    const attention_run *run, size_t first, size_t end)
{
    const size_t G = attention_group(d), R = (run->q1 - run->q0) * G, D = d->D;
    const size_t tile = min_size(d->Tk, TILE);
    real *const packed = w.own, *const s = packed + R * D, *const wide = s + R * tile;
    const product_place place = { wide + tile * D, w.terms };
    first = max_size(first, run->k0);
    end = min_size(end, run->k1);
    memset(p->sum, 0, R * sizeof *p->sum);
    if (first >= end) {
        memset(p->out, 0, R * D * sizeof *p->out);
        return;
    }
    attention_gather(packed, q, d, g, run);
    for (size_t k0 = first; k0 < end; k0 += TILE) {
        const size_t k1 = min_size(k0 + TILE, end), width = k1 - k0;
        attention_scores(s, packed, tile_of(wide, k, d, g, k0, k1), d, R, width,
                         &place);
        for (size_t r = 0; r < R; r++) {
            size_t from, to;
            attention_visible(&from, &to, d, run->q0 + r / G, k0, k1);
            take_row(p, r, s + r * width, from, to, width, D);
        }
        attention_drop(s, d, g, run, k0, k1);
        const attention_tile values = tile_of(wide, v, d, g, k0, k1);
        product_nn(p->out, D, s, width, values.data, values.ld, R, D, width, 1,
                   k0 == first ? 0 : 1, &place);
    }
}

/* a += b, R rows */
static void add_partial(const partial *a, const partial *b, size_t R, size_t D)
{
    for (size_t r = 0; r < R; r++) {
        real factor;
        if (b->sum[r] == 0) continue;
        if (a->sum[r] == 0)
            a->most[r] = b->most[r];
        else if (b->most[r] > a->most[r])
            raise(a, r, b->most[r], D);
        vexp(&factor, &b->most[r], a->most[r], 1);
        for (size_t c = 0; c < D; c++) a->out[r * D + c] += factor * b->out[r * D + c];
        a->sum[r] += factor * b->sum[r];
    }
}

/* out (Tq,heads*D) of a run's rows */
static void finish_run(real *out, const partial *p, const attention_dims *d, size_t g,
                       const attention_run *run)
{
    const size_t G = attention_group(d), D = d->D;
    for (size_t r = 0; r < (run->q1 - run->q0) * G; r++) {
        const size_t t = run->q0 + r / G, h = g * G + r % G;
        real *const to = out + (t * d->heads + h) * D;
        const real sum = p->sum[r] == 0 ? 1 : p->sum[r];
        for (size_t c = 0; c < D; c++) to[c] = p->out[r * D + c] / sum;
    }
}

/* ---- tasks ----------------------------------------------------------------------- */

/* Parts of the keys: more than one only where all queries are one task. */
static size_t parts_of(const attention_dims *d)
{
    const size_t n = (d->Tk + PART - 1) / PART;
    return d->Tq > attention_step(d, ROWS) || n == 0 ? 1 : n;
}

/* Of a thread: Q (R,D), S (R,tile), a tile of keys or values (tile,D), a partial, and a
 * place for products. */
static size_t thread_numel(const attention_dims *d)
{
    const size_t R = attention_rows(d, attention_step(d, ROWS));
    const size_t tile = min_size(d->Tk, TILE);
    const size_t place = product_place_numel(R, max_size(d->D, tile));
    return (R * (d->D + tile) + tile * d->D + partial_numel(R, d->D) + place + 15) /
           16 * 16;
}

size_t attention_forward_scratch(const attention_dims *d, size_t n_threads)
{
    const size_t R = attention_rows(d, attention_step(d, ROWS)), parts = parts_of(d);
    return thread_numel(d) * n_threads +
           (parts > 1 ? d->kv_heads * parts * partial_numel(R, d->D) : 0);
}

/* The runs of [q0, end). */
static void forward_queries(real *out, const real *q, lvlm_stored k, lvlm_stored v,
                            const attention_dims *d, size_t g, size_t q0, size_t end,
                            worker w)
{
    const size_t R = attention_rows(d, end - q0);
    const partial p = partial_at(w.own, R, d->D);
    w.own += partial_numel(R, d->D);
    for (attention_run run = attention_run_at(d, q0, end); run.q0 < end;
         run = attention_run_at(d, run.q1, end)) {
        sum_run(&p, w, q, k, v, d, g, &run, 0, d->Tk);
        finish_run(out, &p, d, g, &run);
    }
}

/* Part number `part` of the keys for all queries, whose rows are those of `p`. */
static void forward_part(const partial *p, const real *q, lvlm_stored k, lvlm_stored v,
                         const attention_dims *d, size_t g, size_t part, worker w)
{
    const size_t G = attention_group(d), first = part * PART;
    for (attention_run run = attention_run_at(d, 0, d->Tq); run.q0 < d->Tq;
         run = attention_run_at(d, run.q1, d->Tq)) {
        const size_t r = run.q0 * G;
        const partial rows = { p->out + r * d->D, p->most + r, p->sum + r };
        sum_run(&rows, w, q, k, v, d, g, &run, first, first + PART);
    }
}

/* All queries in one task for each kv head and part of the keys. */
static void forward_parts(real *out, const real *q, lvlm_stored k, lvlm_stored v,
                          const attention_dims *d, size_t parts,
                          const ops_scratch *scratch)
{
    const size_t R = d->Tq * attention_group(d), stride = thread_numel(d);
    const size_t numel = partial_numel(R, d->D);
    const attention_run all = { 0, d->Tq, 0, d->Tk };
    real *const partials = scratch->data + stride * scratch->n_threads;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads)
    for (size_t g = 0; g < d->kv_heads; g++)
        for (size_t i = 0; i < parts; i++) {
            const partial p = partial_at(partials + (g * parts + i) * numel, R, d->D);
            forward_part(&p, q, k, v, d, g, i, worker_of(d, scratch, stride));
        }
    for (size_t g = 0; g < d->kv_heads; g++) {
        const partial sum = partial_at(partials + g * parts * numel, R, d->D);
        for (size_t i = 1; i < parts; i++) {
            const partial p = partial_at(partials + (g * parts + i) * numel, R, d->D);
            add_partial(&sum, &p, R, d->D);
        }
        finish_run(out, &sum, d, g, &all);
    }
}

void attention_forward_stored(real *out, const real *q, lvlm_stored k, lvlm_stored v,
                              const attention_dims *dims, const ops_scratch *scratch)
{
    const attention_dims d = *dims;
    const size_t step = attention_step(&d, ROWS), parts = parts_of(&d);
    const size_t stride = thread_numel(&d);
    attention_check(&d, scratch);
    if (parts > 1) {
        forward_parts(out, q, k, v, &d, parts, scratch);
        return;
    }
#pragma omp parallel for collapse(2) schedule(dynamic, 1) num_threads(                 \
    (int)scratch->n_threads) if (d.Tq * d.Tk * d.heads * d.D > LVLM_PARALLEL_MIN)
    for (size_t g = 0; g < d.kv_heads; g++)
        for (size_t q0 = 0; q0 < d.Tq; q0 += step)
            forward_queries(out, q, k, v, &d, g, q0, min_size(q0 + step, d.Tq),
                            worker_of(&d, scratch, stride));
}

void attention_forward(real *out, const real *q, const real *k, const real *v,
                       const attention_dims *dims, const ops_scratch *scratch)
{
    const lvlm_stored keys = { k, LVLM_REAL_DTYPE }, values = { v, LVLM_REAL_DTYPE };
    attention_forward_stored(out, q, keys, values, dims, scratch);
}
