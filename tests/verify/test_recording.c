/* test_recording.c - the metadata of recordings, recordings that are refused, and bands
 * from a file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/scratch.h"
#include "verify/replay/bands.h"
#include "verify/replay/recording.h"

/* Input ids [1, 3], the last of them padding, and a stage of three rows of two. */
#define IDS                                                                            \
    "\"in.input_ids\":{\"dtype\":\"I64\",\"shape\":[1,3],\"data_offsets\":[0,24]},"
#define MASK                                                                           \
    "\"in.attention_mask\":{\"dtype\":\"I64\",\"shape\":[1,3],"                        \
    "\"data_offsets\":[24,48]},"
#define NORM                                                                           \
    "\"out.text.norm\":{\"dtype\":\"F32\",\"shape\":[1,3,2],\"data_offsets\":[48,72]}"

typedef struct contents {
    int64_t ids[3], mask[3];
    float norm[6];
    int64_t rows[2];
} contents;

static const contents plain = {
    { 5, 6, 7 }, { 1, 1, 0 }, { 1, 2, 3, 4, 5, 6 }, { 2, 0 }
};

static int open_with(lvlm_recording *out, scratch *s, const char *header,
                     const contents *data, size_t n_bytes, lvlm_notes *notes,
                     lvlm_error *err)
{
    return lvlm_recording_open(
        out, scratch_safetensors(s, "golden.safetensors", header, data, n_bytes), notes,
        err);
}

/* ---- metadata ------------------------------------------------------------------- */

static void metadata_describe_the_recording(void **state)
{
    scratch s;
    lvlm_recording r;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    if (open_with(&r, &s,
                  "{\"__metadata__\":{\"reference\":\"trained\",\"family\":\"mllama\","
                  "\"precision\":\"double\",\"layers\":\"4\",\"checkpoint\":\"ab\","
                  "\"instruction_set\":\"AVX2\"}," IDS MASK NORM "}",
                  &plain, 72, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(r.reference, "trained");
    assert_string_equal(r.family, "mllama");
    assert_true(r.in_double);
    assert_int_equal(r.layers, 4);
    const lvlm_tensor *const norm = lvlm_recording_find(&r, "text.norm");
    assert_string_equal(lvlm_recorded_name(norm), "text.norm");
    assert_null(lvlm_recording_find(&r, "logits"));
    const lvlm_rows rows = lvlm_recording_rows(&r, norm);
    assert_int_equal(lvlm_row_token(&rows, 1), 6);
    assert_true(lvlm_row_counts(&rows, 1) && !lvlm_row_counts(&rows, 2));
    lvlm_recording_close(&r);
    scratch_remove(&s);
}

/* Each is opened, and notes one sentence or none. */
static void unknown_metadata_and_tensors_are_noted(void **state)
{
    static const struct {
        const char *metadata, *tensor, *dtype;
        const char *note; /* begins with it; NULL: there is none */
    } cases[] = {
        // clang-format off
        { "\"reference\":\"transformers-5.23.0\",\"seed\":\"1\",\"torch\":\"2\"", "out.logits", "F32", NULL },
        { "\"reference\":\"trained\"", "grad.lm_head.weight", "F32", NULL },
        { "\"precision\":\"float32\"", "in.anything", "I64", NULL },
        { "\"reference\":\"transformers-4.57.1\"", "out.logits", "F32", NULL },
        { "\"reference\":\"transformers-4.99.0\"", "out.logits", "F32", "recording: reference 'transformers-4.99.0': no such version was released" },
        { "\"reference\":\"transformers-9.0\"", "out.logits", "F32", "recording: reference 'transformers-9.0': no such version" },
        { "\"refrence\":\"trained\"", "out.logits", "F32", "recording: metadata: 'refrence' is not known and not followed; did you mean 'reference'?" },
        { "\"precision\":\"bfloat16\"", "out.logits", "F32", NULL },
        { "\"precision\":\"int8\"", "out.logits", "F32", "recording: metadata: 'precision' is not followed: it is judged as a recording in float32" },
        { "\"seed\":\"1\"", "outt.logits", "F32", "recording: 'outt.logits' is compared with nothing: stages are called out.*" },
        { "\"seed\":\"1\"", "out.words", "I64", "recording: 'out.words' is compared with nothing: its values" },
        { "\"repetition_penalty\":\"1.05\"", "out.tokens", "I64", NULL },
        { "\"left_out\":\"grad.w\"", "out.tokens", "F32", NULL }, /* a stage that no model has */
        { "\"training\":\"{}\"", "step.1.loss", "F32", NULL },
        { "\"training\":\"{}\"", "weights.lm_head.weight", "F32", NULL },
        { "\"training\":\"{}\"", "batch.1.input_ids", "I64", NULL },
        { "\"seed\":\"1\"", "round.0.logits", "F32", NULL },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t bytes = strcmp(cases[i].dtype, "I64") == 0 ? 8 : 4;
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_recording r;
        lvlm_error err;
        scratch s;
        char header[1024];
        (void)snprintf(header, sizeof header,
                       "{\"__metadata__\":{%s}," IDS MASK NORM
                       ",\"%s\":{\"dtype\":\"%s\",\"shape\":[1],"
                       "\"data_offsets\":[72,%zu]}}",
                       cases[i].metadata, cases[i].tensor, cases[i].dtype, 72 + bytes);
        scratch_make(&s);
        if (open_with(&r, &s, header, &plain, 72 + bytes, &notes, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(notes.n, cases[i].note != NULL);
        if (notes.n > 0 &&
            strncmp(notes.at[0], cases[i].note, strlen(cases[i].note)) != 0)
            fail_msg("%s", notes.at[0]);
        lvlm_notes_free(&notes);
        lvlm_recording_close(&r);
        scratch_remove(&s);
    }
}

/* ---- what is refused ------------------------------------------------------------ */

#define ROWS(dtype, shape)                                                             \
    ",\"rows.text.norm\":{\"dtype\":\"" dtype "\",\"shape\":" shape                    \
    ",\"data_offsets\":[72,88]}"
#define TWO_ROWS                                                                       \
    "\"out.text.norm\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[48,72]}"

static void recordings_that_prove_nothing_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t n_bytes;
        float value;       /* takes the place of the one at [0, 1, 1] */
        int64_t row;       /* takes the place of the second row number */
        const char *error; /* NULL: is opened */
    } cases[] = {
        // clang-format off
        { "{" IDS MASK NORM "}", 72, 4, 0, NULL },
        { "{" IDS MASK NORM "}", 72, NAN, 0, "'out.text.norm': the value at [0, 1, 1] is not finite" },
        { "{" IDS MASK NORM "}", 72, INFINITY, 0, "'out.text.norm': the value at [0, 1, 1] is not finite" },
        { "{" IDS "\"grad.w\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[24,48]}}", 48, 4, 0, "records no stage" },
        { "{\"__metadata__\":{\"layers\":\"all\"}," IDS MASK NORM "}", 72, 4, 0, "metadata: layers 'all' is not a number" },
        { "{" IDS MASK TWO_ROWS ROWS("I64", "[2]") "}", 88, 4, 0, NULL },
        { "{" IDS MASK TWO_ROWS ROWS("I64", "[2]") "}", 88, 4, 3, "'rows.text.norm'[1]: 3 is not a row of the stage" },
        { "{" IDS MASK TWO_ROWS ROWS("I64", "[2]") "}", 88, 4, -1, "'rows.text.norm'[1]: -1 is not a row of the stage" },
        { "{" IDS MASK NORM ROWS("I64", "[2]") "}", 88, 4, 0, "expected I64 [1], the row numbers of 'out.text.norm', which is [rows, width]" },
        { "{" IDS MASK TWO_ROWS ROWS("F64", "[2]") "}", 88, 4, 0, "expected I64 [2]" },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        contents data = plain;
        lvlm_recording r;
        lvlm_error err;
        scratch s;
        data.norm[3] = cases[i].value;
        data.rows[1] = cases[i].row;
        scratch_make(&s);
        const int rc =
            open_with(&r, &s, cases[i].header, &data, cases[i].n_bytes, NULL, &err);
        assert_int_equal(rc, cases[i].error != NULL ? LVLM_EFORMAT : 0);
        if (rc == 0)
            lvlm_recording_close(&r);
        else if (strstr(err.text, cases[i].error) == NULL)
            fail_msg("%s", err.text);
        scratch_remove(&s);
    }
}

/* Values of padding do not matter. */
static void padding_need_not_be_finite(void **state)
{
    contents data = plain;
    lvlm_recording r;
    lvlm_error err;
    scratch s;
    (void)state;
    data.norm[5] = NAN;
    scratch_make(&s);
    if (open_with(&r, &s, "{" IDS MASK NORM "}", &data, 72, NULL, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_recording_close(&r);
    data.mask[2] = 1;
    assert_int_equal(open_with(&r, &s, "{" IDS MASK NORM "}", &data, 72, NULL, &err),
                     LVLM_EFORMAT);
    scratch_remove(&s);
}

/* ---- bands ---------------------------------------------------------------------- */

/* The result of reading `text` for stages text.blocks.0 and logits. */
static int read_bands(lvlm_replay_stage stages[2], const char *text, lvlm_error *err)
{
    scratch s;
    lvlm_replay r = { .stages = stages, .n_stages = 2 };
    stages[0] = (lvlm_replay_stage){ .name = "text.blocks.0", .band = 1e-5 };
    stages[1] = (lvlm_replay_stage){
        .name = "logits", .band = 1e-5, .band_kl = LVLM_BAND_F32_KL, .is_logits = true
    };
    scratch_make(&s);
    const int rc =
        lvlm_bands_read(&r, NULL, scratch_write(&s, "b.json", text, strlen(text)), err);
    scratch_remove(&s);
    return rc;
}

static void bands_come_from_the_first_pattern(void **state)
{
    static const struct {
        const char *text;
        double block, logits, kl;
    } cases[] = {
        { "{\"*\": 0.5}", 0.5, 0.5, 0.5 },
        { "{\"text.*\": 0, \"*\": 0.1}", 0, 0.1, 0.1 },
        { "{\"logits\": 1e-2}", 1e-5, 1e-2, 1e-3 },
        { "{\"logits\": 1e-7}", 1e-5, 1e-7, 1e-6 },
        { "{\"logits.kl\": 5, \"logits\": 1e-2}", 1e-5, 1e-2, 5 },
        { "{\"text.blocks.*\": 0.2}", 0.2, 1e-5, 1e-6 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_replay_stage stages[2];
        assert_int_equal(read_bands(stages, cases[i].text, NULL), 0);
        assert_true(stages[0].band == cases[i].block);
        assert_true(stages[1].band == cases[i].logits);
        assert_true(fabs(stages[1].band_kl / cases[i].kl - 1) < 1e-12);
    }
}

static void invalid_bands_are_refused(void **state)
{
    static const char *const cases[][2] = {
        { "[1]", "is not an object: expected { STAGE or GLOB: band, ... }" },
        { "{\"text.blokcs.*\": 1}", "'text.blokcs.*' fits no stage" },
        { "{\"logits\": \"wide\"}", "'logits': the band is not a positive number" },
        { "{\"text.blocks.0\": -1}", "the band is not a positive number" },
        { "{\"vision.blocks.0\": 1e-3}", "'vision.blocks.0' fits no stage" },
        { "{}", "sets no band" },
        { "{\"*\": 1}", "'*': within a band of 1 a model that computes zeros passes" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_replay_stage stages[2];
        lvlm_error err;
        assert_int_equal(read_bands(stages, cases[i][0], &err), LVLM_EFORMAT);
        if (strstr(err.text, cases[i][1]) == NULL) fail_msg("%s", err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_describe_the_recording),
        cmocka_unit_test(unknown_metadata_and_tensors_are_noted),
        cmocka_unit_test(recordings_that_prove_nothing_are_refused),
        cmocka_unit_test(padding_need_not_be_finite),
        cmocka_unit_test(bands_come_from_the_first_pattern),
        cmocka_unit_test(invalid_bands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
