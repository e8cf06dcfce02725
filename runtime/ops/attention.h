/* attention.h - softmax attention over one range of key rows per query.
 *
 * Causal, prefix-LM, sliding-window, packed and unpadded batches are all expressed by
 * ranges: query t attends to key rows [lo[t], hi[t]). Without rotary positions, rows
 * may be permuted first to make the visible keys a range. */
#ifndef LVLM_RUNTIME_OPS_ATTENTION_H
#define LVLM_RUNTIME_OPS_ATTENTION_H

#include "runtime/ops/dropout.h"
#include "runtime/ops/stored.h"

typedef struct attention_dims {
    size_t Tq, Tk;    /* query rows; key and value rows */
    size_t heads;     /* query heads */
    size_t kv_heads;  /* divides heads; query head n uses kv head n/(heads/kv_heads) */
    size_t D;         /* width of one head */
    real scale;       /* s = scale * q.k */
    real softcap;     /* 0: none; else s <- softcap * tanh(s / softcap) */
    const size_t *lo; /* (Tq) first visible key row */
    const size_t *hi; /* (Tq) one past the last, <= Tk; hi <= lo: none, out is 0 */
    dropout drop;     /* of probabilities, after they are normalised: key k of query t
                         and head n is number k - lo[t] of dropout_stream(drop, t, n) */
} attention_dims;

/* `scratch` for the linear maps that make keys and values: where query heads share
 * these, and operands are rounded, what enters the maps has two terms. All queries read
 * their errors, and they are a small part of a block's products (in PaliGemma 3B 1 of
 * 100). On six texts, with trained weights (135M parameters, 9 heads on 3), this takes
 * the error of bf16 from 0.40 to 0.35 of that of the reference's bf16 in logits (the
 * median of rows) and from 0.37 to 0.32 in gradients, which have theirs from the
 * forward pass: two terms in all products of the backward one change nothing. */
ops_scratch attention_key_scratch(const ops_scratch *scratch, size_t heads,
                                  size_t kv_heads);

/* Elements of scratch for both directions, by the five sizes of `dims`. Longer texts
 * need more only where there are few queries (a text that is continued), and then far
 * less than their keys. */
size_t attention_scratch(const attention_dims *dims, size_t n_threads);

/* out[t] = sum_k drop(softmax_k(s[t,k])) v[k] per head. Keys that no query of a task
 * sees are never read. If ranges do not overlap, no value of one affects another, not
 * even a NaN. For more than LINEAR_ALIKE queries (linear.h) operands are rounded as
 * scratch->terms has it, those of scores to two terms. out may be q.
 * out, q (Tq,heads*D) k, v (Tk,kv_heads*D) */
void attention_forward(real *out, const real *q, const real *k, const real *v,
                       const attention_dims *dims, const ops_scratch *scratch);
/* The same with keys and values of any dtype, widened a tile at a time. */
void attention_forward_stored(real *out, const real *q, lvlm_stored k, lvlm_stored v,
                              const attention_dims *dims, const ops_scratch *scratch);

/* Accumulates; any gradient may be NULL. Probabilities are recomputed; operands are
 * rounded where those of the forward are.  dq, dout, q (Tq,heads*D)
 * dk, dv, k, v (Tk,kv_heads*D) */
void attention_backward(real *dq, real *dk, real *dv, const real *dout, const real *q,
                        const real *k, const real *v, const attention_dims *dims,
                        const ops_scratch *scratch);

#endif
