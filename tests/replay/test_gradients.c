/* test_gradients.c - gradients against recorded ones, tensor by tensor, all families.
 *
 *   fixtures/gradients/NAME.safetensors: a batch, its gradients by the names of the
 *   checkpoint, and where that is -> native file -> backward in both precisions */
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "tests/replay/converted.h"
#include "tests/support/scratch.h"
#include "verify/replay.h"

#define FOLDER LVLM_FIXTURES "/gradients/"

/* Relative L2; recordings are those of double, rounded to float32, in which the
 * reference's softmax is float32 even then. */
static const double bands[] = {
    [LVLM_COMPUTE_F32] = 1e-4, /* observed 1.6e-5, gcc 12, OpenBLAS 0.3.21 */
    [LVLM_COMPUTE_F64] = 5e-5, /* observed 1.4e-5 */
};

/* A bias of keys moves all scores of a query alike: its gradient is 0 but for rounding,
 * on which two of them need not agree. */
static bool has_no_slope(const char *name)
{
    return strstr(name, "k_proj.bias") != NULL;
}

static void replay(const char *golden, const char *native, lvlm_compute compute)
{
    const lvlm_replay_options options = { .compute = compute,
                                          .threads = 2,
                                          .grads = true };
    lvlm_replay r;
    lvlm_error err;
    if (lvlm_replay_run(&r, native, golden, &options, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(r.n_stages >= 30);
    for (size_t i = 0; i < r.n_stages; i++) {
        const lvlm_replay_stage *const stage = &r.stages[i];
        const bool compared =
            stage->verdict == LVLM_VERDICT_OK || stage->verdict == LVLM_VERDICT_OUT;
        if (!compared ||
            (!has_no_slope(stage->name) && !(stage->relative_l2 <= bands[compute])))
            fail_msg("%s: %s: %s, relative L2 %.2e", golden, stage->name,
                     lvlm_verdict_name(stage->verdict), stage->relative_l2);
    }
    lvlm_replay_free(&r);
}

/* The family of a recording; its checkpoint goes to `native`. */
static void convert(char family[64], const char *golden, const char *native)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    char path[SCRATCH_PATH];
    if (lvlm_checkpoint_open(&cp, golden, NULL, &err) < 0) fail_msg("%s", err.text);
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s",
                   lvlm_json_string(lvlm_json_get(cp->metadata, "model")));
    (void)snprintf(family, 64, "%s",
                   lvlm_json_string(lvlm_json_get(cp->metadata, "family")));
    native_convert(path, native);
    lvlm_checkpoint_close(cp);
}

static void every_family_has_the_recorded_gradients(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    (void)state;
    scratch_make(s);
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++) {
        const char *const native = scratch_path(s, "model.lvlm");
        char golden[SCRATCH_PATH], family[64];
        (void)snprintf(golden, sizeof golden, FOLDER "%s.safetensors", (*f)->name);
        convert(family, golden, native);
        assert_string_equal(family, (*f)->name);
        replay(golden, native, LVLM_COMPUTE_F32);
        replay(golden, native, LVLM_COMPUTE_F64);
    }
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_has_the_recorded_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
