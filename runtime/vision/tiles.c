/* tiles.c - the tower of Llama 3.2-Vision: images cut into up to four tiles.
 *
 *   e[t,p] = W patch + tanh(g_pre) pre[id,t]              G = grid^2 patches a tile
 *   e[t]   = [class, e[t,0..G)]                           P = G + 1 rows
 *   e[t]   = LN_pre (e[t] + (1 - tanh(g)) positions + tanh(g) tables[id,t])
 *   all tiles of an image end to end, each padded with zeros to L, a multiple of 8
 *   local blocks (vit.h); some of the states between them are kept
 *   x      = LN_post x + tanh(g_post) post[id,t]
 *   global blocks, gated
 *   out    = [x, kept states], interleaved: feature d of state k at C + d * K + k
 *
 * Padding and the rows of tiles that are not there are dead: only pairs of dead rows do
 * not see each other. Rows are kept with the living ones of an image in front, so that
 * what a row sees is a range; stages leave in the order of the reference. */
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/vision/tower.h"
#include "runtime/vision/vit.h"

enum { MAX_TAPS = 64, ROWS_MULTIPLE = 8 };

/* Which state counts as the one of a block: how the makers have it, and two versions of
 * the reference. */
typedef enum tap_rule { TAP_ENTERING, TAP_LEAVING, TAP_LAST } tap_rule;

typedef struct tiles {
    vit_config vit;
    size_t layers, global_layers, channels, patch, tiles;
    size_t P, L;              /* rows of a tile, and with its padding */
    double outer_norm_eps;    /* of norm_pre and norm_post */
    size_t taps[MAX_TAPS], K; /* blocks whose states are kept */
    tap_rule rule;
    const real *class_row;                   /* (C) */
    lvlm_stored patch_w;                     /* (C, channels*patch^2) */
    const real *gate, *pre_gate, *post_gate; /* (1) before tanh */
    const real *positions;                   /* (P,C) */
    lvlm_stored tables;                      /* (ids,tiles,P,C) */
    const real *pre, *post;                  /* (ids,tiles,C) */
    const real *norm_pre_w, *norm_pre_b, *norm_post_w, *norm_post_b; /* (C) */
    vit_block *blocks, *global_blocks;                               /* owned */
} tiles;

static const config_row config_rows[] = {
    CONFIG("vision.layers", tiles, layers),
    CONFIG("vision.global_layers", tiles, global_layers),
    CONFIG("vision.channels", tiles, channels),
    CONFIG("vision.patch", tiles, patch),
    CONFIG("vision.tiles", tiles, tiles),
    CONFIG("vision.rows", tiles, P),
    CONFIG("vision.outer_norm_eps", tiles, outer_norm_eps),
    CONFIG_END,
};

// clang-format off
#define C LVLM_DIM_VISION_HIDDEN
#define IDS LVLM_DIM_ASPECTS
#define T LVLM_DIM_TILES
#define TOWER(field) WEIGHT_FIELD(tiles, field)

static const weight_row rows[] = {
    { "class",            { C },                                 TOWER(class_row) },
    { "patch.weight",     { C, LVLM_DIM_PATCH_DIM },             TOWER(patch_w) },
    { "positions.gate",   { LVLM_DIM_ONE },                      TOWER(gate) },
    { "positions.weight", { LVLM_DIM_CLASS_POSITIONS, C },       TOWER(positions) },
    { "positions.tiles",  { IDS, T, LVLM_DIM_CLASS_POSITIONS, C }, TOWER(tables) },
    { "pre_tile.gate",    { LVLM_DIM_ONE },                      TOWER(pre_gate) },
    { "pre_tile.weight",  { IDS, T, C },                         TOWER(pre) },
    { "norm_pre.weight",  { C },                                 TOWER(norm_pre_w) },
    { "norm_pre.bias",    { C },                                 TOWER(norm_pre_b) },
    { "norm_post.weight", { C },                                 TOWER(norm_post_w) },
    { "norm_post.bias",   { C },                                 TOWER(norm_post_b) },
    { "post_tile.gate",   { LVLM_DIM_ONE },                      TOWER(post_gate) },
    { "post_tile.weight", { IDS, T, C },                         TOWER(post) },
    WEIGHT_END,
};

#undef C
#undef IDS
#undef T
// clang-format on

static const char blocks[] = "vision.blocks."; /* of weights and of stages */
static const char global_blocks[] = "vision.global_blocks.";

/* ---- life --------------------------------------------------------------------- */

static void tiles_free(void *tower)
{
    tiles *const t = tower;
    if (t == NULL) return;
    lvlm_free(t->blocks);
    lvlm_free(t->global_blocks);
    lvlm_free(t);
}

static int tiles_open(void **out, const lvlm_manifest *manifest, const char *reference,
                      lvlm_error *err)
{
    tiles *const t = *out = lvlm_calloc(1, sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    TRY(vit_configure(&t->vit, manifest->config, err));
    TRY(configure(t, config_rows, manifest->config, err));
    TRY(configure_list(t->taps, MAX_TAPS, &t->K, manifest->config, "vision.taps", err));
    t->L = (t->P + ROWS_MULTIPLE - 1) / ROWS_MULTIPLE * ROWS_MULTIPLE;
    t->rule = TAP_ENTERING;
    if (lvlm_reference_applies(manifest->family, "taps_leaving", reference))
        t->rule = TAP_LEAVING;
    if (lvlm_reference_applies(manifest->family, "taps_last", reference))
        t->rule = TAP_LAST;
    t->blocks = lvlm_calloc(t->layers, sizeof *t->blocks);
    t->global_blocks = lvlm_calloc(t->global_layers, sizeof *t->global_blocks);
    FAIL_IF(t->blocks == NULL || t->global_blocks == NULL, err, LVLM_ENOMEM,
            "out of memory for %zu blocks", t->layers + t->global_layers);
    return 0;
}

static int tiles_bind(void *tower, weights *w, lvlm_error *err)
{
    tiles *const t = tower;
    TRY(weights_bind(w, t, rows, 0, "vision.", err));
    for (size_t i = 0; i < t->layers; i++)
        TRY(vit_bind(&t->blocks[i], w, &t->vit, 0, blocks, i, err));
    for (size_t i = 0; i < t->global_layers; i++)
        TRY(vit_bind(&t->global_blocks[i], w, &t->vit, VIT_GATES, global_blocks, i,
                     err));
    return 0;
}

/* ---- who stands where --------------------------------------------------------- */

/* Rows of all images, S = tiles * L of each. */
typedef struct layout {
    size_t *from;    /* (R) which row of the reference stands here */
    size_t *lo, *hi; /* (R) */
    size_t R, S;
} layout;

static bool is_dead(const tiles *t, const lvlm_images *images, size_t image, size_t row)
{
    return row % t->L >= t->P || images->live[image * t->tiles + row / t->L] == 0;
}

static void fill_image(layout *l, const tiles *t, const lvlm_images *images,
                       size_t image)
{
    const size_t base = image * l->S;
    size_t next = base, n_live = 0;
    for (int dead = 0; dead <= 1; dead++) {
        for (size_t row = 0; row < l->S; row++)
            if (is_dead(t, images, image, row) == (dead != 0))
                l->from[next++] = base + row;
        if (dead == 0) n_live = next - base;
    }
    for (size_t i = 0; i < l->S; i++) {
        l->lo[base + i] = base;
        l->hi[base + i] = base + (i < n_live ? l->S : n_live);
    }
}

static int make_layout(layout *l, const tiles *t, const lvlm_images *images,
                       lvlm_error *err)
{
    *l = (layout){ .S = t->tiles * t->L };
    l->R = images->n * l->S;
    l->from = lvlm_calloc(l->R, 3 * sizeof *l->from);
    FAIL_IF(l->from == NULL, err, LVLM_ENOMEM, "vision tower: out of memory");
    l->lo = l->from + l->R;
    l->hi = l->lo + l->R;
    for (size_t i = 0; i < images->n; i++) fill_image(l, t, images, i);
    return 0;
}

/* ---- forward ------------------------------------------------------------------ */

static int tiles_look(const void *tower, vision_rows *out, const lvlm_images *images,
                      lvlm_arena *arena, lvlm_error *err)
{
    const tiles *const t = tower;
    (void)arena, (void)err;
    *out = (vision_rows){ .n_images = images->n, .P = t->tiles * t->P };
    out->R = out->n_images * out->P;
    out->C = t->vit.hidden * (t->K + 1);
    out->shape = SHAPE(images->n / images->per_text, images->per_text, t->tiles, t->P);
    return 0;
}

static size_t tiles_scratch(const void *tower, const lvlm_images *images,
                            const vision_rows *seen, size_t n_threads)
{
    const tiles *const t = tower;
    const size_t R = images->n * t->tiles * t->L;
    const size_t blocks_need = vit_scratch(&t->vit, R, n_threads);
    const size_t patches_need =
        linear_scratch(t->channels * t->patch * t->patch, t->vit.hidden, n_threads);
    (void)seen;
    return blocks_need > patches_need ? blocks_need : patches_need;
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

/* Vectors of one tile's place in its image: id 0 is an image that is not there. */
static size_t place_of(const tiles *t, const lvlm_images *images, size_t tile)
{
    return (size_t)images->aspect_ids[tile / t->tiles] * t->tiles + tile % t->tiles;
}

/* e (P,C) of one tile from its patches (G,C); `table` (P,C) is scratch */
static void embed_tile(const tiles *t, real *e, const real *patches, size_t place,
                       real *table)
{
    const size_t C = t->vit.hidden, n = t->P * C;
    const real g = real_tanh(*t->gate), pre = real_tanh(*t->pre_gate);
    stored_widen(table, t->tables, place * n, n);
    memcpy(e, t->class_row, C * sizeof *e);
    for (size_t i = C; i < n; i++)
        e[i] = patches[i - C] + pre * t->pre[place * C + i % C];
    for (size_t i = 0; i < n; i++) e[i] += (1 - g) * t->positions[i] + g * table[i];
}

/* e (images*tiles*P,C), handed out, then spread over x (R,C) with padding between */
static int embed(const tiles *t, real *x, real *patches, real *e, real *table,
                 const layout *l, const lvlm_images *images, stages *s,
                 const ops_scratch *scratch, lvlm_error *err)
{
    const size_t C = t->vit.hidden, n = images->n * t->tiles;
    TRY(tower_project_squares(patches, images->pixels, t->patch, t->patch_w, NULL, C,
                              scratch, err));
    TRY(stages_emit(s, "vision.patches", patches, SHAPE(n, t->P - 1, C), err));
    for (size_t i = 0; i < n; i++)
        embed_tile(t, e + i * t->P * C, patches + i * (t->P - 1) * C,
                   place_of(t, images, i), table);
    layernorm_forward(e, e, t->norm_pre_w, t->norm_pre_b, (real)t->outer_norm_eps,
                      n * t->P, C);
    TRY(stages_emit(s, "vision.embed", e, SHAPE(images->n, t->tiles, t->P, C), err));
    for (size_t r = 0; r < l->R; r++) {
        const size_t tile = l->from[r] / t->L, row = l->from[r] % t->L;
        if (row < t->P)
            memcpy(x + r * C, e + (tile * t->P + row) * C, C * sizeof *x);
        else
            memset(x + r * C, 0, C * sizeof *x);
    }
    return 0;
}

/* Column `first`, first + step, ... of out (rows without padding, width) = x (R,C) */
static void keep_state(const tiles *t, real *out, const real *x, const layout *l,
                       size_t width, size_t first, size_t step)
{
    const size_t C = t->vit.hidden;
    for (size_t r = 0; r < l->R; r++) {
        const size_t tile = l->from[r] / t->L, row = l->from[r] % t->L;
        if (row >= t->P) continue;
        real *to = out + (tile * t->P + row) * width + first;
        for (size_t c = 0; c < C; c++) to[c * step] = x[r * C + c];
    }
}

/* Keep x where `block` is listed. */
static void tap(const tiles *t, const vision_rows *seen, const real *x, const layout *l,
                size_t block)
{
    for (size_t k = 0; k < t->K; k++)
        if (t->taps[k] == block)
            keep_state(t, seen->rows, x, l, seen->C, t->vit.hidden + k, t->K);
}

/* Hand out x in the order of the reference; `spare` (R,C) */
static int emit_block(stages *s, const char *name, const real *x, real *spare,
                      const layout *l, size_t C, lvlm_error *err)
{
    if (stages_wants(s, name))
        for (size_t r = 0; r < l->R; r++)
            memcpy(spare + l->from[r] * C, x + r * C, C * sizeof *x);
    return stages_emit(s, name, spare, SHAPE(l->R / l->S, l->S, C), err);
}

static int run_local(const tiles *t, vit_acts *a, const layout *l,
                     const vision_rows *seen, stages *s, const ops_scratch *scratch,
                     lvlm_error *err)
{
    const vit_view view = { .lo = l->lo, .hi = l->hi };
    for (size_t i = 0; i < t->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        if (t->rule == TAP_ENTERING) tap(t, seen, a->x, l, i);
        vit_block_forward(a, &t->blocks[i], &t->vit, &view, scratch);
        if (t->rule == TAP_LEAVING) tap(t, seen, a->x, l, i);
        TRY(emit_block(s, stages_block(name, blocks, i), a->x, a->normed, l,
                       t->vit.hidden, err));
    }
    for (size_t k = 0; t->rule == TAP_LAST && k < t->K; k++)
        keep_state(t, seen->rows, a->x, l, seen->C, t->vit.hidden + k, t->K);
    return 0;
}

static int run_global(const tiles *t, vit_acts *a, const layout *l,
                      const lvlm_images *images, stages *s, const ops_scratch *scratch,
                      lvlm_error *err)
{
    const vit_view view = { .lo = l->lo, .hi = l->hi };
    const size_t C = t->vit.hidden;
    const real gate = real_tanh(*t->post_gate);
    layernorm_forward(a->x, a->x, t->norm_post_w, t->norm_post_b,
                      (real)t->outer_norm_eps, l->R, C);
    for (size_t r = 0; r < l->R; r++) {
        const real *add = t->post + place_of(t, images, l->from[r] / t->L) * C;
        for (size_t c = 0; c < C; c++) a->x[r * C + c] += gate * add[c];
    }
    for (size_t i = 0; i < t->global_layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        vit_block_forward(a, &t->global_blocks[i], &t->vit, &view, scratch);
        TRY(emit_block(s, stages_block(name, global_blocks, i), a->x, a->normed, l, C,
                       err));
    }
    return 0;
}

static int run(const tiles *t, vit_acts *a, real *table, const layout *l,
               const vision_rows *seen, const lvlm_images *images, stages *s,
               const ops_scratch *scratch, lvlm_error *err)
{
    TRY(embed(t, a->x, a->q, a->k, table, l, images, s, scratch, err));
    TRY(run_local(t, a, l, seen, s, scratch, err));
    if (s->left == 0) return 0;
    TRY(run_global(t, a, l, images, s, scratch, err));
    keep_state(t, seen->rows, a->x, l, seen->C, 0, 1);
    return seen_emit(s, "vision.out", seen->rows, seen, seen->C, err);
}

static int tiles_forward(const void *tower, const vision_rows *seen,
                         const lvlm_images *images, stages *s,
                         const ops_scratch *scratch, lvlm_error *err)
{
    const tiles *const t = tower;
    layout l = { 0 };
    vit_acts acts = { 0 };
    real *table = NULL;
    void *memory = NULL;
    const workspace_slot slot = { &table, t->P, t->vit.hidden };
    int rc;
    if ((rc = make_layout(&l, t, images, err)) == 0 &&
        (rc = workspace_allocate(&memory, &slot, 1, "vision tower", err)) == 0 &&
        (rc = vit_acts_make(&acts, &t->vit, l.R, err)) == 0)
        rc = run(t, &acts, table, &l, seen, images, s, scratch, err);
    vit_acts_free(&acts);
    lvlm_free(memory);
    lvlm_free(l.from);
    return rc;
}

const vision_tower tiles_tower = {
    .word = "tiles",
    .open = tiles_open,
    .bind = tiles_bind,
    .free = tiles_free,
    .look = tiles_look,
    .scratch = tiles_scratch,
    .announce = tiles_announce,
    .forward = tiles_forward,
};
