/* tower.c - what all vision towers share; see tower.h. */
#include "runtime/vision/tower.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "formats/container/numeric.h"
#include "runtime/block/configure.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/patchify.h"

enum { PATCHES = 256 }; /* projected at a time, where they need no cutting */

static const tower_kind *const kinds[] = {
    [LVLM_IMAGES_SQUARES] = &plain_tower,
    [LVLM_IMAGES_PATCHES] = &qwen2_tower,
    [LVLM_IMAGES_TILES] = &tiles_tower,
};

static const config_row config_rows[] = {
    CONFIG("vision.hidden", vision_tower, block.hidden),
    CONFIG("vision.heads", vision_tower, block.heads),
    CONFIG("vision.mlp", vision_tower, block.mlp),
    CONFIG("vision.norm_eps", vision_tower, block.norm.eps),
    CONFIG_MAYBE("vision.rms_norms", vision_tower, block.norm.rms),
    CONFIG("vision.activation", vision_tower, block.activation),
    CONFIG("vision.layers", vision_tower, layers),
    CONFIG_END,
};

static const weight_row rows[] = {
    { "patch.weight", WEIGHT_FIELD(vision_tower, patch_w) },
    WEIGHT_END,
};

/* ---- life ------------------------------------------------------------------------ */

static int configure_tower(vision_tower *t, const lvlm_manifest *manifest,
                           const lvlm_image_spec *images, lvlm_error *err)
{
    transformer_config *const c = &t->block;
    TRY(configure(t, config_rows, manifest->config, err));
    FAIL_IF(c->hidden % c->heads != 0, err, LVLM_EFORMAT,
            "configuration: vision.hidden %zu is not a multiple of vision.heads %zu",
            c->hidden, c->heads);
    c->kv_heads = c->heads;
    c->head_dim = c->hidden / c->heads;
    c->query_scalar = (double)c->head_dim;
    t->channels = images->channels;
    t->patch = images->patch;
    t->frames = images->form == LVLM_IMAGES_PATCHES ? images->frames : 1;
    t->width = c->hidden;
    return 0;
}

int tower_open(vision_tower **out, const lvlm_manifest *manifest,
               const lvlm_image_spec *images, const char *reference, lvlm_error *err)
{
    const tower_kind *const kind = kinds[images->form];
    vision_tower *const t = *out = lvlm_calloc(1, kind->size);
    assert(kind->size >= sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    t->kind = kind;
    TRY(configure_tower(t, manifest, images, err));
    TRY(kind->open(t, manifest, images, reference, err));
    const size_t n = t->layers + t->global_layers;
    t->blocks = lvlm_calloc(n + 1, sizeof *t->blocks);
    FAIL_IF(t->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks", n);
    return 0;
}

int tower_bind(vision_tower *t, weights *w, lvlm_error *err)
{
    assert(t->blocks != NULL);
    TRY(weights_bind(w, t, rows, "vision.", err));
    TRY(weights_bind(w, t, t->kind->rows, "vision.", err));
    for (size_t i = 0; i < t->layers; i++)
        TRY(transformer_bind(&t->blocks[i], w, &t->block, TOWER_BLOCKS, i, err));
    for (size_t i = 0; i < t->global_layers; i++)
        TRY(transformer_bind(&t->blocks[t->layers + i], w, &t->block,
                             TOWER_GLOBAL_BLOCKS, i, err));
    return 0;
}

void tower_free(vision_tower *t)
{
    if (t == NULL) return;
    lvlm_free(t->blocks);
    lvlm_free(t);
}

static size_t patch_values(const vision_tower *t)
{
    return t->channels * t->frames * t->patch * t->patch;
}

size_t tower_scratch(const vision_tower *t, const features *f, size_t n_threads)
{
    return LARGEST(
        transformer_scratch(&t->block, f->block_rows, f->block_rows, n_threads),
        linear_scratch(patch_values(t), t->block.hidden, n_threads));
}

void tower_announce(const vision_tower *t, stages *s)
{
    stages_announce(s, "vision.patches");
    if (t->kind->has_ends) stages_announce(s, "vision.embed");
    stages_announce_blocks(s, TOWER_BLOCKS, t->layers);
    stages_announce_blocks(s, TOWER_GLOBAL_BLOCKS, t->global_layers);
    if (t->kind->has_ends) stages_announce(s, "vision.out");
}

int tower_tape_make(void **tape, size_t size, workspace *memory, const vision_tower *t,
                    const features *f, tape_keep keep, lvlm_error *err)
{
    const size_t n = t->layers + t->global_layers;
    const transformer_tape_options options = { .N = f->block_rows,
                                               .keep = keep,
                                               .first = keep == TAPE_NOTHING ? n : 0,
                                               .narrows = n };
    assert(size >= sizeof(transformer_tape));
    *tape = lvlm_arena_alloc(&memory->lists, 1, size);
    if (*tape == NULL) return lvlm_fail_memory(err);
    return transformer_tape_make(*tape, memory, &t->block, t->blocks, n, &options, err);
}

/* ---- patches --------------------------------------------------------------------- */

/* The patches of some pixels, a few at a time: the next row is number `next` of n. */
typedef struct patch_reader {
    const vision_tower *tower;
    const lvlm_tensor *pixels;
    size_t side; /* of a square, which is cut; 0: pixels are patches */
    size_t n, next;
    size_t most;   /* at a time; those of a square */
    real *square;  /* (channels,side,side) */
    real *patches; /* (most,values) */
    workspace memory;
} patch_reader;

static int reader_make(patch_reader *r, const vision_tower *t,
                       const lvlm_tensor *pixels, lvlm_error *err)
{
    const lvlm_shape *const shape = &pixels->shape;
    assert(shape->n == 2 || shape->n >= 4);
    *r = (patch_reader){ .tower = t, .pixels = pixels, .most = PATCHES };
    if (shape->n == 2) {
        r->n = (size_t)shape->dims[0];
    } else {
        const size_t side = r->side = (size_t)shape->dims[shape->n - 1];
        assert(shape->dims[shape->n - 2] == side && side >= t->patch);
        r->most = (side / t->patch) * (side / t->patch);
        r->n =
            (size_t)lvlm_tensor_numel(pixels) / (t->channels * side * side) * r->most;
    }
    const workspace_slot slots[] = { { &r->square, t->channels * r->side, r->side },
                                     { &r->patches, r->most, patch_values(t) } };
    return workspace_take(&r->memory, slots, 2, "patches", err);
}

/* The next patches; how many those are. */
static size_t read_patches(patch_reader *r)
{
    const vision_tower *const t = r->tower;
    const bool cuts = r->side > 0;
    const size_t n = min_size(r->n - r->next, r->most), dim = patch_values(t);
    const size_t numel = cuts ? t->channels * r->side * r->side : n * dim;
    const size_t first = cuts ? r->next / r->most * numel : r->next * dim;
    const lvlm_dtype dtype = r->pixels->dtype;
    assert(n > 0 && (!cuts || n == r->most));
    lvlm_convert_values(cuts ? r->square : r->patches, LVLM_REAL_DTYPE,
                        r->pixels->data + first * lvlm_dtype_bytes(dtype), dtype,
                        numel);
    if (cuts)
        patchify_forward(r->patches, r->square, t->channels, r->side, r->side,
                         t->patch);
    r->next += n;
    return n;
}

int tower_project(real *out, const vision_tower *t, const lvlm_tensor *pixels,
                  const weight_vector *b, const ops_scratch *scratch, lvlm_error *err)
{
    const size_t C = t->block.hidden, dim = patch_values(t);
    patch_reader r;
    if (pixels == NULL) return 0;
    TRY(reader_make(&r, t, pixels, err));
    while (r.next < r.n) {
        real *const to = out + r.next * C;
        const size_t n = read_patches(&r);
        dense_forward(to, r.patches, &t->patch_w, b, n, dim, C, scratch);
    }
    workspace_free(&r.memory);
    return 0;
}

int tower_project_backward(const real *dout, const vision_tower *t,
                           const lvlm_tensor *pixels, const weight_vector *b,
                           const ops_scratch *scratch, lvlm_error *err)
{
    const size_t C = t->block.hidden, dim = patch_values(t);
    const bool trains = t->patch_w.grad != NULL || (b != NULL && b->grad != NULL);
    patch_reader r;
    if (pixels == NULL || !trains) return 0;
    TRY(reader_make(&r, t, pixels, err));
    while (r.next < r.n) {
        const real *const from = dout + r.next * C;
        const size_t n = read_patches(&r);
        dense_backward(NULL, from, r.patches, &t->patch_w, b, n, dim, C, scratch);
    }
    workspace_free(&r.memory);
    return 0;
}
