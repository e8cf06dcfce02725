/* attention_run.h - how attention is divided; private to ops.
 *
 * The G = heads / kv_heads query heads of a kv head read the same keys, so they are
 * computed together: row r of a run of queries [q0, q1) is query q0 + r / G of head
 * r % G of the kv head in question. Rows are gathered into scratch, (R,D).
 *
 * A run is multiplied only with the keys between the least lo and the largest hi of its
 * queries, tile by tile; among them a probability is 0 where a key is not visible to a
 * row. Queries with different ranges make shorter runs, for they have more such keys. A
 * run ends before a query whose range does not overlap those before it, so that a NaN
 * of one text, frame or window is never multiplied by a 0 of another. */
#ifndef LVLM_RUNTIME_OPS_ATTENTION_RUN_H
#define LVLM_RUNTIME_OPS_ATTENTION_RUN_H

#include "runtime/ops/attention.h"
#include "runtime/ops/product.h"

typedef struct attention_run {
    size_t q0, q1; /* queries */
    size_t k0, k1; /* keys; k0 >= k1: none */
} attention_run;

static inline size_t attention_group(const attention_dims *d)
{
    return d->heads / d->kv_heads;
}

/* Queries whose rows are about `rows`; at least one. */
static inline size_t attention_step(const attention_dims *d, size_t rows)
{
    return max_size(rows / attention_group(d), 1);
}

/* The most rows of a run of `step` queries. */
static inline size_t attention_rows(const attention_dims *d, size_t step)
{
    return min_size(step, d->Tq) * attention_group(d);
}

/* The run that begins with q0 and ends at `end` or before. */
attention_run attention_run_at(const attention_dims *d, size_t q0, size_t end);

/* rows (R,D) = those of x (Tq,heads*D) */
void attention_gather(real *rows, const real *x, const attention_dims *d, size_t g,
                      const attention_run *run);

/* Some keys or values of a kv head: rows D wide, `ld` apart. */
typedef struct attention_tile {
    const real *data;
    size_t ld;
} attention_tile;

/* Those of kv head g from number `first` on.  x (Tk,kv_heads*D) */
static inline attention_tile attention_tile_at(const real *x, const attention_dims *d,
                                               size_t g, size_t first)
{
    const size_t ld = d->kv_heads * d->D;
    return (attention_tile){ x + first * ld + g * d->D, ld };
}

/* s (R,width) = scale q k^T, capped, for the `width` keys k. Where products are
 * rounded, operands of this one have two terms: exp makes an error of a large score a
 * relative one, many times that of its operands.
 * q (R,D)  place: as for all products here */
void attention_scores(real *s, const real *q, attention_tile k, const attention_dims *d,
                      size_t R, size_t width, const product_place *place);

/* The part of [k0, k1) that query t sees, as offsets from k0. */
void attention_visible(size_t *from, size_t *to, const attention_dims *d, size_t t,
                       size_t k0, size_t k1);

/* Drop elements of s (R,k1-k0), one for each row and key, as dims->drop does with the
 * probabilities: nothing outside of what a row sees. */
void attention_drop(real *s, const attention_dims *d, size_t g,
                    const attention_run *run, size_t k0, size_t k1);

/* Of operands of all products here, the terms that they are rounded to. */
unsigned attention_terms(const attention_dims *d, const ops_scratch *scratch);

/* attention_scratch of one direction. */
size_t attention_forward_scratch(const attention_dims *d, size_t n_threads);
size_t attention_backward_scratch(const attention_dims *d, size_t n_threads);

/* Assert what callers promise. */
void attention_check(const attention_dims *d, const ops_scratch *scratch);

#endif
