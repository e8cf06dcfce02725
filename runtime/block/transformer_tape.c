/* transformer_tape.c - the memory of a pass through all blocks; see transformer.h.
 *
 *   TAPE_NOTHING   one set of arrays, in which each block overwrites the one before
 *   TAPE_INPUTS    one kept set, and what enters each block from `first` on
 *   TAPE_ALL       the shared set below `first`; from there on a kept set per block, in
 *                  which a block's output is the next one's input
 *
 * A kept set has the arrays that backward reads. The others alias, in the shared set,
 * an array that is dead when they are written. */
#include <assert.h>
#include <string.h>

#include "runtime/block/transformer.h"

/* What decides whether an array exists, and whether backward reads it. */
enum {
    READ = 1,       /* always */
    Q_NORM = 2,     /* a norm of queries */
    K_NORM = 4,     /* of keys */
    GATED = 8,      /* a gated MLP */
    QKV_GRADS = 16, /* the gradient of Wq, Wk or Wv */
    OUT_GRADS = 32, /* of Wo */
    ATTN_READ = 64, /* of attn_gate, or a norm after attention */
    FC1_GRADS = 128,
    DOWN_GRADS = 256,
    MLP_READ = 512, /* as ATTN_READ */
};

enum {
    X,
    NORMED1,
    RAW_Q,
    Q_,
    RAW_K,
    K_,
    V,
    HEADS,
    ATTN,
    MID,
    NORMED2,
    GATE,
    UP,
    HIDDEN,
    MLP,
    OUT,
    N_ARRAYS
};

typedef enum array_rows { ROWS_N, ROWS_S, ROWS_M } array_rows;
typedef enum array_width { WIDTH_C, WIDTH_Q, WIDTH_K, WIDTH_F } array_width;

// clang-format off
#define FIELD(field) offsetof(transformer_acts, field)

/* `when`: bits that a block must have for the array to exist. `readers`: any of them,
 * and it is kept. `alias`: whose memory it has in the shared set; itself: its own. */
static const struct array {
    size_t field;
    array_rows rows;
    array_width width;
    unsigned when, readers, alias;
} arrays[N_ARRAYS] = {
    [X]       = { FIELD(x),       ROWS_N, WIDTH_C, 0,      READ,       X },
    [NORMED1] = { FIELD(normed1), ROWS_N, WIDTH_C, 0,      QKV_GRADS,  NORMED1 },
    [RAW_Q]   = { FIELD(raw_q),   ROWS_N, WIDTH_Q, Q_NORM, READ,       Q_ },
    [Q_]      = { FIELD(q),       ROWS_N, WIDTH_Q, 0,      READ,       Q_ },
    [RAW_K]   = { FIELD(raw_k),   ROWS_S, WIDTH_K, K_NORM, READ,       K_ },
    [K_]      = { FIELD(k),       ROWS_S, WIDTH_K, 0,      READ,       K_ },
    [V]       = { FIELD(v),       ROWS_S, WIDTH_K, 0,      READ,       V },
    [HEADS]   = { FIELD(heads),   ROWS_N, WIDTH_Q, 0,      OUT_GRADS,  Q_ },
    [ATTN]    = { FIELD(attn),    ROWS_N, WIDTH_C, 0,      ATTN_READ,  ATTN },
    [MID]     = { FIELD(mid),     ROWS_N, WIDTH_C, 0,      READ,       X },
    [NORMED2] = { FIELD(normed2), ROWS_M, WIDTH_C, 0,      FC1_GRADS,  NORMED1 },
    [GATE]    = { FIELD(gate),    ROWS_M, WIDTH_F, 0,      READ,       GATE },
    [UP]      = { FIELD(up),      ROWS_M, WIDTH_F, GATED,  READ,       UP },
    [HIDDEN]  = { FIELD(hidden),  ROWS_M, WIDTH_F, 0,      DOWN_GRADS, GATE },
    [MLP]     = { FIELD(mlp),     ROWS_M, WIDTH_C, 0,      MLP_READ,   ATTN },
    [OUT]     = { FIELD(out),     ROWS_M, WIDTH_C, 0,      0,          X },
};

#undef FIELD
// clang-format on

#define BIT(array) (1u << (array))

static real **array_of(transformer_acts *a, size_t i)
{
    return (real **)(void *)((char *)a + arrays[i].field);
}

static bool learns(const weight_matrix *w)
{
    return w->grad != NULL || w->adapter != NULL;
}

static unsigned bits_of(const transformer_block *b)
{
    unsigned bits = READ;
    if (b->q_norm.w.v != NULL) bits |= Q_NORM;
    if (b->k_norm.w.v != NULL) bits |= K_NORM;
    if (transformer_is_gated(b)) bits |= GATED;
    if (learns(&b->q_w) || learns(&b->k_w) || learns(&b->v_w)) bits |= QKV_GRADS;
    if (learns(&b->out_w)) bits |= OUT_GRADS;
    if (b->post_attn_norm.w.v != NULL || b->attn_gate.grad != NULL) bits |= ATTN_READ;
    if (learns(&b->gate_w) || learns(&b->up_w)) bits |= FC1_GRADS;
    if (learns(&b->down_w)) bits |= DOWN_GRADS;
    if (b->post_mlp_norm.w.v != NULL || b->mlp_gate.grad != NULL) bits |= MLP_READ;
    return bits;
}

/* Arrays of a block with these bits. */
static unsigned existing(unsigned bits)
{
    unsigned set = 0;
    for (size_t i = 0; i < N_ARRAYS; i++)
        if ((arrays[i].when & ~bits) == 0) set |= BIT(i);
    return set;
}

/* Those that backward reads. */
static unsigned read_of(unsigned bits)
{
    unsigned set = 0;
    for (size_t i = 0; i < N_ARRAYS; i++)
        if ((arrays[i].readers & bits) != 0) set |= BIT(i);
    return set & existing(bits);
}

/* Arrays of the shared set that have the memory of those in `set`. */
static unsigned aliased(unsigned set)
{
    unsigned found = 0;
    for (size_t i = 0; i < N_ARRAYS; i++)
        if ((set & BIT(i)) != 0) found |= BIT(arrays[i].alias);
    return found;
}

typedef struct set_size {
    size_t N, S, M;
} set_size;

/* Memory for the arrays in `own`. */
static int make_set(transformer_acts *a, workspace *memory, unsigned own,
                    const set_size *size, const transformer_config *c, lvlm_error *err)
{
    const size_t rows[] = { size->N, size->S, size->M };
    const size_t widths[] = { c->hidden, c->heads * c->head_dim,
                              c->kv_heads * c->head_dim, c->mlp };
    workspace_slot slots[N_ARRAYS];
    size_t n = 0;
    for (size_t i = 0; i < N_ARRAYS; i++)
        if ((own & BIT(i)) != 0)
            slots[n++] = (workspace_slot){ array_of(a, i), rows[arrays[i].rows],
                                           widths[arrays[i].width] };
    return workspace_take(memory, slots, n, "activations", err);
}

/* Arrays that are not in `own` alias those of the shared set. */
static void alias(transformer_acts *a, unsigned own, transformer_acts *shared)
{
    for (size_t i = 0; i < N_ARRAYS; i++)
        if ((own & BIT(i)) == 0) *array_of(a, i) = *array_of(shared, arrays[i].alias);
}

/* Is the block passed over: cross-attention without states? */
static bool skips(const transformer_tape *t, size_t i)
{
    return t->blocks[i].is_cross && !t->options.has_states;
}

static bool is_kept(const transformer_tape *t, size_t i)
{
    if (t->options.keep == TAPE_INPUTS) return true;
    return t->options.keep == TAPE_ALL && i >= t->options.first;
}

/* Rows of keys and values for every block that runs. */
static size_t most_keys(const transformer_tape *t)
{
    size_t most = 0;
    for (size_t i = 0; i < t->n; i++) {
        const size_t S = t->blocks[i].is_cross ? t->options.S : t->options.N;
        if (!skips(t, i) && S > most) most = S;
    }
    return most;
}

/* Bits that any block has which runs. */
static unsigned all_bits(const transformer_tape *t)
{
    unsigned bits = READ;
    for (size_t i = 0; i < t->n; i++)
        if (!skips(t, i)) bits |= bits_of(&t->blocks[i]);
    return bits;
}

/* The shared set: what blocks write and do not keep. */
static int make_shared(transformer_tape *t, workspace *memory, lvlm_error *err)
{
    const transformer_tape_options *const o = &t->options;
    const set_size size = { o->N, most_keys(t), o->N };
    const unsigned all = all_bits(t);
    unsigned needed = o->keep == TAPE_ALL ? 0 : BIT(X); /* of out */
    for (size_t i = 0; i < t->n; i++) {
        const unsigned bits = bits_of(&t->blocks[i]);
        unsigned kept = 0;
        if (skips(t, i)) continue;
        if (is_kept(t, i)) kept = read_of(o->keep == TAPE_ALL ? bits : all) | BIT(OUT);
        needed |= aliased(existing(bits) & ~kept);
    }
    TRY(make_set(&t->shared, memory, needed, &size, t->config, err));
    alias(&t->shared, needed, &t->shared);
    if (o->keep != TAPE_ALL) t->out = t->shared.x;
    return 0;
}

/* TAPE_INPUTS: a set that is whole for every block. */
static int make_whole(transformer_tape *t, workspace *memory, lvlm_error *err)
{
    const transformer_tape_options *const o = &t->options;
    const set_size size = { o->N, most_keys(t), o->N };
    const unsigned own = read_of(all_bits(t));
    TRY(workspace_array(&t->inputs, memory, (t->n - o->first) * o->N, t->config->hidden,
                        "inputs of blocks", err));
    TRY(make_set(&t->kept[0], memory, own, &size, t->config, err));
    alias(&t->kept[0], own, &t->shared);
    return 0;
}

/* TAPE_ALL: a set for every block from `first` on. */
static int make_each(transformer_tape *t, workspace *memory, lvlm_error *err)
{
    const transformer_tape_options *const o = &t->options;
    TRY(workspace_array(&t->out, memory, o->N, t->config->hidden, "output of blocks",
                        err));
    real *next = t->out;
    for (size_t i = t->n; i-- > o->first;) {
        const transformer_block *const b = &t->blocks[i];
        const unsigned own = read_of(bits_of(b));
        const set_size size = { o->N, b->is_cross ? o->S : o->N,
                                i == o->narrows ? o->M : o->N };
        if (skips(t, i)) continue;
        TRY(make_set(&t->kept[i], memory, own, &size, t->config, err));
        alias(&t->kept[i], own, &t->shared);
        t->kept[i].out = next;
        next = t->kept[i].x;
    }
    return 0;
}

int transformer_tape_make(transformer_tape *t, workspace *memory,
                          const transformer_config *config,
                          const transformer_block *blocks, size_t n,
                          const transformer_tape_options *options, lvlm_error *err)
{
    assert(options->N > 0 && options->first <= n && options->narrows <= n);
    assert(options->narrows == n || options->M <= options->N);
    *t = (transformer_tape){
        .config = config, .blocks = blocks, .n = n, .options = *options
    };
    TRY(make_shared(t, memory, err));
    if (options->keep == TAPE_NOTHING) return 0;
    t->kept = lvlm_arena_alloc(&memory->lists, n + 1, sizeof *t->kept);
    if (t->kept == NULL) return lvlm_fail_memory(err);
    return options->keep == TAPE_ALL ? make_each(t, memory, err)
                                     : make_whole(t, memory, err);
}

int transformer_grads_make(transformer_grads *g, workspace *memory,
                           const transformer_tape *t, lvlm_error *err)
{
    const transformer_config *const c = t->config;
    const size_t N = t->options.N, C = c->hidden, F = c->mlp, S = most_keys(t);
    const size_t Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    const unsigned bits = all_bits(t);
    *g = (transformer_grads){ 0 };
    const workspace_slot slots[] = {
        { &g->x, N, C },
        { &g->branch, N, C },
        { &g->normed, N, C },
        { &g->q, N, Q },
        { &g->heads, N, Q },
        { &g->k, S, K },
        { &g->v, S, K },
        { &g->raw_k, (bits & K_NORM) != 0 ? S : 0, K },
        { &g->hidden, N, F },
        { &g->gate, N, F },
        { &g->up, (bits & GATED) != 0 ? N : 0, F },
    };
    return workspace_take(memory, slots, sizeof slots / sizeof *slots,
                          "gradients of activations", err);
}

/* ---- through the blocks ---------------------------------------------------------- */

static transformer_acts *acts_of(transformer_tape *t, size_t i)
{
    assert(i < t->n);
    if (!is_kept(t, i)) return &t->shared;
    return &t->kept[t->options.keep == TAPE_ALL ? i : 0];
}

real *transformer_tape_input(transformer_tape *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (!skips(t, i)) return acts_of(t, i)->x;
    return t->out;
}

/* Block i from a->x. */
static void run(transformer_tape *t, size_t i, transformer_acts *a,
                const transformer_view *view, const ops_scratch *scratch)
{
    assert(view->cache.k == NULL || t->options.keep == TAPE_NOTHING);
    transformer_forward(a, &t->blocks[i], t->config, view, scratch);
    t->held = i;
}

real *transformer_tape_forward(transformer_tape *t, size_t i, real *x,
                               const transformer_view *view, const ops_scratch *scratch)
{
    const size_t n = view->N * t->config->hidden;
    transformer_acts *const a = acts_of(t, i);
    assert(i < t->n && view->N <= t->options.N);
    assert(view->N == t->options.N || view->rows != NULL);
    if (skips(t, i)) return x;
    if (t->inputs != NULL && i >= t->options.first)
        memcpy(t->inputs + (i - t->options.first) * n, x, n * sizeof *x);
    if (a->x != x) memcpy(a->x, x, n * sizeof *x);
    run(t, i, a, view, scratch);
    return a->out;
}

void transformer_tape_backward(transformer_tape *t, size_t i, transformer_grads *g,
                               const transformer_view *view, const ops_scratch *scratch)
{
    const size_t n = t->options.N * t->config->hidden;
    transformer_acts *const a = acts_of(t, i);
    assert(i < t->n && i >= t->options.first && t->options.keep != TAPE_NOTHING);
    if (skips(t, i)) return;
    if (t->inputs != NULL && t->held != i) {
        memcpy(a->x, t->inputs + (i - t->options.first) * n, n * sizeof *a->x);
        run(t, i, a, view, scratch);
    }
    transformer_backward(g, a, &t->blocks[i], t->config, view, scratch);
}
