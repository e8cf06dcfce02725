/* test_gradients.c - gradients in float32 compared with recorded ones, in all families;
 * test_fixtures.c compares those in double.
 *
 *   fixtures/NAME/golden64.safetensors   gradients by the names of the checkpoint
 *     -> native file -> backward in f32 */
#include <stdio.h>
#include <string.h>

#include "tests/convert/converted.h"
#include "tests/support/scratch.h"
#include "verify/replay/replay.h"

/* Relative L2 of a tensor; gcc 12, OpenBLAS 0.3.21. */
#define BAND 1e-4 /* observed 1.2e-5 */

/* A bias of keys adds the same number to all scores of a query: its gradient is 0, and
 * what is computed is only rounding. */
static bool has_no_slope(const char *name)
{
    return strstr(name, "k_proj.bias") != NULL;
}

static void compare(const lvlm_replay *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const stage = &r->stages[i];
        if (!stage->is_gradient) continue;
        if (!lvlm_verdict_compared(stage->verdict) ||
            (!has_no_slope(stage->name) && !(stage->relative_l2 <= BAND)))
            fail_msg("%s: %s: %s, relative L2 %.2e", r->golden, stage->name,
                     lvlm_verdict_name(stage->verdict), stage->relative_l2);
        n++;
    }
    assert_true(n >= 30);
}

static void replay(const char *fixture, const char *file)
{
    const lvlm_compute compute = LVLM_COMPUTE_F32;
    const lvlm_replay_options options = { .compute = &compute,
                                          .threads = 2,
                                          .grads = true };
    scratch scratch_dir, *const s = &scratch_dir;
    char model[SCRATCH_PATH], golden[SCRATCH_PATH];
    lvlm_replay r;
    lvlm_error err;
    scratch_make(s);
    const char *const native = scratch_path(s, "model.lvlm");
    (void)snprintf(model, sizeof model, LVLM_FIXTURES "/%s/model", fixture);
    (void)snprintf(golden, sizeof golden, LVLM_FIXTURES "/%s/%s", fixture, file);
    native_convert(model, native);
    if (lvlm_replay_run(&r, native, golden, &options, &err) < 0)
        fail_msg("%s", err.text);
    compare(&r);
    lvlm_replay_free(&r);
    scratch_remove(s);
}

static void gradients_in_float32_match_those_in_double(void **state)
{
    (void)state;
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++) {
        char fixture[64];
        (void)snprintf(fixture, sizeof fixture, "%s-odd", (*f)->name);
        replay(fixture, "golden64.safetensors");
    }
}

static void gradients_match_a_recording_in_float32(void **state)
{
    (void)state;
    replay("paligemma2-odd", "gradients.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_in_float32_match_those_in_double),
        cmocka_unit_test(gradients_match_a_recording_in_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
