/* siglip.c - the SigLIP vision tower; see siglip.h for its equations. */
#include "runtime/vision/siglip.h"

#include <math.h>

#include "formats/base/alloc.h"
#include "formats/numeric.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/patchify.h"

static const config_row config_rows[] = {
    CONFIG("vision.hidden", siglip_config, hidden),
    CONFIG("vision.layers", siglip_config, layers),
    CONFIG("vision.heads", siglip_config, heads),
    CONFIG("vision.mlp", siglip_config, mlp),
    CONFIG("vision.channels", siglip_config, channels),
    CONFIG("vision.patch", siglip_config, patch),
    CONFIG("vision.image", siglip_config, image),
    CONFIG("vision.grid", siglip_config, grid),
    CONFIG("vision.norm_eps", siglip_config, norm_eps),
    CONFIG("vision.activation", siglip_config, activation),
    CONFIG_END,
};

// clang-format off
#define C LVLM_DIM_VISION_HIDDEN
#define M LVLM_DIM_VISION_MLP
#define TOWER(field) WEIGHT_FIELD(siglip, field)
#define BLOCK(field) WEIGHT_FIELD(siglip_block, field)

static const weight_row tower_rows[] = {
    { "patch.weight",     { C, LVLM_DIM_PATCH_DIM }, TOWER(patch_w) },
    { "patch.bias",       { C },                     TOWER(patch_b) },
    { "positions.weight", { LVLM_DIM_POSITIONS, C }, TOWER(positions) },
    { "norm.weight",      { C },                     TOWER(norm_w) },
    { "norm.bias",        { C },                     TOWER(norm_b) },
    WEIGHT_END,
};

static const weight_row block_rows[] = {
    { "norm1.weight",    { C },    BLOCK(norm1_w) },
    { "norm1.bias",      { C },    BLOCK(norm1_b) },
    { "attn.q.weight",   { C, C }, BLOCK(q_w) },
    { "attn.q.bias",     { C },    BLOCK(q_b) },
    { "attn.k.weight",   { C, C }, BLOCK(k_w) },
    { "attn.k.bias",     { C },    BLOCK(k_b) },
    { "attn.v.weight",   { C, C }, BLOCK(v_w) },
    { "attn.v.bias",     { C },    BLOCK(v_b) },
    { "attn.out.weight", { C, C }, BLOCK(out_w) },
    { "attn.out.bias",   { C },    BLOCK(out_b) },
    { "norm2.weight",    { C },    BLOCK(norm2_w) },
    { "norm2.bias",      { C },    BLOCK(norm2_b) },
    { "mlp.fc1.weight",  { M, C }, BLOCK(fc1_w) },
    { "mlp.fc1.bias",    { M },    BLOCK(fc1_b) },
    { "mlp.fc2.weight",  { C, M }, BLOCK(fc2_w) },
    { "mlp.fc2.bias",    { C },    BLOCK(fc2_b) },
    WEIGHT_END,
};

#undef C
#undef M
// clang-format on

static const char blocks[] = "vision.blocks."; /* of weights and of stages */

/* ---- life --------------------------------------------------------------------- */

int siglip_open(siglip *tower, const cJSON *config, lvlm_error *err)
{
    siglip_config *const c = &tower->config;
    TRY(configure(c, config_rows, config, err));
    FAIL_IF(c->hidden % c->heads != 0, err, LVLM_EFORMAT,
            "configuration: vision.hidden %zu is no multiple of vision.heads %zu",
            c->hidden, c->heads);
    FAIL_IF(c->image / c->patch != c->grid, err, LVLM_EFORMAT,
            "configuration: vision.grid %zu is not vision.image %zu / vision.patch %zu",
            c->grid, c->image, c->patch);
    tower->blocks = lvlm_calloc(c->layers, sizeof *tower->blocks);
    FAIL_IF(tower->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            c->layers);
    return 0;
}

int siglip_bind(siglip *tower, weights *w, lvlm_error *err)
{
    TRY(weights_bind(w, tower, tower_rows, 0, "vision.", err));
    for (size_t i = 0; i < tower->config.layers; i++)
        TRY(weights_bind_block(w, &tower->blocks[i], block_rows, 0, blocks, i, err));
    return 0;
}

void siglip_free(siglip *tower)
{
    lvlm_free(tower->blocks);
    tower->blocks = NULL;
}

size_t siglip_rows(const siglip *tower)
{
    return tower->config.grid * tower->config.grid;
}

/* ---- forward ------------------------------------------------------------------ */

static attention_dims all_to_all(const siglip_acts *acts, const siglip_config *c)
{
    const size_t D = c->hidden / c->heads;
    return (attention_dims){
        .Tq = acts->R,
        .Tk = acts->R,
        .heads = c->heads,
        .kv_heads = c->heads,
        .D = D,
        .scale = (real)(1 / sqrt((double)D)),
        .softcap = 0,
        .lo = acts->lo,
        .hi = acts->hi,
    };
}

static void attention_branch(siglip_acts *a, const siglip_block *b,
                             const siglip_config *c, const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden;
    const attention_dims dims = all_to_all(a, c);
    layernorm_forward(a->normed, a->x, b->norm1_w, b->norm1_b, (real)c->norm_eps, R, C);
    linear_forward(a->q, a->normed, b->q_w, b->q_b, R, C, C, scratch);
    linear_forward(a->k, a->normed, b->k_w, b->k_b, R, C, C, scratch);
    linear_forward(a->v, a->normed, b->v_w, b->v_b, R, C, C, scratch);
    attention_forward(a->q, a->q, a->k, a->v, &dims, scratch);
    linear_forward(a->branch, a->q, b->out_w, b->out_b, R, C, C, scratch);
}

static void mlp_branch(siglip_acts *a, const siglip_block *b, const siglip_config *c,
                       const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, M = c->mlp;
    layernorm_forward(a->normed, a->x, b->norm2_w, b->norm2_b, (real)c->norm_eps, R, C);
    linear_forward(a->hidden, a->normed, b->fc1_w, b->fc1_b, R, C, M, scratch);
    activation_forward(a->hidden, a->hidden, c->activation, R * M);
    linear_forward(a->branch, a->hidden, b->fc2_w, b->fc2_b, R, M, C, scratch);
}

void siglip_block_forward(siglip_acts *acts, const siglip_block *block,
                          const siglip_config *config, const ops_scratch *scratch)
{
    attention_branch(acts, block, config, scratch);
    add_forward(acts->x, acts->branch, acts->R * config->hidden);
    mlp_branch(acts, block, config, scratch);
    add_forward(acts->x, acts->branch, acts->R * config->hidden);
}

/* x = patch projections of every image.  acts->x (R,C) */
static void project_patches(siglip_acts *acts, const siglip *tower,
                            const lvlm_tensor *pixels, const ops_scratch *scratch)
{
    const siglip_config *const c = &tower->config;
    const size_t P = siglip_rows(tower), patch_dim = c->channels * c->patch * c->patch;
    const size_t numel = c->channels * c->image * c->image; /* of one image */
    for (size_t i = 0; i < acts->R / P; i++) {
        lvlm_convert_values(acts->pixels, LVLM_REAL_DTYPE,
                            pixels->data + i * numel * lvlm_dtype_bytes(pixels->dtype),
                            pixels->dtype, numel);
        patchify_forward(acts->patches, acts->pixels, c->channels, c->image, c->image,
                         c->patch);
        linear_forward(acts->x + i * P * c->hidden, acts->patches, tower->patch_w,
                       tower->patch_b, P, patch_dim, c->hidden, scratch);
    }
}

size_t siglip_scratch(const siglip *tower, size_t R, size_t n_threads)
{
    const siglip_config *const c = &tower->config;
    const size_t needs[] = {
        linear_scratch(c->channels * c->patch * c->patch, c->hidden, n_threads),
        linear_scratch(c->hidden, c->hidden, n_threads),
        linear_scratch(c->hidden, c->mlp, n_threads),
        linear_scratch(c->mlp, c->hidden, n_threads),
        attention_scratch(R, R, c->heads, c->hidden / c->heads, n_threads),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

static int allocate(void **block, siglip_acts *a, const siglip *tower, lvlm_error *err)
{
    const siglip_config *const c = &tower->config;
    const size_t R = a->R, C = c->hidden, P = siglip_rows(tower);
    const workspace_slot slots[] = {
        { &a->x, R, C },
        { &a->normed, R, C },
        { &a->q, R, C },
        { &a->k, R, C },
        { &a->v, R, C },
        { &a->hidden, R, c->mlp },
        { &a->branch, R, C },
        { &a->pixels, c->channels * c->image, c->image },
        { &a->patches, P, c->channels * c->patch * c->patch },
    };
    TRY(workspace_allocate(block, slots, sizeof slots / sizeof *slots, "vision tower",
                           err));
    a->lo = lvlm_calloc(R, 2 * sizeof *a->lo);
    FAIL_IF(a->lo == NULL, err, LVLM_ENOMEM, "vision tower: out of memory");
    a->hi = a->lo + R;
    for (size_t r = 0; r < R; r++) {
        a->lo[r] = r / P * P;
        a->hi[r] = a->lo[r] + P;
    }
    return 0;
}

void siglip_announce(const siglip *tower, stages *s)
{
    stages_announce(s, "vision.patches");
    stages_announce(s, "vision.embed");
    stages_announce_blocks(s, blocks, tower->config.layers);
    stages_announce(s, "vision.out");
}

static int run(const siglip *tower, real *out, siglip_acts *acts,
               const lvlm_tensor *pixels, stages *s, const ops_scratch *scratch,
               lvlm_error *err)
{
    const siglip_config *const c = &tower->config;
    const size_t P = siglip_rows(tower), R = acts->R, n_images = R / P, C = c->hidden;
    project_patches(acts, tower, pixels, scratch);
    TRY(stages_emit(s, "vision.patches", acts->x, n_images, P, C, err));
    add_rows_forward(acts->x, tower->positions, R, P, C);
    TRY(stages_emit(s, "vision.embed", acts->x, n_images, P, C, err));
    for (size_t i = 0; i < c->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        siglip_block_forward(acts, &tower->blocks[i], c, scratch);
        TRY(stages_emit(s, stages_block(name, blocks, i), acts->x, n_images, P, C,
                        err));
    }
    if (s->left == 0) return 0;
    layernorm_forward(out, acts->x, tower->norm_w, tower->norm_b, (real)c->norm_eps, R,
                      C);
    return stages_emit(s, "vision.out", out, n_images, P, C, err);
}

int siglip_forward(const siglip *tower, real *out, const lvlm_tensor *pixels, stages *s,
                   const ops_scratch *scratch, lvlm_error *err)
{
    siglip_acts acts = { .R = (size_t)pixels->shape.dims[0] * siglip_rows(tower) };
    void *block = NULL;
    int rc = allocate(&block, &acts, tower, err);
    if (rc == 0) rc = run(tower, out, &acts, pixels, s, scratch, err);
    lvlm_free(acts.lo);
    lvlm_free(block);
    return rc;
}
