/* cross_view.c - sets of tiles as ranges of keys; see cross_view.h. */
#include "runtime/batch/cross_view.h"

#include <assert.h>
#include <string.h>

#include "formats/base/list.h"

/* One set that rows of the batch see. */
typedef struct tile_set {
    size_t text;
    const int64_t *mask; /* (places) 1: in the set; NULL: all are */
    size_t first;        /* of its tiles in the view */
} tile_set;

typedef struct builder {
    lvlm_cross_view *out;
    const lvlm_packing *p;
    const lvlm_images *images;
    size_t places; /* tiles of one text */
    tile_set *sets;
    size_t n_sets, set_capacity;
    size_t tile_capacity;
} builder;

static bool same_set(const builder *b, const tile_set *set, size_t text,
                     const int64_t *mask)
{
    if (set->text != text || (set->mask == NULL) != (mask == NULL)) return false;
    return mask == NULL || memcmp(set->mask, mask, b->places * sizeof *mask) == 0;
}

/* Memory for one more set, its end and its tiles. */
static int make_room(builder *b, lvlm_error *err)
{
    lvlm_cross_view *const s = b->out;
    TRY(lvlm_list_room(&b->sets, &b->set_capacity, b->n_sets + 1, sizeof *b->sets,
                       err));
    return lvlm_list_room(&s->tiles, &b->tile_capacity, s->n_tiles + b->places,
                          sizeof *s->tiles, err);
}

/* The number of the set, which is added if it is new. Rows of one set mostly follow one
 * another, so the latest sets are compared first. */
static int find_set(size_t *out, builder *b, size_t text, const int64_t *mask,
                    lvlm_error *err)
{
    lvlm_cross_view *const s = b->out;
    for (size_t i = b->n_sets; i-- > 0 && b->sets[i].text == text;) {
        if (!same_set(b, &b->sets[i], text, mask)) continue;
        *out = i;
        return 0;
    }
    TRY(make_room(b, err));
    *out = b->n_sets;
    b->sets[b->n_sets++] = (tile_set){ text, mask, s->n_tiles };
    for (size_t i = 0; i < b->places; i++)
        if (mask == NULL || mask[i] != 0) s->tiles[s->n_tiles++] = text * b->places + i;
    b->sets[b->n_sets].first = s->n_tiles; /* where the next one begins */
    return 0;
}

static bool sees_any(const int64_t *mask, size_t places)
{
    for (size_t i = 0; i < places; i++)
        if (mask[i] != 0) return true;
    return false;
}

/* What row n sees. */
static int add_row(builder *b, size_t n, size_t rows, bool unmasked, lvlm_error *err)
{
    const size_t cell = b->p->cell[n];
    assert(b->images->n > 0 && b->places > 0);
    const int64_t *mask =
        b->images->sees != NULL ? b->images->sees + cell * b->places : NULL;
    size_t set = 0;
    b->out->sees[n] = mask == NULL || sees_any(mask, b->places);
    if (!b->out->sees[n]) {
        if (!unmasked) return 0;
        mask = NULL;
    }
    TRY(find_set(&set, b, cell / b->p->T, mask, err));
    b->out->lo[n] = b->sets[set].first * rows;
    b->out->hi[n] = b->sets[set + 1].first * rows;
    return 0;
}

int lvlm_cross_view_make(lvlm_cross_view *out, const lvlm_packing *packing,
                         const lvlm_images *images, size_t tiles, size_t rows,
                         bool unmasked, lvlm_error *err)
{
    *out = (lvlm_cross_view){ 0 };
    assert(tiles > 0 && rows > 0);
    builder b = { out, packing, images, images->per_text * tiles, NULL, 0, 0, 0 };
    const size_t N = packing->N;
    out->lo = lvlm_arena_alloc(&out->arena, N, sizeof *out->lo);
    out->hi = lvlm_arena_alloc(&out->arena, N, sizeof *out->hi);
    out->sees = lvlm_arena_alloc(&out->arena, N, sizeof *out->sees);
    int rc = out->lo != NULL && out->hi != NULL && out->sees != NULL
                 ? 0
                 : lvlm_fail_memory(err);
    for (size_t n = 0; n < N && rc == 0; n++) rc = add_row(&b, n, rows, unmasked, err);
    lvlm_free(b.sets);
    out->n_keys = out->n_tiles * rows;
    return rc;
}

void lvlm_cross_view_free(lvlm_cross_view *view)
{
    lvlm_free(view->tiles);
    lvlm_arena_free(&view->arena);
    *view = (lvlm_cross_view){ 0 };
}
