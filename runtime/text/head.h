/* head.h - from the last norm to logits and loss.
 *
 *   logits = W h,  [cap * tanh(logits / cap)]       W is the embedding table when tied
 *   loss   = mean of -log softmax(logits[n])[target n] over the rows that have a target
 *
 * N rows, C = hidden, V = vocab. */
#ifndef LVLM_RUNTIME_TEXT_HEAD_H
#define LVLM_RUNTIME_TEXT_HEAD_H

#include "runtime/block/stages.h"
#include "runtime/block/weights.h"
#include "runtime/block/workspace.h"

typedef struct text_head_config {
    size_t hidden, vocab;
    double softcap; /* 0: none, or not in force */
} text_head_config;

typedef struct text_head {
    text_head_config config;
    bool ignored;         /* the table is used although a head is stored */
    weight_matrix weight; /* (V,C) */
} text_head;

/* The softcap counts when the family's difference "final_softcap" is in force under
 * `reference`; "stored_head_ignored" takes the embedding table where config.json says
 * tied, whatever is stored. */
int head_open(text_head *head, const lvlm_manifest *manifest, const char *reference,
              lvlm_error *err);
int head_bind(text_head *head, weights *w, lvlm_error *err);
size_t head_scratch(const text_head *head, size_t n_threads);
void head_announce(const lvlm_packing *packing, stages *s);

/* Logits of N rows.  logits (N,V)  x (N,C) */
void head_project(real *logits, const real *x, const text_head *head, size_t N,
                  const ops_scratch *scratch);

/* With the stage of logits wanted those of every row, x (N,C); else only the loss, a
 * few rows at a time: x (n_targets,C), the rows of packing->predicting. Memory is
 * taken from `pool`. */
int head_forward(const text_head *head, const real *x, const lvlm_packing *packing,
                 stages *s, workspace_pool *pool, const ops_scratch *scratch,
                 lvlm_error *err);

/* Loss and gradients in one pass over the rows that have a target, a few at a time:
 * *sum = sum of their losses; dx = the gradient of scale times that sum, and the
 * head's weight gradient accumulates. Only a few rows of logits are in memory.
 * x, dx (n_targets,C): the rows of packing->predicting */
int head_backward(const text_head *head, double *sum, real *dx, const real *x,
                  const lvlm_packing *packing, double scale, workspace_pool *pool,
                  const ops_scratch *scratch, lvlm_error *err);

/* The memory that this takes. */
uint64_t head_backward_bytes(const text_head *head, size_t n_targets);

#endif
