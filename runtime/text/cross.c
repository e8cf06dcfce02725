/* cross.c - what blocks with cross-attention attend to; see cross.h. */
#include "runtime/text/cross.h"

#include <assert.h>
#include <string.h>

size_t cross_rows(const lvlm_cross_view *cross_view)
{
    return cross_view->n_keys > 0 ? cross_view->n_keys : 1;
}

static int list_rows(cross_keys *keys, lvlm_arena *arena, lvlm_error *err)
{
    const lvlm_cross_view *const s = keys->cross_view;
    const size_t rows = s->n_tiles > 0 ? s->n_keys / s->n_tiles : 1; /* of a tile */
    keys->from = lvlm_arena_alloc(arena, s->n_keys + 1, sizeof *keys->from);
    if (keys->from == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < s->n_keys; i++)
        keys->from[i] = s->tiles[i / rows] * rows + i % rows;
    return 0;
}

int cross_keys_make(cross_keys *keys, workspace *memory,
                    const lvlm_cross_view *cross_view, size_t N, size_t C,
                    bool has_gradient, lvlm_error *err)
{
    const size_t rows = cross_rows(cross_view);
    assert(N > 0 && C > 0);
    *keys = (cross_keys){ .cross_view = cross_view };
    const workspace_slot slots[] = { { &keys->states, rows, C },
                                     { &keys->dstates, has_gradient ? rows : 0, C },
                                     { &keys->sees, N, 1 } };
    TRY(list_rows(keys, &memory->lists, err));
    TRY(workspace_take(memory, slots, sizeof slots / sizeof *slots, "cross-attention",
                       err));
    for (size_t n = 0; keys->sees != NULL && n < N; n++)
        keys->sees[n] = cross_view->sees[n];
    if (keys->dstates != NULL)
        memset(keys->dstates, 0, rows * C * sizeof *keys->dstates);
    return 0;
}

void cross_keys_view(transformer_view *view, const cross_keys *keys)
{
    if (keys->cross_view == NULL) return;
    assert(keys->cross_view->lo != NULL && keys->sees != NULL);
    view->lo = keys->cross_view->lo;
    view->hi = keys->cross_view->hi;
    view->S = keys->cross_view->n_keys;
    view->states = keys->states;
    view->dstates = keys->dstates;
    view->sees = keys->sees;
}
