/* tiles.c - the tower of Llama 3.2-Vision, forward and backward; see tiles.h. */
#include "runtime/vision/tiles.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/block/configure.h"
#include "runtime/block/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/linear.h"

static const config_row config_rows[] = {
    CONFIG("vision.layers", tiles, layers),
    CONFIG("vision.global_layers", tiles, global_layers),
    CONFIG("vision.channels", tiles, channels),
    CONFIG("vision.image", tiles, image),
    CONFIG("vision.patch", tiles, patch),
    CONFIG("vision.tiles", tiles, tiles),
    CONFIG("vision.rows", tiles, P),
    CONFIG("vision.outer_norm_eps", tiles, norm_pre.eps),
    CONFIG_END,
};

// clang-format off
#define TOWER(field) WEIGHT_FIELD(tiles, field)

static const weight_row rows[] = {
    { "class",            TOWER(class_row) },
    { "patch.weight",     TOWER(patch_w) },
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

static const char blocks[] = "vision.blocks."; /* of weights and of stages */
static const char global_blocks[] = "vision.global_blocks.";

/* ---- life --------------------------------------------------------------------- */

static void tiles_free(void *tower)
{
    tiles *const t = tower;
    if (t == NULL) return;
    lvlm_free(t->blocks);
    lvlm_free(t);
}

static int tiles_open(void **out, const lvlm_manifest *manifest, const char *reference,
                      lvlm_error *err)
{
    tiles *const t = *out = lvlm_calloc(1, sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    TRY(tower_configure(&t->block, manifest->config, err));
    TRY(configure(t, config_rows, manifest->config, err));
    TRY(configure_list(t->taps, MAX_TAPS, &t->K, manifest->config, "vision.taps", err));
    for (size_t k = 0; k < t->K; k++)
        FAIL_IF(t->taps[k] >= t->layers, err, LVLM_EFORMAT,
                "configuration: vision.taps names block %zu, but the tower has %zu",
                t->taps[k], t->layers);
    const size_t grid = t->image / t->patch;
    FAIL_IF(t->P != grid * grid + 1, err, LVLM_EFORMAT,
            "configuration: vision.rows %zu, but a tile has %zu patches and one more",
            t->P, grid * grid);
    t->L = (t->P + ROWS_MULTIPLE - 1) / ROWS_MULTIPLE * ROWS_MULTIPLE;
    t->norm_post = t->norm_pre;
    t->rule = TAP_ENTERING;
    if (lvlm_reference_applies(manifest->family, LVLM_TAPS_LEAVING, reference))
        t->rule = TAP_LEAVING;
    if (lvlm_reference_applies(manifest->family, LVLM_TAPS_LAST, reference))
        t->rule = TAP_LAST;
    t->blocks = lvlm_calloc(t->layers + t->global_layers, sizeof *t->blocks);
    FAIL_IF(t->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            t->layers + t->global_layers);
    return 0;
}

static int tiles_bind(void *tower, weights *w, lvlm_error *err)
{
    tiles *const t = tower;
    TRY(weights_bind(w, t, rows, 0, "vision.", err));
    TRY(tower_bind(t->blocks, t->layers, w, &t->block, 0, blocks, err));
    return tower_bind(t->blocks + t->layers, t->global_layers, w, &t->block,
                      BLOCK_GATES, global_blocks, err);
}

static size_t tiles_width(const void *tower)
{
    const tiles *const t = tower;
    return t->block.hidden * (t->K + 1);
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

static int make_layout(tiles_layout *l, const tiles *t, const lvlm_images *images,
                       lvlm_arena *arena, lvlm_error *err)
{
    *l = (tiles_layout){ .S = t->tiles * t->L };
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
    assert(images->per_text > 0 && images->n % images->per_text == 0);
    (void)arena, (void)err;
    *out = (features){ .n_images = images->n,
                       .grids = images->grids,
                       .class_rows = 1,
                       .group = 1,
                       .P = t->tiles * t->P,
                       .C = tiles_width(t) };
    out->R = out->n_images * out->P;
    out->shape = SHAPE(images->n / images->per_text, images->per_text, t->tiles, t->P);
    return 0;
}

static size_t tiles_scratch(const void *tower, const lvlm_images *images,
                            const features *f, size_t n_threads)
{
    const tiles *const t = tower;
    const size_t R = images->n * t->tiles * t->L;
    (void)f;
    return LARGEST(
        transformer_scratch(&t->block, R, R, n_threads),
        linear_scratch(t->channels * t->patch * t->patch, t->block.hidden, n_threads));
}

static void tiles_announce(const void *tower, stages *s)
{
    const tiles *const t = tower;
    stages_announce(s, "vision.patches");
    stages_announce(s, "vision.embed");
    stages_announce_blocks(s, blocks, t->layers);
    stages_announce_blocks(s, global_blocks, t->global_layers);
    stages_announce(s, "vision.out");
}

static int tiles_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, const lvlm_images *images, tape_keep keep,
                           lvlm_error *err)
{
    const tiles *const t = tower;
    tiles_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    TRY(make_layout(&p->layout, t, images, &memory->lists, err));
    const size_t R = p->layout.R, C = t->block.hidden;
    const size_t n = t->layers + t->global_layers;
    const transformer_tape_options options = tower_tape_options(R, n, keep);
    const workspace_slot slots[] = { { &p->table, t->P, C },
                                     { &p->before, keep ? f->R : 0, C },
                                     { &p->between, keep ? R : 0, C },
                                     { &p->spare, R, C } };
    TRY(workspace_take(memory, slots, 4, "vision tower", err));
    return transformer_tape_make(&p->blocks, memory, &t->block, t->blocks, n, &options,
                                 err);
}

/* Columns first, first + step, ... of out (rows without padding, width) = x (R,C) */
static void keep_state(const tiles *t, real *out, const real *x, const tiles_layout *l,
                       size_t width, size_t first, size_t step)
{
    const size_t C = t->block.hidden;
    assert(first + (C - 1) * step < width);
    for (size_t r = 0; r < l->R; r++) {
        const size_t tile = l->from[r] / t->L, row = l->from[r] % t->L;
        if (row >= t->P) continue;
        real *to = out + (tile * t->P + row) * width + first;
        for (size_t c = 0; c < C; c++) to[c * step] = x[r * C + c];
    }
}

/* Keep x where `block` is listed. */
static void tap(const tiles *t, const features *f, const real *x, const tiles_layout *l,
                size_t block)
{
    for (size_t k = 0; k < t->K; k++)
        if (t->taps[k] == block)
            keep_state(t, f->rows, x, l, f->C, t->block.hidden + k, t->K);
}

/* Emit x in the order of the reference. */
static int emit_block(stages *s, const char *name, const real *x, tiles_tape *p,
                      size_t C, lvlm_error *err)
{
    const tiles_layout *const l = &p->layout;
    if (stages_wants(s, name))
        for (size_t r = 0; r < l->R; r++)
            memcpy(p->spare + l->from[r] * C, x + r * C, C * sizeof *x);
    return stages_emit(s, name, p->spare, SHAPE(l->R / l->S, l->S, C), err);
}

/* *x through the local blocks */
static int run_local(const tiles *t, tiles_tape *p, real **x, const features *f,
                     stages *s, const ops_scratch *scratch, lvlm_error *err)
{
    const tiles_layout *const l = &p->layout;
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    for (size_t i = 0; i < t->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        if (t->rule == TAP_ENTERING) tap(t, f, *x, l, i);
        *x = transformer_tape_forward(&p->blocks, i, *x, &view, scratch);
        if (t->rule == TAP_LEAVING) tap(t, f, *x, l, i);
        TRY(emit_block(s, stages_block(name, blocks, i), *x, p, t->block.hidden, err));
    }
    for (size_t k = 0; t->rule == TAP_LAST && k < t->K; k++)
        keep_state(t, f->rows, *x, l, f->C, t->block.hidden + k, t->K);
    return 0;
}

/* *x through norm_post, the post-tile vectors and the global blocks */
static int run_global(const tiles *t, tiles_tape *p, real **x,
                      const lvlm_images *images, stages *s, const ops_scratch *scratch,
                      lvlm_error *err)
{
    const tiles_layout *const l = &p->layout;
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    const size_t C = t->block.hidden;
    const real gate = real_tanh(*t->post_gate.v);
    real *const y = *x;
    if (p->between != NULL) memcpy(p->between, *x, l->R * C * sizeof **x);
    norm_forward(y, y, &t->norm_post, l->R, C);
    for (size_t r = 0; r < l->R; r++) {
        const real *add = t->post.v + tiles_place(t, images, l->from[r] / t->L) * C;
        for (size_t c = 0; c < C; c++) y[r * C + c] += gate * add[c];
    }
    for (size_t i = 0; i < t->global_layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        *x = transformer_tape_forward(&p->blocks, t->layers + i, *x, &view, scratch);
        TRY(emit_block(s, stages_block(name, global_blocks, i), *x, p, C, err));
    }
    return 0;
}

static int tiles_forward(const void *tower, void *tape, const features *f,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const tiles *const t = tower;
    tiles_tape *const p = tape;
    real *x = transformer_tape_input(&p->blocks);
    TRY(tiles_embed(t, p, x, images, s, scratch, err));
    TRY(run_local(t, p, &x, f, s, scratch, err));
    if (s->left == 0) return 0;
    TRY(run_global(t, p, &x, images, s, scratch, err));
    keep_state(t, f->rows, x, &p->layout, f->C, 0, 1);
    return features_emit(s, "vision.out", f->rows, f, f->C, err);
}

/* ---- backward ----------------------------------------------------------------- */

/* dx (R,C) += columns first, first + step, ... of drows; the inverse of keep_state */
static void add_state(const tiles *t, real *dx, const real *drows,
                      const tiles_layout *l, size_t width, size_t first, size_t step)
{
    const size_t C = t->block.hidden;
    for (size_t r = 0; r < l->R; r++) {
        const size_t tile = l->from[r] / t->L, row = l->from[r] % t->L;
        if (row >= t->P) continue;
        const real *from = drows + (tile * t->P + row) * width + first;
        for (size_t c = 0; c < C; c++) dx[r * C + c] += from[c * step];
    }
}

static void add_taps(const tiles *t, real *dx, const real *drows, const tiles_layout *l,
                     size_t width, size_t block)
{
    for (size_t k = 0; k < t->K; k++)
        if (t->taps[k] == block)
            add_state(t, dx, drows, l, width, t->block.hidden + k, t->K);
}

/* dx of what enters the global blocks, back through the post-tile vectors and
 * norm_post; `spare` (R,C) receives the result. */
static void middle_backward(const tiles *t, const tiles_tape *p, const real *dx,
                            real *spare, const lvlm_images *images,
                            const ops_scratch *scratch)
{
    const tiles_layout *const l = &p->layout;
    const size_t C = t->block.hidden;
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
    const tiles_layout *const l = &p->layout;
    const transformer_view view = { .N = l->R, .lo = l->lo, .hi = l->hi };
    const size_t n = l->R * t->block.hidden;
    assert(width == tiles_width(t) && p->between != NULL);
    memset(g->x, 0, n * sizeof *g->x);
    add_state(t, g->x, drows, l, width, 0, 1);
    for (size_t i = t->global_layers; i-- > 0;)
        transformer_tape_backward(&p->blocks, t->layers + i, g, &view, scratch);
    middle_backward(t, p, g->x, g->branch, images, scratch);
    memcpy(g->x, g->branch, n * sizeof *g->x);
    for (size_t k = 0; t->rule == TAP_LAST && k < t->K; k++)
        add_state(t, g->x, drows, l, width, t->block.hidden + k, t->K);
    for (size_t i = t->layers; i-- > 0;) {
        if (t->rule == TAP_LEAVING) add_taps(t, g->x, drows, l, width, i);
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
        if (t->rule == TAP_ENTERING) add_taps(t, g->x, drows, l, width, i);
    }
    return tiles_embed_backward(t, p, g->x, g->branch, g->normed, images, scratch, err);
}

const vision_tower tiles_tower = {
    .word = "tiles",
    .open = tiles_open,
    .bind = tiles_bind,
    .free = tiles_free,
    .width = tiles_width,
    .plan = tiles_plan,
    .scratch = tiles_scratch,
    .announce = tiles_announce,
    .tape_make = tiles_tape_make,
    .forward = tiles_forward,
    .backward = tiles_backward,
};
