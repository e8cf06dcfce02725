/* test_loss_plot.c - plots of the loss: their contents, and the size of the file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "runtime/tune/loss_plot.h"
#include "tests/support/scratch.h"

enum { MANY = 60000 };

static lvlm_loss_point points[MANY];

/* Falls from 8 towards 2, up and down. */
static void fill(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        points[i].step = i + 1;
        points[i].loss = 2 + 6 / (1 + (double)i / 9) + 0.25 * (double)(i % 3);
        points[i].lr = 1e-4 * (1 - (double)i / (double)n);
    }
}

static lvlm_infile *draw_all(scratch *s, const lvlm_loss_plot *plot)
{
    const char *const path = scratch_path(s, "loss.svg");
    lvlm_infile *file = NULL;
    lvlm_error err;
    lvlm_outfile *const out = open_outfile(path);
    if (lvlm_loss_plot_save(out, plot, &err) < 0 ||
        lvlm_infile_open(&file, path, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_outfile_close(out);
    return file;
}

static lvlm_infile *draw(scratch *s, size_t n)
{
    const lvlm_loss_plot plot = { .title = "m.lvlm on d.jsonl",
                                  .subtitle = "full",
                                  .steps = { points, n, n } };
    return draw_all(s, &plot);
}

static size_t count(const lvlm_infile *file, const char *what)
{
    const char *at = (const char *)file->bytes, *const end = at + file->n_bytes;
    size_t n = 0;
    while ((at = memmem(at, (size_t)(end - at), what, strlen(what))) != NULL) {
        at += strlen(what);
        n++;
    }
    return n;
}

static void a_short_run_is_one_line(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    fill(10);
    lvlm_infile *const file = draw(&s, 10);
    assert_int_equal(count(file, "<polyline"), 2); /* loss and rate */
    assert_int_equal(count(file, "class=\"steps alone\""), 1);
    assert_int_equal(count(file, "class=\"rate\""), 1);
    assert_int_equal(count(file, ">m.lvlm on d.jsonl<"), 2);
    assert_int_equal(count(file, ">step</text>"), 1);
    assert_int_equal(count(file, ">loss</text>"), 1);
    assert_int_equal(count(file, "prefers-color-scheme:dark"), 1);
    assert_int_equal(count(file, "nan"), 0);
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static void a_long_run_has_a_mean_and_stays_small(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    fill(MANY);
    lvlm_infile *const file = draw(&s, MANY);
    assert_int_equal(count(file, "<polyline"), 3);
    assert_int_equal(count(file, "mean of 2400 steps"), 1);
    assert_true(file->n_bytes < 64 << 10); /* observed 46499 */
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static void one_step_and_one_value_can_be_drawn(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    for (size_t n = 1; n <= 40; n += 39) {
        for (size_t i = 0; i < n; i++) points[i] = (lvlm_loss_point){ i + 1, 0, 0 };
        lvlm_infile *const file = draw(&s, n);
        assert_int_equal(count(file, "nan"), 0);
        assert_int_equal(count(file, "inf"), 0);
        assert_int_equal(count(file, "<circle"), n == 1);
        lvlm_infile_close(file);
    }
    scratch_remove(&s);
}

static void evaluations_are_dots_and_names_are_text(void **state)
{
    lvlm_loss_point evaluations[] = { { 4, 9.5, 0 }, { 10, 1.5, 0 } };
    const lvlm_loss_plot plot = { .title = "<m>&\x1b.lvlm on d]]>",
                                  .subtitle = "full",
                                  .steps = { points, 10, 10 },
                                  .evaluations = { evaluations, 2, 2 },
                                  .evaluated = "e<.jsonl" };
    scratch s;
    (void)state;
    scratch_make(&s);
    fill(10);
    lvlm_infile *const file = draw_all(&s, &plot);
    assert_int_equal(count(file, "<circle class=\"eval\""), 2);
    assert_int_equal(count(file, "class=\"evals\""), 1);
    assert_int_equal(count(file, "dots: e&lt;.jsonl"), 1);
    assert_int_equal(count(file, "&lt;m&gt;&amp;\\x1b.lvlm on d]]&gt;"), 2);
    assert_int_equal(count(file, ">10</text>"), 2); /* loss 10 is in, and step 10 */
    lvlm_infile_close(file);
    scratch_remove(&s);
}

/* Relative luminance, as WCAG has it, of the colour after the Nth `name`. */
static double luminance(const lvlm_infile *file, const char *name, int n)
{
    const char *at = (const char *)file->bytes, *const end = at + file->n_bytes;
    double sum = 0;
    for (; n >= 0; n--) {
        at = memmem(at, (size_t)(end - at), name, strlen(name));
        assert_non_null(at);
        at += strlen(name);
    }
    for (int i = 0; i < 3; i++) {
        static const double weights[] = { 0.2126, 0.7152, 0.0722 };
        const char digits[] = { at[2 * i], at[2 * i + 1], '\0' };
        const double v = (double)strtoull(digits, NULL, 16) / 255;
        sum += weights[i] * (v <= 0.03928 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

/* Observed at least 3.13, the thin line on white. */
static void lines_and_texts_stand_out_from_the_page(void **state)
{
    static const struct {
        const char *name;
        double least;
    } colours[] = {
        { "--thin:#", 3 },   { "--mark:#", 3 },  { "--other:#", 4.5 },
        { "--soft:#", 4.5 }, { "--ink:#", 4.5 },
    };
    scratch s;
    (void)state;
    scratch_make(&s);
    fill(40);
    lvlm_infile *const file = draw(&s, 40);
    for (int scheme = 0; scheme < 2; scheme++) {
        const double page = luminance(file, "--page:#", scheme) + 0.05;
        for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
            const double own = luminance(file, colours[i].name, scheme) + 0.05;
            assert_true(fmax(own, page) / fmin(own, page) >= colours[i].least);
        }
    }
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static void the_same_points_give_the_same_bytes(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    fill(50);
    lvlm_infile *const a = draw(&s, 50), *const b = draw(&s, 50);
    assert_int_equal(a->n_bytes, b->n_bytes);
    assert_memory_equal(a->bytes, b->bytes, (size_t)a->n_bytes);
    lvlm_infile_close(a);
    lvlm_infile_close(b);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_run_is_one_line),
        cmocka_unit_test(a_long_run_has_a_mean_and_stays_small),
        cmocka_unit_test(one_step_and_one_value_can_be_drawn),
        cmocka_unit_test(evaluations_are_dots_and_names_are_text),
        cmocka_unit_test(lines_and_texts_stand_out_from_the_page),
        cmocka_unit_test(the_same_points_give_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
