/* test_change.c - tables of positions at another size, as torch interpolates them
 * (fixtures/change.py), and rows of the word tables. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/change/change.h"
#include "formats/base/alloc.h"
#include "tests/convert/converted.h"

/* FIXTURES/NAME/model as a native file. */
static const char *convert(scratch *s, const char *name)
{
    char source[512];
    const char *const native = scratch_path(s, "model.lvlm");
    snprintf(source, sizeof source, "%s/%s/model", LVLM_FIXTURES, name);
    native_convert(source, native);
    return native;
}

static lvlm_checkpoint *changed(scratch *s, const char *model,
                                const lvlm_change_options *options)
{
    const char *const native = scratch_path(s, "changed.lvlm");
    const lvlm_run run = { .threads = 2 };
    lvlm_change change;
    lvlm_hex_digest root;
    lvlm_error err;
    lvlm_outfile *const out = open_outfile(native);
    if (lvlm_change_plan(&change, model, options, &err) < 0 ||
        lvlm_change_execute(&change, out, &run, root, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_outfile_close(out);
    lvlm_change_free(&change);
    return must_open(native);
}

/* Values of any type; owned. */
static double *values(const lvlm_tensor *t)
{
    double *const out = lvlm_calloc((size_t)lvlm_tensor_numel(t), sizeof *out);
    assert_non_null(out);
    lvlm_convert_values(out, LVLM_F64, t->data, t->dtype, (size_t)lvlm_tensor_numel(t));
    return out;
}

/* One recorded table: FIXTURE.PIXELS.NATIVE_NAME. */
static void check_table(scratch *s, const lvlm_tensor *recorded)
{
    char name[64];
    const char *const dot = strchr(recorded->name, '.');
    char *native;
    assert_non_null(dot);
    snprintf(name, sizeof name, "%.*s", (int)(dot - recorded->name), recorded->name);
    const lvlm_change_options options = { .resolution =
                                              strtoull(dot + 1, &native, 10) };
    lvlm_checkpoint *const model = changed(s, convert(s, name), &options);
    const lvlm_tensor *const t = lvlm_checkpoint_find(model, native + 1);
    assert_non_null(t);
    assert_true(lvlm_shape_equal(&t->shape, &recorded->shape));
    double *const got = values(t), *const expected = values(recorded);
    /* half a step of the stored type; seen: 0.5 steps, as it is rounded once */
    const double step = t->dtype == LVLM_BF16 ? ldexp(1, -8) : ldexp(1, -24);
    for (uint64_t i = 0; i < lvlm_tensor_numel(t); i++)
        if (fabs(got[i] - expected[i]) > step * fabs(expected[i]) + 1e-15)
            fail_msg("%s[%llu]: %.17g, expected %.17g", recorded->name,
                     (unsigned long long)i, got[i], expected[i]);
    lvlm_free(got);
    lvlm_free(expected);
    lvlm_checkpoint_close(model);
}

static void positions_are_those_of_torch(void **state)
{
    lvlm_checkpoint *const recorded =
        must_open(LVLM_FIXTURES "/change/positions.safetensors");
    assert_int_equal(recorded->n_tensors, 6);
    for (size_t i = 0; i < recorded->n_tensors; i++)
        check_table(*state, &recorded->tensors[i]);
    lvlm_checkpoint_close(recorded);
}

static void rows_of_both_tables_are_added(void **state)
{
    static const char *const tables[] = { "text.embed.weight", "text.head.weight" };
    scratch *const s = *state;
    const char *const native = convert(s, "llava-odd");
    const lvlm_change_options options = { .vocab = 123,
                                          .new_rows = { .kind = LVLM_INIT_MEAN } };
    lvlm_checkpoint *const before = must_open(native);
    lvlm_checkpoint *const after = changed(s, native, &options);
    for (size_t k = 0; k < 2; k++) {
        const lvlm_tensor *const a = lvlm_checkpoint_find(before, tables[k]);
        const lvlm_tensor *const b = lvlm_checkpoint_find(after, tables[k]);
        assert_int_equal(a->shape.dims[0], 120);
        assert_int_equal(b->shape.dims[0], 123);
        assert_memory_equal(a->data, b->data, (size_t)a->n_bytes);
        double *const stored = values(a), *const all = values(b);
        for (size_t c = 0; c < 42; c++) {
            double sum = 0;
            for (size_t r = 0; r < 120; r++) sum += stored[r * 42 + c];
            for (size_t r = 120; r < 123; r++)
                assert_true(all[r * 42 + c] == (double)(float)(sum / 120));
        }
        lvlm_free(stored);
        lvlm_free(all);
    }
    lvlm_checkpoint_close(before);
    lvlm_checkpoint_close(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(positions_are_those_of_torch, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(rows_of_both_tables_are_added, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
