/* test_metrics.c - distances and divergences compared with plain formulas;
 * projections. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "verify/metrics.h"
#include "verify/projections.h"

static lvlm_distance distance(const double *a, const double *b, size_t n)
{
    lvlm_distance d = { 0 };
    lvlm_distance_add(&d, a, b, n);
    return d;
}

static void distances_equal_their_formulas(void **state)
{
    const double a[] = { 1, 2, 3, -4 }, b[] = { 1, 2, 5, -4 };
    lvlm_distance d = distance(a, b, 4);
    (void)state;
    assert_true(fabs(lvlm_relative_l2(&d) - 2 / sqrt(46)) < 1e-15);
    assert_true(fabs(lvlm_cosine(&d) - 36 / sqrt(30 * 46)) < 1e-15);
    assert_true(d.max_abs == 2 && d.n == 4 && d.n_differ == 1);
    lvlm_distance halves = distance(a, b, 2);
    const lvlm_distance rest = distance(a + 2, b + 2, 2);
    lvlm_distance_merge(&halves, &rest);
    assert_memory_equal(&halves, &d, sizeof d);
}

static void zero_references_and_bad_values_never_pass(void **state)
{
    const double zero[] = { 0, 0 }, one[] = { 1, 0 };
    const double nan[] = { NAN, 0 }, inf[] = { INFINITY, 0 };
    (void)state;
    lvlm_distance d = distance(zero, zero, 2);
    assert_true(lvlm_relative_l2(&d) == 0 && lvlm_cosine(&d) == 1);
    d = distance(one, zero, 2);
    assert_true(isinf(lvlm_relative_l2(&d)) && lvlm_cosine(&d) == 0);
    d = distance(nan, one, 2);
    assert_true(isinf(lvlm_relative_l2(&d)) && d.n_bad == 1);
    d = distance(one, inf, 2);
    assert_true(isinf(lvlm_relative_l2(&d)));
    d = distance(nan, nan, 2); /* the same on both sides is the same */
    assert_true(lvlm_relative_l2(&d) == 0);
}

static void divergence_equals_its_formula(void **state)
{
    const double a[] = { 0.5, -1, 2 }, b[] = { 1000.5, 999.5, 1001.5 };
    double za = 0, zb = 0, expected = 0;
    (void)state;
    for (size_t i = 0; i < 3; i++) za += exp(a[i]), zb += exp(b[i] - 1000);
    for (size_t i = 0; i < 3; i++) {
        const double p = exp(b[i] - 1000) / zb, q = exp(a[i]) / za;
        expected += p * log(p / q);
    }
    assert_true(fabs(lvlm_kl(a, b, 3) - expected) < 1e-12); /* observed 5e-14 */
    assert_true(lvlm_kl(b, b, 3) == 0);
    const double bad[] = { NAN, 0, 0 };
    assert_true(isinf(lvlm_kl(bad, b, 3)));
    assert_int_equal(lvlm_argmax(b, 3), 2);
    const double equal[] = { 1, 3, 3 };
    assert_int_equal(lvlm_argmax(equal, 3), 1);
}

static void projections_report_the_form_of_each_map(void **state)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    (void)state;
    assert_int_equal(
        lvlm_checkpoint_open(&cp, LVLM_FIXTURES "/paligemma-untied/model", NULL, NULL),
        0);
    assert_int_equal(lvlm_manifest_build(&m, cp, NULL), 0);
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state p, head;
    assert_true(lvlm_projections_next(&p, &m, &at));
    assert_string_equal(p.form, "vit_head");
    assert_string_equal(p.name, "connector.proj.weight");
    assert_true(p.has_bias && !p.transposed && p.n_sources == 2);
    assert_string_equal(p.sources[0], "multi_modal_projector.linear.weight");
    assert_true(lvlm_projections_next(&head, &m, &at));
    assert_false(lvlm_projections_next(&head, &m, &at));
    assert_string_equal(head.form, "linear"); /* a head of its own */
    assert_string_equal(head.sources[0], "language_model.lm_head.weight");
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_equal_their_formulas),
        cmocka_unit_test(zero_references_and_bad_values_never_pass),
        cmocka_unit_test(divergence_equals_its_formula),
        cmocka_unit_test(projections_report_the_form_of_each_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
