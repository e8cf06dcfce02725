/* decoder.c - the language model, forward and backward; see decoder.h for its
 * equations. */
#include "runtime/text/decoder.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "runtime/ops/add.h"
#include "runtime/ops/embed.h"
#include "runtime/ops/nudge.h"
#include "runtime/ops/rows.h"

/* ---- forward -------------------------------------------------------------------- */

static dropout embed_drop(const decoder_tape *t)
{
    return noise_at(t->noise, LVLM_DROPOUT_TEXT_EMBED, 0, t->rows);
}

static real image_scale(const decoder_config *c)
{
    return c->scales_images ? (real)c->embed_scale : 1;
}

static void put_image_row(real *x, const real *row, const decoder_config *c)
{
    const real scale = image_scale(c);
    for (size_t i = 0; i < c->block.hidden; i++) x[i] = scale * row[i];
}

/* x = scaled embeddings after dropout, and image rows. */
static void embed(real *x, const decoder *text, const decoder_tape *t,
                  const real *image_rows)
{
    const lvlm_packing *const p = t->packing;
    const dropout drop = embed_drop(t);
    const decoder_config *const c = &text->config;
    const size_t C = c->block.hidden;
    assert(text->embed.w.data != NULL);
    embed_forward(x, text->embed.w, p->ids, (real)c->embed_scale, p->N, c->embed_rows,
                  C);
    dropout_rows(x, &drop, NULL, p->N, C);
    for (size_t n = 0; n < p->N; n++)
        if (p->image_row[n] >= 0)
            put_image_row(x + n * C, image_rows + (size_t)p->image_row[n] * C, c);
    if (c->nudge) nudge_forward(x, p->N * C);
}

void decoder_announce(const decoder *text, stages *s)
{
    stages_announce(s, "text.embed");
    stages_announce_blocks(s, DECODER_BLOCKS, text->config.layers);
    stages_announce(s, "text.norm");
}

/* What the rows of block i attend to. */
static transformer_view view_of(const decoder_tape *t, const decoder *text, size_t i)
{
    const lvlm_packing *const p = t->packing;
    assert(i < text->config.layers);
    const bool slides = p->window_lo != NULL && text->blocks[i].has_window;
    transformer_view view = {
        .N = t->N,
        .attention_drop = noise_at(t->noise, LVLM_DROPOUT_TEXT_ATTENTION, i, t->rows),
        .attn_drop = noise_at(t->noise, LVLM_DROPOUT_TEXT_BRANCHES, 2 * i, t->rows),
        .mlp_drop = noise_at(t->noise, LVLM_DROPOUT_TEXT_BRANCHES, 2 * i + 1, t->rows),
    };
    if (t->cache != NULL) view.cache = t->cache->blocks[i];
    if (text->blocks[i].is_cross) {
        cross_keys_view(&view, &t->keys);
        return view;
    }
    view.lo = slides ? p->window_lo : p->lo;
    view.hi = p->hi;
    view.cosines = t->cosines;
    view.sines = t->sines;
    view.logn = t->logn;
    if (i == t->narrows && t->n_wanted < t->N) {
        view.wanted = t->wanted;
        view.n_wanted = t->n_wanted;
        view.only_keys = t->blocks.options.keep == TAPE_NOTHING &&
                         t->wanted[t->n_wanted - 1] == t->wanted[0] + t->n_wanted - 1;
    }
    return view;
}

/* Are rows left out after the last norm, and not earlier? */
static bool narrows_late(const decoder *text, const decoder_tape *t)
{
    return t->narrows == text->config.layers && t->n_wanted < t->N;
}

/* The last norm of what has left the blocks, x (N,C) or fewer. */
static int norm_rows(const decoder *text, decoder_tape *t, const real *x, stages *s,
                     lvlm_error *err)
{
    const bool late = narrows_late(text, t);
    const size_t M = t->n_wanted, rows = late ? t->N : M;
    const size_t C = text->config.block.hidden;
    real *const last = t->blocks.out;
    if (x != last) memcpy(last, x, rows * C * sizeof *x);
    norm_forward(t->normed, last, &text->norm, rows, C);
    TRY(stages_emit_rows(s, "text.norm", t->normed, C, t->packing, t->spare, err));
    if (!late) return 0;
    select_rows_forward(last, t->wanted, M, C);
    select_rows_forward(t->normed, t->wanted, M, C);
    return 0;
}

static void release_block(const decoder *text, size_t i)
{
    char prefix[STAGE_NAME_BYTES];
    const int n = snprintf(prefix, sizeof prefix, DECODER_BLOCKS "%zu.", i);
    assert(n > 0 && (size_t)n < sizeof prefix);
    (void)n;
    weights_release_pages(text->releases, prefix);
}

int decoder_forward(const decoder *text, decoder_tape *t, const real *image_rows,
                    const lvlm_cross_view *cross_view, stages *s,
                    const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const lvlm_packing *const p = t->packing;
    const size_t N = t->N, C = c->block.hidden;
    real *x = transformer_tape_input(&t->blocks);
    assert(t->cache == NULL || (t->cache->rows == 0 && N <= t->cache->capacity));
    if (stages_computes(s, "text.embed")) embed(x, text, t, image_rows);
    TRY(stages_emit_rows(s, "text.embed", x, C, p, t->spare, err));
    TRY(decoder_rotary(t->cosines, t->sines, t->logn, p->positions, N, p->T, c,
                       t->blocks.options.keep == TAPE_NOTHING, err));
    if (t->keys.states != NULL)
        gather_rows_forward(t->keys.states, image_rows, t->keys.from,
                            cross_view->n_keys, C);
    for (size_t i = 0; i < c->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        const transformer_view view = view_of(t, text, i);
        if (stages_computes(s, stages_block(name, DECODER_BLOCKS, i)))
            x = transformer_tape_forward(&t->blocks, i, x, &view, scratch);
        TRY(stages_emit_rows(s, name, x, C, p, t->spare, err));
        if (text->releases != NULL) release_block(text, i);
    }
    if (s->left == 0) return 0;
    if (t->cache != NULL) kv_cache_fill(t->cache, p, cross_view);
    return norm_rows(text, t, x, s, err);
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (N,C) of the first block's input, to the image rows and the table; overwritten. */
static void embed_gradient(const decoder *text, const decoder_tape *t, real *dx,
                           real *dimage_rows)
{
    const decoder_config *const c = &text->config;
    const lvlm_packing *const p = t->packing;
    const dropout drop = embed_drop(t);
    const size_t C = c->block.hidden;
    for (size_t n = 0; dimage_rows != NULL && n < p->N; n++)
        if (p->image_row[n] >= 0)
            add_scaled_forward(dimage_rows + (size_t)p->image_row[n] * C, dx + n * C,
                               image_scale(c), C);
    if (text->embed.grad == NULL) return;
    dropout_rows(dx, &drop, NULL, p->N, C);
    embed_backward(text->embed.grad, dx, p->ids, c->pad, (real)c->embed_scale, p->N,
                   c->embed_rows, C);
}

int decoder_backward(const decoder *text, decoder_tape *t, const real *dnormed,
                     real *dimage_rows, const lvlm_cross_view *cross_view, stages *s,
                     const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t N = t->N, M = t->n_wanted, C = c->block.hidden;
    const size_t first = t->blocks.options.first;
    assert(t->blocks.options.keep != TAPE_NOTHING && t->cache == NULL);
    assert(first <= c->layers &&
           (dimage_rows == NULL || first == 0 || cross_view != NULL));
    workspace memory = { .pool = t->pool };
    transformer_grads g;
    int rc = transformer_grads_make(&g, &memory, &t->blocks, err);
    if (rc < 0) goto done;
    memset(g.x, 0, M * C * sizeof *g.x);
    norm_backward(g.x, dnormed, t->blocks.out, &text->norm, M, C, scratch);
    if (narrows_late(text, t)) select_rows_backward(g.x, t->wanted, M, N, C);
    for (size_t i = c->layers; i-- > first; stages_advance(s, 1)) {
        const transformer_view view = view_of(t, text, i);
        transformer_tape_backward(&t->blocks, i, &g, &view, scratch);
    }
    stages_advance(s, first);
    embed_gradient(text, t, g.x, dimage_rows);
    if (cross_view != NULL && dimage_rows != NULL)
        gather_rows_backward(dimage_rows, t->keys.dstates, t->keys.from,
                             cross_view->n_keys, C);
done:
    workspace_free(&memory);
    return rc;
}
