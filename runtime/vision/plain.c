/* plain.c - the plain ViTs on square images: of SigLIP, and of OpenCLIP in Qwen-VL.
 *
 *   e[p] = W patch[p] (+ b) + positions[p]     P = (side / patch)^2 patches an image
 *   e    = LN_pre e                                OpenCLIP only
 *   blocks (vit.h), all-to-all inside an image
 *   out  = LN x                                    SigLIP; OpenCLIP: out = x
 *
 * positions is a table of grid^2 rows; images of another grid resample it. No class
 * token. */
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/resize.h"
#include "runtime/vision/tower.h"
#include "runtime/vision/vit.h"

typedef struct plain {
    vit_config vit;
    size_t layers, channels, patch, grid;
    unsigned has;                        /* which of the two it is */
    lvlm_stored patch_w;                 /* (C, channels*patch^2) */
    const real *patch_b;                 /* (C) SigLIP */
    const real *positions;               /* (grid,grid,C) */
    const real *norm_pre_w, *norm_pre_b; /* (C) OpenCLIP */
    vit_block *blocks;                   /* (layers), owned */
    const real *norm_w, *norm_b;         /* (C) SigLIP */
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
    { "norm_pre.weight",  { C },                     WHEN(OPENCLIP, norm_pre_w) },
    { "norm_pre.bias",    { C },                     WHEN(OPENCLIP, norm_pre_b) },
    { "norm.weight",      { C },                     WHEN(SIGLIP, norm_w) },
    { "norm.bias",        { C },                     WHEN(SIGLIP, norm_b) },
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
    TRY(vit_configure(&t->vit, manifest->config, err));
    TRY(configure(t, config_rows, manifest->config, err));
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
    for (size_t i = 0; i < t->layers; i++)
        TRY(vit_bind(&t->blocks[i], w, &t->vit, VIT_ATTENTION_BIASES, blocks, i, err));
    return 0;
}

/* ---- forward -------------------------------------------------------------------- */

static int plain_look(const void *tower, vision_rows *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const plain *const t = tower;
    const size_t grid = images->side / t->patch;
    (void)arena, (void)err;
    *out = (vision_rows){ .n_images = images->n, .P = grid * grid, .C = t->vit.hidden };
    out->R = out->n_images * out->P;
    out->shape = SHAPE(out->n_images, out->P);
    return 0;
}

static size_t plain_scratch(const void *tower, const lvlm_images *images,
                            const vision_rows *seen, size_t n_threads)
{
    const plain *const t = tower;
    const size_t blocks_need = vit_scratch(&t->vit, seen->R, n_threads);
    const size_t patches_need =
        linear_scratch(t->channels * t->patch * t->patch, t->vit.hidden, n_threads);
    (void)images;
    return blocks_need > patches_need ? blocks_need : patches_need;
}

static void plain_announce(const void *tower, stages *s)
{
    const plain *const t = tower;
    stages_announce(s, "vision.patches");
    stages_announce(s, "vision.embed");
    stages_announce_blocks(s, blocks, t->layers);
    stages_announce(s, "vision.out");
}

/* x += positions, resampled to the grid of the images. */
static int add_positions(const plain *t, real *x, const vision_rows *seen, size_t side,
                         lvlm_error *err)
{
    real *table = NULL;
    void *memory = NULL;
    const workspace_slot slot = { &table, seen->P, seen->C };
    TRY(workspace_allocate(&memory, &slot, 1, "positions", err));
    resize_forward(table, t->positions, t->grid, side / t->patch, seen->C);
    add_rows_forward(x, table, seen->R, seen->P, seen->C);
    lvlm_free(memory);
    return 0;
}

static int run(const plain *t, vit_acts *a, const vit_view *view,
               const vision_rows *seen, const lvlm_images *images, stages *s,
               const ops_scratch *scratch, lvlm_error *err)
{
    const size_t C = seen->C;
    TRY(tower_project_squares(a->x, images->pixels, t->patch, t->patch_w, t->patch_b, C,
                              scratch, err));
    TRY(seen_emit(s, "vision.patches", a->x, seen, C, err));
    TRY(add_positions(t, a->x, seen, images->side, err));
    if (t->has & OPENCLIP)
        layernorm_forward(a->x, a->x, t->norm_pre_w, t->norm_pre_b,
                          (real)t->vit.norm_eps, seen->R, C);
    TRY(seen_emit(s, "vision.embed", a->x, seen, C, err));
    for (size_t i = 0; i < t->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        vit_block_forward(a, &t->blocks[i], &t->vit, view, scratch);
        TRY(seen_emit(s, stages_block(name, blocks, i), a->x, seen, C, err));
    }
    if (s->left == 0) return 0;
    if (t->has & SIGLIP)
        layernorm_forward(seen->rows, a->x, t->norm_w, t->norm_b, (real)t->vit.norm_eps,
                          seen->R, C);
    else
        memcpy(seen->rows, a->x, seen->R * C * sizeof *a->x);
    return seen_emit(s, "vision.out", seen->rows, seen, C, err);
}

static int plain_forward(const void *tower, const vision_rows *seen,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const plain *const t = tower;
    size_t *const lo = lvlm_calloc(seen->R, 2 * sizeof *lo);
    const vit_view view = { .lo = lo, .hi = lo + seen->R };
    vit_acts acts = { 0 };
    int rc = lo == NULL ? lvlm_fail_memory(err)
                        : vit_acts_make(&acts, &t->vit, seen->R, err);
    if (rc == 0) {
        seen_all_to_all(lo, lo + seen->R, seen->R, seen->P);
        rc = run(t, &acts, &view, seen, images, s, scratch, err);
    }
    vit_acts_free(&acts);
    lvlm_free(lo);
    return rc;
}

#define TOWER(name, how)                                                               \
    {                                                                                  \
        .word = name, .open = how, .bind = plain_bind, .free = plain_free,             \
        .look = plain_look, .scratch = plain_scratch, .announce = plain_announce,      \
        .forward = plain_forward                                                       \
    }

const vision_tower siglip_tower = TOWER("siglip", siglip_open);
const vision_tower openclip_tower = TOWER("openclip", openclip_open);
