/* plain.c - the plain ViTs on square images: of SigLIP, and of OpenCLIP in Qwen-VL.
 *
 *   e[p] = W patch[p] (+ b) + positions[p]     P = (side / patch)^2 patches an image
 *   e    = LN_pre e                                OpenCLIP only
 *   blocks (transformer.h), all-to-all inside an image
 *   out  = LN x                                    SigLIP; OpenCLIP: out = x
 *
 * positions is a table of grid^2 rows; images of another grid resample it. No class
 * token. */
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/block/configure.h"
#include "runtime/ops/add.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/resize.h"
#include "runtime/vision/tower.h"

typedef struct plain {
    transformer_config block;
    size_t layers, channels, patch, grid;
    unsigned has;              /* which of the two it is */
    weight_matrix patch_w;     /* (C, channels*patch^2) */
    weight_vector patch_b;     /* (C) SigLIP */
    weight_vector positions;   /* (grid,grid,C) */
    norm_layer norm_pre;       /* (C) OpenCLIP */
    transformer_block *blocks; /* (layers), owned */
    norm_layer norm;           /* (C) SigLIP */
} plain;

enum { SIGLIP = 1, OPENCLIP = 2 };

static const config_row config_rows[] = {
    CONFIG("vision.layers", plain, layers),
    CONFIG("vision.channels", plain, channels),
    CONFIG("vision.patch", plain, patch),
    CONFIG("vision.grid", plain, grid),
    CONFIG_END,
};

// clang-format off
#define C LVLM_DIM_VISION_HIDDEN
#define ALWAYS(field) WEIGHT_FIELD(plain, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(plain, field, bits)

static const weight_row rows[] = {
    { "patch.weight",     { C, LVLM_DIM_PATCH_DIM }, ALWAYS(patch_w) },
    { "patch.bias",       { C },                     WHEN(SIGLIP, patch_b) },
    { "positions.weight", { LVLM_DIM_POSITIONS, C }, ALWAYS(positions) },
    { "norm_pre.weight",  { C },                     WHEN(OPENCLIP, norm_pre.w) },
    { "norm_pre.bias",    { C },                     WHEN(OPENCLIP, norm_pre.b) },
    { "norm.weight",      { C },                     WHEN(SIGLIP, norm.w) },
    { "norm.bias",        { C },                     WHEN(SIGLIP, norm.b) },
    WEIGHT_END,
};

#undef C
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

static int plain_open(void **out, const lvlm_manifest *manifest, unsigned has,
                      lvlm_error *err)
{
    plain *const t = *out = lvlm_calloc(1, sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    t->has = has;
    TRY(tower_configure(&t->block, manifest->config, err));
    TRY(configure(t, config_rows, manifest->config, err));
    t->norm_pre = t->norm = t->block.norm;
    t->blocks = lvlm_calloc(t->layers, sizeof *t->blocks);
    FAIL_IF(t->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            t->layers);
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

static int plain_bind(void *tower, weights *w, lvlm_error *err)
{
    plain *const t = tower;
    TRY(weights_bind(w, t, rows, t->has, "vision.", err));
    return tower_bind(t->blocks, t->layers, w, &t->block,
                      BLOCK_QKV_BIASES | BLOCK_OUT_BIAS, blocks, err);
}

static size_t plain_width(const void *tower)
{
    return ((const plain *)tower)->block.hidden;
}

/* ---- forward -------------------------------------------------------------------- */

static int plain_plan(const void *tower, features *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const plain *const t = tower;
    const size_t grid = images->side / t->patch;
    (void)arena, (void)err;
    *out = (features){ .n_images = images->n,
                       .grids = images->grids,
                       .group = 1,
                       .P = grid * grid,
                       .C = t->block.hidden };
    out->R = out->n_images * out->P;
    out->shape = SHAPE(out->n_images, out->P);
    return 0;
}

static size_t plain_scratch(const void *tower, const lvlm_images *images,
                            const features *f, size_t n_threads)
{
    const plain *const t = tower;
    (void)images;
    return LARGEST(
        transformer_scratch(&t->block, f->R, 0, f->P, n_threads),
        linear_scratch(t->channels * t->patch * t->patch, t->block.hidden, n_threads));
}

static void plain_announce(const void *tower, stages *s)
{
    const plain *const t = tower;
    stages_announce(s, "vision.patches");
    stages_announce(s, "vision.embed");
    stages_announce_blocks(s, blocks, t->layers);
    stages_announce(s, "vision.out");
}

/* Memory of one pass. */
typedef struct plain_tape {
    transformer_tape blocks;
    size_t *lo, *hi; /* (R) */
    real *table;     /* (P,C) positions on the grid of the images */
    real *embedded;  /* (R,C) before norm_pre; kept passes of OpenCLIP */
} plain_tape;

static int plain_tape_make(const void *tower, void **tape, workspace *memory,
                           const features *f, const lvlm_images *images, tape_keep keep,
                           lvlm_error *err)
{
    const plain *const t = tower;
    const size_t R = f->R, C = f->C;
    const transformer_tape_options options = tower_tape_options(R, t->layers, keep);
    plain_tape *const p = *tape = lvlm_arena_alloc(&memory->lists, 1, sizeof *p);
    (void)images;
    if (p == NULL) return lvlm_fail_memory(err);
    const bool embedded = keep != TAPE_NOTHING && (t->has & OPENCLIP) != 0;
    const workspace_slot slots[] = { { &p->table, f->P, C },
                                     { &p->embedded, embedded ? R : 0, C } };
    TRY(workspace_take(memory, slots, 2, "vision tower", err));
    p->lo = lvlm_arena_alloc(&memory->lists, 2 * R, sizeof *p->lo);
    if (p->lo == NULL) return lvlm_fail_memory(err);
    p->hi = p->lo + R;
    tower_all_to_all(p->lo, p->hi, R, f->P);
    return transformer_tape_make(&p->blocks, memory, &t->block, t->blocks, t->layers,
                                 &options, err);
}

/* x (R,C) entering the first block */
static int embed(const plain *t, plain_tape *p, real *x, const features *f,
                 const lvlm_images *images, stages *s, const ops_scratch *scratch,
                 lvlm_error *err)
{
    const size_t R = f->R, C = f->C;
    TRY(tower_project_squares(x, images->pixels, t->patch, &t->patch_w, &t->patch_b, C,
                              scratch, err));
    TRY(features_emit(s, "vision.patches", x, f, C, err));
    resize_forward(p->table, t->positions.v, t->grid, images->side / t->patch, C);
    add_rows_forward(x, p->table, R, f->P, C);
    if (t->has & OPENCLIP) {
        if (p->embedded != NULL) memcpy(p->embedded, x, R * C * sizeof *x);
        norm_forward(x, x, &t->norm_pre, R, C);
    }
    return features_emit(s, "vision.embed", x, f, C, err);
}

static int plain_forward(const void *tower, void *tape, const features *f,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const plain *const t = tower;
    plain_tape *const p = tape;
    const size_t R = f->R, C = f->C;
    const transformer_view view = { .N = R, .lo = p->lo, .hi = p->hi };
    real *x = transformer_tape_input(&p->blocks);
    TRY(embed(t, p, x, f, images, s, scratch, err));
    for (size_t i = 0; i < t->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        x = transformer_tape_forward(&p->blocks, i, x, &view, scratch);
        TRY(features_emit(s, stages_block(name, blocks, i), x, f, C, err));
    }
    if (s->left == 0) return 0;
    if (t->has & SIGLIP)
        norm_forward(f->rows, x, &t->norm, R, C);
    else
        memcpy(f->rows, x, R * C * sizeof *x);
    return features_emit(s, "vision.out", f->rows, f, C, err);
}

/* ---- backward ------------------------------------------------------------------- */

/* dx (R,C) of what enters the first block; `spare` (R,C) */
static int embed_gradient(const plain *t, const plain_tape *p, real *dx, real *spare,
                          const features *f, const lvlm_images *images,
                          const ops_scratch *scratch, lvlm_error *err)
{
    const size_t R = f->R, C = f->C, P = f->P;
    if (t->has & OPENCLIP) {
        memset(spare, 0, R * C * sizeof *spare);
        norm_backward(spare, dx, p->embedded, &t->norm_pre, R, C, scratch);
        dx = spare;
    }
    if (t->positions.grad != NULL) {
        memset(p->table, 0, P * C * sizeof *p->table);
        add_rows_backward(p->table, dx, R, P, C);
        resize_backward(t->positions.grad, p->table, t->grid, images->side / t->patch,
                        C);
    }
    return tower_project_squares_backward(dx, images->pixels, t->patch, &t->patch_w,
                                          &t->patch_b, C, scratch, err);
}

static int plain_backward(const void *tower, void *tape, transformer_grads *g,
                          const real *drows, const features *f,
                          const lvlm_images *images, const ops_scratch *scratch,
                          lvlm_error *err)
{
    const plain *const t = tower;
    plain_tape *const p = tape;
    const size_t R = f->R, C = f->C;
    const transformer_view view = { .N = R, .lo = p->lo, .hi = p->hi };
    memset(g->x, 0, R * C * sizeof *g->x);
    if (t->has & SIGLIP)
        norm_backward(g->x, drows, p->blocks.out, &t->norm, R, C, scratch);
    else
        memcpy(g->x, drows, R * C * sizeof *g->x);
    for (size_t i = t->layers; i-- > 0;)
        transformer_tape_backward(&p->blocks, i, g, &view, scratch);
    return embed_gradient(t, p, g->x, g->branch, f, images, scratch, err);
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
