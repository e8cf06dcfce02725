/* slope_plants.h - recorded gradients changed, and those of other losses, for
 * test_slope_causes.c. */
#ifndef LVLM_TESTS_REPLAY_SLOPE_PLANTS_H
#define LVLM_TESTS_REPLAY_SLOPE_PLANTS_H

#include <math.h>
#include <stdlib.h>

#include "runtime/gradient_list.h"
#include "runtime/tune/dropout_rates.h"
#include "tests/replay/recordings.h"
#include "tests/replay/slopes.h"

#define Q2 "qwen2_vl-odd"
#define LAYER "grad.model.layers.1."
#define GEMMA "grad.language_model.model.layers.0."
#define CROSS "grad.language_model.model.layers.1.cross_attn."

/* ---- changing recorded gradients ------------------------------------------------- */

static lvlm_tensor *tensor_of(recorded *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->tensors[i].name, name) == 0) return &r->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Values, rows and columns of a gradient, to be changed. */
typedef struct values {
    double *x;
    size_t n, R, C;
} values;

static values values_of(recorded *r, const char *name)
{
    const lvlm_tensor *const t = tensor_of(r, name);
    assert_int_equal(t->dtype, LVLM_F64);
    values v = { .x = recorded_values(r, name), .n = (size_t)lvlm_tensor_numel(t) };
    v.R = t->shape.n > 0 ? (size_t)t->shape.dims[0] : 1;
    v.C = v.n / v.R;
    return v;
}

static void multiply(recorded *r, const char *glob, double by)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (fnmatch(glob, r->tensors[i].name, 0) != 0) continue;
        const values v = values_of(r, r->tensors[i].name);
        for (size_t k = 0; k < v.n; k++) v.x[k] *= by;
        n++;
    }
    assert_true(n > 0);
}

static void halve_one(recorded *r)
{
    multiply(r, LAYER "mlp.up_proj.weight", 0.5);
}

static void negate_one(recorded *r)
{
    multiply(r, LAYER "mlp.up_proj.weight", -1);
}

static void halve_output(recorded *r)
{
    multiply(r, GEMMA "self_attn.o_proj.weight", 0.5);
}

static void clear_tower(recorded *r)
{
    multiply(r, "grad.visual.*", 0);
}

/* 29 labels count in the four texts of 25 tokens. */
static void sum_of_losses(recorded *r)
{
    multiply(r, "grad.*", 29);
}

static void mean_over_places(recorded *r)
{
    multiply(r, "grad.*", 29.0 / 100);
}

static void quarter(recorded *r)
{
    multiply(r, "grad.*", 0.25);
}

static void scaled_for_f16(recorded *r)
{
    multiply(r, "grad.*", 65536);
}

/* R x C to C x R. */
static void transpose(recorded *r, const char *name)
{
    const values v = values_of(r, name);
    lvlm_tensor *const t = tensor_of(r, name);
    double *const copy = malloc(v.n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, v.x, v.n * sizeof *copy);
    for (size_t i = 0; i < v.n; i++) v.x[i % v.C * v.R + i / v.C] = copy[i];
    t->shape.dims[0] = v.C;
    t->shape.dims[1] = v.R;
    free(copy);
}

static void transpose_square(recorded *r)
{
    transpose(r, LAYER "self_attn.o_proj.weight");
}

static void transpose_wide(recorded *r)
{
    transpose(r, LAYER "mlp.up_proj.weight");
}

static void exchange(recorded *r, const char *one, const char *other)
{
    const values a = values_of(r, one), b = values_of(r, other);
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        const double value = a.x[i];
        a.x[i] = b.x[i];
        b.x[i] = value;
    }
}

static void exchange_norms(recorded *r)
{
    exchange(r, LAYER "input_layernorm.weight",
             LAYER "post_attention_layernorm.weight");
}

static void exchange_head_norms(recorded *r)
{
    exchange(r, CROSS "q_norm.weight", CROSS "k_norm.weight");
}

/* Heads of 8 in reverse order, in rows, or in columns where `inner` is 1. */
static void reverse_heads(recorded *r, const char *name, bool columns)
{
    const values v = values_of(r, name);
    const size_t outer = columns ? v.R : 1, inner = columns ? 1 : v.C;
    const size_t row = v.n / outer, n = row / inner;
    double *const copy = malloc(v.n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, v.x, v.n * sizeof *copy);
    for (size_t o = 0; o < outer; o++)
        for (size_t k = 0; k < n; k++)
            memcpy(v.x + o * row + k * inner,
                   copy + o * row + ((n / 8 - 1 - k / 8) * 8 + k % 8) * inner,
                   inner * sizeof *copy);
    free(copy);
}

static void reverse_all_heads(recorded *r)
{
    reverse_heads(r, GEMMA "self_attn.q_proj.weight", false);
    reverse_heads(r, GEMMA "self_attn.k_proj.weight", false);
    reverse_heads(r, GEMMA "self_attn.v_proj.weight", false);
    reverse_heads(r, GEMMA "self_attn.o_proj.weight", true);
}

/* The second head of 8 rows. */
static void spoil_head(recorded *r)
{
    const values v = values_of(r, GEMMA "self_attn.q_proj.weight");
    for (size_t i = 8 * v.C; i < 16 * v.C; i++) v.x[i] = v.x[i] * 2 + 1e-3 * (double)i;
}

static void spoil_column_head(recorded *r)
{
    const values v = values_of(r, GEMMA "self_attn.o_proj.weight");
    for (size_t i = 0; i < v.n; i++)
        if (i % v.C >= 16) v.x[i] = v.x[i] * 2 + 1e-3 * (double)i;
}

/* A row of the keys, which are the second third. */
static void spoil_fused_row(recorded *r)
{
    const values v = values_of(r, "grad.transformer.h.0.attn.c_attn.weight");
    for (size_t c = 0; c < v.C; c++) v.x[(v.R / 3 + 5) * v.C + c] += (double)(c + 1);
}

static void add_vector(recorded *r)
{
    const values v = values_of(r, LAYER "mlp.up_proj.weight");
    for (size_t i = 0; i < v.n; i++) v.x[i] += 1e-2 * (double)(i % v.C + 1);
}

/* A table of one word more. */
static void lengthen(recorded *r)
{
    const char *const name = "grad.language_model.model.embed_tokens.weight";
    lvlm_tensor *const t = tensor_of(r, name);
    const size_t row = (size_t)(t->n_bytes / t->shape.dims[0]);
    unsigned char *const longer =
        lvlm_arena_alloc(&r->arena, (size_t)t->n_bytes + row, 1);
    assert_non_null(longer);
    memcpy(longer, t->data, (size_t)t->n_bytes);
    t->data = longer;
    t->shape.dims[0]++;
    t->n_bytes += row;
}

/* ---- gradients of other losses --------------------------------------------------- */

/* Labels, and which text they are of. */
typedef void relabel(int64_t *labels, const int64_t *ids, size_t B, size_t T);

typedef struct loss {
    relabel *label;        /* NULL: as recorded */
    const char *reference; /* NULL: that of the recording */
    bool by_text;          /* the mean over texts of the mean of each */
    bool drops;
} loss;

/* Labels of the place itself: what predicts one is the token before it. */
static void not_shifted(int64_t *labels, const int64_t *ids, size_t B, size_t T)
{
    (void)ids;
    for (size_t b = 0; b < B; b++) {
        assert_true(labels[b * T + T - 1] == -100); /* or it would be lost */
        memmove(labels + b * T + 1, labels + b * T, (T - 1) * sizeof *labels);
        labels[b * T] = -100;
    }
}

static void shifted_twice(int64_t *labels, const int64_t *ids, size_t B, size_t T)
{
    (void)ids;
    for (size_t b = 0; b < B; b++) {
        memmove(labels + b * T, labels + b * T + 1, (T - 1) * sizeof *labels);
        labels[b * T + T - 1] = -100;
    }
}

/* Of composed-mlp, where 20 is the image token and the last two are padding. */
static void of_every_word(int64_t *labels, const int64_t *ids, size_t B, size_t T)
{
    for (size_t i = 0; i < B * T; i++)
        labels[i] = ids[i] != 20 && i % T < T - 2 ? ids[i] : -100;
}

static void without_text_0(int64_t *labels, const int64_t *ids, size_t B, size_t T)
{
    (void)ids, (void)B;
    for (size_t i = 0; i < T; i++) labels[i] = -100;
}

static const lvlm_tensor *input_of(const lvlm_checkpoint *cp, const char *name)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(cp, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, LVLM_I64);
    return t;
}

/* Adds the gradients of text `text` (SIZE_MAX: all, and their mean). */
static void add_pass(lvlm_model *model, const recorded *r, const loss *l, size_t text,
                     const char *path)
{
    const lvlm_tensor *const ids = input_of(r->source, "in.input_ids");
    const size_t B = (size_t)ids->shape.dims[0], T = (size_t)ids->shape.dims[1];
    double n = 0;
    lvlm_model_step step;
    lvlm_error err;
    recorded changed;
    recorded_open(&changed, r->source->path);
    int64_t *const labels = recorded_values(&changed, "in.labels");
    if (l->label != NULL) l->label(labels, (const void *)ids->data, B, T);
    for (size_t i = 0; text != SIZE_MAX && i < B * T; i++)
        if (i / T != text) labels[i] = -100;
    for (size_t i = 0; i < B * T; i++) n += labels[i] != -100;
    recorded_save(&changed, path);
    recorded_close(&changed);
    lvlm_checkpoint *const inputs = must_open(path);
    if (lvlm_model_backward(model, &step, inputs, "in.",
                            text != SIZE_MAX ? 1 / (n * (double)B) : 0, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint_close(inputs);
}

static void set_dropout(lvlm_model *model)
{
    const lvlm_dropout wanted = { .given = true, .from_config = true };
    const lvlm_noise noise = { .step = 7 };
    double rates[LVLM_N_DROPOUTS];
    lvlm_error err;
    if (lvlm_dropout_rates(rates, &wanted, lvlm_model_manifest(model), &err) < 0)
        fail_msg("%s", err.text);
    lvlm_model_set_dropout(model, rates);
    lvlm_model_set_noise(model, &noise);
}

static void take_gradients(recorded *r, lvlm_model *model)
{
    lvlm_gradient_list list;
    lvlm_error err;
    if (lvlm_gradient_list_make(&list, model, true, &err) < 0) fail_msg("%s", err.text);
    assert_true(list.n > 0);
    for (size_t i = 0; i < list.n; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "grad.%s", list.tensors[i].name);
        const values v = values_of(r, name);
        assert_int_equal(v.n, lvlm_tensor_numel(&list.tensors[i]));
        memcpy(v.x, list.tensors[i].data, v.n * sizeof *v.x);
    }
    lvlm_gradient_list_free(&list);
}

/* The recorded gradients become those of another loss. */
static void plant_loss(recorded *r, const char *native, const char *path, const loss *l)
{
    const char *const recorded_as =
        lvlm_json_string(lvlm_json_get(r->metadata, "reference"));
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 1,
                                         .trains = trains_everything,
                                         .reference = l->reference != NULL
                                                          ? l->reference
                                                          : recorded_as };
    const lvlm_tensor *const ids = input_of(r->source, "in.input_ids");
    lvlm_model *model = NULL;
    lvlm_error err;
    if (lvlm_model_open(&model, native, &options, &err) < 0) fail_msg("%s", err.text);
    if (l->drops) set_dropout(model);
    for (size_t b = 0; l->by_text && b < ids->shape.dims[0]; b++)
        add_pass(model, r, l, b, path);
    if (!l->by_text) add_pass(model, r, l, SIZE_MAX, path);
    take_gradients(r, model);
    lvlm_model_free(model);
}

/* ---- a tied head ----------------------------------------------------------------- */

static const double *recorded_doubles(const recorded *r, const char *name)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(r->source, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, LVLM_F64);
    return (const void *)t->data;
}

/* The head's part of the table's gradient, from recorded logits and norm, times `head`,
 * and the rest of it, times `words`. */
static void weigh_parts(recorded *r, double head, double words)
{
    const values v = values_of(r, "grad.model.embed_tokens.weight");
    const lvlm_tensor *const t = input_of(r->source, "in.labels");
    const int64_t *const labels = (const void *)t->data;
    const double *const logits = recorded_doubles(r, "out.logits");
    const double *const rows = recorded_doubles(r, "out.text.norm");
    const size_t N = (size_t)lvlm_tensor_numel(t), T = (size_t)t->shape.dims[1];
    double *const part = calloc(v.n, sizeof *part), n = 0;
    assert_non_null(part);
    for (size_t i = 0; i + 1 < N; i++) n += i % T != T - 1 && labels[i + 1] != -100;
    for (size_t i = 0; i + 1 < N; i++) {
        const double *const y = logits + i * v.R;
        double sum = 0;
        if (i % T == T - 1 || labels[i + 1] == -100) continue;
        for (size_t w = 0; w < v.R; w++) sum += exp(y[w]);
        for (size_t w = 0; w < v.R; w++) {
            const double d = exp(y[w]) / sum - (labels[i + 1] == (int64_t)w);
            for (size_t c = 0; c < v.C; c++)
                part[w * v.C + c] += d * rows[i * v.C + c] / n;
        }
    }
    for (size_t i = 0; i < v.n; i++)
        v.x[i] = head * part[i] + words * (v.x[i] - part[i]);
    free(part);
}

static void not_tied(recorded *r)
{
    weigh_parts(r, 0, 1);
}

static void head_alone(recorded *r)
{
    weigh_parts(r, 1, 0);
}

static void head_twice(recorded *r)
{
    weigh_parts(r, 2, 1);
}

#endif
