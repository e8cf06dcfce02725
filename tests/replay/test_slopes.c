/* test_slopes.c - the gradient of every tensor of every fixture compared with finite
 * differences of the loss, in double.
 *
 *   fixture x reference -> native file -> backward -> for each tensor a random
 *   direction u of length 1: the slope of loss(w + t u), from four points, against
 *   <gradient, u> */
#include <stdio.h>

#include "tests/replay/slopes.h"
#include "tests/support/fixtures.h"

#define BAND 1e-6 /* relative; observed 5.9e-8, gcc 12, OpenBLAS 0.3.21 */

static void check_all(lvlm_model *model, const lvlm_checkpoint *golden,
                      const fixture *f)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    size_t n_checked = 0;
    (void)trained_loss(model, golden); /* and the gradients */
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = m->targets[i].name;
        lvlm_tensor g;
        if (!lvlm_model_gradient(model, &g, name)) continue;
        const double error =
            slope_error(evaluated_loss, model, golden, name, &g, ++n_checked);
        if (!(error <= BAND))
            fail_msg("%s: %s: relative error of its slope %.2e", f->name, name, error);
    }
    assert_true(n_checked >= 33); /* the smallest model has so many */
}

/* Checks the model as `reference` computes it. */
static void check_as(const char *native, const fixture *f, const char *reference)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 1,
                                         .reference = reference,
                                         .trains = trains_everything,
                                         .own_weights = true };
    lvlm_model *model = NULL;
    lvlm_error err;
    if (lvlm_model_open(&model, native, &options, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    lvlm_checkpoint *const golden = must_open(f->golden);
    check_all(model, golden, f);
    lvlm_checkpoint_close(golden);
    lvlm_model_free(model);
}

/* Long texts would take minutes, and beyond its training length Qwen-VL computes
 * another loss in evaluation; their gradients are compared with recorded ones. */
static void every_gradient_is_the_slope_of_the_loss(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    fixtures all;
    (void)state;
    scratch_make(s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        const fixture *const f = &all.at[i];
        const char *const native = scratch_path(s, "model.lvlm");
        if (f->is_long) continue;
        native_convert(f->model, native);
        for (size_t k = 0; k < f->n_references; k++)
            check_as(native, f, f->references[k]);
    }
    fixtures_close(&all);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_the_slope_of_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
