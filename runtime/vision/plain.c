/* plain.c - the plain ViTs on square images: SigLIP, CLIP, and OpenCLIP in Qwen-VL.
 *
 *   e      = W patch (+ b)             P = (side / patch)^2 rows an image
 *   e      = [class, e]                CLIP: one row more
 *   s[0]   = e + positions             SigLIP
 *            LN_pre (e + positions)    CLIP, OpenCLIP
 *   s[i+1] = block i of s[i]           transformer.h, all-to-all inside an image
 *   out    = LN s[layers]              SigLIP; the others: s[layers]
 *
 * vision.select names other states than the last: these are the features, side by side
 * and without LN, and blocks that none of them needs are left out. vision.select_rows
 * "patches" leaves the class row out of the features.
 *
 * positions is a table of grid^2 rows, and one for the class row before them; images of
 * another grid resample it. */
#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/block/configure.h"
#include "runtime/ops/add.h"
#include "runtime/ops/resize.h"
#include "runtime/vision/tower.h"

enum { MAX_STATES = 64 };

typedef struct plain {
    vision_tower base;
    size_t grid, rows;         /* of positions: patches of a side, and all */
    size_t class_rows;         /* of an image, 0 or 1, before its patches ... */
    size_t first_row;          /* ... and how many of them are not in the features */
    bool selects;              /* the features are states of vision.select */
    size_t states[MAX_STATES]; /* (n_states) their numbers */
    size_t n_states;
    weight_vector class_row; /* (C) */
    weight_vector patch_b;   /* (C) */
    weight_vector positions; /* (class_rows + grid^2,C) */
    norm_layer norm_pre;     /* (C) */
    norm_layer norm;         /* (C) */
} plain;

static const config_row config_rows[] = {
    CONFIG("vision.grid", plain, grid),
    CONFIG_MAYBE("vision.rows", plain, rows),
    CONFIG_END,
};

// clang-format off
#define FIELD(field) WEIGHT_FIELD(plain, field)

static const weight_row rows[] = {
    { "class",            FIELD(class_row) },
    { "patch.bias",       FIELD(patch_b) },
    { "positions.weight", FIELD(positions) },
    { "norm_pre.weight",  FIELD(norm_pre.w) },
    { "norm_pre.bias",    FIELD(norm_pre.b) },
    { "norm.weight",      FIELD(norm.w) },
    { "norm.bias",        FIELD(norm.b) },
    WEIGHT_END,
};
// clang-format on

/* Which states are the features: 0 enters the first block, `layers` leaves the last.
 * Blocks that none of them needs are not run. */
static int read_states(plain *t, const cJSON *config, lvlm_error *err)
{
    const size_t layers = t->base.layers;
    t->selects = lvlm_json_path(config, "vision.select") != NULL;
    t->n_states = 1;
    t->states[0] = layers;
    if (!t->selects) return 0;
    TRY(configure_list(t->states, MAX_STATES, &t->n_states, config, "vision.select",
                       err));
    FAIL_IF(t->n_states == 0, err, LVLM_EFORMAT,
            "configuration: vision.select names no state");
    t->base.layers = 0;
    for (size_t k = 0; k < t->n_states; k++) {
        FAIL_IF(t->states[k] > layers, err, LVLM_EFORMAT,
                "configuration: vision.select has a number that is not a state of the "
                "tower: those of %zu blocks are 0 to %zu",
                layers, layers);
        if (t->states[k] > t->base.layers) t->base.layers = t->states[k];
    }
    return 0;
}

static int plain_open(void *tower, const lvlm_manifest *manifest,
                      const lvlm_image_spec *images, const char *reference,
                      lvlm_error *err)
{
    plain *const t = tower;
    (void)reference;
    TRY(configure(t, config_rows, manifest->config, err));
    TRY(read_states(t, manifest->config, err));
    t->base.width *= t->n_states;
    t->first_row = images->class_rows_dropped;
    t->class_rows = t->first_row + images->class_rows;
    t->norm_pre = t->norm = t->base.block.norm;
    FAIL_IF(t->class_rows > 0 && t->rows != t->grid * t->grid + 1, err, LVLM_EFORMAT,
            "configuration: vision.rows is not that of %zu x %zu patches and one more",
            t->grid, t->grid);
    return 0;
}

/* Does a norm follow the last block? */
static bool has_norm(const plain *t)
{
    return !t->selects && t->norm.w.v != NULL;
}

/* ---- forward -------------------------------------------------------------------- */

/* The rows of the blocks: N images of V, the class row and P patches. */
typedef struct extent {
    size_t N, P, V, R; /* R = N V */
    size_t C, grid;    /* the patches of a side */
    size_t *lo, *hi;   /* (R) an image's rows attend to each other */
} extent;

static int plain_plan(const void *tower, features *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const plain *const t = tower;
    extent *const e = lvlm_arena_alloc(arena, 1, sizeof *e);
    assert(images->n > 0 && images->side >= t->base.patch);
    if (e == NULL) return lvlm_fail_memory(err);
    e->N = images->n;
    e->C = t->base.block.hidden;
    e->grid = images->side / t->base.patch;
    e->P = e->grid * e->grid;
    e->V = t->class_rows + e->P;
    e->R = e->N * e->V;
    e->lo = lvlm_arena_alloc(arena, e->R, sizeof *e->lo);
    e->hi = lvlm_arena_alloc(arena, e->R, sizeof *e->hi);
    if (e->lo == NULL || e->hi == NULL) return lvlm_fail_memory(err);
    for (size_t r = 0; r < e->R; r++) {
        e->lo[r] = r / e->V * e->V;
        e->hi[r] = e->lo[r] + e->V;
    }
    const size_t P = e->V - t->first_row;
    *out = (features){ .n_images = e->N,
                       .grids = images->grids,
                       .class_rows = t->class_rows - t->first_row,
                       .group = 1,
                       .P = P,
                       .R = e->N * P,
                       .C = t->base.width,
                       .shape = SHAPE(e->N, P),
                       .block_rows = e->R,
                       .layout = e };
    return 0;
}

/* Memory of one pass. */
typedef struct plain_tape {
    transformer_tape blocks;
    real *table;    /* (V,C) what is added to the rows of an image */
    real *embedded; /* (R,C) before norm_pre; kept passes of towers that have it */
    uint64_t *rows; /* (R) noise_row of each row; with noise only */
} plain_tape;

/* The numbers of rows, image by image. */
static int number_rows(plain_tape *p, workspace *memory, const features *f,
                       lvlm_error *err)
{
    const extent *const e = f->layout;
    if (f->noise == NULL) return 0;
    p->rows = lvlm_arena_alloc(&memory->lists, e->R, sizeof *p->rows);
    if (p->rows == NULL) return lvlm_fail_memory(err);
    for (size_t r = 0; r < e->R; r++)
        p->rows[r] = noise_row(f->noise->images + r / e->V, r % e->V);
    return 0;
}

/* What the rows of block i attend to. */
static transformer_view view_of(const plain_tape *p, const features *f, size_t i)
{
    const extent *const e = f->layout;
    return (transformer_view){
        .N = e->R,
        .lo = e->lo,
        .hi = e->hi,
        .attention_drop = noise_at(f->noise, LVLM_DROPOUT_VISION_ATTENTION, i, p->rows),
    };
}

static int plain_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, tape_keep keep, lvlm_error *err)
{
    const plain *const t = tower;
    const extent *const e = f->layout;
    TRY(tower_tape_make(tape, sizeof(plain_tape), memory, &t->base, f, keep, err));
    plain_tape *const p = *tape;
    TRY(number_rows(p, memory, f, err));
    const bool embedded = keep != TAPE_NOTHING && t->norm_pre.w.v != NULL;
    const workspace_slot slots[] = { { &p->table, e->V, e->C },
                                     { &p->embedded, embedded ? e->R : 0, e->C } };
    return workspace_take(memory, slots, 2, "vision tower", err);
}

/* A stage of the rows of the blocks. */
static int emit(stages *s, const char *name, real *x, const extent *e, lvlm_error *err)
{
    return stages_emit(s, name, x, SHAPE(e->N, e->V, e->C), err);
}

/* Patches (N P,C) to where they are in x (N V,C), in place; class rows are 0. */
static void make_place(real *x, const extent *e)
{
    const size_t before = (e->V - e->P) * e->C;
    assert(e->V == e->P || e->V == e->P + 1);
    for (size_t i = e->N; before > 0 && i-- > 0;) {
        real *const row = x + i * e->V * e->C;
        memmove(row + before, x + i * e->P * e->C, e->P * e->C * sizeof *x);
        memset(row, 0, before * sizeof *x);
    }
}

/* What is added to the rows of an image: positions on its grid, and the class row. */
static void make_table(const plain *t, plain_tape *p, const extent *e)
{
    const size_t before = t->class_rows * e->C;
    assert(t->positions.v != NULL && (before == 0 || t->class_row.v != NULL));
    for (size_t c = 0; c < before; c++)
        p->table[c] = t->class_row.v[c] + t->positions.v[c];
    resize_forward(p->table + before, t->positions.v + before, t->grid, e->grid, e->C);
}

/* x (R,C) entering the first block */
static int embed(const plain *t, plain_tape *p, real *x, const extent *e,
                 const lvlm_images *images, stages *s, const ops_scratch *scratch,
                 lvlm_error *err)
{
    const size_t R = e->R, C = e->C;
    assert(t->class_rows == 0 || e->grid == t->grid);
    if (stages_computes(s, "vision.patches"))
        TRY(tower_project(x, &t->base, images->pixels, &t->patch_b, scratch, err));
    TRY(stages_emit(s, "vision.patches", x, SHAPE(e->N, e->P, C), err));
    make_place(x, e);
    make_table(t, p, e);
    add_rows_forward(x, p->table, R, e->V, C);
    if (t->norm_pre.w.v != NULL) {
        if (p->embedded != NULL) memcpy(p->embedded, x, R * C * sizeof *x);
        norm_forward(x, x, &t->norm_pre, R, C);
    }
    return emit(s, "vision.embed", x, e, err);
}

/* The columns of f->rows that are state number `state`, x (R,C). */
static void keep_state(const plain *t, const features *f, const real *x,
                       const extent *e, size_t state)
{
    for (size_t k = 0; k < t->n_states; k++)
        for (size_t r = 0; t->states[k] == state && r < f->R; r++) {
            const size_t from = r / f->P * e->V + t->first_row + r % f->P;
            memcpy(f->rows + r * f->C + k * e->C, x + from * e->C, e->C * sizeof *x);
        }
}

static int plain_forward(const void *tower, void *tape, const features *f,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const plain *const t = tower;
    plain_tape *const p = tape;
    const extent *const e = f->layout;
    real *x = transformer_tape_input(&p->blocks);
    assert(f->R == e->N * (e->V - t->first_row) && f->C == t->n_states * e->C);
    TRY(embed(t, p, x, e, images, s, scratch, err));
    keep_state(t, f, x, e, 0);
    for (size_t i = 0; i < t->base.layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        const transformer_view view = view_of(p, f, i);
        if (stages_computes(s, stages_block(name, TOWER_BLOCKS, i)))
            x = transformer_tape_forward(&p->blocks, i, x, &view, scratch);
        TRY(emit(s, name, x, e, err));
        keep_state(t, f, x, e, i + 1);
    }
    if (s->left == 0) return 0;
    if (has_norm(t)) norm_forward(f->rows, f->rows, &t->norm, f->R, f->C);
    return features_emit(s, "vision.out", f->rows, f, f->C, err);
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (R,C) += the gradient of state number `state`, from drows (f->R,f->C) */
static void add_state_gradient(const plain *t, real *dx, const real *drows,
                               const features *f, const extent *e, size_t state)
{
    for (size_t k = 0; k < t->n_states; k++)
        for (size_t r = 0; t->states[k] == state && r < f->R; r++) {
            const size_t to = r / f->P * e->V + t->first_row + r % f->P;
            add_forward(dx + to * e->C, drows + r * f->C + k * e->C, e->C);
        }
}

/* The gradients of positions and class row, from dx (R,C) of the rows after them. */
static void table_gradient(const plain *t, plain_tape *p, const real *dx,
                           const extent *e)
{
    const size_t before = t->class_rows * e->C;
    if (t->positions.grad == NULL && t->class_row.grad == NULL) return;
    memset(p->table, 0, e->V * e->C * sizeof *p->table);
    add_rows_backward(p->table, dx, e->R, e->V, e->C);
    if (t->class_row.grad != NULL) add_forward(t->class_row.grad, p->table, before);
    if (t->positions.grad == NULL) return;
    add_forward(t->positions.grad, p->table, before);
    resize_backward(t->positions.grad + before, p->table + before, t->grid, e->grid,
                    e->C);
}

/* dx (R,C) of what enters the first block; `spare` (R,C). Both are overwritten. */
static int embed_gradient(const plain *t, plain_tape *p, real *dx, real *spare,
                          const extent *e, const lvlm_images *images,
                          const ops_scratch *scratch, lvlm_error *err)
{
    if (t->norm_pre.w.v != NULL) {
        memset(spare, 0, e->R * e->C * sizeof *spare);
        norm_backward(spare, dx, p->embedded, &t->norm_pre, e->R, e->C, scratch);
        dx = spare;
    }
    table_gradient(t, p, dx, e);
    for (size_t i = 0; t->class_rows > 0 && i < e->N; i++)
        memmove(dx + i * e->P * e->C, dx + (i * e->V + t->class_rows) * e->C,
                e->P * e->C * sizeof *dx);
    return tower_project_backward(dx, &t->base, images->pixels, &t->patch_b, scratch,
                                  err);
}

static int plain_backward(const void *tower, void *tape, transformer_grads *g,
                          const real *drows, const features *f,
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const plain *const t = tower;
    plain_tape *const p = tape;
    const extent *const e = f->layout;
    assert(f->R == e->N * (e->V - t->first_row) && f->C == t->n_states * e->C);
    memset(g->x, 0, e->R * e->C * sizeof *g->x);
    if (has_norm(t)) /* then the last state is all of the features */
        norm_backward(g->x, drows, p->blocks.out, &t->norm, e->R, e->C, scratch);
    else
        add_state_gradient(t, g->x, drows, f, e, t->base.layers);
    for (size_t i = t->base.layers; i-- > 0;) {
        const transformer_view view = view_of(p, f, i);
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
        add_state_gradient(t, g->x, drows, f, e, i);
    }
    return embed_gradient(t, p, g->x, g->branch, e, images, scratch, err);
}

const tower_kind plain_tower = {
    .size = sizeof(plain),
    .rows = rows,
    .has_ends = true,
    .open = plain_open,
    .plan = plain_plan,
    .tape_make = plain_tape_make,
    .forward = plain_forward,
    .backward = plain_backward,
};
