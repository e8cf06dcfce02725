/* features.c - features as stages, and their patches in other squares; see features.h.
 */
#include "runtime/block/features.h"

#include <assert.h>

int features_emit(stages *s, const char *name, real *data, const features *f, size_t C,
                  lvlm_error *err)
{
    lvlm_shape shape = f->shape;
    assert(shape.n > 0 && shape.n < LVLM_MAX_DIMS);
    shape.dims[shape.n++] = C;
    return stages_emit(s, name, data, shape, err);
}

/* Patches of one frame whose rows, in the order of the images, begin with `first`. */
static size_t *add_frame(size_t *next, size_t first, const lvlm_grid *g, size_t group,
                         size_t side)
{
    const size_t h = g->h / side, w = g->w / side;
    assert(g->h % side == 0 && g->w % side == 0);
    assert(g->h % group == 0 && g->w % group == 0);
    for (size_t i = 0; i < h * w * side * side; i++) {
        const size_t square = i / (side * side), k = i % (side * side);
        const size_t y = square / w * side + k / side;
        const size_t x = square % w * side + k % side;
        const size_t at = y / group * (g->w / group) + x / group;
        *next++ = first + at * group * group + y % group * group + x % group;
    }
    return next;
}

int features_squares(size_t **out, const features *f, size_t side, lvlm_arena *arena,
                     lvlm_error *err)
{
    const size_t unit = f->group * f->group;
    size_t *const from = *out = lvlm_arena_alloc(arena, f->R + 1, sizeof *from);
    size_t *const places = lvlm_arena_alloc(arena, f->R / unit + 1, sizeof *places);
    size_t *next = from;
    assert(f->class_rows == 0 && f->group > 0 && f->R % unit == 0);
    if (from == NULL || places == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < f->n_images; i++)
        for (size_t t = 0; t < f->grids[i].t; t++)
            next = add_frame(next, (size_t)(next - from), &f->grids[i], f->group, side);
    assert(next == from + f->R);
    for (size_t g = 0; g < f->R / unit; g++)
        places[f->order != NULL ? f->order[g] : g] = g;
    for (size_t r = 0; r < f->R; r++)
        from[r] = places[from[r] / unit] * unit + from[r] % unit;
    return 0;
}
