/* test_adapter_slopes.c - the gradients of adapters of every linear map of every family
 * compared with finite differences of the loss, in double, dropout included.
 *
 *   fixture -> native file -> a pair beside each linear map, random factors -> backward
 *           -> each A and B along random directions */
#include <stdio.h>

#include "tests/replay/slopes.h"
#include "tests/support/fixtures.h"

#define BAND 1e-7 /* observed 1.0e-8 */

typedef struct probe {
    lvlm_model *model;
    const lvlm_checkpoint *golden;
} probe;

static double loss_of(void *context)
{
    const probe *const p = context;
    return trained_loss(p->model, p->golden);
}

static double check(probe *p, void *values, const void *gradient, size_t n)
{
    double *const copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, gradient, n * sizeof *copy); /* passes add to it */
    const double error = gradcheck(loss_of, p, values, copy, n);
    free(copy);
    return error;
}

static void check_all(probe *p, const char *name, size_t n_modules)
{
    const lvlm_manifest *const m = lvlm_model_manifest(p->model);
    lvlm_factors f;
    lvlm_tensor none;
    double worst = 0;
    for (size_t i = 0; lvlm_model_factors(p->model, &f, i); i++) {
        double *const a = f.a, *const b = f.b;
        gradcheck_fill(a, f.a_numel, 2 * i + 1);
        gradcheck_fill(b, f.b_numel, 2 * i + 2);
        for (size_t j = 0; j < f.b_numel; j++) b[j] *= 0.5;
        for (size_t j = 0; j < f.a_numel; j++) a[j] *= 0.3;
    }
    /* blocks are alike: check a sample of the modules */
    const size_t stride = 1 + n_modules / 13;
    for (size_t i = 0; i < n_modules; i += stride) {
        assert_true(lvlm_model_factors(p->model, &f, i));
        lvlm_model_zero_gradients(p->model);
        (void)loss_of(p);
        const double a = check(p, f.a, f.da, f.a_numel);
        lvlm_model_zero_gradients(p->model);
        (void)loss_of(p);
        const double b = check(p, f.b, f.db, f.b_numel);
        if (!(a <= BAND && b <= BAND))
            fail_msg("%s: module %zu: A %.2e, B %.2e", name, i, a, b);
        worst = a > worst ? a : worst;
        worst = b > worst ? b : worst;
    }
    assert_false(lvlm_model_factors(p->model, &f, n_modules));
    for (size_t i = 0; i < m->n_targets; i++) /* the base is frozen */
        assert_false(lvlm_model_gradient(p->model, &none, m->targets[i].name));
    if (getenv("LVLM_TEST_SHOW") != NULL) print_message("%s: %.2g\n", name, worst);
}

/* A pair of rank 2 beside every linear map. */
static void adapt_everything(lvlm_adapter *x, const lvlm_manifest *m, double dropout)
{
    const lvlm_adapter_config config = { .r = 2, .alpha = 0.4, .dropout = dropout };
    lvlm_error err;
    if (lvlm_adapter_begin(x, m, &config, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < x->modules.n; i++)
        if (x->modules.at[i].linear) lvlm_adapter_add(x, &x->modules.at[i]);
}

static void check_fixture(scratch *s, const fixture *f, double dropout)
{
    const char *const native = scratch_path(s, "model.lvlm");
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest;
    lvlm_adapter adapter;
    lvlm_model *model = NULL;
    lvlm_error err;
    uint64_t n_modules;
    native_convert(f->model, native);
    if (lvlm_manifest_open(&manifest, &cp, native, NULL, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint *const golden = must_open(f->golden);
    adapt_everything(&adapter, &manifest, dropout);
    assert_true(lvlm_json_u64(&n_modules, lvlm_json_get(f->expected, "linear_maps")));
    if (adapter.n != n_modules)
        fail_msg("%s: %zu linear maps, expected.json says %zu", f->name, adapter.n,
                 (size_t)n_modules);
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 1,
                                         .adapter = &adapter };
    if (lvlm_model_bind(&model, &manifest, &options, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_model_set_noise(model, &(lvlm_noise){ .adapter = 5 });
    probe p = { model, golden };
    check_all(&p, f->name, adapter.n);
    lvlm_model_free(model);
    lvlm_adapter_free(&adapter);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(golden);
    lvlm_checkpoint_close(cp);
}

/* For the main fixtures; every second one with dropout. */
static void every_gradient_is_the_slope_of_the_loss(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    fixtures all;
    double dropout = 0.2;
    (void)state;
    scratch_make(s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        if (!all.at[i].is_main) continue;
        check_fixture(s, &all.at[i], dropout);
        dropout = 0.2 - dropout;
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
