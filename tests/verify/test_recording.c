/* test_recording.c - what a recording says that nothing follows, and bands from a
 * file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/runtime/synthetic.h"
#include "tests/support/scratch.h"
#include "verify/recording.h"

static void recordings_are_taken_at_their_word(void **state)
{
    static const struct {
        const char *metadata, *tensor;
        lvlm_dtype dtype;
        const char *note; /* begins with it; NULL: there is none */
        bool grads;
    } cases[] = {
        // clang-format off
        { "{\"reference\":\"transformers-5.23.0\",\"family\":\"mllama\",\"seed\":\"1\",\"torch\":\"2\"}", "out.logits", LVLM_F32, NULL },
        { "{\"reference\":\"trained\"}", "grad.lm_head.weight", LVLM_F32, NULL, true },
        { "{\"reference\":\"trained\"}", "grad.lm_head.weight", LVLM_F32, "recording: 1 gradient is not compared without --grads" },
        { "{}", "in.anything", LVLM_I64, NULL },
        { "{\"reference\":\"transformers-4.57.1\"}", "out.logits", LVLM_F32, NULL },
        { "{\"reference\":\"transformers-4.99.0\"}", "out.logits", LVLM_F32, "recording: reference 'transformers-4.99.0': no such version was released" },
        { "{\"reference\":\"transformers-9.0\"}", "out.logits", LVLM_F32, "recording: reference 'transformers-9.0': no such version" },
        { "{\"family\":\"qwen2_vl\"}", "out.logits", LVLM_F32, "recording: is of family 'qwen2_vl', the model is mllama" },
        { "{\"refrence\":\"trained\"}", "out.logits", LVLM_F32, "recording: metadata: 'refrence' is not known and not followed; did you mean 'reference'?" },
        { "{\"precision\":\"bfloat16\"}", "out.logits", LVLM_F32, "recording: metadata: 'precision' is not followed" },
        { "{}", "outt.logits", LVLM_F32, "recording: 'outt.logits' is compared with nothing: stages are called out.*" },
        { "{}", "out.tokens", LVLM_I64, "recording: 'out.tokens' is compared with nothing: its values" },
        // clang-format on
    };
    static const unsigned char zeros[8];
    const lvlm_shape shape = { 1, { 1 } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        synthetic s = { 0 };
        lvlm_notes notes = LVLM_NOTES_INIT;
        cJSON *json = NULL;
        synthetic_put(&s, cases[i].tensor, cases[i].dtype, &shape, zeros);
        assert_int_equal(
            lvlm_json_parse(&json, cases[i].metadata, strlen(cases[i].metadata), NULL),
            0);
        s.checkpoint.metadata = json;
        assert_int_equal(
            lvlm_recording_check(&s.checkpoint, "mllama", cases[i].grads, &notes, NULL),
            0);
        assert_int_equal(notes.n, cases[i].note != NULL);
        if (notes.n > 0 &&
            strncmp(notes.at[0], cases[i].note, strlen(cases[i].note)) != 0)
            fail_msg("%s", notes.at[0]);
        lvlm_notes_free(&notes);
        lvlm_json_free(json);
        s.checkpoint.metadata = NULL;
        synthetic_free(&s);
    }
}

/* The result of reading `text` for stages text.blocks.0 and logits. */
static int read_bands(lvlm_replay_stage stages[2], const char *text, lvlm_error *err)
{
    scratch s;
    lvlm_replay r = { .stages = stages, .n_stages = 2 };
    stages[0] = (lvlm_replay_stage){ .name = "text.blocks.0", .band = 1e-5 };
    stages[1] = (lvlm_replay_stage){
        .name = "logits", .band = 1e-5, .band_kl = LVLM_BAND_KL, .is_logits = true
    };
    scratch_make(&s);
    const int rc =
        lvlm_tolerance_read(&r, scratch_write(&s, "b.json", text, strlen(text)), err);
    scratch_remove(&s);
    return rc;
}

static void bands_come_from_the_first_pattern(void **state)
{
    static const struct {
        const char *text;
        double block, logits, kl;
    } cases[] = {
        { "{}", 1e-5, 1e-5, 1e-6 },
        { "{\"*\": 10}", 10, 10, 10 },
        { "{\"text.*\": 0, \"*\": 1}", 0, 1, 1 },
        { "{\"logits\": 1e-2}", 1e-5, 1e-2, 1e-3 },
        { "{\"logits\": 1e-7}", 1e-5, 1e-7, 1e-6 },
        { "{\"logits.kl\": 0.5, \"logits\": 1e-2}", 1e-5, 1e-2, 0.5 },
        { "{\"vision.out\": 1, \"text.blocks.*\": 2}", 2, 1e-5, 1e-6 },
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

static void bands_that_say_nothing_are_refused(void **state)
{
    static const char *const cases[][2] = {
        { "[1]", "is not an object: expected { STAGE or GLOB: band, ... }" },
        { "{\"text.blokcs.*\": 1}", "'text.blokcs.*' fits no stage" },
        { "{\"logits\": \"wide\"}", "'logits': the band is not a positive number" },
        { "{\"vision.blocks.0\": -1}", "the band is not a positive number" },
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
        cmocka_unit_test(recordings_are_taken_at_their_word),
        cmocka_unit_test(bands_come_from_the_first_pattern),
        cmocka_unit_test(bands_that_say_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
