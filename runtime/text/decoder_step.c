/* decoder_step.c - rows that continue texts; see decoder.h.
 *
 *   ids -> embeddings -> blocks: linear maps of all rows at once, and attention of each
 *   row to the keys and values of its own text -> last norm
 *
 * Texts without images pass over blocks with cross-attention: those with images come
 * first, so that such a block computes the first rows only. */
#include <assert.h>
#include <string.h>

#include "runtime/ops/embed.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/nudge.h"
#include "runtime/text/decoder.h"

static bool has_cross(const decoder *text)
{
    for (size_t i = 0; i < text->config.layers; i++)
        if (text->blocks[i].is_cross) return true;
    return false;
}

int decoder_steps_make(decoder_steps *t, workspace *memory, const decoder *text,
                       size_t most, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const transformer_tape_options options = { .N = most,
                                               .has_states = has_cross(text),
                                               .first = c->layers,
                                               .narrows = c->layers };
    assert(most > 0 && most <= LINEAR_ALIKE);
    *t = (decoder_steps){ .most = most };
    t->rows = lvlm_arena_alloc(&memory->lists, most, sizeof *t->rows);
    if (t->rows == NULL) return lvlm_fail_memory(err);
    const workspace_slot slots[] = {
        { &t->cosines, most, c->block.head_dim / 2 },
        { &t->sines, most, c->block.head_dim / 2 },
        { &t->logn, c->rope.logn ? most : 0, 1 },
        { &t->sees, most, 1 },
        { &t->normed, most, c->block.hidden },
    };
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "language model",
                       err));
    return transformer_tape_make(&t->blocks, memory, &c->block, text->blocks, c->layers,
                                 &options, err);
}

size_t decoder_step_scratch(const decoder *text, size_t most, size_t keys,
                            size_t n_threads)
{
    const transformer_config *const c = &text->config.block;
    return LARGEST(transformer_scratch(c, most, 1, n_threads),
                   transformer_scratch(c, 1, keys, n_threads));
}

/* x (N,C) of the first block */
static void embed(real *x, const decoder *text, const decoder_row *rows, size_t N)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->block.hidden;
    for (size_t n = 0; n < N; n++) {
        embed_forward(x + n * C, text->embed.w, &rows[n].id, (real)c->embed_scale, 1,
                      c->embed_rows, C);
        if (c->nudge) nudge_forward(x + n * C, C);
    }
}

/* What the rows of block i attend to. */
static void look(decoder_steps *t, const decoder *text, const decoder_row *rows,
                 size_t N, size_t i)
{
    const transformer_block *const b = &text->blocks[i];
    const bool slides = b->has_window && text->config.sliding_window > 0;
    for (size_t n = 0; n < N; n++) {
        const kv_cache *const cache = rows[n].cache;
        transformer_row *const to = &t->rows[n];
        assert(rows[n].row < cache->capacity);
        *to = (transformer_row){ .cache = cache->blocks[i] };
        if (b->is_cross) {
            to->S = cache->image_rows;
            to->lo = cache->image_lo;
            to->hi = cache->image_hi;
        } else {
            to->S = to->hi = rows[n].row + 1;
            to->lo = slides ? rows[n].window_lo : 0;
        }
    }
}

static size_t count_with_images(const decoder_row *rows, size_t N)
{
    size_t n = 0;
    while (n < N && rows[n].cache->has_images) n++;
    for (size_t i = n; i < N; i++) assert(!rows[i].cache->has_images);
    return n;
}

/* Each row's text has its own length, which decides how it rotates. */
static int place(decoder_steps *t, const decoder *text, const decoder_row *rows,
                 size_t N, lvlm_error *err)
{
    const size_t half = text->config.block.head_dim / 2;
    for (size_t n = 0; n < N; n++) {
        t->sees[n] = rows[n].cache->sees;
        TRY(decoder_rotary(t->cosines + n * half, t->sines + n * half,
                           t->logn != NULL ? t->logn + n : NULL, rows[n].positions, 1,
                           rows[n].cache->length, &text->config, true, err));
    }
    return 0;
}

int decoder_step(const decoder *text, decoder_steps *t, const decoder_row *rows,
                 size_t N, const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t with_images = count_with_images(rows, N);
    real *x = transformer_tape_input(&t->blocks);
    assert(N > 0 && N <= t->most);
    TRY(place(t, text, rows, N, err));
    embed(x, text, rows, N);
    for (size_t i = 0; i < c->layers; i++) {
        transformer_view view = { .N = N, .rows = t->rows };
        if (text->blocks[i].is_cross) {
            view.N = with_images;
            view.sees = t->sees;
        } else {
            view.cosines = t->cosines;
            view.sines = t->sines;
            view.logn = t->logn;
        }
        look(t, text, rows, view.N, i);
        if (view.N > 0) x = transformer_tape_forward(&t->blocks, i, x, &view, scratch);
    }
    norm_forward(t->normed, x, &text->norm, N, c->block.hidden);
    return 0;
}
