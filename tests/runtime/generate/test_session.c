/* test_session.c - text generation with small random models: properties that hold for
 * any weights. Agreement with the reference: tests/replay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/collect.h"
#include "runtime/generate/generate.h"
#include "tests/runtime/synthetic.h"

/* %s: more of the language model's settings */
static const char config_form[] =
    "{\"model_type\": \"paligemma\", \"image_token_index\": 90, \"vision_config\": {"
    "\"hidden_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 3,"
    "\"intermediate_size\": 20, \"image_size\": 8, \"patch_size\": 4},"
    "\"text_config\": {\"model_type\": \"gemma2\", \"hidden_size\": 32,"
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    "\"intermediate_size\": 40, \"head_dim\": 8, \"vocab_size\": 80,"
    "\"query_pre_attn_scalar\": 8, \"sliding_window\": 5%s}}";

/* A version with sliding windows. */
#define SLIDING "transformers-5.2.0"

enum { IMAGE = 90, PATCHES = 4, TEXT = 11, VOCAB = 80 };

/* An image and a few words, with `left` and `right` padding around them. */
static void put_text(synthetic *s, size_t left, size_t right)
{
    static const lvlm_shape pixels = { 4, { 1, 3, 8, 8 } };
    int64_t ids[64] = { 0 }, mask[64] = { 0 };
    uint32_t state = 3;
    for (size_t i = 0; i < TEXT; i++) {
        ids[left + i] = i < PATCHES ? IMAGE : (int64_t)(2 + i * 7 % 70);
        mask[left + i] = 1;
    }
    synthetic_put_integers(s, "input_ids", 1, left + TEXT + right, ids);
    synthetic_put_integers(s, "attention_mask", 1, left + TEXT + right, mask);
    synthetic_put_random(s, "pixel_values", &pixels, 1.0f, &state);
}

typedef struct fixture {
    synthetic source, batch;
    lvlm_model *model;
} fixture;

static void open_model_with(fixture *f, const char *more,
                            const lvlm_model_options *options)
{
    char config[1024];
    lvlm_error err;
    memset(f, 0, sizeof *f);
    (void)snprintf(config, sizeof config, config_form, more);
    synthetic_model(&f->source, config);
    if (lvlm_model_bind(&f->model, &f->source.manifest, options, &err) < 0)
        fail_msg("%s", err.text);
}

static void open_model_as(fixture *f, lvlm_compute compute, size_t threads,
                          const char *reference)
{
    const lvlm_model_options options = { compute, threads, reference };
    open_model_with(f, "", &options);
}

static void open_model(fixture *f, lvlm_compute compute, size_t threads)
{
    open_model_as(f, compute, threads, SLIDING);
}

static void close_model(fixture *f)
{
    lvlm_model_free(f->model);
    synthetic_free(&f->batch);
    synthetic_free(&f->source);
}

static lvlm_session *begin(fixture *f, const lvlm_stage_sink *sink)
{
    lvlm_session *session = NULL;
    lvlm_error err;
    if (lvlm_session_begin(&session, f->model, &f->batch.checkpoint, "", sink, &err) <
        0)
        fail_msg("%s", err.text);
    return session;
}

/* Token `i` of the texts of these tests. */
static int64_t word(size_t i)
{
    return (int64_t)(3 + i * 13 % 70);
}

static void step(lvlm_session *session, size_t i)
{
    lvlm_error err;
    if (lvlm_session_step(session, word(i), &err) < 0) fail_msg("%s", err.text);
}

static double at(const lvlm_tensor *t, size_t i)
{
    if (t->dtype == LVLM_F64) return ((const double *)(const void *)t->data)[i];
    return (double)((const float *)(const void *)t->data)[i];
}

/* ---- the text ------------------------------------------------------------------- */

static void reading_a_text_equals_a_forward_bit_for_bit(void **state)
{
    (void)state;
    fixture f;
    open_model(&f, LVLM_COMPUTE_F32, 2);
    put_text(&f.batch, 2, 0);
    lvlm_stage_list forward = { .everything = true }, kept = { .everything = true };
    const lvlm_stage_sink a = lvlm_stage_list_sink(&forward);
    const lvlm_stage_sink b = lvlm_stage_list_sink(&kept);
    assert_int_equal(lvlm_model_forward(f.model, &f.batch.checkpoint, "", &a, NULL), 0);
    lvlm_session *const session = begin(&f, &b);
    assert_int_equal(kept.n, forward.n - 1); /* every stage except the logits */
    for (size_t i = 0; i < kept.n; i++) {
        assert_string_equal(kept.stages[i].name, forward.stages[i].name);
        assert_memory_equal(kept.stages[i].data, forward.stages[i].data,
                            kept.stages[i].n_bytes);
    }
    lvlm_session_end(session);
    lvlm_stage_list_free(&forward);
    lvlm_stage_list_free(&kept);
    close_model(&f);
}

/* With labels and types, padding was visible in early versions; a generated text has no
 * labels. */
static void labels_have_no_effect(void **state)
{
    (void)state;
    int64_t labels[TEXT + 3] = { 0 }, types[TEXT + 3] = { 0 };
    double plain[VOCAB];
    for (size_t i = 0; i < 4; i++) labels[i] = -100;
    for (int labelled = 0; labelled < 3; labelled++) { /* 2: with labels of no model */
        fixture f;
        for (size_t i = 0; i < TEXT + 3 && labelled == 2; i++) labels[i] = 90000;
        open_model_as(&f, LVLM_COMPUTE_F32, 1, "transformers-4.46.0");
        put_text(&f.batch, 3, 0);
        synthetic_put_integers(&f.batch, "token_type_ids", 1, TEXT + 3, types);
        if (labelled) synthetic_put_integers(&f.batch, "labels", 1, TEXT + 3, labels);
        lvlm_session *const session = begin(&f, NULL);
        const lvlm_tensor t = lvlm_session_logits(session);
        for (size_t v = 0; v < VOCAB; v++) {
            if (labelled) assert_true(at(&t, v) == plain[v]);
            plain[v] = at(&t, v);
        }
        lvlm_session_end(session);
        close_model(&f);
    }
}

static void tokens_are_those_of_the_text_and_the_steps(void **state)
{
    (void)state;
    fixture f;
    size_t n = 0;
    open_model(&f, LVLM_COMPUTE_F32, 1);
    put_text(&f.batch, 3, 2);
    lvlm_session *const session = begin(&f, NULL);
    const int64_t *tokens = lvlm_session_tokens(session, &n);
    assert_int_equal(n, TEXT);
    assert_int_equal(tokens[PATCHES - 1], IMAGE);
    assert_int_equal(tokens[PATCHES], 2 + PATCHES * 7);
    step(session, 0);
    tokens = lvlm_session_tokens(session, &n);
    assert_int_equal(n, TEXT + 1);
    assert_int_equal(tokens[TEXT], word(0));
    lvlm_session_end(session);
    close_model(&f);
}

/* ---- steps ---------------------------------------------------------------------- */

/* Enough that memory grows and windows slide. */
static void steps_equal_one_forward_over_the_whole_text(void **state)
{
    enum { STEPS = 600 };
    (void)state;
    fixture f;
    int64_t ids[TEXT + STEPS] = { 0 }, types[TEXT + STEPS] = { 0 };
    open_model(&f, LVLM_COMPUTE_F64, 2);
    put_text(&f.batch, 0, 0);
    lvlm_session *const session = begin(&f, NULL);
    const lvlm_tensor *const text =
        lvlm_checkpoint_find(&f.batch.checkpoint, "input_ids");
    memcpy(ids, text->data, text->n_bytes);
    for (size_t i = 0; i < STEPS; i++) {
        ids[TEXT + i] = word(i);
        types[TEXT + i] = 1;
    }
    synthetic whole = { .arena = LVLM_ARENA_INIT };
    const lvlm_tensor *const pixels =
        lvlm_checkpoint_find(&f.batch.checkpoint, "pixel_values");
    synthetic_put_integers(&whole, "input_ids", 1, TEXT + STEPS, ids);
    synthetic_put_integers(&whole, "token_type_ids", 1, TEXT + STEPS, types);
    synthetic_put(&whole, "pixel_values", LVLM_F32, &pixels->shape, pixels->data);
    lvlm_stage_list list = { .everything = false };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    assert_int_equal(lvlm_model_forward(f.model, &whole.checkpoint, "", &sink, NULL),
                     0);
    const lvlm_tensor *const all = lvlm_stage_list_find(&list, "logits");
    double most = 0;
    for (size_t i = 0; i <= STEPS; i++) {
        const lvlm_tensor logits = lvlm_session_logits(session);
        for (size_t v = 0; v < VOCAB; v++)
            most =
                fmax(most, fabs(at(&logits, v) - at(all, (TEXT - 1 + i) * VOCAB + v)));
        if (i < STEPS) step(session, i);
    }
    if (!(most < 1e-10)) fail_msg("%g", most); /* observed 6.1e-15 */
    lvlm_stage_list_free(&list);
    synthetic_free(&whole);
    lvlm_session_end(session);
    close_model(&f);
}

/* Logits after the text and five steps, for one padding and precision. */
static void speak(double *logits, size_t left, size_t right, lvlm_compute compute,
                  size_t threads)
{
    fixture f;
    open_model(&f, compute, threads);
    put_text(&f.batch, left, right);
    lvlm_session *const session = begin(&f, NULL);
    for (size_t i = 0; i < 6; i++) {
        const lvlm_tensor t = lvlm_session_logits(session);
        for (size_t v = 0; v < VOCAB; v++) logits[i * VOCAB + v] = at(&t, v);
        step(session, i);
    }
    lvlm_session_end(session);
    close_model(&f);
}

static void steps_are_bit_identical_for_every_number_of_threads(void **state)
{
    (void)state;
    double one[6 * VOCAB], more[6 * VOCAB];
    for (int twin = 0; twin < 2; twin++) {
        const lvlm_compute compute = twin ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32;
        speak(one, 0, 0, compute, 1);
        for (size_t threads = 2; threads <= 4; threads++) {
            speak(more, 0, 0, compute, threads);
            assert_memory_equal(one, more, sizeof one);
        }
    }
}

static void padding_on_the_right_has_no_effect(void **state)
{
    (void)state;
    double plain[6 * VOCAB], padded[6 * VOCAB];
    speak(plain, 0, 0, LVLM_COMPUTE_F32, 1);
    speak(padded, 0, 9, LVLM_COMPUTE_F32, 1);
    assert_memory_equal(plain, padded, sizeof plain);
}

/* Rotary positions are relative; their tables are made in f32. */
static void padding_on_the_left_changes_nothing_but_rounding(void **state)
{
    (void)state;
    double plain[6 * VOCAB], padded[6 * VOCAB], most = 0;
    speak(plain, 0, 0, LVLM_COMPUTE_F64, 1);
    speak(padded, 7, 3, LVLM_COMPUTE_F64, 1);
    for (size_t i = 0; i < 6 * VOCAB; i++)
        most = fmax(most, fabs(plain[i] - padded[i]));
    if (!(most < 1e-5)) fail_msg("%g", most); /* observed 1.7e-7 */
}

static void a_session_continues_after_an_error(void **state)
{
    (void)state;
    double plain[6 * VOCAB];
    fixture f;
    lvlm_error err;
    speak(plain, 0, 0, LVLM_COMPUTE_F32, 1);
    open_model(&f, LVLM_COMPUTE_F32, 1);
    put_text(&f.batch, 0, 0);
    lvlm_session *const session = begin(&f, NULL);
    assert_int_equal(lvlm_session_step(session, VOCAB, &err), LVLM_EUSAGE);
    assert_string_equal(err.text, "token 80, expected 0 to 79");
    assert_int_equal(lvlm_session_step(session, -1, &err), LVLM_EUSAGE);
    step(session, 0);
    const lvlm_tensor t = lvlm_session_logits(session);
    for (size_t v = 0; v < VOCAB; v++) assert_true(at(&t, v) == plain[VOCAB + v]);
    lvlm_session_end(session);
    close_model(&f);
}

static void sessions_of_one_model_are_independent(void **state)
{
    (void)state;
    double plain[6 * VOCAB];
    fixture f;
    speak(plain, 0, 0, LVLM_COMPUTE_F32, 1);
    open_model(&f, LVLM_COMPUTE_F32, 1);
    put_text(&f.batch, 0, 0);
    lvlm_session *const a = begin(&f, NULL), *const b = begin(&f, NULL);
    step(b, 5);
    step(a, 0);
    step(b, 6);
    const lvlm_tensor t = lvlm_session_logits(a);
    for (size_t v = 0; v < VOCAB; v++) assert_true(at(&t, v) == plain[VOCAB + v]);
    lvlm_session_end(a);
    lvlm_session_end(b);
    close_model(&f);
}

static void more_than_one_text_is_refused(void **state)
{
    (void)state;
    static const int64_t ids[6] = { 2, 5, 6, 7, 8, 9 };
    fixture f;
    lvlm_session *session = NULL;
    lvlm_error err;
    open_model(&f, LVLM_COMPUTE_F32, 1);
    synthetic_put_integers(&f.batch, "input_ids", 2, 3, ids);
    assert_int_equal(
        lvlm_session_begin(&session, f.model, &f.batch.checkpoint, "", NULL, &err),
        LVLM_EFORMAT);
    assert_string_equal(err.text,
                        "input_ids: 2 texts, expected one; give them one by one");
    assert_null(session);
    close_model(&f);
}

/* ---- the loop ------------------------------------------------------------------- */

typedef struct generated_text {
    int64_t ids[16];
    size_t n, most;
} generated_text;

static int take_token(void *user, int64_t id, lvlm_error *err)
{
    generated_text *const h = user;
    FAIL_IF(h->n == h->most, err, LVLM_ECHECK, "enough");
    h->ids[h->n++] = id;
    return 0;
}

static int generate(lvlm_generated *made, generated_text *h, const lvlm_generation *g)
{
    fixture f;
    const lvlm_token_sink sink = { take_token, h };
    open_model(&f, LVLM_COMPUTE_F32, 1);
    put_text(&f.batch, 0, 0);
    lvlm_session *const session = begin(&f, NULL);
    const int rc = lvlm_generate(made, session, g, &sink, NULL);
    lvlm_session_end(session);
    close_model(&f);
    return rc;
}

/* Sampled, not greedy, so that the tokens differ. */
static lvlm_generation some_settings(uint64_t most)
{
    return (lvlm_generation){ .sampling = { 5, 0, 1, 1, 7 }, .max_new_tokens = most };
}

static void generate_stops_at_the_limit_and_at_the_end(void **state)
{
    (void)state;
    lvlm_generation g = some_settings(9);
    lvlm_generated made;
    generated_text all = { .most = 16 }, cut = { .most = 16 };
    assert_int_equal(generate(&made, &all, &g), 0);
    assert_int_equal(made.n, 9);
    assert_int_equal(all.n, 9);
    assert_false(made.ended);
    g.ends[0] = 1000;
    g.ends[1] = all.ids[5];
    g.n_ends = 2;
    size_t first = 0; /* first position of that token */
    while (all.ids[first] != all.ids[5]) first++;
    assert_int_equal(generate(&made, &cut, &g), 0);
    assert_int_equal(made.n, first + 1);
    assert_true(made.ended);
    assert_memory_equal(cut.ids, all.ids, (first + 1) * sizeof *cut.ids);
    g.max_new_tokens = 0;
    assert_int_equal(generate(&made, &cut, &g), 0);
    assert_int_equal(made.n, 0);
}

/* A token that opens (end + 1) or closes (end + 2) a turn is followed by the end. */
static void generate_ends_after_a_turn_of_chatml(void **state)
{
    (void)state;
    lvlm_generation g = some_settings(9);
    lvlm_generated made;
    generated_text all = { .most = 16 };
    assert_int_equal(generate(&made, &all, &g), 0);
    assert_true(all.ids[0] >= 2);
    for (int64_t after = 1; after <= 2; after++) {
        generated_text h = { .most = 16 };
        g.chatml = true;
        g.ends[0] = all.ids[0] - after;
        g.n_ends = 1;
        assert_int_equal(generate(&made, &h, &g), 0);
        assert_int_equal(made.n, 2);
        assert_true(made.ended);
        assert_int_equal(h.ids[0], all.ids[0]);
        assert_int_equal(h.ids[1], g.ends[0]);
    }
}

/* A text of 11 tokens for a model of 14 positions, or of 11. */
static void generate_stops_where_positions_end(void **state)
{
    static const char *const more[] = { ", \"max_position_embeddings\": 14",
                                        ", \"max_position_embeddings\": 11" };
    const lvlm_model_options options = { .threads = 1 };
    const lvlm_generation g = some_settings(9);
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        generated_text h = { .most = 16 };
        const lvlm_token_sink sink = { take_token, &h };
        lvlm_generated made;
        lvlm_error err;
        fixture f;
        open_model_with(&f, more[i], &options);
        put_text(&f.batch, 0, 0);
        lvlm_session *const session = begin(&f, NULL);
        assert_int_equal(lvlm_session_room(session), i == 0 ? 3 : 0);
        assert_int_equal(lvlm_generate(&made, session, &g, &sink, &err),
                         i == 0 ? 0 : LVLM_EFORMAT);
        assert_int_equal(h.n, i == 0 ? 3 : 0);
        if (i == 0) assert_true(made.full && !made.ended && made.n == 3);
        if (i == 1) assert_non_null(strstr(err.text, "no room for an answer"));
        lvlm_session_end(session);
        close_model(&f);
    }
}

static void positions_beyond_the_limit_are_noted_once(void **state)
{
    const lvlm_model_options options = { .threads = 1 };
    lvlm_notes notes = LVLM_NOTES_INIT;
    fixture f;
    (void)state;
    open_model_with(&f, ", \"max_position_embeddings\": 8", &options);
    f.source.checkpoint.notes = &notes;
    put_text(&f.batch, 0, 0);
    for (size_t i = 0; i < 2; i++) {
        lvlm_session *const session = begin(&f, NULL);
        assert_int_equal(lvlm_session_room(session), 0);
        step(session, i);
        lvlm_session_end(session);
    }
    assert_int_equal(notes.n, 1);
    assert_non_null(strstr(notes.at[0], "input_ids: 3 of 11 tokens are beyond the 8"));
    close_model(&f);
    lvlm_notes_free(&notes);
}

static void generate_stops_when_the_sink_refuses(void **state)
{
    (void)state;
    const lvlm_generation g = some_settings(9);
    lvlm_generated made;
    generated_text h = { .most = 3 };
    assert_int_equal(generate(&made, &h, &g), LVLM_ECHECK);
    assert_int_equal(h.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_a_text_equals_a_forward_bit_for_bit),
        cmocka_unit_test(labels_have_no_effect),
        cmocka_unit_test(tokens_are_those_of_the_text_and_the_steps),
        cmocka_unit_test(steps_equal_one_forward_over_the_whole_text),
        cmocka_unit_test(steps_are_bit_identical_for_every_number_of_threads),
        cmocka_unit_test(padding_on_the_right_has_no_effect),
        cmocka_unit_test(padding_on_the_left_changes_nothing_but_rounding),
        cmocka_unit_test(a_session_continues_after_an_error),
        cmocka_unit_test(sessions_of_one_model_are_independent),
        cmocka_unit_test(more_than_one_text_is_refused),
        cmocka_unit_test(generate_stops_at_the_limit_and_at_the_end),
        cmocka_unit_test(generate_ends_after_a_turn_of_chatml),
        cmocka_unit_test(generate_stops_where_positions_end),
        cmocka_unit_test(positions_beyond_the_limit_are_noted_once),
        cmocka_unit_test(generate_stops_when_the_sink_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
