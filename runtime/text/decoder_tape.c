/* decoder_tape.c - the memory of one pass through the decoder; see decoder.h.
 *
 *   TAPE_NOTHING   one set of arrays, in which each block overwrites the one before
 *   TAPE_INPUTS    one whole set, and what enters each block from `first` on
 *   TAPE_ALL       one set below `first`; from there on one each, in which a block's
 *                  output is the next one's input, and what only gradients of frozen
 *                  weights would read lies in the first set */
#include "formats/base/alloc.h"
#include "runtime/text/decoder.h"

/* What blocks look at, for every one of them or, without a cache, for one at a time. */
static int make_cross(decoder_tape *t, const decoder *text,
                      const decoder_tape_options *o, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const bool back = o->keep != TAPE_NOTHING;
    if (t->cache != NULL && t->cache->looked)
        return cross_keys_again(&t->keys, o->sight, t->pass.N, err);
    TRY(cross_keys_make(&t->keys, c, o->sight, t->pass.N, back, err));
    if (!o->to_images) t->keys.dstates = NULL;
    if (t->cache == NULL)
        return cross_acts_make(&t->shared_cross, c, &t->keys, back, err);
    for (size_t i = 0; i < c->layers; i++)
        if (text->is_cross[i])
            TRY(cross_acts_make(&t->cache->cross[i], c, &t->keys, false, err));
    return 0;
}

/* Is a stage wanted that comes from block `first` or from behind it? */
static bool shows_end(const stages *s, size_t first, size_t layers)
{
    char name[STAGE_NAME_BYTES];
    if (s == NULL) return false;
    for (size_t i = first; i < layers; i++)
        if (stages_wants(s, stages_block(name, DECODER_BLOCKS, i))) return true;
    return stages_wants(s, "text.norm");
}

/* Behind whose attention rows are left out: the last block that is not blind, where it
 * looks at the text and nobody wants to see all rows. */
static size_t narrowing_block(const decoder *text, const decoder_tape_options *o)
{
    const size_t layers = text->config.layers;
    size_t i = layers;
    while (i > 0 && text->is_cross[i - 1] && o->sight == NULL) i--;
    if (i == 0 || text->is_cross[i - 1] || shows_end(o->stages, i - 1, layers))
        return layers;
    return i - 1;
}

/* Where the way back ends. */
static size_t first_block(const decoder *text, const decoder_tape_options *o)
{
    const size_t layers = text->config.layers;
    size_t looks = 0;
    if (o->keep == TAPE_NOTHING) return layers;
    if (!o->to_images) return text->first;
    if (o->sight == NULL) return 0; /* image rows enter the first block */
    while (looks < layers && !text->is_cross[looks]) looks++;
    return looks < text->first ? looks : text->first;
}

static int make_kept(decoder_tape *t, const decoder *text,
                     const decoder_tape_options *o, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    real *next = t->last;
    for (size_t i = c->layers; i-- > t->first;) {
        const bool looks = text->is_cross[i];
        const bool narrows = i == t->pass.narrows;
        const decoder_acts_options kept = { .N = t->pass.N,
                                            .M = narrows ? t->pass.n_wanted : 0,
                                            .keep = true,
                                            .cross = looks,
                                            .block = &text->blocks[i],
                                            .lender = &t->shared };
        if (looks && o->sight == NULL) continue; /* left out */
        TRY(decoder_acts_make(&t->blocks[i], c, &kept, err));
        if (looks) TRY(cross_acts_make(&t->cross[i], c, &t->keys, true, err));
        t->blocks[i].out = next;
        next = t->blocks[i].x;
    }
    return 0;
}

static int make_blocks(decoder_tape *t, const decoder *text,
                       const decoder_tape_options *o, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const decoder_acts_options shared = { .N = t->pass.N,
                                          .keep = o->keep == TAPE_INPUTS,
                                          .cross = o->sight != NULL };
    t->n_blocks = o->keep == TAPE_ALL ? c->layers : 0;
    t->blocks = lvlm_calloc(t->n_blocks + 1, sizeof *t->blocks);
    t->cross = lvlm_calloc(t->n_blocks + 1, sizeof *t->cross);
    if (t->blocks == NULL || t->cross == NULL) return lvlm_fail_memory(err);
    if (o->sight != NULL) TRY(make_cross(t, text, o, err));
    TRY(decoder_acts_make(&t->shared, c, &shared, err));
    return o->keep == TAPE_ALL ? make_kept(t, text, o, err) : 0;
}

int decoder_tape_make(decoder_tape *t, const decoder *text, const lvlm_packing *packing,
                      const decoder_tape_options *o, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t N = packing->N, C = c->hidden, cells = packing->B * packing->T;
    const bool evaluates = o->keep == TAPE_NOTHING;
    const size_t M = o->wanted != NULL ? o->n_wanted : N;
    *t = (decoder_tape){ .pass = { .N = N,
                                   .packing = packing,
                                   .wanted = o->wanted,
                                   .n_wanted = M,
                                   .narrows = narrowing_block(text, o) } };
    t->cache = o->cache;
    t->keep = o->keep;
    t->first = first_block(text, o);
    const workspace_slot slots[] = {
        { &t->pass.cosines, N, c->head_dim / 2 },
        { &t->pass.sines, N, c->head_dim / 2 },
        { &t->pass.logn, c->rope.logn && evaluates ? N : 0, 1 },
        { &t->inputs, o->keep == TAPE_INPUTS ? (c->layers - t->first) * N : 0, C },
        { &t->last, N, C },
        { &t->normed, t->pass.narrows < c->layers ? M : N, C },
        { &t->spare, N < cells ? cells : 0, C },
    };
    TRY(workspace_allocate(&t->memory, slots, sizeof slots / sizeof *slots,
                           "language model", err));
    return make_blocks(t, text, o, err);
}

void decoder_tape_free(decoder_tape *t)
{
    for (size_t i = 0; i < t->n_blocks; i++) {
        if (t->blocks != NULL) decoder_acts_free(&t->blocks[i]);
        if (t->cross != NULL) cross_acts_free(&t->cross[i]);
    }
    lvlm_free(t->blocks);
    lvlm_free(t->cross);
    decoder_acts_free(&t->shared);
    cross_acts_free(&t->shared_cross);
    cross_keys_free(&t->keys);
    lvlm_free(t->memory);
    *t = (decoder_tape){ 0 };
}

uint64_t decoder_tape_bytes(const decoder_tape *t)
{
    uint64_t sum = workspace_bytes(t->memory) + workspace_bytes(t->keys.memory) +
                   workspace_bytes(t->shared.memory) +
                   workspace_bytes(t->shared_cross.memory);
    for (size_t i = 0; i < t->n_blocks; i++)
        sum +=
            workspace_bytes(t->blocks[i].memory) + workspace_bytes(t->cross[i].memory);
    return sum;
}
