/* test_forward.c - the whole forward pass on small random models: what must hold
 * whatever the weights are. Agreement with the reference: tests/replay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model.h"
#include "tests/runtime/synthetic_run.h"

#define IMAGE 90
#define IGN (-100)

#define CONFIG_OF(text_type, more)                                                     \
    "{\"model_type\": \"paligemma\", \"image_token_index\": 90, \"vision_config\": {"  \
    "\"hidden_size\": 36, \"num_hidden_layers\": 2, \"num_attention_heads\": 3,"       \
    "\"intermediate_size\": 40, \"image_size\": 12, \"patch_size\": 4},"               \
    "\"text_config\": {\"model_type\": \"" text_type "\", \"hidden_size\": 48,"        \
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"num_key_value_heads\": "  \
    "2,"                                                                               \
    "\"intermediate_size\": 80, \"head_dim\": 16, \"vocab_size\": 80" more "}}"

static const char gemma[] = CONFIG_OF("gemma", "");
static const char gemma2[] = CONFIG_OF(
    "gemma2", ", \"final_logit_softcapping\": 2.0, \"sliding_window\": 3,"
              "\"attn_logit_softcapping\": 5.0, \"query_pre_attn_scalar\": 24");

enum { TEXTS = 3, TOKENS = 14, PATCHES = 9 };

/* A full text, one padded at the right, one at the left; an image in each. */
static void put_batch(synthetic *s)
{
    static const lvlm_shape pixels = { 4, { TEXTS, 3, 12, 12 } };
    static const int starts[TEXTS] = { 0, 0, 2 }, ends[TEXTS] = { 14, 12, 14 };
    int64_t ids[TEXTS * TOKENS], mask[TEXTS * TOKENS], types[TEXTS * TOKENS];
    int64_t labels[TEXTS * TOKENS];
    uint32_t state = 7;
    for (int i = 0; i < TEXTS * TOKENS; i++) {
        const int b = i / TOKENS, t = i % TOKENS, at = t - starts[b];
        mask[i] = t >= starts[b] && t < ends[b];
        ids[i] = !mask[i] ? 0 : at < PATCHES ? IMAGE : 2 + (i * 7) % 70;
        types[i] = mask[i] && at > PATCHES;
        labels[i] = types[i] ? ids[i] : IGN;
    }
    synthetic_put_integers(s, "input_ids", TEXTS, TOKENS, ids);
    synthetic_put_integers(s, "attention_mask", TEXTS, TOKENS, mask);
    synthetic_put_integers(s, "token_type_ids", TEXTS, TOKENS, types);
    synthetic_put_integers(s, "labels", TEXTS, TOKENS, labels);
    synthetic_put_random(s, "pixel_values", &pixels, 1.0f, &state);
}

typedef struct fixture {
    synthetic model;
    synthetic batch;
} fixture;

static void make(fixture *f, const char *config)
{
    memset(f, 0, sizeof *f);
    synthetic_model(&f->model, config);
    put_batch(&f->batch);
}

static void unmake(fixture *f)
{
    synthetic_free(&f->batch);
    synthetic_free(&f->model);
}

/* Every stage, or logits and loss. */
static lvlm_stage_list run(const fixture *f, lvlm_model_options options,
                           bool everything)
{
    return synthetic_run(&f->model, &f->batch, &options, everything);
}

static lvlm_model_options with(lvlm_compute compute, size_t threads,
                               const char *reference)
{
    return (lvlm_model_options){ compute, threads, reference };
}

static double value(const lvlm_stage_list *list, const char *name, size_t i)
{
    const lvlm_tensor *const t = lvlm_stage_list_find(list, name);
    assert_non_null(t);
    if (t->dtype == LVLM_F64) return ((const double *)(const void *)t->data)[i];
    return (double)((const float *)(const void *)t->data)[i];
}

/* Largest difference over all elements, or over rows [first, first + n) of width C. */
static double distance(const lvlm_stage_list *a, size_t a_first,
                       const lvlm_stage_list *b, size_t b_first, const char *name,
                       size_t n_rows)
{
    const lvlm_tensor *const t = lvlm_stage_list_find(a, name);
    assert_non_null(t);
    const size_t C = (size_t)t->shape.dims[2];
    double worst = 0;
    for (size_t i = 0; i < n_rows * C; i++)
        worst = fmax(worst, fabs(value(a, name, a_first * C + i) -
                                 value(b, name, b_first * C + i)));
    return worst;
}

static void forward_is_bit_identical_for_every_number_of_threads(void **state)
{
    (void)state;
    static const char *const configs[] = { gemma, gemma2 };
    for (size_t c = 0; c < 4; c++) {
        fixture f;
        make(&f, configs[c % 2]);
        const lvlm_compute compute = c < 2 ? LVLM_COMPUTE_F32 : LVLM_COMPUTE_F64;
        lvlm_stage_list one = run(&f, with(compute, 1, NULL), true);
        for (size_t threads = 2; threads <= 3; threads++) {
            lvlm_stage_list more = run(&f, with(compute, threads, NULL), true);
            assert_int_equal(one.n, more.n);
            for (size_t i = 0; i < one.n; i++) {
                assert_string_equal(one.stages[i].name, more.stages[i].name);
                assert_memory_equal(one.stages[i].data, more.stages[i].data,
                                    one.stages[i].n_bytes);
            }
            lvlm_stage_list_free(&more);
        }
        lvlm_stage_list_free(&one);
        unmake(&f);
    }
}

static void forward_names_its_stages_in_order_with_their_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        lvlm_shape shape;
    } want[] = {
        { "vision.patches", { 3, { 3, 9, 36 } } },
        { "vision.embed", { 3, { 3, 9, 36 } } },
        { "vision.blocks.0", { 3, { 3, 9, 36 } } },
        { "vision.blocks.1", { 3, { 3, 9, 36 } } },
        { "vision.out", { 3, { 3, 9, 36 } } },
        { "connector.out", { 3, { 3, 9, 48 } } },
        { "text.embed", { 3, { 3, 14, 48 } } },
        { "text.blocks.0", { 3, { 3, 14, 48 } } },
        { "text.blocks.1", { 3, { 3, 14, 48 } } },
        { "text.blocks.2", { 3, { 3, 14, 48 } } },
        { "text.norm", { 3, { 3, 14, 48 } } },
        { "logits", { 3, { 3, 14, 80 } } },
        { "loss", { 0, { 0 } } },
    };
    fixture f;
    make(&f, gemma);
    lvlm_stage_list list = run(&f, with(LVLM_COMPUTE_F64, 1, NULL), true);
    assert_int_equal(list.n, sizeof want / sizeof *want);
    for (size_t i = 0; i < list.n; i++) {
        assert_string_equal(list.stages[i].name, want[i].name);
        assert_true(lvlm_shape_equal(&list.stages[i].shape, &want[i].shape));
        assert_int_equal(list.stages[i].dtype, LVLM_F64);
    }
    lvlm_stage_list_free(&list);
    unmake(&f);
}

static void forward_leaves_rows_of_padding_zero(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list list = run(&f, with(LVLM_COMPUTE_F32, 1, NULL), true);
    for (size_t i = 0; i < 48; i++) {
        assert_true(value(&list, "text.blocks.1", (TOKENS + 12) * 48 + i) == 0);
        assert_true(value(&list, "text.norm", 2 * TOKENS * 48 + i) == 0);
    }
    assert_true(value(&list, "logits", 2 * TOKENS * 80 + 80) == 0);
    assert_false(value(&list, "logits", (2 * TOKENS + 2) * 80) == 0);
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* A text gives the same by itself as in a batch with padding: the third text is moved
 * to the left by its two columns of padding, which rotary positions do not depend
 * on. */
static void forward_of_a_text_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list all = run(&f, with(LVLM_COMPUTE_F64, 1, NULL), true);
    const int64_t *const ids =
        (const void *)lvlm_checkpoint_find(&f.batch.checkpoint, "input_ids")->data;
    const int64_t *const types =
        (const void *)lvlm_checkpoint_find(&f.batch.checkpoint, "token_type_ids")->data;
    const float *const pixels =
        (const void *)lvlm_checkpoint_find(&f.batch.checkpoint, "pixel_values")->data;
    const lvlm_shape one_image = { 4, { 1, 3, 12, 12 } };
    fixture alone = { .model = f.model };
    synthetic_put_integers(&alone.batch, "input_ids", 1, 12, ids + 2 * TOKENS + 2);
    synthetic_put_integers(&alone.batch, "token_type_ids", 1, 12,
                           types + 2 * TOKENS + 2);
    synthetic_put(&alone.batch, "pixel_values", LVLM_F32, &one_image, pixels + 2 * 432);
    lvlm_stage_list one = run(&alone, with(LVLM_COMPUTE_F64, 1, NULL), true);
    /* the rotary table is made in f32: observed 6e-7 */
    assert_true(distance(&all, 2 * TOKENS + 2, &one, 0, "logits", 12) < 1e-5);
    assert_true(distance(&all, 2 * PATCHES, &one, 0, "vision.out", PATCHES) < 1e-12);
    lvlm_stage_list_free(&one);
    lvlm_stage_list_free(&all);
    synthetic_free(&alone.batch);
    unmake(&f);
}

/* A NaN in the second text reaches no row of the others. */
static void forward_keeps_a_nan_in_its_text(void **state)
{
    enum { WORD = 79, WORDS = 80, WIDTH = 48, ROWS = TEXTS * TOKENS };
    const size_t n = (size_t)ROWS * WIDTH, first = (size_t)WORD * WIDTH;
    const size_t at = TOKENS + 10;
    float table[WORDS * WIDTH];
    int64_t ids[ROWS];
    fixture f;
    (void)state;
    make(&f, gemma);
    const lvlm_tensor embed =
        *lvlm_manifest_find(&f.model.manifest, "text.embed.weight")->here.tensor;
    memcpy(table, embed.data, sizeof table);
    for (size_t i = 0; i < WIDTH; i++) table[first + i] = NAN;
    synthetic_put(&f.model, embed.name, LVLM_F32, &embed.shape, table);
    memcpy(ids, lvlm_checkpoint_find(&f.batch.checkpoint, "input_ids")->data,
           sizeof ids);
    ids[at] = WORD;
    synthetic_put_integers(&f.batch, "input_ids", TEXTS, TOKENS, ids);
    lvlm_stage_list list = run(&f, with(LVLM_COMPUTE_F32, 2, NULL), true);
    for (size_t i = 0; i < n; i++)
        if (i / WIDTH / TOKENS != 1) assert_true(!isnan(value(&list, "text.norm", i)));
    assert_true(isnan(value(&list, "text.norm", at * WIDTH)) != 0);
    lvlm_stage_list_free(&list);
    unmake(&f);
}

static void forward_in_f32_is_f64_up_to_rounding(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list single = run(&f, with(LVLM_COMPUTE_F32, 2, NULL), true);
    lvlm_stage_list twin = run(&f, with(LVLM_COMPUTE_F64, 2, NULL), true);
    assert_true(distance(&single, 0, &twin, 0, "logits", TEXTS * TOKENS) < 1e-4);
    lvlm_stage_list_free(&twin);
    lvlm_stage_list_free(&single);
    unmake(&f);
}

/* ---- only the requested stages -------------------------------------------------- */

typedef struct one_stage {
    const char *name;
    bool beside_loss; /* the loss is requested too */
    size_t n_taken;
    double first, loss;
} one_stage;

static bool wants_one(void *user, const char *name)
{
    const one_stage *const one = user;
    return strcmp(one->name, name) == 0 ||
           (one->beside_loss && strcmp(name, "loss") == 0);
}

static int take_one(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    one_stage *const one = user;
    const double first = *(const double *)(const void *)stage->data;
    (void)err;
    assert_true(wants_one(one, stage->name));
    if (strcmp(stage->name, "loss") == 0) one->loss = first;
    if (strcmp(stage->name, one->name) != 0) return 0;
    one->n_taken++;
    one->first = first;
    return 0;
}

/* Rows that the loss does not read are dropped early, but after requested stages. */
static void forward_computes_any_stage_by_itself_and_with_the_loss(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list all = run(&f, with(LVLM_COMPUTE_F64, 1, NULL), true);
    const lvlm_model_options options = with(LVLM_COMPUTE_F64, 1, NULL);
    lvlm_model *model = NULL;
    assert_int_equal(lvlm_model_bind(&model, &f.model.manifest, &options, NULL), 0);
    for (size_t i = 0; i < 2 * all.n; i++) {
        one_stage one = { .name = all.stages[i / 2].name, .beside_loss = i % 2 };
        const lvlm_stage_sink sink = { .take = take_one,
                                       .wants = wants_one,
                                       .user = &one };
        assert_int_equal(
            lvlm_model_forward(model, &f.batch.checkpoint, "", &sink, NULL), 0);
        assert_int_equal(one.n_taken, 1);
        assert_true(fabs(one.first - value(&all, one.name, 0)) < 1e-12);
        assert_true(!one.beside_loss ||
                    fabs(one.loss - value(&all, "loss", 0)) < 1e-12);
    }
    lvlm_model_free(model);
    lvlm_stage_list_free(&all);
    unmake(&f);
}

static int refuse(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    (void)user;
    return lvlm_fail(err, LVLM_ECHECK, "%s is refused", stage->name);
}

static void forward_stops_when_the_sink_refuses(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma);
    const lvlm_stage_sink sink = { .take = refuse };
    lvlm_model *model = NULL;
    lvlm_error err;
    assert_int_equal(lvlm_model_bind(&model, &f.model.manifest, NULL, NULL), 0);
    assert_int_equal(lvlm_model_forward(model, &f.batch.checkpoint, "", &sink, &err),
                     LVLM_ECHECK);
    assert_string_equal(err.text, "vision.patches is refused");
    lvlm_model_free(model);
    unmake(&f);
}

static void forward_runs_text_without_images(void **state)
{
    (void)state;
    static const int64_t ids[4] = { 2, 5, 6, 7 };
    fixture f = { 0 };
    synthetic_model(&f.model, gemma);
    synthetic_put_integers(&f.batch, "input_ids", 1, 4, ids);
    lvlm_stage_list list = run(&f, with(LVLM_COMPUTE_F32, 1, NULL), true);
    assert_string_equal(list.stages[0].name, "text.embed");
    assert_null(lvlm_stage_list_find(&list, "loss"));
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* The loss by its definition, from the logits. */
static void forward_loss_is_the_mean_over_labels_that_count(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma);
    lvlm_stage_list list = run(&f, with(LVLM_COMPUTE_F64, 1, NULL), false);
    const int64_t *const labels =
        (const void *)lvlm_checkpoint_find(&f.batch.checkpoint, "labels")->data;
    double sum = 0, n = 0;
    for (size_t i = 0; i < TEXTS * TOKENS; i++) {
        if (i % TOKENS == 0 || labels[i] == IGN) continue;
        double total = 0;
        for (size_t v = 0; v < 80; v++)
            total += exp(value(&list, "logits", (i - 1) * 80 + v));
        sum += log(total) - value(&list, "logits", (i - 1) * 80 + (size_t)labels[i]);
        n++;
    }
    assert_true(fabs(value(&list, "loss", 0) - sum / n) < 1e-12);
    lvlm_stage_list_free(&list);
    unmake(&f);
}

/* ---- references ----------------------------------------------------------------- */

/* 4.50 and 4.52 have the same masks; only the older one caps. */
static void forward_caps_logits_only_where_the_reference_did(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list plain =
        run(&f, with(LVLM_COMPUTE_F64, 1, "transformers-4.52.4"), false);
    lvlm_stage_list capped =
        run(&f, with(LVLM_COMPUTE_F64, 1, "transformers-4.50.0"), false);
    for (size_t i = 0; i < 12 * 80; i++) {
        const double logit = value(&plain, "logits", i);
        assert_true(fabs(value(&capped, "logits", i) - 2 * tanh(logit / 2)) < 1e-12);
    }
    lvlm_stage_list_free(&capped);
    lvlm_stage_list_free(&plain);
    unmake(&f);
}

/* A window of 3: the suffix changes in block 0; the prefix only before 4.53. */
static void forward_slides_only_where_the_reference_does(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma2);
    lvlm_stage_list trained = run(&f, with(LVLM_COMPUTE_F64, 1, NULL), true);
    lvlm_stage_list slid =
        run(&f, with(LVLM_COMPUTE_F64, 1, "transformers-5.23.0"), true);
    assert_true(distance(&trained, 0, &slid, 0, "text.blocks.0", 10) == 0);
    assert_true(distance(&trained, 13, &slid, 13, "text.blocks.0", 1) > 1e-3);
    lvlm_stage_list early =
        run(&f, with(LVLM_COMPUTE_F64, 1, "transformers-4.51.3"), true);
    assert_true(distance(&trained, 0, &early, 0, "text.blocks.0", 10) > 1e-3);
    lvlm_stage_list_free(&early);
    lvlm_stage_list_free(&slid);
    lvlm_stage_list_free(&trained);
    unmake(&f);
}

static void forward_refuses_references_that_do_not_exist(void **state)
{
    (void)state;
    fixture f;
    make(&f, gemma);
    const lvlm_model_options options = with(LVLM_COMPUTE_F32, 1, "pytorch");
    lvlm_model *model = NULL;
    assert_int_equal(lvlm_model_bind(&model, &f.model.manifest, &options, NULL),
                     LVLM_EUSAGE);
    assert_null(model);
    unmake(&f);
}

/* ---- weights -------------------------------------------------------------------- */

static void forward_names_a_missing_tensor(void **state)
{
    (void)state;
    synthetic s = { 0 };
    lvlm_model *model = NULL;
    lvlm_error err;
    synthetic_model(&s, gemma);
    lvlm_manifest_free(&s.manifest);
    for (size_t i = 0; i < s.checkpoint.n_tensors; i++)
        if (strstr(s.by_name[i]->name, "multi_modal_projector.linear.bias") != NULL)
            memmove(&s.by_name[i], &s.by_name[i + 1],
                    (s.checkpoint.n_tensors-- - i - 1) * sizeof *s.by_name);
    for (size_t i = 0, n = 0; n < s.checkpoint.n_tensors; i++)
        if (strstr(s.tensors[i].name, "multi_modal_projector.linear.bias") == NULL)
            s.tensors[n++] = s.tensors[i];
    for (size_t i = 0; i < s.checkpoint.n_tensors; i++) s.by_name[i] = &s.tensors[i];
    qsort(s.by_name, s.checkpoint.n_tensors, sizeof *s.by_name, synthetic_order);
    assert_int_equal(lvlm_manifest_build(&s.manifest, &s.checkpoint, NULL), 0);
    assert_int_equal(lvlm_model_bind(&model, &s.manifest, NULL, &err), LVLM_EFORMAT);
    assert_string_equal(err.text, "tensor 'connector.proj.bias': is missing");
    synthetic_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_bit_identical_for_every_number_of_threads),
        cmocka_unit_test(forward_names_its_stages_in_order_with_their_shapes),
        cmocka_unit_test(forward_leaves_rows_of_padding_zero),
        cmocka_unit_test(forward_of_a_text_does_not_depend_on_its_batch),
        cmocka_unit_test(forward_keeps_a_nan_in_its_text),
        cmocka_unit_test(forward_in_f32_is_f64_up_to_rounding),
        cmocka_unit_test(forward_computes_any_stage_by_itself_and_with_the_loss),
        cmocka_unit_test(forward_stops_when_the_sink_refuses),
        cmocka_unit_test(forward_runs_text_without_images),
        cmocka_unit_test(forward_loss_is_the_mean_over_labels_that_count),
        cmocka_unit_test(forward_caps_logits_only_where_the_reference_did),
        cmocka_unit_test(forward_slides_only_where_the_reference_does),
        cmocka_unit_test(forward_refuses_references_that_do_not_exist),
        cmocka_unit_test(forward_names_a_missing_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
