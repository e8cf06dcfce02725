/* decoder.c - the way through the language model and back; see decoder.h for its
 * equations. */
#include "runtime/text/decoder.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/ops/add.h"
#include "runtime/ops/embed.h"
#include "runtime/ops/nudge.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/rows.h"

/* ---- forward -------------------------------------------------------------------- */

/* x = scaled embeddings, and image rows as they are. */
static void embed(real *x, const decoder *text, const lvlm_packing *p,
                  const real *image_rows)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    embed_forward(x, text->embed.w, p->ids, (real)c->embed_scale, p->N, c->embed_rows,
                  C);
    for (size_t n = 0; n < p->N; n++)
        if (p->image_row[n] >= 0)
            memcpy(x + n * C, image_rows + (size_t)p->image_row[n] * C, C * sizeof *x);
    if (c->nudge) nudge_forward(x, p->N * C);
}

void decoder_announce(const decoder *text, stages *s)
{
    stages_announce(s, "text.embed");
    stages_announce_blocks(s, DECODER_BLOCKS, text->config.layers);
    stages_announce(s, "text.norm");
}

/* Past the length that it was trained for, a Qwen of 2023 turns more slowly, in
 * evaluation alone; a text that goes on turns as it began. */
static double theta_of(const decoder_tape *t, const decoder_config *c)
{
    const decoder_rope *const rope = &c->rope;
    const bool goes_on = t->cache != NULL && t->cache->rows > 0;
    const size_t T = goes_on ? t->cache->length : t->pass.packing->T;
    const double D = (double)c->head_dim;
    if (!rope->dynamic_ntk || t->keep != TAPE_NOTHING || T <= rope->train_length)
        return rope->theta;
    const double ratio = log2((double)T / (double)rope->train_length);
    const double alpha = exp2(ceil(ratio + 1)) - 1;
    return rope->theta * pow(alpha, D / (D - 2));
}

static int fill_positions(decoder_tape *t, const decoder_config *c, lvlm_error *err)
{
    const decoder_rope *const rope = &c->rope;
    decoder_pass *const pass = &t->pass;
    const lvlm_packing *const p = pass->packing;
    const size_t half = c->head_dim / 2, *s = rope->sections;
    real *const inv_freq = lvlm_malloc(half * sizeof *inv_freq);
    unsigned char *const axis = lvlm_calloc(half, 1);
    const bool ok = inv_freq != NULL && axis != NULL;
    if (ok) {
        for (size_t j = 0; rope->axes == 3 && j < half; j++)
            axis[j] = (unsigned char)((j >= s[0]) + (j >= s[0] + s[1]));
        rope_frequencies(inv_freq, half, theta_of(t, c));
        if (rope->llama3)
            rope_scale_llama3(inv_freq, half, rope->factor, rope->low, rope->high,
                              rope->original);
        rope_table(pass->cosines, pass->sines, p->positions, axis, inv_freq, pass->N,
                   half);
    }
    for (size_t n = 0; pass->logn != NULL && n < pass->N; n++) {
        const double at = (double)p->positions[n] + 1,
                     most = (double)rope->train_length;
        pass->logn[n] = at > most ? (real)(log(at) / log(most)) : 1;
    }
    lvlm_free(inv_freq);
    lvlm_free(axis);
    return ok ? 0 : lvlm_fail_memory(err);
}

/* Keys and values of the pass's rows go behind those of block i that are there. */
static void stand_in_cache(decoder_acts *a, const kv_cache *cache, size_t i,
                           const decoder_config *c)
{
    const size_t at = cache->rows * c->kv_heads * c->head_dim;
    a->k = cache->blocks[i].k + at;
    a->v = cache->blocks[i].v + at;
}

/* A block that looks at the image: with the cache's keys and values of it, where they
 * are there. */
static void run_cross(const decoder *text, decoder_tape *t, size_t i, decoder_acts *a,
                      const ops_scratch *scratch)
{
    const decoder_config *const c = &text->config;
    const decoder_block *const b = &text->blocks[i];
    const bool is_kept = t->keep == TAPE_ALL && i >= t->first;
    cross_acts *const x = t->cache != NULL ? &t->cache->cross[i]
                          : is_kept        ? &t->cross[i]
                                           : &t->shared_cross;
    if (t->cache == NULL || !t->cache->looked)
        cross_keys_forward(x, b, c, &t->keys, scratch);
    cross_block_forward(a, x, b, c, &t->keys, t->pass.N, scratch);
}

/* Block i, whose input stands in a->x. */
static void run_block(const decoder *text, decoder_tape *t, size_t i, decoder_acts *a,
                      const ops_scratch *scratch)
{
    const decoder_config *const c = &text->config;
    if (text->is_cross[i]) {
        run_cross(text, t, i, a, scratch);
        return;
    }
    if (t->cache != NULL) stand_in_cache(a, t->cache, i, c);
    decoder_block_forward(a, &text->blocks[i], c, i, &t->pass, scratch);
}

/* Is there nothing that the block could look at? Then it is left out. */
static bool is_blind(const decoder *text, const decoder_tape *t, size_t i)
{
    return text->is_cross[i] && t->keys.sight == NULL;
}

/* Block i from x to what it gives, which is returned. */
static real *enter_block(const decoder *text, decoder_tape *t, size_t i, real *x,
                         const ops_scratch *scratch)
{
    const size_t n = t->pass.N * text->config.hidden;
    const bool is_kept = t->keep == TAPE_ALL && i >= t->first;
    decoder_acts *const a = is_kept ? &t->blocks[i] : &t->shared;
    if (is_blind(text, t, i)) return x;
    if (t->keep == TAPE_INPUTS && i >= t->first)
        memcpy(t->inputs + (i - t->first) * n, x, n * sizeof *x);
    if (a->x != x) memcpy(a->x, x, n * sizeof *x);
    run_block(text, t, i, a, scratch);
    t->held = i;
    return a->out;
}

/* Are rows left out behind the last norm, and not earlier? */
static bool narrows_late(const decoder *text, const decoder_tape *t)
{
    return t->pass.narrows == text->config.layers && t->pass.n_wanted < t->pass.N;
}

/* The last norm of what has left the blocks, x (N,C) or fewer. */
static int norm_rows(const decoder *text, decoder_tape *t, const real *x, stages *s,
                     lvlm_error *err)
{
    const bool late = narrows_late(text, t);
    const size_t M = t->pass.n_wanted, rows = late ? t->pass.N : M;
    const size_t C = text->config.hidden;
    if (x != t->last) memcpy(t->last, x, rows * C * sizeof *x);
    norm_forward(t->normed, t->last, &text->norm, rows, C);
    TRY(stages_emit_rows(s, "text.norm", t->normed, C, t->pass.packing, t->spare, err));
    if (!late) return 0;
    select_rows_forward(t->last, t->pass.wanted, M, C);
    select_rows_forward(t->normed, t->pass.wanted, M, C);
    return 0;
}

int decoder_forward(const decoder *text, decoder_tape *t, const real *image_rows,
                    const lvlm_sight *sight, stages *s, const ops_scratch *scratch,
                    lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const lvlm_packing *const p = t->pass.packing;
    const size_t N = t->pass.N, C = c->hidden;
    const bool looks_first = sight != NULL && (t->cache == NULL || !t->cache->looked);
    real *x = t->last;
    if (t->cache != NULL) {
        assert(t->cache->rows + N <= t->cache->capacity);
        t->pass.past = t->cache->rows;
    }
    embed(x, text, p, image_rows);
    TRY(stages_emit_rows(s, "text.embed", x, C, p, t->spare, err));
    TRY(fill_positions(t, c, err));
    if (looks_first)
        gather_rows_forward(t->keys.states, image_rows, t->keys.from, sight->n_keys, C);
    for (size_t i = 0; i < c->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        x = enter_block(text, t, i, x, scratch);
        TRY(stages_emit_rows(s, stages_block(name, DECODER_BLOCKS, i), x, C, p,
                             t->spare, err));
    }
    if (s->left == 0) return 0;
    if (t->cache != NULL) kv_cache_add(t->cache, N, p->T, sight != NULL);
    return norm_rows(text, t, x, s, err);
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (N,C) of the first block's input, to the table and the image rows. */
static void embed_gradient(const decoder *text, const lvlm_packing *p, const real *dx,
                           real *dimage_rows)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    if (text->embed.grad != NULL)
        embed_backward(text->embed.grad, dx, p->ids, c->pad, (real)c->embed_scale, p->N,
                       c->embed_rows, C);
    for (size_t n = 0; dimage_rows != NULL && n < p->N; n++)
        if (p->image_row[n] >= 0)
            add_forward(dimage_rows + (size_t)p->image_row[n] * C, dx + n * C, C);
}

/* The activations of block i: they are there, or made again from its input. */
static const decoder_acts *acts_again(const decoder *text, decoder_tape *t, size_t i,
                                      const ops_scratch *scratch)
{
    const size_t n = t->pass.N * text->config.hidden;
    if (t->keep == TAPE_ALL) return &t->blocks[i];
    if (t->held != i) {
        memcpy(t->shared.x, t->inputs + (i - t->first) * n, n * sizeof *t->inputs);
        run_block(text, t, i, &t->shared, scratch);
        t->held = i;
    }
    return &t->shared;
}

static void block_backward(const decoder *text, decoder_tape *t, size_t i,
                           decoder_grads *g, const ops_scratch *scratch)
{
    const decoder_acts *const a = acts_again(text, t, i, scratch);
    const decoder_block *const b = &text->blocks[i];
    if (text->is_cross[i])
        cross_block_backward(g, a,
                             t->keep == TAPE_ALL ? &t->cross[i] : &t->shared_cross, b,
                             &text->config, &t->keys, t->pass.N, scratch);
    else
        decoder_block_backward(g, a, b, &text->config, i, &t->pass, scratch);
}

int decoder_backward(const decoder *text, decoder_tape *t, const real *dnormed,
                     real *dimage_rows, const lvlm_sight *sight, stages *s,
                     const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t N = t->pass.N, M = t->pass.n_wanted, C = c->hidden;
    decoder_grads g;
    int rc = decoder_grads_make(&g, c, N, err);
    if (rc < 0) goto done;
    memset(g.x, 0, M * C * sizeof *g.x);
    norm_backward(g.x, dnormed, t->last, &text->norm, M, C, scratch);
    if (narrows_late(text, t)) select_rows_backward(g.x, t->pass.wanted, M, N, C);
    for (size_t i = c->layers; i-- > t->first; stages_advance(s, 1))
        if (!is_blind(text, t, i)) block_backward(text, t, i, &g, scratch);
    stages_advance(s, t->first);
    embed_gradient(text, t->pass.packing, g.x, dimage_rows);
    if (sight != NULL && dimage_rows != NULL)
        gather_rows_backward(dimage_rows, t->keys.dstates, t->keys.from, sight->n_keys,
                             C);
done:
    decoder_grads_free(&g);
    return rc;
}
