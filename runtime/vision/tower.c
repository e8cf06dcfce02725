/* tower.c - what all vision towers share; see tower.h. */
#include "runtime/vision/tower.h"

#include <assert.h>
#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/block/configure.h"
#include "runtime/ops/patchify.h"

static const vision_tower *const towers[] = { &siglip_tower, &clip_tower,
                                              &openclip_tower, &qwen2_tower,
                                              &tiles_tower };

const vision_tower *tower_find(const char *word)
{
    const size_t n = sizeof towers / sizeof *towers;
    size_t i = 0;
    while (i < n && strcmp(towers[i]->word, word) != 0) i++;
    assert(i < n);
    return towers[i];
}

static const config_row config_rows[] = {
    CONFIG("vision.hidden", transformer_config, hidden),
    CONFIG("vision.heads", transformer_config, heads),
    CONFIG("vision.mlp", transformer_config, mlp),
    CONFIG("vision.norm_eps", transformer_config, norm.eps),
    CONFIG("vision.activation", transformer_config, activation),
    CONFIG_MAYBE("vision.gated_mlp", transformer_config, gated_mlp),
    CONFIG_MAYBE("vision.rms_norms", transformer_config, norm.rms),
    CONFIG_END,
};

int tower_configure(transformer_config *c, const cJSON *json, lvlm_error *err)
{
    TRY(configure(c, config_rows, json, err));
    FAIL_IF(c->hidden % c->heads != 0, err, LVLM_EFORMAT,
            "configuration: vision.hidden %zu is not a multiple of vision.heads %zu",
            c->hidden, c->heads);
    c->kv_heads = c->heads;
    c->head_dim = c->hidden / c->heads;
    c->query_scalar = (double)c->head_dim;
    return 0;
}

int tower_bind(transformer_block *blocks, size_t n, weights *w,
               const transformer_config *config, unsigned has, const char *prefix,
               lvlm_error *err)
{
    has |= BLOCK_MLP_BIASES;
    for (size_t i = 0; i < n; i++)
        TRY(transformer_bind(&blocks[i], w, config, has, prefix, i, err));
    return 0;
}

transformer_tape_options tower_tape_options(size_t R, size_t n, tape_keep keep)
{
    return (transformer_tape_options){
        .N = R, .keep = keep, .first = keep == TAPE_NOTHING ? n : 0, .narrows = n
    };
}

void tower_all_to_all(size_t *lo, size_t *hi, size_t R, size_t P)
{
    assert(P > 0 && R % P == 0);
    for (size_t r = 0; r < R; r++) {
        lo[r] = r / P * P;
        hi[r] = lo[r] + P;
    }
}

/* Squares cut into patches, one image at a time. */
typedef struct cutter {
    const lvlm_tensor *pixels;
    size_t patch, channels, side, n; /* images */
    size_t P, dim;                   /* patches of one, values of a patch */
    real *image;                     /* (channels,side,side) */
    real *patches;                   /* (P,dim) */
    workspace memory;
} cutter;

static int cutter_make(cutter *c, const lvlm_tensor *pixels, size_t patch,
                       lvlm_error *err)
{
    assert(pixels->shape.n >= 4 && patch > 0);
    const size_t last = pixels->shape.n - 1;
    *c = (cutter){ .pixels = pixels, .patch = patch };
    c->side = (size_t)pixels->shape.dims[last];
    c->channels = (size_t)pixels->shape.dims[last - 2];
    c->n = (size_t)lvlm_tensor_numel(pixels) / (c->channels * c->side * c->side);
    assert(pixels->shape.dims[last - 1] == c->side && c->side >= patch);
    c->P = (c->side / patch) * (c->side / patch);
    c->dim = c->channels * patch * patch;
    const workspace_slot slots[] = { { &c->image, c->channels * c->side, c->side },
                                     { &c->patches, c->P, c->dim } };
    return workspace_take(&c->memory, slots, 2, "patches", err);
}

static void cut(const cutter *c, size_t i)
{
    const size_t numel = c->channels * c->side * c->side;
    assert(i < c->n);
    const lvlm_tensor *const pixels = c->pixels;
    lvlm_convert_values(c->image, LVLM_REAL_DTYPE,
                        pixels->data + i * numel * lvlm_dtype_bytes(pixels->dtype),
                        pixels->dtype, numel);
    patchify_forward(c->patches, c->image, c->channels, c->side, c->side, c->patch);
}

int tower_project_squares(real *out, const lvlm_tensor *pixels, size_t patch,
                          const weight_matrix *w, const weight_vector *b, size_t C,
                          const ops_scratch *scratch, lvlm_error *err)
{
    cutter c;
    TRY(cutter_make(&c, pixels, patch, err));
    for (size_t i = 0; i < c.n; i++) {
        cut(&c, i);
        dense_forward(out + i * c.P * C, c.patches, w, b, c.P, c.dim, C, scratch);
    }
    workspace_free(&c.memory);
    return 0;
}

int tower_project_squares_backward(const real *dout, const lvlm_tensor *pixels,
                                   size_t patch, const weight_matrix *w,
                                   const weight_vector *b, size_t C,
                                   const ops_scratch *scratch, lvlm_error *err)
{
    cutter c;
    if (w->grad == NULL && (b == NULL || b->grad == NULL)) return 0;
    TRY(cutter_make(&c, pixels, patch, err));
    for (size_t i = 0; i < c.n; i++) {
        cut(&c, i);
        dense_backward(NULL, dout + i * c.P * C, c.patches, w, b, c.P, c.dim, C,
                       scratch);
    }
    workspace_free(&c.memory);
    return 0;
}
