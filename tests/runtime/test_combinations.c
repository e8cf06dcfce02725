/* test_combinations.c - towers, connectors and decoders of different families in one
 * model: the right rows, or a refusal that names both. */
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
/* windows of 2 x 2 squares, which no block sees but in the order of the rows */
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
/* its tower with a class row, of which the last but one state is taken */
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

static bool has_grids(tower t)
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

static const char *connector_config(connector c, tower t)
{
    if (c == LINEAR || c == MLP) return paligemma;
    if (c == RESAMPLER) return qwen_vl;
    return t == QWEN2_5 ? qwen2_5_vl : qwen2_vl; /* the norm is the tower's kind */
}

static size_t text_width(const fixture *f)
{
    return (size_t)lvlm_manifest_find(&f->model.manifest, "text.norm.weight")
        ->shape.dims[0];
}

static void put_class_row(fixture *f)
{
    composed_settings(f->model.manifest.config,
                      "{\"vision\": {\"tower\": \"clip\", \"grid\": 4, \"rows\": 17,"
                      "\"select\": -2, \"select_rows\": \"patches\"}}");
    composed_add(&f->model, "vision.class", (lvlm_shape){ 1, { WIDTH } });
    composed_add(&f->model, "vision.positions.weight",
                 (lvlm_shape){ 2, { 17, WIDTH } });
}

static void put_mlp(fixture *f, tower t)
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

static void put_model(fixture *f, tower t, connector c, text x)
{
    const char *const settings = t == TILES
                                     ? "{\"vision\": {\"merge\": 2, \"out\": 24}}"
                                     : "{\"vision\": {\"merge\": 2, \"out\": 12}}";
    composed_model(&f->model, tower_configs[t], connector_config(c, t), text_configs[x],
                   settings);
    if (t == CLIP) put_class_row(f);
    if (c == MLP) put_mlp(f, t);
}

static void put_pixels(fixture *f, tower t, size_t side)
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

/* word, image, word, image, words that are learnt */
static void put_text(fixture *f, text x)
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

static void make(fixture *f, tower t, connector c, text x, size_t side)
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

static void unmake(fixture *f)
{
    synthetic_free(&f->batch);
    synthetic_free(&f->model);
}

/* Every stage, in double. */
static lvlm_stage_list run(const fixture *f)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 1 };
    return synthetic_run(&f->model, &f->batch, &options, true);
}

static const double *stage(const lvlm_stage_list *list, const char *name)
{
    const lvlm_tensor *const t = lvlm_stage_list_find(list, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, LVLM_F64);
    return (const double *)(const void *)t->data;
}

/* ---- the rows, computed here ---------------------------------------------------- */

/* A weight of the model and its width. */
static const float *weight(const fixture *f, const char *name)
{
    const lvlm_target *const t = lvlm_manifest_find(&f->model.manifest, name);
    assert_non_null(t);
    return (const float *)(const void *)t->source->data;
}

static void dense(double *y, const fixture *f, const char *name, const double *x,
                  size_t in, size_t out)
{
    char full[64];
    (void)snprintf(full, sizeof full, "connector.%s.weight", name);
    const float *const w = weight(f, full);
    (void)snprintf(full, sizeof full, "connector.%s.bias", name);
    const float *const b = weight(f, full);
    for (size_t o = 0; o < out; o++) {
        y[o] = (double)b[o];
        for (size_t i = 0; i < in; i++) y[o] += (double)w[o * in + i] * x[i];
    }
}

/* A square of four rows of the tower, one after another, through the merger. */
static void merge(double *y, const fixture *f, const double *const rows[4])
{
    enum { SQUARE = 4 * WIDTH };
    double x[SQUARE], pre[SQUARE];
    const float *const w = weight(f, "connector.norm.weight");
    const float *const b = weight(f, "connector.norm.bias");
    for (size_t k = 0; k < 4; k++) {
        double mean = 0, square = 0;
        for (size_t c = 0; c < WIDTH; c++) mean += rows[k][c] / WIDTH;
        for (size_t c = 0; c < WIDTH; c++)
            square += (rows[k][c] - mean) * (rows[k][c] - mean) / WIDTH;
        for (size_t c = 0; c < WIDTH; c++)
            x[k * WIDTH + c] =
                (rows[k][c] - mean) / sqrt(square + 1e-6) * (double)w[c] + (double)b[c];
    }
    dense(pre, f, "fc1", x, SQUARE, SQUARE);
    for (size_t i = 0; i < SQUARE; i++) pre[i] *= 0.5 * (1 + erf(pre[i] / sqrt(2)));
    dense(y, f, "fc2", pre, SQUARE, text_width(f));
}

/* Row number k of image i of the text is y. */
static void assert_row(const fixture *f, const lvlm_stage_list *list, size_t i,
                       size_t k, const double *y)
{
    const size_t C = text_width(f);
    const double *const got = stage(list, "text.embed") + (f->at[i] + k) * C;
    for (size_t c = 0; c < C; c++)
        if (!(fabs(got[c] - y[c]) < 1e-9)) /* observed 4e-16 */
            fail_msg("image %zu, row %zu: got %f, expected %f", i, k, got[c], y[c]);
}

/* Which of a tower's rows is the patch (y, x) of image i: Qwen's come in squares. */
static size_t row_of_patch(tower t, size_t i, size_t y, size_t x)
{
    static const size_t place[6] = { 0, 1, 4, 2, 3, 5 }; /* where square q is */
    const size_t columns = i == 0 ? 3 : 2, square = y / 2 * columns + x / 2;
    const size_t windowed = t == QWEN2_5 && i == 0 ? place[square] : square;
    return i * 24 + windowed * 4 + y % 2 * 2 + x % 2;
}

static void linear_takes_patches_row_by_row_whatever_their_order(void **state)
{
    static const tower towers[] = { QWEN2, QWEN2_5 };
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        fixture f;
        make(&f, towers[n], LINEAR, GEMMA, 16);
        lvlm_stage_list list = run(&f);
        const double *const rows = stage(&list, "vision.blocks.1");
        for (size_t i = 0; i < 2; i++)
            for (size_t k = 0; k < f.rows[i]; k++) {
                double y[64];
                const size_t columns = i == 0 ? 6 : 4;
                const size_t from =
                    row_of_patch(towers[n], i, k / columns, k % columns);
                dense(y, &f, "proj", rows + from * WIDTH, WIDTH, text_width(&f));
                assert_row(&f, &list, i, k, y);
            }
        lvlm_stage_list_free(&list);
        unmake(&f);
    }
}

static void merger_takes_squares_of_a_tower_that_gives_rows(void **state)
{
    fixture f;
    (void)state;
    make(&f, SIGLIP, MERGER, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++) {
        const double *const rows = stage(&list, "vision.out") + i * 16 * WIDTH;
        for (size_t k = 0; k < 4; k++) {
            const size_t corner = k / 2 * 8 + k % 2 * 2;
            const double *const square[4] = { rows + corner * WIDTH,
                                              rows + (corner + 1) * WIDTH,
                                              rows + (corner + 4) * WIDTH,
                                              rows + (corner + 5) * WIDTH };
            double y[64];
            merge(y, &f, square);
            assert_row(&f, &list, i, k, y);
        }
    }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* Squares of another side than the tower's own give other numbers of rows. */
static void linear_gives_as_many_rows_as_there_are_patches(void **state)
{
    fixture f;
    (void)state;
    make(&f, OPENCLIP, LINEAR, GEMMA, 24);
    assert_int_equal(f.rows[0], 36);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 36; k++) {
            double y[64];
            dense(y, &f, "proj", stage(&list, "vision.out") + (i * 36 + k) * WIDTH,
                  WIDTH, text_width(&f));
            assert_row(&f, &list, i, k, y);
        }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* y = LN x of one row, weights by `name` */
static void layer_norm(double *y, const fixture *f, const char *name, const double *x,
                       double eps)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    const float *const w = weight(f, full);
    (void)snprintf(full, sizeof full, "%s.bias", name);
    const float *const b = weight(f, full);
    double mean = 0, square = 0;
    for (size_t c = 0; c < WIDTH; c++) mean += x[c] / WIDTH;
    for (size_t c = 0; c < WIDTH; c++) square += (x[c] - mean) * (x[c] - mean) / WIDTH;
    for (size_t c = 0; c < WIDTH; c++)
        y[c] = (x[c] - mean) / sqrt(square + eps) * (double)w[c] + (double)b[c];
}

static void mlp_is_two_maps(void **state)
{
    fixture f;
    (void)state;
    make(&f, SIGLIP, MLP, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 16; k++) {
            double pre[INNER], y[64];
            const size_t row = i * 16 + k;
            const double *const got = stage(&list, "connector.linear_1") + row * INNER;
            dense(pre, &f, "fc1", stage(&list, "vision.out") + row * WIDTH, WIDTH,
                  INNER);
            for (size_t c = 0; c < INNER; c++) {
                assert_true(fabs(got[c] - pre[c]) < 1e-9); /* observed 3e-16 */
                pre[c] *= 0.5 * (1 + erf(pre[c] / sqrt(2)));
            }
            dense(y, &f, "fc2", pre, INNER, text_width(&f));
            assert_row(&f, &list, i, k, y);
        }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* Row r of image i of a stage with 17 rows an image. */
static const double *row_of(const lvlm_stage_list *list, const char *name, size_t i,
                            size_t r)
{
    return stage(list, name) + (i * 17 + r) * WIDTH;
}

static void class_row_is_first_and_may_be_left_out(void **state)
{
    fixture f;
    (void)state;
    make(&f, CLIP, LINEAR, GEMMA, 16);
    lvlm_stage_list list = run(&f);
    const float *const class_row = weight(&f, "vision.class");
    const float *const positions = weight(&f, "vision.positions.weight");
    for (size_t n = 0; n < (size_t)2 * 17; n++) {
        const size_t i = n / 17, r = n % 17;
        const double *const patch =
            stage(&list, "vision.patches") + (i * 16 + r - 1) * WIDTH;
        double e[WIDTH], expected[WIDTH];
        for (size_t c = 0; c < WIDTH; c++)
            e[c] = (r == 0 ? (double)class_row[c] : patch[c]) +
                   (double)positions[r * WIDTH + c];
        layer_norm(expected, &f, "vision.norm_pre", e, 1e-6);
        for (size_t c = 0; c < WIDTH; c++) /* observed 9e-16 */
            assert_true(fabs(row_of(&list, "vision.embed", i, r)[c] - expected[c]) <
                        1e-9);
        if (r > 0)
            assert_memory_equal(stage(&list, "vision.out") + (i * 16 + r - 1) * WIDTH,
                                row_of(&list, "vision.blocks.1", i, r),
                                WIDTH * sizeof(double));
    }
    assert_null(lvlm_stage_list_find(&list, "vision.blocks.2"));
    lvlm_stage_list_free(&list);
    unmake(&f);
}

static void assert_slope(const fixture *f, const char *part, const char *names);
static void assert_continues(fixture *f, const char *names);

/* Of two images, each of 17 rows of two states in the text. */
static void states_are_side_by_side_and_class_rows_may_stay(void **state)
{
    fixture f;
    (void)state;
    make(&f, CLIP, LINEAR, GEMMA, 16);
    synthetic_free(&f.batch);
    f.rows[0] = f.rows[1] = 17;
    put_pixels(&f, CLIP, 16);
    put_text(&f, GEMMA);
    composed_settings(f.model.manifest.config,
                      "{\"vision\": {\"select\": [-1, 0], \"select_rows\": \"all\","
                      "\"out\": 24}, \"connector\": {\"bias\": false}}");
    composed_add(&f.model, "connector.proj.weight",
                 (lvlm_shape){ 2, { text_width(&f), (uint64_t)2 * WIDTH } });
    lvlm_stage_list list = run(&f);
    const float *const w = weight(&f, "connector.proj.weight");
    for (size_t n = 0; n < (size_t)2 * 17; n++) {
        const double *const out = stage(&list, "vision.out") + n * 2 * WIDTH;
        double y[64] = { 0 };
        assert_memory_equal(out, row_of(&list, "vision.blocks.2", 0, n),
                            WIDTH * sizeof *out);
        assert_memory_equal(out + WIDTH, row_of(&list, "vision.embed", 0, n),
                            WIDTH * sizeof *out);
        for (size_t o = 0; o < text_width(&f); o++)
            for (size_t c = 0; c < (size_t)2 * WIDTH; c++)
                y[o] += (double)w[o * 2 * WIDTH + c] * out[c];
        assert_row(&f, &list, n / 17, n % 17, y);
    }
    assert_slope(&f, "vision.", "two states");
    assert_slope(&f, "connector.", "two states");
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* ---- positions and cross-attention ---------------------------------------------- */

static double largest_difference(const lvlm_stage_list *a, const lvlm_stage_list *b,
                                 const char *name, size_t n)
{
    const double *const x = stage(a, name), *const y = stage(b, name);
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i] - y[i]));
    return most;
}

/* The positions that Qwen2-VL gives an image of this many rows and columns. */
static void three_axes_follow_the_rows_of_squares(void **state)
{
    (void)state;
    for (connector c = LINEAR; c < N_CONNECTORS; c++) {
        fixture f;
        int64_t at[3][MOST_TOKENS], next = 0;
        const size_t side = c == LINEAR || c == MLP ? 4 : 2;
        make(&f, SIGLIP, c, QWEN2_TEXT, 16);
        lvlm_stage_list ours = run(&f);
        for (size_t n = 0, i = 0; n < f.n_tokens; i++) {
            const size_t end = i < 2 ? f.at[i] : f.n_tokens;
            for (; n < end; n++) at[0][n] = at[1][n] = at[2][n] = next++;
            for (size_t k = 0; i < 2 && k < side * side; k++, n++) {
                at[0][n] = next;
                at[1][n] = next + (int64_t)(k / side);
                at[2][n] = next + (int64_t)(k % side);
            }
            next += (int64_t)side;
        }
        int64_t given[3 * MOST_TOKENS];
        const lvlm_shape shape = { 3, { 3, 1, f.n_tokens } };
        for (size_t axis = 0; axis < 3; axis++)
            memcpy(given + axis * f.n_tokens, at[axis], f.n_tokens * sizeof *given);
        synthetic_put(&f.batch, "position_ids", LVLM_I64, &shape, given);
        lvlm_stage_list theirs = run(&f);
        assert_true(largest_difference(&ours, &theirs, "logits", f.n_tokens * 60) == 0);
        lvlm_stage_list_free(&theirs);
        lvlm_stage_list_free(&ours);
        unmake(&f);
    }
}

/* A square is one tile: hidden by the mask it is as if it were not there. */
static void text_looks_at_squares_as_at_tiles(void **state)
{
    const tower towers[] = { SIGLIP, OPENCLIP, CLIP };
    (void)state;
    for (size_t n = 0; n < 3 * N_CONNECTORS; n++) {
        int64_t mask[2 * MOST_TOKENS];
        const lvlm_shape first = { 4, { 1, 3, 16, 16 } };
        fixture f;
        make(&f, towers[n % 3], (connector)(n / 3), LLAMA, 16);
        const lvlm_shape shape = { 4, { 1, f.n_tokens, 2, 1 } };
        const size_t n_logits = f.n_tokens * 60;
        lvlm_stage_list both = run(&f);
        for (size_t i = 0; i < 2 * f.n_tokens; i++) mask[i] = 1;
        synthetic_put(&f.batch, "cross_attention_mask", LVLM_I64, &shape, mask);
        lvlm_stage_list shown = run(&f);
        assert_true(largest_difference(&both, &shown, "logits", n_logits) == 0);
        for (size_t i = 0; i < f.n_tokens; i++) mask[2 * i + 1] = 0;
        synthetic_put(&f.batch, "cross_attention_mask", LVLM_I64, &shape, mask);
        lvlm_stage_list hidden = run(&f);
        assert_true(largest_difference(&both, &hidden, "logits", n_logits) > 1e-6);
        unmake(&f);
        make(&f, towers[n % 3], (connector)(n / 3), LLAMA, 16);
        const lvlm_tensor *const two =
            lvlm_checkpoint_find(&f.batch.checkpoint, "pixel_values");
        synthetic_put(&f.batch, "pixel_values", LVLM_F32, &first, two->data);
        lvlm_stage_list one = run(&f);
        assert_true(largest_difference(&one, &hidden, "logits", n_logits) < 1e-12);
        lvlm_stage_list_free(&one);
        lvlm_stage_list_free(&hidden);
        lvlm_stage_list_free(&shown);
        lvlm_stage_list_free(&both);
        unmake(&f);
    }
}

/* ---- windows --------------------------------------------------------------------- */

/* Of the learnt tokens in the blocks that are listed. */
static void a_window_is_in_the_blocks_that_have_one(void **state)
{
    static const struct {
        const char *settings;
        bool changes[2]; /* leaving each block */
    } cases[] = {
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": []}}", { 0, 0 } },
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": [1]}}", { 0, 1 } },
        { "{\"text\": {\"sliding_window\": 3, \"window_layers\": [0]}}", { 1, 1 } },
        { "{\"text\": {\"sliding_window\": 99, \"window_layers\": [0, 1]}}", { 0, 0 } },
        { "{\"text\": {\"sliding_window\": 3}}", { 1, 1 } }, /* even blocks */
    };
    fixture plain;
    (void)state;
    make(&plain, SIGLIP, LINEAR, GEMMA, 16);
    lvlm_stage_list all = run(&plain);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        make(&f, SIGLIP, LINEAR, GEMMA, 16);
        composed_settings(f.model.manifest.config, cases[i].settings);
        lvlm_stage_list list = run(&f);
        for (size_t b = 0; b < 2; b++) {
            const char *const name = b == 0 ? "text.blocks.0" : "text.blocks.1";
            const double most =
                largest_difference(&list, &all, name, f.n_tokens * text_width(&f));
            if ((most > 1e-6) != cases[i].changes[b])
                fail_msg("case %zu, %s: differs by %g", i, name, most);
        }
        assert_slope(&f, "text.", cases[i].settings);
        assert_continues(&f, cases[i].settings);
        lvlm_stage_list_free(&list);
        unmake(&f);
    }
    lvlm_stage_list_free(&all);
    unmake(&plain);
}

/* ---- all of them ---------------------------------------------------------------- */

static bool is_trained(void *user, const lvlm_manifest *manifest, const lvlm_target *t)
{
    (void)manifest;
    return strncmp(t->name, (const char *)user, strlen(user)) == 0;
}

/* Every trained weight + step along a direction; returns that of the gradient there. */
static double move(lvlm_model *model, double step)
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

static double loss_at(lvlm_model *model, const fixture *f)
{
    lvlm_model_step step;
    lvlm_error err = { .text = "" };
    if (lvlm_model_backward(model, &step, &f->batch.checkpoint, "", 1, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(step.sees);
    return step.loss;
}

/* The gradient of a part is the slope of the loss. */
static void assert_slope(const fixture *f, const char *part, const char *names)
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

/* All but the last token, then that one, give the logits of all. */
static void assert_continues(fixture *f, const char *names)
{
    static const char *const of_tokens[] = { "input_ids", "labels", "token_type_ids" };
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 1 };
    const size_t last = f->n_tokens - 1;
    lvlm_model *model = NULL;
    lvlm_session *session = NULL;
    lvlm_error err = { .text = "" };
    int64_t id = 0;
    lvlm_stage_list all = run(f);
    for (size_t i = 0; i < sizeof of_tokens / sizeof *of_tokens; i++) {
        const lvlm_tensor *const t =
            lvlm_checkpoint_find(&f->batch.checkpoint, of_tokens[i]);
        if (t == NULL) continue;
        const int64_t *const values = (const int64_t *)(const void *)t->data;
        if (i == 0) id = values[last];
        synthetic_put_integers(&f->batch, of_tokens[i], 1, last, values);
    }
    if (lvlm_model_bind(&model, &f->model.manifest, &options, &err) < 0 ||
        lvlm_session_begin(&session, model, &f->batch.checkpoint, "", NULL, &err) < 0 ||
        lvlm_session_step(session, id, &err) < 0)
        fail_msg("%s: %s", names, err.text);
    const lvlm_tensor logits = lvlm_session_logits(session);
    const double *const got = (const double *)(const void *)logits.data;
    const double *const expected = stage(&all, "logits") + last * 60;
    for (size_t i = 0; i < 60; i++)
        if (!(fabs(got[i] - expected[i]) < 1e-9)) /* observed 9e-16 */
            fail_msg("%s: got %f, expected %f", names, got[i], expected[i]);
    lvlm_session_end(session);
    lvlm_model_free(model);
    lvlm_stage_list_free(&all);
}

static bool computes(tower t, connector c, text x)
{
    if (t == TILES) return (c == LINEAR || c == MLP) && x == LLAMA;
    return !has_grids(t) || (c != RESAMPLER && x != LLAMA);
}

static void every_combination_computes_or_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t n = 0; n < (size_t)N_TOWERS * N_CONNECTORS * N_TEXTS; n++) {
        const tower t = (tower)(n / N_TEXTS / N_CONNECTORS);
        const connector c = (connector)(n / N_TEXTS % N_CONNECTORS);
        const text x = (text)(n % N_TEXTS);
        char names[96];
        fixture f;
        lvlm_model *model = NULL;
        lvlm_error err = { .text = "" };
        (void)snprintf(names, sizeof names, "%s, %s, %s", tower_words[t],
                       connector_words[c], splice_words[x]);
        make(&f, t, c, x, 16);
        if (computes(t, c, x)) {
            assert_slope(&f, "vision.", names);
            assert_slope(&f, "connector.", names);
            assert_slope(&f, "text.", names);
            assert_continues(&f, names);
        } else {
            if (lvlm_model_bind(&model, &f.model.manifest, NULL, &err) != LVLM_EFORMAT)
                fail_msg("%s: is opened", names);
            const bool by_name = strstr(err.text, tower_words[t]) != NULL &&
                                 (strstr(err.text, connector_words[c]) != NULL ||
                                  strstr(err.text, splice_words[x]) != NULL);
            if (!by_name) fail_msg("%s: %s", names, err.text);
        }
        unmake(&f);
    }
}

#define CLIP_WITH "\"tower\": \"clip\", \"grid\": 4, \"rows\": 17, \"out\": 12"
#define CLASS_ROWS(setting) "{\"vision\": {" CLIP_WITH ", " setting "}}"

static const struct {
    const char *vision, *connector, *text, *settings, *said;
} misfits[] = {
    { paligemma, paligemma, paligemma, "{\"vision\": {\"out\": 13}}",
      "the connector 'linear' takes features of width 13, but the tower 'siglip' "
      "gives 12" },
    { mllama, paligemma, mllama, "{\"vision\": {\"out\": 12}}",
      "the connector 'linear' takes features of width 12, but the tower 'tiles' "
      "gives 24" },
    { paligemma, qwen2_vl, paligemma,
      "{\"vision\": {\"merge\": 2, \"image\": 20, \"grid\": 5}}",
      "the connector 'merger' takes squares of 2 x 2 patches, but the tower "
      "'siglip' gives 5 x 5" },
    { paligemma, paligemma, mllama, "{\"text\": {\"splice\": \"image_tokens\"}}",
      "text.splice 'image_tokens' puts images into the text, but the blocks of "
      "text.cross_layers look at them" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"splice\": \"cross_attention\"}}",
      "text.splice 'cross_attention', but text.cross_layers names no block that "
      "looks at images" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"embed_rows\": 99}}",
      "text.embed_rows is 99, but text.embed.weight has 60 rows" },
    { mllama, mllama, mllama, "{\"vision\": {\"taps\": [1]}}",
      "vision.taps names block 1, but the tower has 1" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": -5"),
      "vision.select has a number that is not a state of the tower: those of 3 "
      "blocks are -4 to 3" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": [1, 4]"),
      "vision.select has a number that is not a state of the tower: those of 3 "
      "blocks are -4 to 3" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": []"),
      "vision.select names no state" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select\": [-1, -2]"),
      "the connector 'linear' takes features of width 12, but the tower 'clip' "
      "gives 24" },
    { clip, paligemma, paligemma,
      "{\"vision\": {\"tower\": \"clip\", \"out\": 12, \"grid\": 4, \"rows\": 16}}",
      "vision.rows is not that of 4 x 4 patches and one more" },
    { clip, paligemma, paligemma, CLASS_ROWS("\"select_rows\": \"first\""),
      "vision.select_rows is not 'all' or 'patches'" },
    { paligemma, paligemma, paligemma, "{\"vision\": {\"select_rows\": \"patches\"}}",
      "vision.select_rows 'patches', but the tower 'siglip' has no class row that "
      "can be left out, so it must be 'all'" },
    { clip, qwen2_vl, paligemma, CLASS_ROWS("\"merge\": 2"),
      "the connector 'merger' takes squares of patches, but the tower 'clip' gives "
      "class rows among them" },
    { clip, qwen_vl, paligemma, CLASS_ROWS("\"select_rows\": \"all\""),
      "the connector 'resampler' takes squares of patches, but the tower 'clip' "
      "gives class rows among them" },
    { clip, paligemma, qwen2_vl, CLASS_ROWS("\"select_rows\": \"all\""),
      "text.splice 'image_tokens' with positions on three axes takes grids, but "
      "the tower 'clip' gives class rows among them" },
    { paligemma, paligemma, paligemma, "{\"text\": {\"window_layers\": [0, 2]}}",
      "text.window_layers names a block that is not there" },
    { qwen_vl, qwen_vl, qwen_vl, "{\"connector\": {\"queries\": 8}}",
      "connector.queries 8 is not a square number" },
};

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misfits / sizeof *misfits; i++) {
        synthetic s;
        lvlm_model *model = NULL;
        lvlm_error err = { .text = "" };
        composed_model(&s, misfits[i].vision, misfits[i].connector, misfits[i].text,
                       misfits[i].settings);
        assert_int_equal(lvlm_model_bind(&model, &s.manifest, NULL, &err),
                         LVLM_EFORMAT);
        assert_memory_equal(err.text, "configuration: ", 15);
        assert_string_equal(err.text + 15, misfits[i].said);
        synthetic_free(&s);
    }
}

static void videos_without_a_token_are_refused(void **state)
{
    static const int64_t grid[3] = { 1, 4, 4 };
    static const lvlm_shape shape = { 2, { 16, 3 * 2 * PATCH * PATCH } };
    lvlm_model *model = NULL;
    lvlm_stage_list list = { .everything = true };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_error err = { .text = "" };
    uint32_t seed = 1;
    fixture f;
    (void)state;
    make(&f, QWEN2, MERGER, GEMMA, 16);
    synthetic_put_integers(&f.batch, "video_grid_thw", 1, 3, grid);
    synthetic_put_random(&f.batch, "pixel_values_videos", &shape, 1.0f, &seed);
    assert_int_equal(lvlm_model_bind(&model, &f.model.manifest, NULL, &err), 0);
    assert_int_equal(lvlm_model_forward(model, &f.batch.checkpoint, "", &sink, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text,
                        "pixel_values_videos: this model has no token for videos");
    lvlm_model_free(model);
    unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_takes_patches_row_by_row_whatever_their_order),
        cmocka_unit_test(merger_takes_squares_of_a_tower_that_gives_rows),
        cmocka_unit_test(linear_gives_as_many_rows_as_there_are_patches),
        cmocka_unit_test(mlp_is_two_maps),
        cmocka_unit_test(class_row_is_first_and_may_be_left_out),
        cmocka_unit_test(states_are_side_by_side_and_class_rows_may_stay),
        cmocka_unit_test(three_axes_follow_the_rows_of_squares),
        cmocka_unit_test(text_looks_at_squares_as_at_tiles),
        cmocka_unit_test(a_window_is_in_the_blocks_that_have_one),
        cmocka_unit_test(every_combination_computes_or_is_refused_by_name),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(videos_without_a_token_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
