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
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "runtime/block/configure.h"
#include "runtime/ops/add.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/resize.h"
#include "runtime/vision/tower.h"

enum { MAX_STATES = 64 };

typedef struct plain {
    transformer_config block;
    size_t layers, channels, patch, grid;
    unsigned has;              /* what it is made of, below */
    size_t class_rows;         /* of an image, 0 or 1, before its patches ... */
    size_t first_row;          /* ... and how many of them are not in the features */
    size_t states[MAX_STATES]; /* (n_states) numbers of those that are the features */
    size_t n_states;
    size_t used;               /* blocks that they need */
    weight_vector class_row;   /* (C) */
    weight_matrix patch_w;     /* (C, channels*patch^2) */
    weight_vector patch_b;     /* (C) */
    weight_vector positions;   /* (class_rows + grid^2,C) */
    norm_layer norm_pre;       /* (C) */
    transformer_block *blocks; /* (used), owned */
    norm_layer norm;           /* (C) */
} plain;

enum {
    CLASS_ROW = 1,
    PATCH_BIAS = 2,
    NORM_PRE = 4,
    NORM = 8,
    SIGLIP = PATCH_BIAS | NORM,
    OPENCLIP = NORM_PRE,
    CLIP = CLASS_ROW | NORM_PRE,
};

static const config_row config_rows[] = {
    CONFIG("vision.layers", plain, layers),
    CONFIG("vision.channels", plain, channels),
    CONFIG("vision.patch", plain, patch),
    CONFIG("vision.grid", plain, grid),
    CONFIG_END,
};

// clang-format off
#define ALWAYS(field) WEIGHT_FIELD(plain, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(plain, field, bits)

static const weight_row rows[] = {
    { "class",            WHEN(CLASS_ROW, class_row) },
    { "patch.weight",     ALWAYS(patch_w) },
    { "patch.bias",       WHEN(PATCH_BIAS, patch_b) },
    { "positions.weight", ALWAYS(positions) },
    { "norm_pre.weight",  WHEN(NORM_PRE, norm_pre.w) },
    { "norm_pre.bias",    WHEN(NORM_PRE, norm_pre.b) },
    { "norm.weight",      WHEN(NORM, norm.w) },
    { "norm.bias",        WHEN(NORM, norm.b) },
    WEIGHT_END,
};
// clang-format on

static const char blocks[] = "vision.blocks."; /* of weights and of stages */

/* ---- life ----------------------------------------------------------------------- */

static void plain_free(void *tower)
{
    plain *const t = tower;
    if (t == NULL) return;
    lvlm_free(t->blocks);
    lvlm_free(t);
}

/* A state by its number: 0 enters the first block, `layers` leaves the last, and
 * negative numbers count from there, -1 the last. */
static int add_state(plain *t, const cJSON *item, lvlm_error *err)
{
    double number;
    FAIL_IF(!lvlm_json_double(&number, item) || number != floor(number) ||
                number < -(double)t->layers - 1 || number > (double)t->layers,
            err, LVLM_EFORMAT,
            "configuration: vision.select has a number that is not a state of the "
            "tower: those of %zu blocks are -%zu to %zu",
            t->layers, t->layers + 1, t->layers);
    FAIL_IF(t->n_states == MAX_STATES, err, LVLM_EFORMAT,
            "configuration: vision.select has more than %d states", MAX_STATES);
    if (number < 0) number += (double)t->layers + 1;
    const size_t state = (size_t)number;
    t->states[t->n_states++] = state;
    if (state > t->used) t->used = state;
    return 0;
}

/* Which states are the features: a number, or a list of them. */
static int read_states(plain *t, const cJSON *config, lvlm_error *err)
{
    const cJSON *item, *const select = lvlm_json_path(config, "vision.select");
    if (select == NULL) {
        t->states[t->n_states++] = t->used = t->layers;
        return 0;
    }
    t->has &= ~(unsigned)NORM;
    if (!cJSON_IsArray(select)) return add_state(t, select, err);
    LVLM_JSON_ITEMS (item, select) TRY(add_state(t, item, err));
    FAIL_IF(t->n_states == 0, err, LVLM_EFORMAT,
            "configuration: vision.select names no state");
    return 0;
}

static int plain_open(void **out, const lvlm_manifest *manifest, unsigned has,
                      lvlm_error *err)
{
    const cJSON *const config = manifest->config;
    plain *const t = *out = lvlm_calloc(1, sizeof *t);
    lvlm_image_spec images;
    if (t == NULL) return lvlm_fail_memory(err);
    t->has = has;
    TRY(tower_configure(&t->block, config, err));
    TRY(configure(t, config_rows, config, err));
    TRY(lvlm_image_spec_read(&images, config, err));
    TRY(read_states(t, config, err));
    t->class_rows = (has & CLASS_ROW) != 0;
    assert(images.class_rows <= t->class_rows);
    t->first_row = t->class_rows - images.class_rows;
    t->norm_pre = t->norm = t->block.norm;
    t->blocks = lvlm_calloc(t->used + 1, sizeof *t->blocks);
    FAIL_IF(t->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            t->used);
    return 0;
}

static int siglip_open(void **out, const lvlm_manifest *manifest, const char *reference,
                       lvlm_error *err)
{
    (void)reference;
    return plain_open(out, manifest, SIGLIP, err);
}

static int openclip_open(void **out, const lvlm_manifest *manifest,
                         const char *reference, lvlm_error *err)
{
    (void)reference;
    return plain_open(out, manifest, OPENCLIP, err);
}

static int clip_open(void **out, const lvlm_manifest *manifest, const char *reference,
                     lvlm_error *err)
{
    uint64_t rows_of_table = 0;
    (void)reference;
    TRY(plain_open(out, manifest, CLIP, err));
    const plain *const t = *out;
    const cJSON *const said = lvlm_json_path(manifest->config, "vision.rows");
    FAIL_IF(
        !lvlm_json_u64(&rows_of_table, said) || rows_of_table != t->grid * t->grid + 1,
        err, LVLM_EFORMAT,
        "configuration: vision.rows is not that of %zu x %zu patches and one more",
        t->grid, t->grid);
    return 0;
}

static int plain_bind(void *tower, weights *w, lvlm_error *err)
{
    plain *const t = tower;
    TRY(weights_bind(w, t, rows, t->has, "vision.", err));
    return tower_bind(t->blocks, t->used, w, &t->block,
                      BLOCK_QKV_BIASES | BLOCK_OUT_BIAS, blocks, err);
}

static size_t plain_width(const void *tower)
{
    const plain *const t = tower;
    return t->n_states * t->block.hidden;
}

/* ---- forward -------------------------------------------------------------------- */

/* The rows of the blocks: N images of V, the class row and P patches. */
typedef struct extent {
    size_t N, P, V, R; /* R = N V */
    size_t C, grid;    /* the patches of a side */
} extent;

static extent extent_of(const plain *t, const lvlm_images *images)
{
    extent e = { .N = images->n, .C = t->block.hidden };
    assert(images->n > 0 && images->side >= t->patch);
    e.grid = images->side / t->patch;
    e.P = e.grid * e.grid;
    e.V = t->class_rows + e.P;
    e.R = e.N * e.V;
    return e;
}

static int plain_plan(const void *tower, features *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const plain *const t = tower;
    const extent e = extent_of(t, images);
    (void)arena, (void)err;
    *out = (features){ .n_images = images->n,
                       .grids = images->grids,
                       .class_rows = t->class_rows - t->first_row,
                       .group = 1,
                       .P = e.V - t->first_row,
                       .C = plain_width(t) };
    out->R = out->n_images * out->P;
    out->shape = SHAPE(out->n_images, out->P);
    return 0;
}

static size_t plain_scratch(const void *tower, const lvlm_images *images,
                            const features *f, size_t n_threads)
{
    const plain *const t = tower;
    const extent e = extent_of(t, images);
    (void)f;
    return LARGEST(
        transformer_scratch(&t->block, e.R, e.R, n_threads),
        linear_scratch(t->channels * t->patch * t->patch, t->block.hidden, n_threads));
}

static void plain_announce(const void *tower, stages *s)
{
    const plain *const t = tower;
    stages_announce(s, "vision.patches");
    stages_announce(s, "vision.embed");
    stages_announce_blocks(s, blocks, t->used);
    stages_announce(s, "vision.out");
}

/* Memory of one pass. */
typedef struct plain_tape {
    transformer_tape blocks;
    extent size;
    size_t *lo, *hi; /* (R) */
    real *table;     /* (V,C) what is added to the rows of an image */
    real *embedded;  /* (R,C) before norm_pre; kept passes of towers that have it */
} plain_tape;

static int plain_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, const lvlm_images *images, tape_keep keep,
                           lvlm_error *err)
{
    const plain *const t = tower;
    const extent e = extent_of(t, images);
    const transformer_tape_options options = tower_tape_options(e.R, t->used, keep);
    plain_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    (void)f;
    if (p == NULL) return lvlm_fail_memory(err);
    p->size = e;
    const bool embedded = keep != TAPE_NOTHING && (t->has & NORM_PRE) != 0;
    const workspace_slot slots[] = { { &p->table, e.V, e.C },
                                     { &p->embedded, embedded ? e.R : 0, e.C } };
    TRY(workspace_take(memory, slots, 2, "vision tower", err));
    p->lo = lvlm_arena_alloc(&memory->lists, 2 * e.R, sizeof *p->lo);
    if (p->lo == NULL) return lvlm_fail_memory(err);
    p->hi = p->lo + e.R;
    tower_all_to_all(p->lo, p->hi, e.R, e.V);
    return transformer_tape_make(&p->blocks, memory, &t->block, t->blocks, t->used,
                                 &options, err);
}

/* A stage of the rows of the blocks. */
static int emit(stages *s, const char *name, const real *x, const extent *e,
                lvlm_error *err)
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
static void make_table(const plain *t, plain_tape *p)
{
    const extent *const e = &p->size;
    const size_t before = t->class_rows * e->C;
    for (size_t c = 0; c < before; c++)
        p->table[c] = t->class_row.v[c] + t->positions.v[c];
    resize_forward(p->table + before, t->positions.v + before, t->grid, e->grid, e->C);
}

/* x (R,C) entering the first block */
static int embed(const plain *t, plain_tape *p, real *x, const lvlm_images *images,
                 stages *s, const ops_scratch *scratch, lvlm_error *err)
{
    const extent *const e = &p->size;
    const size_t R = e->R, C = e->C;
    assert(t->class_rows == 0 || e->grid == t->grid);
    TRY(tower_project_squares(x, images->pixels, t->patch, &t->patch_w, &t->patch_b, C,
                              scratch, err));
    TRY(stages_emit(s, "vision.patches", x, SHAPE(e->N, e->P, C), err));
    make_place(x, e);
    make_table(t, p);
    add_rows_forward(x, p->table, R, e->V, C);
    if (t->has & NORM_PRE) {
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
    const extent *const e = &p->size;
    const transformer_view view = { .N = e->R, .lo = p->lo, .hi = p->hi };
    real *x = transformer_tape_input(&p->blocks);
    assert(f->R == e->N * (e->V - t->first_row) && f->C == t->n_states * e->C);
    TRY(embed(t, p, x, images, s, scratch, err));
    keep_state(t, f, x, e, 0);
    for (size_t i = 0; i < t->used && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        x = transformer_tape_forward(&p->blocks, i, x, &view, scratch);
        keep_state(t, f, x, e, i + 1);
        TRY(emit(s, stages_block(name, blocks, i), x, e, err));
    }
    if (s->left == 0) return 0;
    if (t->has & NORM) norm_forward(f->rows, f->rows, &t->norm, f->R, f->C);
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
static void table_gradient(const plain *t, plain_tape *p, const real *dx)
{
    const extent *const e = &p->size;
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
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const extent *const e = &p->size;
    if (t->has & NORM_PRE) {
        memset(spare, 0, e->R * e->C * sizeof *spare);
        norm_backward(spare, dx, p->embedded, &t->norm_pre, e->R, e->C, scratch);
        dx = spare;
    }
    table_gradient(t, p, dx);
    for (size_t i = 0; t->class_rows > 0 && i < e->N; i++)
        memmove(dx + i * e->P * e->C, dx + (i * e->V + t->class_rows) * e->C,
                e->P * e->C * sizeof *dx);
    return tower_project_squares_backward(dx, images->pixels, t->patch, &t->patch_w,
                                          &t->patch_b, e->C, scratch, err);
}

static int plain_backward(const void *tower, void *tape, transformer_grads *g,
                          const real *drows, const features *f,
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const plain *const t = tower;
    plain_tape *const p = tape;
    const extent *const e = &p->size;
    const transformer_view view = { .N = e->R, .lo = p->lo, .hi = p->hi };
    assert(f->R == e->N * (e->V - t->first_row) && f->C == t->n_states * e->C);
    memset(g->x, 0, e->R * e->C * sizeof *g->x);
    if (t->has & NORM) /* then the last state is all of the features */
        norm_backward(g->x, drows, p->blocks.out, &t->norm, e->R, e->C, scratch);
    else
        add_state_gradient(t, g->x, drows, f, e, t->used);
    for (size_t i = t->used; i-- > 0;) {
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
        add_state_gradient(t, g->x, drows, f, e, i);
    }
    return embed_gradient(t, p, g->x, g->branch, images, scratch, err);
}

#define TOWER(name, how)                                                               \
    {                                                                                  \
        .word = name, .open = how, .bind = plain_bind, .free = plain_free,             \
        .width = plain_width, .plan = plain_plan, .scratch = plain_scratch,            \
        .announce = plain_announce, .tape_make = plain_tape_make,                      \
        .forward = plain_forward, .backward = plain_backward                           \
    }

const vision_tower siglip_tower = TOWER("siglip", siglip_open);
const vision_tower openclip_tower = TOWER("openclip", openclip_open);
const vision_tower clip_tower = TOWER("clip", clip_open);
