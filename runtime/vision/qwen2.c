/* qwen2.c - the towers of Qwen2-VL and Qwen2.5-VL: a ViT with rotary positions.
 *
 *   e[p] = W patch[p]            a patch spans two frames; no bias, no positions
 *   blocks (transformer.h); rotary angles from the patch's row and column
 *   out = x                      the merger's norm follows
 *
 * Patches come frame by frame, in squares of merge x merge. Every frame attends only to
 * itself. Where there are windows (2.5), the squares are put into the order of their
 * windows first, so that a window is a range of rows; blocks that are not listed as
 * full attend only to their window. The output has that order. */
#include <assert.h>
#include <string.h>

#include "runtime/block/configure.h"
#include "runtime/ops/rope.h"
#include "runtime/vision/tower.h"

enum { MAX_FULL_BLOCKS = 256 };

typedef struct qwen2 {
    vision_tower base;
    size_t merge;
    size_t window; /* pixels; 0: there are none */
    double rope_theta;
    size_t full_blocks[MAX_FULL_BLOCKS], n_full_blocks;
} qwen2;

static const config_row config_rows[] = {
    CONFIG("vision.merge", qwen2, merge),
    CONFIG("vision.rope_theta", qwen2, rope_theta),
    CONFIG_MAYBE("vision.window", qwen2, window),
    CONFIG_END,
};

static const weight_row rows[] = { WEIGHT_END };

static int qwen2_open(void *tower, const lvlm_manifest *manifest,
                      const lvlm_image_spec *images, const char *reference,
                      lvlm_error *err)
{
    qwen2 *const t = tower;
    const size_t head_dim = t->base.block.head_dim;
    (void)images, (void)reference;
    TRY(configure(t, config_rows, manifest->config, err));
    if (t->window > 0)
        TRY(configure_list(t->full_blocks, MAX_FULL_BLOCKS, &t->n_full_blocks,
                           manifest->config, "vision.full_blocks", err));
    FAIL_IF(head_dim % 4 != 0, err, LVLM_EFORMAT,
            "configuration: vision heads of %zu are not a multiple of 4", head_dim);
    FAIL_IF(t->window > 0 && t->window / t->base.patch / t->merge == 0, err,
            LVLM_EFORMAT, "configuration: vision.window %zu is below a merged patch",
            t->window);
    return 0;
}

/* ---- layout of rows -------------------------------------------------------------- */

/* For every row: its place on the grid, and what it attends to. */
typedef struct layout {
    int64_t *places;               /* (2,R) row, then column */
    size_t *frame_lo, *frame_hi;   /* (R) rows of its frame */
    size_t *window_lo, *window_hi; /* (R) rows of its window */
    size_t *groups;                /* (R/merge^2) which square of the images is here */
    size_t R, unit;                /* merge^2: rows of one square */
} layout;

/* Squares of one window: [y0, y1) x [x0, x1) of a frame whose squares start at `first`,
 * in a grid `columns` wide. */
static void fill_window(layout *l, size_t *next, size_t first, size_t columns,
                        const size_t y[2], const size_t x[2], size_t merge)
{
    const size_t begin = *next * l->unit;
    assert(y[0] < y[1] && x[0] < x[1] && x[1] <= columns);
    assert(begin + (y[1] - y[0]) * (x[1] - x[0]) * l->unit <= l->R);
    for (size_t i = y[0]; i < y[1]; i++)
        for (size_t j = x[0]; j < x[1]; j++, ++*next) {
            l->groups[*next] = first + i * columns + j;
            for (size_t k = 0; k < l->unit; k++) {
                l->places[*next * l->unit + k] = (int64_t)(i * merge + k / merge);
                l->places[l->R + *next * l->unit + k] =
                    (int64_t)(j * merge + k % merge);
            }
        }
    for (size_t r = begin; r < *next * l->unit; r++) {
        l->window_lo[r] = begin;
        l->window_hi[r] = *next * l->unit;
    }
}

/* Window after window of one frame; without windows the frame is one. */
static void fill_frame(layout *l, size_t *next, const qwen2 *t, const lvlm_grid *g)
{
    assert(g->h % t->merge == 0 && g->w % t->merge == 0);
    const size_t h = g->h / t->merge, w = g->w / t->merge, first = *next;
    const size_t side = t->window / t->base.patch / t->merge;
    const size_t dy = side > 0 ? side : h, dx = side > 0 ? side : w;
    for (size_t y = 0; y < h; y += dy)
        for (size_t x = 0; x < w; x += dx) {
            const size_t ys[2] = { y, y + dy < h ? y + dy : h };
            const size_t xs[2] = { x, x + dx < w ? x + dx : w };
            fill_window(l, next, first, w, ys, xs, t->merge);
        }
    for (size_t r = first * l->unit; r < *next * l->unit; r++) {
        l->frame_lo[r] = first * l->unit;
        l->frame_hi[r] = *next * l->unit;
    }
}

static int make_layout(layout **out, const qwen2 *t, const lvlm_images *images,
                       lvlm_arena *arena, lvlm_error *err)
{
    const size_t R = lvlm_images_patches(images, 0, images->n), n = R + 1;
    layout *const l = *out = lvlm_arena_alloc(arena, 1, sizeof *l);
    if (l == NULL) return lvlm_fail_memory(err);
    *l = (layout){ .R = R, .unit = t->merge * t->merge };
    if ((l->places = lvlm_arena_alloc(arena, 2 * n, sizeof *l->places)) == NULL ||
        (l->frame_lo = lvlm_arena_alloc(arena, n, sizeof *l->frame_lo)) == NULL ||
        (l->frame_hi = lvlm_arena_alloc(arena, n, sizeof *l->frame_hi)) == NULL ||
        (l->window_lo = lvlm_arena_alloc(arena, n, sizeof *l->window_lo)) == NULL ||
        (l->window_hi = lvlm_arena_alloc(arena, n, sizeof *l->window_hi)) == NULL ||
        (l->groups = lvlm_arena_alloc(arena, n, sizeof *l->groups)) == NULL)
        return lvlm_fail_memory(err);
    size_t next = 0;
    for (size_t i = 0; i < images->n; i++)
        for (size_t frame = 0; frame < images->grids[i].t; frame++)
            fill_frame(l, &next, t, &images->grids[i]);
    assert(next * l->unit == R);
    return 0;
}

/* ---- forward -------------------------------------------------------------------- */

static int qwen2_plan(const void *tower, features *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const qwen2 *const t = tower;
    layout *l;
    TRY(make_layout(&l, t, images, arena, err));
    *out = (features){ .n_images = images->n,
                       .grids = images->grids,
                       .group = t->merge,
                       .R = l->R,
                       .C = t->base.width,
                       .shape = SHAPE(l->R),
                       .order = t->window > 0 ? l->groups : NULL,
                       .block_rows = l->R,
                       .layout = l };
    return 0;
}

/* x = patch projections in the order of the layout; `spare` (R,C) has them in the order
 * of the images, in which they are emitted. */
static int embed(const qwen2 *t, real *x, real *spare, const layout *l,
                 const lvlm_images *images, const features *f, stages *s,
                 const ops_scratch *scratch, lvlm_error *err)
{
    const size_t stills = lvlm_images_patches(images, 0, images->n - images->n_videos);
    const size_t C = f->C;
    assert(stills <= l->R && f->R == l->R && x != spare);
    if (stages_computes(s, "vision.patches")) {
        TRY(tower_project(spare, &t->base, images->pixels, NULL, scratch, err));
        TRY(tower_project(spare + stills * C, &t->base, images->video_pixels, NULL,
                          scratch, err));
    }
    TRY(features_emit(s, "vision.patches", spare, f, C, err));
    for (size_t g = 0; g < l->R / l->unit; g++)
        memcpy(x + g * l->unit * C, spare + l->groups[g] * l->unit * C,
               l->unit * C * sizeof *x);
    return 0;
}

static bool is_full(const qwen2 *t, size_t block)
{
    assert(block < t->base.layers);
    if (t->window == 0) return true;
    for (size_t i = 0; i < t->n_full_blocks; i++)
        if (t->full_blocks[i] == block) return true;
    return false;
}

/* Memory of one pass. */
typedef struct qwen2_tape {
    transformer_tape blocks;
    real *cosines, *sines; /* (R,D/2) */
} qwen2_tape;

/* Angles of a head's first half: a quarter from the row, a quarter from the column. */
static int fill_rope(qwen2_tape *p, const qwen2 *t, const layout *l, lvlm_error *err)
{
    const size_t half = t->base.block.head_dim / 2;
    lvlm_arena arena = LVLM_ARENA_INIT;
    real *const inv_freq = lvlm_arena_alloc(&arena, half, sizeof *inv_freq);
    unsigned char *const axis = lvlm_arena_alloc(&arena, half, 1);
    const bool ok = inv_freq != NULL && axis != NULL;
    if (ok) {
        rope_frequencies(inv_freq, half / 2, t->rope_theta);
        memcpy(inv_freq + half / 2, inv_freq, half / 2 * sizeof *inv_freq);
        memset(axis + half / 2, 1, half - half / 2);
        rope_table(p->cosines, p->sines, l->places, axis, inv_freq, l->R, half);
    }
    lvlm_arena_free(&arena);
    return ok ? 0 : lvlm_fail_memory(err);
}

static int qwen2_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, tape_keep keep, lvlm_error *err)
{
    const qwen2 *const t = tower;
    const size_t half = t->base.block.head_dim / 2;
    TRY(tower_tape_make(tape, sizeof(qwen2_tape), memory, &t->base, f, keep, err));
    qwen2_tape *const p = *tape;
    const workspace_slot slots[] = { { &p->cosines, f->R, half },
                                     { &p->sines, f->R, half } };
    return workspace_take(memory, slots, 2, "vision tower", err);
}

static transformer_view view_of(const qwen2_tape *p, const qwen2 *t, const layout *l,
                                size_t block)
{
    const bool full = is_full(t, block);
    return (transformer_view){ .N = l->R,
                               .lo = full ? l->frame_lo : l->window_lo,
                               .hi = full ? l->frame_hi : l->window_hi,
                               .cosines = p->cosines,
                               .sines = p->sines };
}

static int qwen2_forward(const void *tower, void *tape, const features *f,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const qwen2 *const t = tower;
    qwen2_tape *const p = tape;
    const layout *const l = f->layout;
    real *x = transformer_tape_input(&p->blocks);
    TRY(fill_rope(p, t, l, err));
    TRY(embed(t, x, f->rows, l, images, f, s, scratch, err));
    for (size_t i = 0; i < t->base.layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        const transformer_view view = view_of(p, t, l, i);
        if (stages_computes(s, stages_block(name, TOWER_BLOCKS, i)))
            x = transformer_tape_forward(&p->blocks, i, x, &view, scratch);
        TRY(features_emit(s, name, x, f, f->C, err));
    }
    memcpy(f->rows, x, f->R * f->C * sizeof *x);
    return 0;
}

/* ---- backward ------------------------------------------------------------------- */

static int qwen2_backward(const void *tower, void *tape, transformer_grads *g,
                          const real *drows, const features *f,
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const qwen2 *const t = tower;
    qwen2_tape *const p = tape;
    const layout *const l = f->layout;
    const size_t stills = lvlm_images_patches(images, 0, images->n - images->n_videos);
    const size_t C = f->C, group = l->unit * C;
    assert(f->R == l->R && C == t->base.width);
    memcpy(g->x, drows, f->R * C * sizeof *g->x);
    for (size_t i = t->base.layers; i-- > 0;) {
        const transformer_view view = view_of(p, t, l, i);
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
    }
    for (size_t i = 0; i < l->R / l->unit; i++)
        memcpy(g->branch + l->groups[i] * group, g->x + i * group,
               group * sizeof *g->x);
    TRY(tower_project_backward(g->branch, &t->base, images->pixels, NULL, scratch,
                               err));
    return tower_project_backward(g->branch + stills * C, &t->base,
                                  images->video_pixels, NULL, scratch, err);
}

const tower_kind qwen2_tower = {
    .size = sizeof(qwen2),
    .rows = rows,
    .open = qwen2_open,
    .plan = qwen2_plan,
    .tape_make = qwen2_tape_make,
    .forward = qwen2_forward,
    .backward = qwen2_backward,
};
