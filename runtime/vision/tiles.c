/* tiles.c - the tower of Llama 3.2-Vision, forward and backward; see tiles.h. */
#include "runtime/vision/tiles.h"

#include <assert.h>
#include <string.h>

#include "formats/base/size.h"
#include "runtime/block/configure.h"
#include "runtime/ops/add.h"

static const config_row config_rows[] = {
    CONFIG("vision.global_layers", tiles, base.global_layers),
    CONFIG("vision.image", tiles, image),
    CONFIG("vision.tiles", tiles, tiles),
    CONFIG("vision.rows", tiles, P),
    CONFIG("vision.outer_norm_eps", tiles, norm_pre.eps),
    CONFIG_END,
};

// clang-format off
#define TOWER(field) WEIGHT_FIELD(tiles, field)

static const weight_row rows[] = {
    { "class",            TOWER(class_row) },
    { "positions.gate",   TOWER(gate) },
    { "positions.weight", TOWER(positions) },
    { "positions.tiles",  TOWER(tables) },
    { "pre_tile.gate",    TOWER(pre_gate) },
    { "pre_tile.weight",  TOWER(pre) },
    { "norm_pre.weight",  TOWER(norm_pre.w) },
    { "norm_pre.bias",    TOWER(norm_pre.b) },
    { "norm_post.weight", TOWER(norm_post.w) },
    { "norm_post.bias",   TOWER(norm_post.b) },
    { "post_tile.gate",   TOWER(post_gate) },
    { "post_tile.weight", TOWER(post) },
    WEIGHT_END,
};
// clang-format on

static int tiles_open(void *tower, const lvlm_manifest *manifest,
                      const lvlm_image_spec *images, const char *reference,
                      lvlm_error *err)
{
    tiles *const t = tower;
    (void)images;
    TRY(configure(t, config_rows, manifest->config, err));
    TRY(configure_list(t->taps, MAX_TAPS, &t->K, manifest->config, "vision.taps", err));
    for (size_t k = 0; k < t->K; k++)
        FAIL_IF(t->taps[k] >= t->base.layers, err, LVLM_EFORMAT,
                "configuration: vision.taps names block %zu, but the tower has %zu",
                t->taps[k], t->base.layers);
    const size_t grid = t->image / t->base.patch;
    FAIL_IF(t->P != grid * grid + 1, err, LVLM_EFORMAT,
            "configuration: vision.rows %zu, but a tile has %zu patches and one more",
            t->P, grid * grid);
    t->L = lvlm_round_up(t->P, ROWS_MULTIPLE);
    t->base.width = t->base.block.hidden * (t->K + 1);
    t->norm_post = t->norm_pre;
    t->rule = TAP_ENTERING;
    if (lvlm_reference_applies(manifest->family, LVLM_TAPS_LEAVING, reference))
        t->rule = TAP_LEAVING;
    if (lvlm_reference_applies(manifest->family, LVLM_TAPS_LAST, reference))
        t->rule = TAP_LAST;
    return 0;
}

/* ---- layout of rows ------------------------------------------------------------ */

static bool is_dead(const tiles *t, const lvlm_images *images, size_t image, size_t row)
{
    return row % t->L >= t->P || images->live[image * t->tiles + row / t->L] == 0;
}

static void fill_image(tiles_layout *l, const tiles *t, const lvlm_images *images,
                       size_t image)
{
    const size_t base = image * l->S;
    assert(image < images->n && images->live != NULL);
    size_t next = base, n_live = 0;
    for (int dead = 0; dead <= 1; dead++) {
        for (size_t row = 0; row < l->S; row++)
            if (is_dead(t, images, image, row) == (dead != 0))
                l->from[next++] = base + row;
        if (dead == 0) n_live = next - base;
    }
    assert(next == base + l->S && n_live > 0);
    for (size_t i = 0; i < l->S; i++) {
        l->lo[base + i] = base;
        l->hi[base + i] = base + (i < n_live ? l->S : n_live);
    }
}

static int make_layout(tiles_layout **out, const tiles *t, const lvlm_images *images,
                       lvlm_arena *arena, lvlm_error *err)
{
    tiles_layout *const l = *out = lvlm_arena_alloc(arena, 1, sizeof *l);
    if (l == NULL) return lvlm_fail_memory(err);
    l->S = t->tiles * t->L;
    l->R = images->n * l->S;
    l->from = lvlm_arena_alloc(arena, 3 * l->R, sizeof *l->from);
    if (l->from == NULL) return lvlm_fail_memory(err);
    l->lo = l->from + l->R;
    l->hi = l->lo + l->R;
    for (size_t i = 0; i < images->n; i++) fill_image(l, t, images, i);
    return 0;
}

/* ---- forward ------------------------------------------------------------------ */

static int tiles_plan(const void *tower, features *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const tiles *const t = tower;
    const size_t M = images->per_text, P = t->tiles * t->P;
    tiles_layout *l;
    assert(M > 0 && images->n % M == 0);
    TRY(make_layout(&l, t, images, arena, err));
    *out = (features){ .n_images = images->n,
                       .grids = images->grids,
                       .class_rows = 1,
                       .group = 1,
                       .P = P,
                       .R = images->n * P,
                       .C = t->base.width,
                       .shape = SHAPE(images->n / M, M, t->tiles, t->P),
                       .block_rows = l->R,
                       .layout = l };
    return 0;
}

static int tiles_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, tape_keep keep, lvlm_error *err)
{
    const tiles *const t = tower;
    const size_t R = f->block_rows, C = t->base.block.hidden;
    TRY(tower_tape_make(tape, sizeof(tiles_tape), memory, &t->base, f, keep, err));
    tiles_tape *const p = *tape;
    const workspace_slot slots[] = { { &p->table, t->P, C },
                                     { &p->before, keep ? f->R : 0, C },
                                     { &p->between, keep ? R : 0, C },
                                     { &p->spare, R, C } };
    return workspace_take(memory, slots, 4, "vision tower", err);
}

/* Columns first, first + step, ... of out (rows without padding, width) = x (R,C) */
static void keep_state(const tiles *t, real *out, const real *x, const tiles_layout *l,
                       size_t width, size_t first, size_t step)
{
    const size_t C = t->base.block.hidden;
    assert(first + (C - 1) * step < width);
    for (size_t r = 0; r < l->R; r++) {
        const size_t at = tiles_row(t, l, r);
        if (at == SIZE_MAX) continue;
        real *const to = out + at * width + first;
        for (size_t c = 0; c < C; c++) to[c * step] = x[r * C + c];
    }
}

/* Keep x where `block` is listed. */
static void tap(const tiles *t, const features *f, const real *x, const tiles_layout *l,
                size_t block)
{
    for (size_t k = 0; k < t->K; k++)
        if (t->taps[k] == block)
            keep_state(t, f->rows, x, l, f->C, t->base.block.hidden + k, t->K);
}

/* Emit x in the order of the reference. */
static int emit_block(stages *s, const char *name, real *x, tiles_tape *p,
                      const tiles_layout *l, size_t C, lvlm_error *err)
{
    if (stages_wants(s, name))
        for (size_t r = 0; r < l->R; r++)
            memcpy(p->spare + l->from[r] * C, x + r * C, C * sizeof *x);
    TRY(stages_emit(s, name, p->spare, SHAPE(l->R / l->S, l->S, C), err));
    if (stages_gives(s, name))
        for (size_t r = 0; r < l->R; r++)
            memcpy(x + r * C, p->spare + l->from[r] * C, C * sizeof *x);
    return 0;
}

/* *x through the local blocks */
static int run_local(const tiles *t, tiles_tape *p, real **x, const features *f,
                     stages *s, const ops_scratch *scratch, lvlm_error *err)
{
    const tiles_layout *const l = f->layout;
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    for (size_t i = 0; i < t->base.layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        if (t->rule == TAP_ENTERING) tap(t, f, *x, l, i);
        if (stages_computes(s, stages_block(name, TOWER_BLOCKS, i)))
            *x = transformer_tape_forward(&p->blocks, i, *x, &view, scratch);
        TRY(emit_block(s, name, *x, p, l, t->base.block.hidden, err));
        if (t->rule == TAP_LEAVING) tap(t, f, *x, l, i);
    }
    for (size_t k = 0; t->rule == TAP_LAST && k < t->K; k++)
        keep_state(t, f->rows, *x, l, f->C, t->base.block.hidden + k, t->K);
    return 0;
}

/* *x through norm_post, the post-tile vectors and the global blocks */
static int run_global(const tiles *t, tiles_tape *p, real **x, const tiles_layout *l,
                      const lvlm_images *images, stages *s, const ops_scratch *scratch,
                      lvlm_error *err)
{
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    const size_t C = t->base.block.hidden;
    assert(t->post_gate.v != NULL && t->post.v != NULL);
    const real gate = real_tanh(*t->post_gate.v);
    real *const y = *x;
    if (p->between != NULL) memcpy(p->between, *x, l->R * C * sizeof **x);
    norm_forward(y, y, &t->norm_post, l->R, C);
    for (size_t r = 0; r < l->R; r++) {
        const real *add = t->post.v + tiles_place(t, images, l->from[r] / t->L) * C;
        for (size_t c = 0; c < C; c++) y[r * C + c] += gate * add[c];
    }
    for (size_t i = 0; i < t->base.global_layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        if (stages_computes(s, stages_block(name, TOWER_GLOBAL_BLOCKS, i)))
            *x = transformer_tape_forward(&p->blocks, t->base.layers + i, *x, &view,
                                          scratch);
        TRY(emit_block(s, name, *x, p, l, C, err));
    }
    return 0;
}

static int tiles_forward(const void *tower, void *tape, const features *f,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const tiles *const t = tower;
    tiles_tape *const p = tape;
    const tiles_layout *const l = f->layout;
    real *x = transformer_tape_input(&p->blocks);
    TRY(tiles_embed(t, p, x, l, images, s, scratch, err));
    TRY(run_local(t, p, &x, f, s, scratch, err));
    if (s->left == 0) return 0;
    TRY(run_global(t, p, &x, l, images, s, scratch, err));
    keep_state(t, f->rows, x, l, f->C, 0, 1);
    return features_emit(s, "vision.out", f->rows, f, f->C, err);
}

/* ---- backward ----------------------------------------------------------------- */

/* dx (R,C) += columns first, first + step, ... of drows; the inverse of keep_state */
static void add_state(const tiles *t, real *dx, const real *drows,
                      const tiles_layout *l, size_t width, size_t first, size_t step)
{
    const size_t C = t->base.block.hidden;
    for (size_t r = 0; r < l->R; r++) {
        const size_t at = tiles_row(t, l, r);
        if (at == SIZE_MAX) continue;
        const real *const from = drows + at * width + first;
        for (size_t c = 0; c < C; c++) dx[r * C + c] += from[c * step];
    }
}

static void add_taps(const tiles *t, real *dx, const real *drows, const tiles_layout *l,
                     size_t width, size_t block)
{
    for (size_t k = 0; k < t->K; k++)
        if (t->taps[k] == block)
            add_state(t, dx, drows, l, width, t->base.block.hidden + k, t->K);
}

/* dx of what enters the global blocks, back through the post-tile vectors and
 * norm_post; `spare` (R,C) receives the result. */
static void middle_backward(const tiles *t, const tiles_tape *p, const real *dx,
                            real *spare, const tiles_layout *l,
                            const lvlm_images *images, const ops_scratch *scratch)
{
    const size_t C = t->base.block.hidden;
    const real gate = real_tanh(*t->post_gate.v);
    for (size_t r = 0; r < l->R; r++) {
        const size_t at = tiles_place(t, images, l->from[r] / t->L) * C;
        if (t->post.grad != NULL)
            add_scaled_forward(t->post.grad + at, dx + r * C, gate, C);
        if (t->post_gate.grad != NULL)
            *t->post_gate.grad +=
                (1 - gate * gate) * dot_forward(dx + r * C, t->post.v + at, C);
    }
    memset(spare, 0, l->R * C * sizeof *spare);
    norm_backward(spare, dx, p->between, &t->norm_post, l->R, C, scratch);
}

static int tiles_backward(const void *tower, void *tape, transformer_grads *g,
                          const real *drows, const features *f,
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const tiles *const t = tower;
    tiles_tape *const p = tape;
    const size_t width = f->C;
    const tiles_layout *const l = f->layout;
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    const size_t n = l->R * t->base.block.hidden;
    assert(width == t->base.width && p->between != NULL);
    memset(g->x, 0, n * sizeof *g->x);
    add_state(t, g->x, drows, l, width, 0, 1);
    for (size_t i = t->base.global_layers; i-- > 0;)
        transformer_tape_backward(&p->blocks, t->base.layers + i, g, &view, scratch);
    middle_backward(t, p, g->x, g->branch, l, images, scratch);
    memcpy(g->x, g->branch, n * sizeof *g->x);
    for (size_t k = 0; t->rule == TAP_LAST && k < t->K; k++)
        add_state(t, g->x, drows, l, width, t->base.block.hidden + k, t->K);
    for (size_t i = t->base.layers; i-- > 0;) {
        if (t->rule == TAP_LEAVING) add_taps(t, g->x, drows, l, width, i);
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
        if (t->rule == TAP_ENTERING) add_taps(t, g->x, drows, l, width, i);
    }
    return tiles_embed_backward(t, p, g->x, g->branch, g->normed, l, images, scratch,
                                err);
}

const tower_kind tiles_tower = {
    .size = sizeof(tiles),
    .rows = rows,
    .has_ends = true,
    .open = tiles_open,
    .plan = tiles_plan,
    .tape_make = tiles_tape_make,
    .forward = tiles_forward,
    .backward = tiles_backward,
};
