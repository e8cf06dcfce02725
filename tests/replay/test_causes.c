/* test_causes.c - one mistake at a time in a checkpoint of each family: replay names
 * the stage, and the mistake.
 *
 *   a fixture's checkpoint -> a number of config.json, or values of a tensor changed
 *     -> converted -> replayed against the fixture's recording
 *
 * What cannot be undone, as values are lost, shows in the tensor itself. */
#include <math.h>

#include "tests/replay/recordings.h"
#include "verify/cause/cause.h"

enum { TEXT = 1 << 16 };

/* ---- what is done to values ------------------------------------------------------ */

/* The values of a tensor, its rows and columns, and those of a second one. */
typedef void change(float *x, size_t rows, size_t columns, float *other);

static void set_order(float *x, size_t outer, size_t n, size_t inner,
                      size_t (*from)(size_t k, size_t n))
{
    float *const copy = malloc(outer * n * inner * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, x, outer * n * inner * sizeof *copy);
    for (size_t o = 0; o < outer; o++)
        for (size_t k = 0; k < n; k++)
            memcpy(x + (o * n + k) * inner, copy + (o * n + from(k, n)) * inner,
                   inner * sizeof *x);
    free(copy);
}

static size_t interleaved(size_t k, size_t n)
{
    return k / 2 + k % 2 * (n / 2);
}

static size_t columns_first(size_t k, size_t n)
{
    static const size_t order[] = { 0, 2, 1, 3 };
    assert_int_equal(n, 4);
    return order[k];
}

static size_t one_late(size_t k, size_t n)
{
    return (k + n - 1) % n;
}

static size_t backwards(size_t k, size_t n)
{
    return n - 1 - k;
}

/* Heads of 12, as the fixture has them: halves to neighbouring pairs. */
static void to_pairs(float *x, size_t rows, size_t columns, float *other)
{
    (void)other;
    set_order(x, rows / 12, 12, columns, interleaved);
}

static void shuffle_squares(float *x, size_t rows, size_t columns, float *other)
{
    (void)other;
    set_order(x, rows, 4, columns / 4, columns_first);
}

static void shift_rows(float *x, size_t rows, size_t columns, float *other)
{
    (void)other;
    set_order(x, 1, rows, columns, one_late);
}

/* Three channels of a patch. */
static void reverse_channels(float *x, size_t rows, size_t columns, float *other)
{
    (void)other;
    set_order(x, rows, 3, columns / 3, backwards);
}

static void transpose(float *x, size_t rows, size_t columns, float *other)
{
    (void)other;
    assert_int_equal(rows, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < r; c++) {
            const float value = x[r * columns + c];
            x[r * columns + c] = x[c * columns + r];
            x[c * columns + r] = value;
        }
}

static void exchange(float *x, size_t rows, size_t columns, float *other)
{
    assert_non_null(other);
    for (size_t i = 0; i < rows * columns; i++) {
        const float value = x[i];
        x[i] = other[i];
        other[i] = value;
    }
}

static void copy(float *x, size_t rows, size_t columns, float *other)
{
    assert_non_null(other);
    memcpy(x, other, rows * columns * sizeof *x);
}

/* Thirds of a fused tensor: to each head's queries, keys and values; 2 heads. */
static void by_heads(float *x, size_t rows, size_t columns, float *other)
{
    const size_t D = rows / 6;
    float *const from = malloc(rows * columns * sizeof *from);
    (void)other;
    assert_non_null(from);
    memcpy(from, x, rows * columns * sizeof *from);
    for (size_t third = 0; third < 3; third++)
        for (size_t h = 0; h < 2; h++)
            memcpy(x + (h * 3 + third) * D * columns,
                   from + (third * 2 + h) * D * columns, D * columns * sizeof *x);
    free(from);
}

#define EACH(name, expression)                                                         \
    static void name(float *x, size_t rows, size_t columns, float *other)              \
    {                                                                                  \
        (void)other;                                                                   \
        for (size_t i = 0; i < rows * columns; i++) x[i] = (expression);               \
    }
EACH(add_one, x[i] + 1)
EACH(subtract_one, x[i] - 1)
EACH(negate, -x[i])
EACH(halve, x[i] / 2)
EACH(clear, 0)
EACH(squash, tanhf(x[i]))
EACH(round_to_bf16, lvlm_f32_of_bf16(lvlm_bf16_of_f32(x[i])))

/* ---- the mistakes ---------------------------------------------------------------- */

typedef struct plant {
    const char *fixture;
    const char *from, *to;       /* in config.json; NULL: nothing */
    const char *tensor, *second; /* source names; NULL: none */
    change *change;
    const char *stage;   /* the first with an error of its own */
    const char *mistake; /* NULL: `says` is in a sentence on the weights or the error */
    const char *says;
} plant;

#define Q2 "qwen2_vl-odd"
#define LAYER "model.layers.1."
#define GEMMA "language_model.model.layers.0."

// clang-format off
static const plant plants[] = {
    { Q2, "\"rms_norm_eps\": 0.001", "\"rms_norm_eps\": 1e-06", NULL, NULL, NULL,
      "text.blocks.0", "epsilon", "rms_norm_eps 0.001 instead of 1e-06 this stage agrees to" },
    { Q2, "\"rope_theta\": 10000.0,\n      \"rope_type\": \"default\"", "\"rope_theta\": 500000.0,\n      \"rope_type\": \"default\"", NULL, NULL, NULL,
      "text.blocks.0", "rope_theta", "see text_config.rope_parameters.rope_theta in config.json" },
    { Q2, "\"hidden_act\": \"quick_gelu\"", "\"hidden_act\": \"gelu\"", NULL, NULL, NULL,
      "vision.blocks.0", "activation", "hidden_act quick_gelu instead of gelu" },
    { Q2, "2,\n        1,\n        3", "3,\n        1,\n        2", NULL, NULL, NULL,
      "text.blocks.0", "mrope_section", "mrope_section [2,1,3] instead of [3,1,2]" },
    { Q2, NULL, NULL, LAYER "self_attn.q_proj.weight", NULL, to_pairs,
      "text.blocks.1", "rotary_pairs", "neighbouring pairs" },
    { Q2, NULL, NULL, LAYER "mlp.gate_proj.weight", LAYER "mlp.up_proj.weight", exchange,
      "text.blocks.1", "exchanged", LAYER "mlp.gate_proj.weight, up_proj.weight: each holds the other's values" },
    { Q2, NULL, NULL, LAYER "self_attn.o_proj.weight", NULL, transpose,
      "text.blocks.1", "transposed", LAYER "self_attn.o_proj.weight: it is stored transposed" },
    { Q2, NULL, NULL, LAYER "mlp.down_proj.weight", "model.layers.0.mlp.down_proj.weight", exchange,
      "text.blocks.0", "other_block", "model.layers.0.mlp.down_proj.weight: holds those of another block" },
    { Q2, NULL, NULL, LAYER "input_layernorm.weight", NULL, add_one,
      "text.blocks.1", "norm_offset", LAYER "input_layernorm.weight: norms are stored" },
    { Q2, NULL, NULL, "model.norm.weight", NULL, subtract_one,
      "text.norm", "norm_offset", "model.norm.weight" },
    { Q2, NULL, NULL, "visual.merger.mlp.2.bias", NULL, negate,
      "connector.out", "factor", "visual.merger.mlp.2.bias" },
    { Q2, NULL, NULL, "visual.merger.mlp.0.weight", NULL, shuffle_squares,
      "connector.out", "squares", "patches of a square in the order 0, 2, 1, 3" },
    { Q2, NULL, NULL, "visual.patch_embed.proj.weight", NULL, reverse_channels,
      "vision.patches", "kernel", "its channels in the order 2, 1, 0" },
    { Q2, NULL, NULL, "model.embed_tokens.weight", NULL, shift_rows,
      "text.embed", "shifted", "model.embed_tokens.weight" },
    { "qwen2_5_vl-odd", "\"window_size\": 16", "\"window_size\": 32", NULL, NULL, NULL,
      "vision.blocks.0", "window", "window_size 16 instead of 32" },
    { "paligemma-odd", NULL, NULL, "vision_tower.vision_model.embeddings.position_embedding.weight", NULL, shift_rows,
      "vision.embed", "positions", "position_embedding.weight: rows are stored" },
    { "paligemma-odd", NULL, NULL, GEMMA "self_attn.v_proj.weight", NULL, halve,
      "text.blocks.0", "factor", "2 times " GEMMA "self_attn.v_proj.weight" },
    { "paligemma2-odd", NULL, NULL, GEMMA "post_attention_layernorm.weight", GEMMA "pre_feedforward_layernorm.weight", exchange,
      "text.blocks.0", "exchanged", "each holds the other's values" },
    { "paligemma2-odd", "\"query_pre_attn_scalar\": 14", "\"query_pre_attn_scalar\": 196", NULL, NULL, NULL,
      "text.blocks.0", "scale", "query_pre_attn_scalar 14 instead of 196" },
    { "mllama-odd", NULL, NULL, "language_model.model.layers.1.cross_attn_attn_gate", NULL, squash,
      "text.blocks.1", "gate", "holds the gate after tanh" },
    { "mllama-odd", NULL, NULL, "vision_model.pre_tile_positional_embedding.gate", NULL, squash,
      "vision.embed", "gate", "all but those with patch 0" },
    { "llava-odd", "\"projector_hidden_act\": \"gelu\"", "\"projector_hidden_act\": \"gelu_pytorch_tanh\"", NULL, NULL, NULL,
      "connector.out", "activation", "see projector_hidden_act in config.json" },
    { "qwen_vl-odd", NULL, NULL, "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.bias", by_heads,
      "text.blocks.0", "thirds", "stored head by head" },
    { "composed-resampler", "\"heads\": 3", "\"heads\": 4", NULL, NULL, NULL,
      "connector.attn", "heads", "heads 3 instead of 4" },
    { "composed-resampler", NULL, NULL, "multi_modal_projector.proj.weight", NULL, transpose,
      "connector.out", "transposed", "multi_modal_projector.proj.weight" },
    /* lost values */
    { Q2, NULL, NULL, LAYER "self_attn.v_proj.bias", NULL, clear,
      "text.blocks.1", NULL, LAYER "self_attn.v_proj.bias is zero in every value" },
    { Q2, NULL, NULL, LAYER "mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight", copy,
      "text.blocks.1", NULL, LAYER "mlp.up_proj.weight equals model.layers.0.mlp.up_proj.weight bit for bit" },
    { Q2, NULL, NULL, LAYER "mlp.up_proj.weight", NULL, round_to_bf16,
      "text.blocks.1", NULL, "is exact in bfloat16 in every value" },
    { "paligemma-odd", NULL, NULL, "multi_modal_projector.linear.bias", NULL, clear,
      "connector.out", NULL, "the same vector in every row" },
};
// clang-format on

/* Replace text in a file, which may change its length. */
static void edit_text(const char *path, const char *from, const char *to)
{
    static char text[TEXT];
    lvlm_error err;
    FILE *const in = fopen(path, "rb");
    assert_non_null(in);
    const size_t n = fread(text, 1, sizeof text - 1, in);
    (void)fclose(in);
    text[n] = '\0';
    char *at = strstr(text, from);
    if (at == NULL) fail_msg("%s: no '%s'", path, from);
    for (char *next = at; (next = strstr(next + 1, from)) != NULL;) at = next;
    const size_t after = (size_t)(at - text) + strlen(from);
    assert_true(n + strlen(to) < sizeof text);
    memmove(at + strlen(to), text + after, n - after);
    memcpy(at, to, strlen(to));
    if (lvlm_outfile_save(path, text, n - strlen(from) + strlen(to), true, &err) < 0)
        fail_msg("%s", err.text);
}

/* A tensor of the checkpoint, widened. */
typedef struct values {
    const lvlm_tensor *tensor;
    float *x;
    size_t rows, columns;
} values;

static values read_values(const lvlm_checkpoint *cp, const char *name)
{
    values v = { .tensor = lvlm_checkpoint_find(cp, name) };
    if (v.tensor == NULL) fail_msg("no tensor %s", name);
    const size_t n = (size_t)lvlm_tensor_numel(v.tensor);
    v.rows = (size_t)v.tensor->shape.dims[0];
    v.columns = n / v.rows;
    v.x = malloc(n * sizeof *v.x);
    assert_non_null(v.x);
    lvlm_convert_values(v.x, LVLM_F32, v.tensor->data, v.tensor->dtype, n);
    return v;
}

/* Into a copy of the file, in the type of the tensor. */
static void write_values(unsigned char *bytes, const values *v)
{
    const lvlm_tensor *const t = v->tensor;
    lvlm_convert_values(bytes + t->offset, t->dtype, v->x, LVLM_F32,
                        v->rows * v->columns);
    free(v->x);
}

static void edit_tensors(const char *folder, const char *file, const plant *p)
{
    lvlm_checkpoint *const cp = must_open(folder);
    const lvlm_infile *const map = cp->files[0].map;
    unsigned char *const bytes = malloc((size_t)map->n_bytes);
    values second = { .x = NULL };
    lvlm_error err;
    assert_non_null(bytes);
    memcpy(bytes, map->bytes, (size_t)map->n_bytes);
    const values first = read_values(cp, p->tensor);
    if (p->second != NULL) second = read_values(cp, p->second);
    p->change(first.x, first.rows, first.columns, second.x);
    if (p->change == by_heads) by_heads(second.x, second.rows, second.columns, NULL);
    write_values(bytes, &first);
    if (p->second != NULL) write_values(bytes, &second);
    if (lvlm_outfile_save(file, bytes, (size_t)map->n_bytes, true, &err) < 0)
        fail_msg("%s", err.text);
    free(bytes);
    lvlm_checkpoint_close(cp);
}

/* The fixture's checkpoint with the mistake, as a native file. */
static const char *make(scratch *s, const plant *p)
{
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, "%s/%s/model", LVLM_FIXTURES, p->fixture);
    scratch_copy(s, path, "planted");
    if (p->from != NULL)
        edit_text(scratch_path(s, "planted/config.json"), p->from, p->to);
    if (p->tensor != NULL)
        edit_tensors(scratch_path(s, "planted"),
                     scratch_path(s, "planted/model.safetensors"), p);
    native_convert(scratch_path(s, "planted"), scratch_path(s, "planted.lvlm"));
    return scratch_path(s, "planted.lvlm");
}

/* Is the mistake among those that agree? */
static bool names(const lvlm_cause *c, const char *mistake, const char *text)
{
    for (size_t i = 0; i < c->n_candidates; i++)
        if (c->candidates[i].agrees && strcmp(c->candidates[i].mistake, mistake) == 0 &&
            (strstr(c->candidates[i].sentence, text) != NULL ||
             list_says(c->signs, c->n_signs, text)))
            return true;
    return false;
}

static void check(const lvlm_replay *r, const plant *p)
{
    const char *const what = p->tensor != NULL ? p->tensor : p->to;
    const lvlm_cause *const c = r->why;
    if (r->cause == NULL || strcmp(r->cause->name, p->stage) != 0)
        fail_msg("%s: %s: is of stage %s", p->fixture, what,
                 r->cause != NULL ? r->cause->name : "none");
    assert_non_null(c);
    assert_true(c->n_tensors > 0 && c->tensors[0].digest != NULL);
    if (p->mistake == NULL) {
        if (!list_says(c->weights, c->n_weights, p->says) &&
            !list_says(c->signs, c->n_signs, p->says))
            fail_msg("%s: %s: does not say '%s'", p->fixture, what, p->says);
        assert_true(c->n_candidates == 0 || !c->candidates[0].agrees);
        return;
    }
    if (!names(c, p->mistake, p->says))
        fail_msg("%s: %s: %s is not named, but %s", p->fixture, what, p->mistake,
                 c->n_candidates > 0 ? c->candidates[0].sentence : "nothing");
    /* mistakes with the same effect are named beside it: a factor of queries is one of
     * keys */
    assert_true(c->n_candidates <= 4);
}

static void every_mistake_is_named(void **state)
{
    const size_t n = sizeof plants / sizeof *plants;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        const lvlm_replay_options options = { .threads = 1 };
        char golden[SCRATCH_PATH];
        scratch s;
        lvlm_replay r;
        scratch_make(&s);
        (void)snprintf(golden, sizeof golden, "%s/%s/golden64.safetensors",
                       LVLM_FIXTURES, plants[i].fixture);
        must_replay(&r, make(&s, &plants[i]), golden, &options);
        check(&r, &plants[i]);
        lvlm_replay_free(&r);
        scratch_remove(&s);
    }
}

/* ---- gradients ------------------------------------------------------------------- */

/* The recording with one gradient half as large. */
static const char *halve_gradient(scratch *s, const char *golden, const char *name)
{
    const char *const path = scratch_path(s, "golden.safetensors");
    recorded rec;
    recorded_open(&rec, golden);
    double *const x = recorded_values(&rec, name);
    const lvlm_tensor *const t = lvlm_checkpoint_find(rec.source, name);
    assert_int_equal(t->dtype, LVLM_F64);
    for (uint64_t i = 0; i < lvlm_tensor_numel(t); i++) x[i] /= 2;
    recorded_save(&rec, path);
    recorded_close(&rec);
    return path;
}

static void a_gradient_is_named_with_its_stage(void **state)
{
    static const char name[] = "grad.model.layers.0.mlp.up_proj.weight";
    const char *const golden = LVLM_FIXTURES "/" Q2 "/golden64.safetensors";
    const lvlm_replay_options options = { .threads = 1, .grads = true };
    scratch s;
    lvlm_replay r;
    (void)state;
    scratch_make(&s);
    native_convert(LVLM_FIXTURES "/" Q2 "/model", scratch_path(&s, "model.lvlm"));
    must_replay(&r, scratch_path(&s, "model.lvlm"), halve_gradient(&s, golden, name),
                &options);
    assert_int_equal(r.n_failed, 1);
    assert_string_equal(r.cause->name, name);
    assert_non_null(r.why);
    assert_true(list_says(r.why->signs, r.why->n_signs, "every stage agrees"));
    assert_true(list_says(r.why->signs, r.why->n_signs,
                          "model.layers.0.mlp.up_proj.weight is a tensor of stage "
                          "text.blocks.0"));
    lvlm_replay_free(&r);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_is_named),
        cmocka_unit_test(a_gradient_is_named_with_its_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
