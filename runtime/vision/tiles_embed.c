/* tiles_embed.c - a tile before the blocks, forward and backward; see tiles.h.
 *
 * Tables have one entry per aspect id and tile; an image uses those of its own id. */
#include <assert.h>
#include <string.h>

#include "runtime/ops/add.h"
#include "runtime/vision/tiles.h"

size_t tiles_place(const tiles *t, const lvlm_images *images, size_t tile)
{
    assert(images->aspect_ids != NULL && tile < images->n * t->tiles);
    return (size_t)images->aspect_ids[tile / t->tiles] * t->tiles + tile % t->tiles;
}

/* ---- forward ------------------------------------------------------------------ */

/* e (P,C) of one tile from its patches (G,C); `table` (P,C) is scratch */
static void embed_tile(const tiles *t, real *e, const real *patches, size_t place,
                       real *table)
{
    const size_t C = t->base.block.hidden, n = t->P * C;
    assert(t->class_row.v != NULL && t->positions.v != NULL && t->gate.v != NULL);
    const real g = real_tanh(*t->gate.v), pre = real_tanh(*t->pre_gate.v);
    stored_widen(table, t->tables.w, place * n, n);
    memcpy(e, t->class_row.v, C * sizeof *e);
    for (size_t i = C; i < n; i++)
        e[i] = patches[i - C] + pre * t->pre.v[place * C + i % C];
    for (size_t i = 0; i < n; i++) e[i] += (1 - g) * t->positions.v[i] + g * table[i];
}

/* x (R,C) = e (images*tiles*P,C) in the order of the layout, padding 0 */
static void spread(const tiles *t, const tiles_layout *l, real *x, const real *e)
{
    const size_t C = t->base.block.hidden;
    for (size_t r = 0; r < l->R; r++) {
        const size_t at = tiles_row(t, l, r);
        if (at != SIZE_MAX)
            memcpy(x + r * C, e + at * C, C * sizeof *x);
        else
            memset(x + r * C, 0, C * sizeof *x);
    }
}

int tiles_embed(const tiles *t, tiles_tape *tape, real *x, const tiles_layout *layout,
                const lvlm_images *images, stages *s, const ops_scratch *scratch,
                lvlm_error *err)
{
    const size_t C = t->base.block.hidden, n = images->n * t->tiles, P = t->P;
    real *const patches = x, *const e = tape->spare;
    if (stages_computes(s, "vision.patches"))
        TRY(tower_project(patches, &t->base, images->pixels, NULL, scratch, err));
    TRY(stages_emit(s, "vision.patches", patches, SHAPE(n, P - 1, C), err));
    for (size_t i = 0; i < n; i++)
        embed_tile(t, e + i * P * C, patches + i * (P - 1) * C,
                   tiles_place(t, images, i), tape->table);
    if (tape->before != NULL) memcpy(tape->before, e, n * P * C * sizeof *e);
    norm_forward(e, e, &t->norm_pre, n * P, C);
    TRY(stages_emit(s, "vision.embed", e, SHAPE(images->n, t->tiles, P, C), err));
    spread(t, layout, x, e);
    return 0;
}

/* ---- backward ----------------------------------------------------------------- */

/* de (images*tiles*P,C) = dx (R,C) without padding */
static void gather(const tiles *t, const tiles_layout *l, real *de, const real *dx)
{
    const size_t C = t->base.block.hidden;
    for (size_t r = 0; r < l->R; r++) {
        const size_t at = tiles_row(t, l, r);
        if (at != SIZE_MAX) memcpy(de + at * C, dx + r * C, C * sizeof *de);
    }
}

/* de (P,C) of one tile to positions, tables and their gate. */
static void positions_gradient(const tiles *t, const real *de, size_t place,
                               real *table)
{
    const size_t n = t->P * t->base.block.hidden;
    const real g = real_tanh(*t->gate.v);
    if (t->positions.grad != NULL) add_scaled_forward(t->positions.grad, de, 1 - g, n);
    if (t->tables.grad != NULL)
        add_scaled_forward(t->tables.grad + place * n, de, g, n);
    if (t->gate.grad == NULL) return;
    stored_widen(table, t->tables.w, place * n, n);
    *t->gate.grad +=
        (1 - g * g) * (dot_forward(de, table, n) - dot_forward(de, t->positions.v, n));
}

/* de (P,C) of one tile to the class row, the pre-tile vector and its gate. */
static void rows_gradient(const tiles *t, const real *de, size_t place)
{
    const size_t C = t->base.block.hidden;
    const real pre = real_tanh(*t->pre_gate.v);
    if (t->class_row.grad != NULL) add_forward(t->class_row.grad, de, C);
    for (size_t row = 1; row < t->P; row++) {
        if (t->pre.grad != NULL)
            add_scaled_forward(t->pre.grad + place * C, de + row * C, pre, C);
        if (t->pre_gate.grad != NULL)
            *t->pre_gate.grad +=
                (1 - pre * pre) * dot_forward(de + row * C, t->pre.v + place * C, C);
    }
}

int tiles_embed_backward(const tiles *t, const tiles_tape *tape, const real *dx,
                         real *de, real *dbefore, const tiles_layout *layout,
                         const lvlm_images *images, const ops_scratch *scratch,
                         lvlm_error *err)
{
    const size_t C = t->base.block.hidden, n = images->n * t->tiles, P = t->P;
    assert(tape->before != NULL && dx != de && de != dbefore);
    gather(t, layout, de, dx);
    memset(dbefore, 0, n * P * C * sizeof *dbefore);
    norm_backward(dbefore, de, tape->before, &t->norm_pre, n * P, C, scratch);
    for (size_t i = 0; i < n; i++) {
        const size_t place = tiles_place(t, images, i);
        positions_gradient(t, dbefore + i * P * C, place, tape->table);
        rows_gradient(t, dbefore + i * P * C, place);
        memcpy(de + i * (P - 1) * C, dbefore + (i * P + 1) * C,
               (P - 1) * C * sizeof *de); /* of the patches */
    }
    return tower_project_backward(de, &t->base, images->pixels, NULL, scratch, err);
}
