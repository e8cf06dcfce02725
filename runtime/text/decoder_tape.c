/* decoder_tape.c - the memory of one pass through the decoder; see decoder.h. */
#include "runtime/text/decoder.h"

#include <assert.h>

/* Is a stage wanted or given that comes from block `first` or after it? */
static bool shows_end(const stages *s, size_t first, size_t layers)
{
    char name[STAGE_NAME_BYTES];
    if (s == NULL) return false;
    for (size_t i = first; i < layers; i++)
        if (stages_shows(s, stages_block(name, DECODER_BLOCKS, i))) return true;
    return stages_shows(s, "text.norm");
}

/* The block after whose attention only wanted rows remain: the last one that runs, if
 * it is self-attention and no stage needs all rows. */
static size_t narrowing_block(const decoder *text, const decoder_tape_options *o)
{
    const size_t layers = text->config.layers;
    size_t i = layers;
    while (i > 0 && text->blocks[i - 1].is_cross && o->cross_view == NULL) i--;
    if (i == 0 || text->blocks[i - 1].is_cross || shows_end(o->stages, i - 1, layers))
        return layers;
    return i - 1;
}

/* The block where backward ends. */
static size_t first_block(const decoder *text, const decoder_tape_options *o)
{
    const size_t layers = text->config.layers;
    size_t cross = 0;
    if (o->keep == TAPE_NOTHING) return layers;
    if (!o->to_images) return text->first;
    if (o->cross_view == NULL) return 0; /* image rows enter the first block */
    while (cross < layers && !text->blocks[cross].is_cross) cross++;
    return cross < text->first ? cross : text->first;
}

static int make_blocks(decoder_tape *t, workspace *memory, const decoder *text,
                       const decoder_tape_options *o, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const transformer_tape_options blocks = {
        .N = t->N,
        .has_states = o->cross_view != NULL,
        .S = o->cross_view != NULL ? cross_rows(o->cross_view) : 0,
        .keep = o->keep,
        .first = first_block(text, o),
        .narrows = t->narrows,
        .M = t->n_wanted,
    };
    return transformer_tape_make(&t->blocks, memory, &c->block, text->blocks, c->layers,
                                 &blocks, err);
}

/* The numbers of rows, text by text. */
static int number_rows(decoder_tape *t, workspace *memory, lvlm_error *err)
{
    const lvlm_packing *const p = t->packing;
    if (t->noise == NULL) return 0;
    t->rows = lvlm_arena_alloc(&memory->lists, p->N, sizeof *t->rows);
    if (t->rows == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < p->n_texts; i++)
        for (size_t n = p->texts[i]; n < p->texts[i + 1]; n++)
            t->rows[n] = noise_row(t->noise->texts + i, n - p->texts[i]);
    return 0;
}

int decoder_tape_make(decoder_tape *t, workspace *memory, const decoder *text,
                      const lvlm_packing *packing, const decoder_tape_options *o,
                      lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t N = packing->N, C = c->block.hidden, cells = packing->B * packing->T;
    const bool evaluates = o->keep == TAPE_NOTHING;
    const size_t M = o->wanted != NULL ? o->n_wanted : N;
    assert(N > 0 && packing->axes == c->rope.axes && M <= N);
    assert(o->cache == NULL || evaluates);
    assert(o->noise == NULL || !evaluates);
    assert(o->cache == NULL || (o->cache->rows == 0 && N <= o->cache->capacity));
    *t = (decoder_tape){ .packing = packing,
                         .N = N,
                         .wanted = o->wanted,
                         .n_wanted = M,
                         .narrows = narrowing_block(text, o),
                         .cache = o->cache,
                         .noise = o->noise,
                         .pool = memory->pool };
    const workspace_slot slots[] = {
        { &t->cosines, N, c->block.head_dim / 2 },
        { &t->sines, N, c->block.head_dim / 2 },
        { &t->logn, c->rope.logn && evaluates ? N : 0, 1 },
        { &t->normed, t->narrows < c->layers ? M : N, C },
        { &t->spare, N < cells ? cells : 0, C },
    };
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "language model",
                       err));
    TRY(number_rows(t, memory, err));
    if (o->cross_view != NULL)
        TRY(cross_keys_make(&t->keys, memory, o->cross_view, N, C, o->to_images, err));
    return make_blocks(t, memory, text, o, err);
}
