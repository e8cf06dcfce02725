/* test_library.c - the functions of lvlm.h: export, replay, training, and their errors.
 * tests/install/caption.c tests lvlm_ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/scratch.h"
#include "verify/api/lvlm.h"

#define MODEL LVLM_FIXTURES "/paligemma2-bf16/model"
#define GOLDEN LVLM_FIXTURES "/paligemma2-bf16/golden64.safetensors"

#define ASSERT_WORKS(call)                                                             \
    do {                                                                               \
        if ((call) < 0) fail_msg("%s", err.text);                                      \
    } while (0)

/* Fails with that code and a message that contains `words`. */
#define ASSERT_FAILS(expected, words, call)                                            \
    do {                                                                               \
        assert_int_equal((call), (expected));                                          \
        assert_int_equal(err.code, (expected));                                        \
        if (strstr(err.text, (words)) == NULL) fail_msg("%s", err.text);               \
    } while (0)

static void count_notes(void *user, const char *sentence)
{
    assert_true(strlen(sentence) > 0);
    ++*(size_t *)user;
}

static void export_restores_the_source(void **state)
{
    scratch s;
    lvlm_error err;
    size_t n_notes = 0;
    lvlm_convert_options options = { .note = count_notes, .user = &n_notes };
    (void)state;
    scratch_make(&s);
    const char *const model = scratch_path(&s, "m.lvlm");
    ASSERT_WORKS(lvlm_convert(MODEL, model, NULL, &err));
    ASSERT_WORKS(lvlm_convert_back(model, scratch_path(&s, "back"), NULL, &err));
    assert_true(directories_equal(MODEL, scratch_path(&s, "back")));

    ASSERT_FAILS(LVLM_EUSAGE, "exists", lvlm_convert(MODEL, model, NULL, &err));
    options.overwrite = true;
    ASSERT_WORKS(lvlm_convert(MODEL, model, &options, &err));
    assert_int_equal(n_notes, 0);
    scratch_copy(&s, MODEL, "other");
    (void)scratch_write(&s, "other/unknown.bin", "x", 1);
    ASSERT_WORKS(lvlm_convert(scratch_path(&s, "other"), model, &options, &err));
    assert_true(n_notes > 0);
    n_notes = 0; /* as in the program: a stored head that the configuration ties */
    ASSERT_WORKS(
        lvlm_convert(LVLM_FIXTURES "/paligemma-untied/model", model, &options, &err));
    assert_int_equal(n_notes, 1);
    assert_true(lvlm_convert("/nowhere", model, &options, NULL) < 0);
    scratch_remove(&s);
}

/* The first tensor that fits no row is the error. */
static void tensors_that_do_not_fit_are_named(void **state)
{
    scratch s;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LVLM_FIXTURES "/paligemma-layouts/hub", "other");
    file_replace(scratch_path(&s, "other/model.safetensors"),
                 "multi_modal_projector.linear.bias",
                 "multi_modal_projector.linear.base");
    ASSERT_FAILS(LVLM_ECHECK, "multi_modal_projector.linear.",
                 lvlm_convert(scratch_path(&s, "other"), scratch_path(&s, "m.lvlm"),
                              NULL, &err));
    scratch_remove(&s);
}

static void models_open_and_errors_leave_none(void **state)
{
    scratch s;
    lvlm_error err;
    lvlm *model = NULL;
    const lvlm_handle_options options = { .in_double = true, .check = true };
    (void)state;
    scratch_make(&s);
    const char *const path = scratch_path(&s, "m.lvlm");
    ASSERT_WORKS(lvlm_convert(MODEL, path, NULL, &err));
    ASSERT_WORKS(lvlm_open(&model, path, &options, &err));
    assert_string_equal(lvlm_family_of(model), "paligemma2");
    lvlm_close(model);
    model = NULL;
    ASSERT_FAILS(LVLM_EIO, "/nowhere", lvlm_open(&model, "/nowhere", NULL, &err));
    assert_null(model);
    lvlm_close(NULL);
    lvlm_free(NULL);
    scratch_remove(&s);
}

static void a_replay_reports_its_parity(void **state)
{
    scratch s;
    lvlm_error err;
    lvlm_parity parity;
    const lvlm_parity_options options = { .gradients = true };
    (void)state;
    scratch_make(&s);
    const char *const model = scratch_path(&s, "m.lvlm");
    ASSERT_WORKS(lvlm_convert(MODEL, model, NULL, &err));
    ASSERT_WORKS(lvlm_replay_recording(NULL, model, GOLDEN, NULL, &err));
    ASSERT_WORKS(lvlm_replay_recording(&parity, model, GOLDEN, &options, &err));
    assert_true(parity.exact && parity.n_stages > 20 && parity.n_failed == 0);
    if (!(parity.error < 1e-10)) fail_msg("%g", parity.error); /* observed 3.1e-14 */

    const char *const foreign = LVLM_FIXTURES "/paligemma2-odd/golden64.safetensors";
    assert_true(lvlm_replay_recording(&parity, model, foreign, NULL, &err) < 0);
    scratch_remove(&s);
}

static void test_training(void **state)
{
    scratch s;
    lvlm_error err;
    lvlm_training *training = NULL;
    lvlm_training_report report;
    lvlm_training_options options = { .batches = LVLM_FIXTURES "/train/batches",
                                      .lr = 1e-3,
                                      .stage = "connector" };
    (void)state;
    scratch_make(&s);
    const char *const model = scratch_path(&s, "m.lvlm");
    const char *const tuned = scratch_path(&s, "t.lvlm");
    ASSERT_WORKS(
        lvlm_convert(LVLM_FIXTURES "/paligemma-layouts/hub", model, NULL, &err));
    ASSERT_WORKS(lvlm_training_open(&training, model, &options, &err));
    for (size_t i = 1; i <= 6; i++) {
        ASSERT_WORKS(lvlm_training_step(training, &report, &err));
        assert_true(report.step == i && report.n_labels > 0 && report.lr == 1e-3);
        assert_true(report.loss > 0 && report.grad_norm >= 0);
    }
    ASSERT_WORKS(lvlm_training_save(training, tuned, false, &err));
    ASSERT_FAILS(LVLM_EUSAGE, "exists",
                 lvlm_training_save(training, tuned, false, &err));
    lvlm_training_close(training);
    assert_false(files_equal(model, tuned));

    options.data = "d.jsonl";
    ASSERT_FAILS(LVLM_EUSAGE, "not both",
                 lvlm_training_open(&training, model, &options, &err));
    options.data = NULL;
    options.lora = "r=2";
    ASSERT_FAILS(LVLM_EUSAGE, "frozen",
                 lvlm_training_open(&training, model, &options, &err));
    options.stage = NULL;
    training = NULL;
    ASSERT_WORKS(lvlm_training_open(&training, model, &options, &err));
    ASSERT_WORKS(lvlm_training_step(training, NULL, &err));
    ASSERT_WORKS(lvlm_training_save(training, tuned, true, &err));
    lvlm_training_close(training);
    lvlm_training_close(NULL);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(export_restores_the_source),
        cmocka_unit_test(tensors_that_do_not_fit_are_named),
        cmocka_unit_test(models_open_and_errors_leave_none),
        cmocka_unit_test(a_replay_reports_its_parity),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
