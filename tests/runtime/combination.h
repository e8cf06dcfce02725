/* combination.h - small models of any tower, connector and language model. */
#ifndef LVLM_TESTS_RUNTIME_COMBINATION_H
#define LVLM_TESTS_RUNTIME_COMBINATION_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/generate/session.h"
#include "tests/runtime/composed.h"
#include "tests/runtime/synthetic_run.h"

#define IGN (-100)

/* Ids of all decoders, and geometry of all towers: patches of 4 x 4 pixels, 12 wide. */
enum { IMAGE = 55, CLOSE = 56, PATCH = 4, WIDTH = 12, INNER = 20, MOST_TOKENS = 128 };

typedef enum tower {
    SIGLIP,
    CLIP,
    OPENCLIP,
    QWEN2,
    QWEN2_5,
    TILES,
    N_TOWERS,
} tower;
typedef enum connector { LINEAR, MLP, MERGER, RESAMPLER, N_CONNECTORS } connector;
typedef enum text { GEMMA, QWEN2_TEXT, QWEN, LLAMA, N_TEXTS } text;

// clang-format off
static const char paligemma[] =
    "{\"model_type\": \"paligemma\", \"image_token_index\": 55, \"vision_config\": {"
    "\"hidden_size\": 12, \"num_hidden_layers\": 1, \"num_attention_heads\": 3,"
    "\"intermediate_size\": 10, \"image_size\": 16, \"patch_size\": 4},"
    "\"text_config\": {\"model_type\": \"gemma\", \"hidden_size\": 16,"
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    "\"intermediate_size\": 20, \"head_dim\": 8, \"vocab_size\": 60}}";

#define QWEN2_OF(type, vision)  \
    "{\"model_type\": \"" type "\", \"image_token_id\": 55, \"video_token_id\": 57,"  \
    "\"vision_config\": {\"depth\": 2, \"num_heads\": 3, \"patch_size\": 4, " vision "},"\
    "\"text_config\": {\"hidden_size\": 24, \"num_hidden_layers\": 2,"  \
    "\"num_attention_heads\": 3, \"num_key_value_heads\": 1, \"intermediate_size\": 20,"\
    "\"vocab_size\": 60, \"tie_word_embeddings\": true, \"rope_parameters\": {"  \
    "\"rope_type\": \"default\", \"rope_theta\": 10000.0,"  \
    "\"mrope_section\": [1, 1, 2]}}, \"tie_word_embeddings\": true}"

static const char qwen2_vl[] =
    QWEN2_OF("qwen2_vl", "\"embed_dim\": 12, \"hidden_size\": 24, \"mlp_ratio\": 2");
/* windows of 2 x 2 squares; all blocks are full, so that windows only order the rows */
static const char qwen2_5_vl[] =
    QWEN2_OF("qwen2_5_vl", "\"hidden_size\": 12, \"out_hidden_size\": 24,"
             "\"intermediate_size\": 10, \"window_size\": 16,"
             "\"fullatt_block_indexes\": [0, 1]");

#define QWEN_OF(layers)  \
    "{\"model_type\": \"qwen\", \"architectures\": [\"QWenLMHeadModel\"],"  \
    "\"hidden_size\": 128, \"intermediate_size\": 40, \"kv_channels\": 64,"  \
    "\"layer_norm_epsilon\": 1e-6, \"no_bias\": true, \"num_attention_heads\": 2,"  \
    "\"num_hidden_layers\": 1, \"seq_length\": 2048, \"vocab_size\": 60,"  \
    "\"visual\": {\"heads\": 3, \"image_size\": 16, \"image_start_id\": 55,"  \
    "\"layers\": " layers ", \"mlp_ratio\": 1.5, \"n_queries\": 4, \"output_dim\": 128,"  \
    "\"patch_size\": 4, \"width\": 12}}"

static const char qwen_vl[] = QWEN_OF("1");
/* the tower of this one gets a class row, and its second to last state is used */
static const char clip[] = QWEN_OF("3");

static const char mllama[] =
    "{\"model_type\": \"mllama\", \"image_token_index\": 60, \"vision_config\": {"
    "\"attention_heads\": 3, \"hidden_size\": 12, \"image_size\": 8,"
    "\"intermediate_layers_indices\": [0], \"intermediate_size\": 10,"
    "\"num_global_layers\": 1, \"num_hidden_layers\": 1, \"patch_size\": 4,"
    "\"vision_output_dim\": 24}, \"text_config\": {\"hidden_size\": 16,"
    "\"cross_attention_layers\": [1], \"intermediate_size\": 20,"
    "\"num_attention_heads\": 2, \"num_hidden_layers\": 2, \"num_key_value_heads\": 1,"
    "\"pad_token_id\": 0, \"vocab_size\": 60, \"rope_parameters\": {"
    "\"rope_type\": \"default\", \"rope_theta\": 10000.0}}}";
// clang-format on

static const char *const tower_configs[] = { paligemma, clip,       qwen_vl,
                                             qwen2_vl,  qwen2_5_vl, mllama };
static const char *const tower_words[] = { "siglip", "clip",  "openclip",
                                           "qwen2",  "qwen2", "tiles" };
static const char *const connector_words[] = { "linear", "mlp", "merger", "resampler" };
static const char *const text_configs[] = { paligemma, qwen2_vl, qwen_vl, mllama };
static const char *const splice_words[] = { "image_tokens", "image_tokens",
                                            "between_tags", "cross_attention" };

static inline bool has_grids(tower t)
{
    return t == QWEN2 || t == QWEN2_5;
}

/* One text with two images: 4 x 6 and 4 x 4 patches where they may differ. */
typedef struct fixture {
    synthetic model;
    synthetic batch;
    size_t rows[2]; /* of each image in the text */
    size_t at[2];   /* the token where those begin; not in cross-attention */
    size_t n_tokens;
} fixture;

static inline const char *connector_config(connector c, tower t)
{
    if (c == LINEAR || c == MLP) return paligemma;
    if (c == RESAMPLER) return qwen_vl;
    return t == QWEN2_5 ? qwen2_5_vl : qwen2_vl; /* the norm is the tower's kind */
}

static inline size_t text_width(const fixture *f)
{
    return (size_t)lvlm_manifest_find(&f->model.manifest, "text.norm.weight")
        ->shape.dims[0];
}

static inline void put_class_row(fixture *f)
{
    composed_settings(f->model.manifest.config,
                      "{\"vision\": {\"tower\": \"clip\", \"grid\": 4, \"rows\": 17,"
                      "\"select\": [2], \"select_rows\": \"patches\"}}");
    composed_add(&f->model, "vision.class", (lvlm_shape){ 1, { WIDTH } });
    composed_add(&f->model, "vision.positions.weight",
                 (lvlm_shape){ 2, { 17, WIDTH } });
}

static inline void put_mlp(fixture *f, tower t)
{
    const size_t C = t == TILES ? 24 : WIDTH, H = text_width(f);
    composed_settings(f->model.manifest.config,
                      "{\"connector\": {\"kind\": \"mlp\", \"hidden\": 20,"
                      "\"activation\": \"gelu\"}}");
    composed_add(&f->model, "connector.fc1.weight", (lvlm_shape){ 2, { INNER, C } });
    composed_add(&f->model, "connector.fc1.bias", (lvlm_shape){ 1, { INNER } });
    composed_add(&f->model, "connector.fc2.weight", (lvlm_shape){ 2, { H, INNER } });
    composed_add(&f->model, "connector.fc2.bias", (lvlm_shape){ 1, { H } });
}

static inline void put_model(fixture *f, tower t, connector c, text x)
{
    const char *const settings = t == TILES
                                     ? "{\"vision\": {\"merge\": 2, \"out\": 24}}"
                                     : "{\"vision\": {\"merge\": 2, \"out\": 12}}";
    composed_model(&f->model, tower_configs[t], connector_config(c, t), text_configs[x],
                   settings);
    if (t == CLIP) put_class_row(f);
    if (c == MLP) put_mlp(f, t);
}

static inline void put_pixels(fixture *f, tower t, size_t side)
{
    static const int64_t grids[6] = { 1, 4, 6, 1, 4, 4 }, ids[2] = { 1, 6 };
    static const int64_t live[8] = { 1, 0, 0, 0, 1, 1, 0, 0 };
    const lvlm_shape squares = { 4, { 2, 3, side, side } };
    const lvlm_shape patches = { 2, { 40, 3 * 2 * PATCH * PATCH } };
    const lvlm_shape tiles = { 6, { 1, 2, 4, 3, 8, 8 } }, places = { 3, { 1, 2, 4 } };
    uint32_t state = 5;
    if (has_grids(t)) synthetic_put_integers(&f->batch, "image_grid_thw", 2, 3, grids);
    if (t == TILES) {
        synthetic_put_integers(&f->batch, "aspect_ratio_ids", 1, 2, ids);
        synthetic_put(&f->batch, "aspect_ratio_mask", LVLM_I64, &places, live);
    }
    synthetic_put_random(&f->batch, "pixel_values",
                         t == TILES     ? &tiles
                         : has_grids(t) ? &patches
                                        : &squares,
                         1.0f, &state);
}

/* word, image, word, image, trained words */
static inline void put_text(fixture *f, text x)
{
    int64_t ids[MOST_TOKENS], labels[MOST_TOKENS], types[MOST_TOKENS] = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        ids[n++] = 7 + (int64_t)i;
        if (x == LLAMA) continue;
        if (x == QWEN) ids[n++] = IMAGE;
        f->at[i] = n;
        for (size_t k = 0; k < f->rows[i]; k++) ids[n++] = x == QWEN ? 3 : IMAGE;
        if (x == QWEN) ids[n++] = CLOSE;
    }
    for (size_t i = 0; i < n; i++) labels[i] = IGN;
    for (size_t i = 0; i < 3; i++, n++) {
        labels[n] = ids[n] = 11 + (int64_t)i;
        types[n] = 1;
    }
    f->n_tokens = n;
    synthetic_put_integers(&f->batch, "input_ids", 1, n, ids);
    synthetic_put_integers(&f->batch, "labels", 1, n, labels);
    if (x == GEMMA) synthetic_put_integers(&f->batch, "token_type_ids", 1, n, types);
}

static inline void make(fixture *f, tower t, connector c, text x, size_t side)
{
    const size_t patches = side / PATCH * (side / PATCH);
    *f = (fixture){ .rows = { has_grids(t) ? 24 : patches,
                              has_grids(t) ? 16 : patches } };
    for (size_t i = 0; i < 2; i++) {
        if (c == MERGER) f->rows[i] /= 4;
        if (c == RESAMPLER) f->rows[i] = 4;
    }
    put_model(f, t, c, x);
    put_pixels(f, t, side);
    put_text(f, x);
}

static inline void unmake(fixture *f)
{
    synthetic_free(&f->batch);
    synthetic_free(&f->model);
}

/* Every stage, in double. */
static inline lvlm_stage_list run(const fixture *f)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 1 };
    return synthetic_run(&f->model, &f->batch, &options, true);
}

static inline const double *stage(const lvlm_stage_list *list, const char *name)
{
    const lvlm_tensor *const t = lvlm_stage_list_find(list, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, LVLM_F64);
    return (const double *)(const void *)t->data;
}

/* ---- slopes --------------------------------------------------------------------- */

static inline bool is_trained(void *user, const lvlm_manifest *manifest,
                              const lvlm_target *t)
{
    (void)manifest;
    return strncmp(t->name, (const char *)user, strlen(user)) == 0;
}

/* Moves every trained weight by `step` along a direction; returns the gradient's part
 * in that direction. */
static inline double move(lvlm_model *model, double step)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    uint32_t state = 3;
    double slope = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor gradient;
        double *const w = lvlm_model_weight(model, m->targets[i].name);
        if (w == NULL || !lvlm_model_gradient(model, &gradient, m->targets[i].name))
            continue;
        const double *const g = (const double *)(const void *)gradient.data;
        for (size_t k = 0; k < gradient.n_bytes / sizeof *g; k++) {
            const double along = (double)synthetic_random(&state);
            slope += g[k] * along;
            w[k] += step * along;
        }
    }
    return slope;
}

static inline double loss_at(lvlm_model *model, const fixture *f)
{
    lvlm_model_step step;
    lvlm_error err = { .text = "" };
    if (lvlm_model_backward(model, &step, &f->batch.checkpoint, "", 1, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(step.sees);
    return step.loss;
}

/* The gradient of a part is the slope of the loss. */
static inline void assert_slope(const fixture *f, const char *part, const char *names)
{
    const double h = 1e-5;
    char prefix[16];
    (void)snprintf(prefix, sizeof prefix, "%s", part);
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 1,
                                         .trains = is_trained,
                                         .user = prefix,
                                         .own_weights = true,
                                         .checkpointing = strcmp(part, "text.") == 0 };
    lvlm_model *model = NULL;
    lvlm_error err = { .text = "" };
    if (lvlm_model_bind(&model, &f->model.manifest, &options, &err) < 0)
        fail_msg("%s: %s", names, err.text);
    (void)loss_at(model, f);
    const double slope = move(model, h), above = loss_at(model, f);
    (void)move(model, -2 * h);
    const double below = loss_at(model, f), expected = (above - below) / (2 * h);
    /* observed 7e-8 at most */
    if (!(fabs(slope - expected) < 1e-6 * (1 + fabs(expected))))
        fail_msg("%s, %s: slope %.9g, of the loss %.9g", names, part, slope, expected);
    lvlm_model_free(model);
}

#endif
