/* test_coverage.c - what a replay leaves unproven is said, and agreement that proves
 * nothing does not pass.
 *
 *   a fixture's recording without something, or with values that tell nothing -> replay
 *     -> its sentences and verdicts */
#include "tests/replay/recordings.h"

static const lvlm_replay_options plain = { .threads = 2 };

static void convert(scratch *s, const char *fixture)
{
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/model", fixture);
    native_convert(path, scratch_path(s, "model.lvlm"));
}

static void replay_fixture(lvlm_replay *r, scratch *s, const char *fixture,
                           const char *golden)
{
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/%s.safetensors", fixture,
                   golden);
    convert(s, fixture);
    must_replay(r, scratch_path(s, "model.lvlm"), path, &plain);
}

/* ---- not exercised -------------------------------------------------------------- */

/* What the inputs of the fixtures are known to leave out (fixtures/README.md), and what
 * they do not. */
static const struct {
    const char *fixture, *golden;
    bool says;
    const char *sentence;
} known[] = {
    { "mllama-text", "golden64", true,
      "images: there are none; vision tower and connector, cross-attention layers" },
    { "qwen2_vl-text", "golden64", true,
      "images: there are none; vision tower and connector" },
    { "qwen2_vl-odd", "golden64", false, "images" },
    { "qwen2_vl-odd", "golden64", true, "video: there is none; order of frames" },
    { "qwen2_vl-video", "golden64", false, "video" },
    { "qwen2_5_vl-odd", "golden64", true,
      "video: there is none; order of frames, tokens_per_second" },
    { "qwen2_5_vl-long", "golden64", true, "mrope_section, height" },
    { "qwen2_5_vl-long", "golden64", false, "mrope_section, width" },
    { "qwen2_5_vl-odd", "golden64", false, "mrope_section" },
    { "qwen2_5_vl-odd", "golden64", false, "window_size" },
    { "mllama-odd", "golden64", true, "aspect_ratio_ids: no image has 3, 4, 5;" },
    { "mllama-odd", "golden64", false, "tiles" },
    { "mllama-long", "golden64", true,
      "aspect_ratio_ids: no image has 1, 2, 4, 5, 7, 8;" },
    { "paligemma2-odd", "golden", true,
      "sliding_window: the longest text has 25 tokens, the window 4096" },
    { "paligemma2-window", "golden64", false, "sliding_window" },
    { "qwen_vl-odd", "golden64", true,
      "seq_length, dynamic NTK and logn: the longest text has 33 tokens, seq_length is "
      "2048" },
    { "qwen_vl-long", "golden64", false, "seq_length" },
    { "qwen_vl-odd", "golden64", false, "padding" },
    { "qwen_vl-long", "golden64", true, "padding: there is none" },
    { "llava-odd", "golden64", true,
      "embedding: no text has 89 of its 120 rows (74 %)" },
    /* tied: the logits show every row */
    { "llava-gemma2", "golden64", false, "embedding" },
    { "llava-odd", "golden64", false, "pixels" },
    { "llava-odd", "golden64", false, "loss" },
};

static void inputs_say_what_they_do_not_exercise(void **state)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        lvlm_replay r;
        replay_fixture(&r, *state, known[i].fixture, known[i].golden);
        if (says(&r.not_exercised, known[i].sentence) != known[i].says)
            fail_msg("%s: %s", known[i].fixture, known[i].sentence);
        lvlm_replay_free(&r);
    }
}

#define ODD LVLM_FIXTURES "/llava-odd/golden64.safetensors"

/* The recording of llava-odd, changed; the model is converted. */
static void start(recorded *rec, scratch *s)
{
    convert(s, "llava-odd");
    recorded_open(rec, ODD);
}

static void replay_changed(lvlm_replay *r, recorded *rec, scratch *s)
{
    recorded_save(rec, scratch_path(s, "changed.safetensors"));
    recorded_close(rec);
    must_replay(r, scratch_path(s, "model.lvlm"),
                scratch_path(s, "changed.safetensors"), &plain);
}

static void an_image_of_one_colour_and_no_labels_are_remarked(void **state)
{
    recorded rec;
    lvlm_replay r;
    start(&rec, *state);
    const lvlm_tensor *const pixels =
        lvlm_checkpoint_find(rec.source, "in.pixel_values");
    assert_int_equal(pixels->dtype, LVLM_F32);
    memset(recorded_values(&rec, "in.pixel_values"), 0,
           (size_t)(pixels->n_bytes / pixels->shape.dims[0]));
    recorded_drop(&rec, "in.labels");
    recorded_drop(&rec, "out.loss");
    replay_changed(&r, &rec, *state);
    assert_true(says(&r.not_exercised, "pixels: 1 of 3 images are of one value"));
    assert_true(says(&r.not_exercised, "loss: no label counts"));
    lvlm_replay_free(&r);
}

/* ---- not compared --------------------------------------------------------------- */

static void stages_that_the_recording_lacks_are_named_logits_first(void **state)
{
    recorded rec;
    lvlm_replay r;
    start(&rec, *state);
    recorded_drop(&rec, "out.logits");
    recorded_drop(&rec, "out.text.blocks.*");
    recorded_drop(&rec, "out.vision.out");
    replay_changed(&r, &rec, *state);
    assert_int_equal(r.n_failed, 0);
    assert_true(says(&r.not_compared,
                     "logits, vision.out, text.blocks.* (2): computed, not recorded"));
    assert_true(says(&r.not_compared, "16 of 66 tokens, which are padding"));
    assert_true(says(&r.not_compared, "how images and prompts are prepared"));
    lvlm_replay_free(&r);
}

/* A recording of everything that is computed lacks nothing. */
static void nothing_is_said_of_a_whole_recording(void **state)
{
    static const char *const whole[] = { "llava-odd", "mllama-text", "qwen2_5_vl-odd" };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        lvlm_replay r;
        replay_fixture(&r, *state, whole[i], "golden64");
        for (size_t k = 0; k < r.not_compared.n; k++)
            assert_null(strstr(r.not_compared.at[k], "not recorded"));
        lvlm_replay_free(&r);
    }
}

/* text.norm [3, 22, 42] as two rows of it; at most once. */
static void keep_two_rows(recorded *rec, int64_t first, int64_t second)
{
    static int64_t numbers[2];
    const size_t width = 42, bytes = width * sizeof(double);
    const double *const all = recorded_values(rec, "out.text.norm");
    unsigned char *const rows = lvlm_arena_alloc(&rec->arena, 2, bytes);
    assert_non_null(rows);
    memcpy(rows, all + (size_t)first * width, bytes);
    memcpy(rows + bytes, all + (size_t)second * width, bytes);
    numbers[0] = first;
    numbers[1] = second;
    recorded_drop(rec, "out.text.norm");
    rec->tensors[rec->n++] = (lvlm_tensor){ .name = "out.text.norm",
                                            .dtype = LVLM_F64,
                                            .shape = { 2, { 2, width } },
                                            .data = rows,
                                            .n_bytes = 2 * bytes };
    rec->tensors[rec->n++] = (lvlm_tensor){ .name = "rows.text.norm",
                                            .dtype = LVLM_I64,
                                            .shape = { 1, { 2 } },
                                            .data = (const unsigned char *)numbers,
                                            .n_bytes = sizeof numbers };
}

static void rows_that_are_left_out_are_counted(void **state)
{
    recorded rec;
    lvlm_replay r;
    start(&rec, *state);
    keep_two_rows(&rec, 0, 5);
    replay_changed(&r, &rec, *state);
    assert_true(says(&r.not_compared, "text.norm: 2 of 66 rows are recorded"));
    lvlm_replay_free(&r);
}

/* Only stages are recorded in part: rows beyond a weight are not looked for. */
static void a_weight_has_no_rows(void **state)
{
    static const char *const name = "weights.model.embed_tokens.weight";
    static int64_t beyond[40];
    const lvlm_replay_options steps = { .threads = 2, .steps = true };
    recorded rec;
    lvlm_replay r;
    convert(*state, "qwen2_vl-text");
    recorded_open(&rec, LVLM_FIXTURES "/recorded/steps.safetensors");
    for (size_t i = 0; i < 40; i++) beyond[i] = INT64_C(1) << 40;
    rec.tensors[rec.n++] =
        (lvlm_tensor){ .name = "rows.weights.model.embed_tokens.weight",
                       .dtype = LVLM_I64,
                       .shape = { 1, { 40 } },
                       .data = (const unsigned char *)beyond,
                       .n_bytes = sizeof beyond };
    recorded_save(&rec, scratch_path(*state, "rows.safetensors"));
    recorded_close(&rec);
    must_replay(&r, scratch_path(*state, "model.lvlm"),
                scratch_path(*state, "rows.safetensors"), &steps);
    assert_int_equal(stage_of(&r, name)->verdict, LVLM_VERDICT_SHAPE);
    assert_int_equal(r.n_failed, 1);
    lvlm_replay_free(&r);
}

/* ---- vacuous -------------------------------------------------------------------- */

static void set_zero(unsigned char *bytes, const lvlm_tensor *t)
{
    memset(bytes, 0, (size_t)t->n_bytes);
}

/* Replays what a model with those tensors zero computes itself. */
static void replay_zeroed(lvlm_replay *r, scratch *s, const char *glob)
{
    recorded rec;
    lvlm_replay sound;
    convert(s, "llava-odd");
    native_change(scratch_path(s, "model.lvlm"), glob, set_zero,
                  scratch_path(s, "zero.lvlm"));
    must_replay(&sound, scratch_path(s, "zero.lvlm"), ODD, &plain);
    assert_true(sound.n_failed > 0);
    lvlm_replay_free(&sound);
    recorded_open(&rec, ODD);
    recorded_drop(&rec, "out.t*");
    recorded_drop(&rec, "out.l*");
    recorded_drop(&rec, "out.connector.linear_1");
    double *const out = recorded_values(&rec, "out.connector.out");
    const lvlm_tensor *const t = lvlm_checkpoint_find(rec.source, "out.connector.out");
    lvlm_checkpoint *const model = must_open(scratch_path(s, "zero.lvlm"));
    const lvlm_tensor *const bias = lvlm_checkpoint_find(model, "connector.fc2.bias");
    const size_t C = (size_t)lvlm_tensor_numel(bias);
    for (size_t i = 0; i < (size_t)lvlm_tensor_numel(t) / C; i++)
        lvlm_convert_values(out + i * C, LVLM_F64, bias->data, bias->dtype, C);
    lvlm_checkpoint_close(model);
    recorded_save(&rec, scratch_path(s, "zero.safetensors"));
    recorded_close(&rec);
    must_replay(r, scratch_path(s, "zero.lvlm"), scratch_path(s, "zero.safetensors"),
                &plain);
}

static void a_connector_of_zeros_that_agrees_with_itself_fails(void **state)
{
    /* all of it is zero; all rows are the bias */
    static const char *const globs[] = { "connector.fc2.*", "connector.fc2.weight" };
    for (size_t i = 0; i < 2; i++) {
        lvlm_replay r;
        replay_zeroed(&r, *state, globs[i]);
        assert_int_equal(r.n_failed, 1);
        assert_string_equal(r.first_bad->name, "connector.out");
        assert_int_equal(r.first_bad->verdict, LVLM_VERDICT_VACUOUS);
        lvlm_replay_free(&r);
    }
}

static void rows_that_are_all_padding_fail(void **state)
{
    recorded rec;
    lvlm_replay r;
    int64_t padding[2];
    size_t n = 0;
    start(&rec, *state);
    const int64_t *const mask = recorded_values(&rec, "in.attention_mask");
    for (int64_t i = 0; i < 66 && n < 2; i++)
        if (mask[i] == 0) padding[n++] = i;
    assert_int_equal(n, 2);
    keep_two_rows(&rec, padding[0], padding[1]);
    replay_changed(&r, &rec, *state);
    assert_int_equal(r.n_failed, 1);
    assert_string_equal(r.first_bad->name, "text.norm");
    assert_int_equal(r.first_bad->verdict, LVLM_VERDICT_VACUOUS);
    lvlm_replay_free(&r);
}

/* Gradients of a batch without a loss to speak of. */
static void gradients_that_are_all_zero_fail(void **state)
{
    const lvlm_replay_options grads = { .threads = 2, .grads = true };
    recorded rec;
    lvlm_replay r;
    start(&rec, *state);
    for (size_t i = 0; i < rec.n; i++)
        if (strncmp(rec.tensors[i].name, "grad.", 5) == 0)
            memset(recorded_values(&rec, rec.tensors[i].name), 0,
                   (size_t)rec.tensors[i].n_bytes);
    recorded_save(&rec, scratch_path(*state, "changed.safetensors"));
    recorded_close(&rec);
    must_replay(&r, scratch_path(*state, "model.lvlm"),
                scratch_path(*state, "changed.safetensors"), &grads);
    assert_true(r.n_failed > 0);
    lvlm_replay_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_say_what_they_do_not_exercise),
        cmocka_unit_test(an_image_of_one_colour_and_no_labels_are_remarked),
        cmocka_unit_test(stages_that_the_recording_lacks_are_named_logits_first),
        cmocka_unit_test(nothing_is_said_of_a_whole_recording),
        cmocka_unit_test(rows_that_are_left_out_are_counted),
        cmocka_unit_test(a_weight_has_no_rows),
        cmocka_unit_test(a_connector_of_zeros_that_agrees_with_itself_fails),
        cmocka_unit_test(rows_that_are_all_padding_fail),
        cmocka_unit_test(gradients_that_are_all_zero_fail),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
