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
#include "formats/native/digests.h"
#include "formats/reshape/resolution.h"
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

/* Everything that a program can see of a file that was opened. */
static void same_file(const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    assert_string_equal(lvlm_checkpoint_meta(a, "root"),
                        lvlm_checkpoint_meta(b, "root"));
    assert_int_equal(a->header_bytes, b->header_bytes);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_int_equal(a->tensors[i].n_bytes, b->tensors[i].n_bytes);
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data,
                            (size_t)a->tensors[i].n_bytes);
    }
    assert_int_equal(a->n_side_files, b->n_side_files);
    for (size_t i = 0; i < a->n_side_files; i++)
        assert_memory_equal(a->side_files[i].bytes, b->side_files[i].bytes,
                            (size_t)a->side_files[i].n_bytes);
}

static void opening_at_a_size_is_opening_the_changed_file(void **state)
{
    static const struct {
        const char *name;
        uint64_t pixels;
    } cases[] = { { "llava-odd", 56 },
                  { "mllama-odd", 20 },
                  { "paligemma2-bf16", 70 },
                  { "qwen_vl-odd", 56 },
                  { "llava-odd", 14 } };
    const lvlm_run run = { .threads = 2 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lvlm_change_options options = { .resolution = cases[i].pixels };
        const char *const native = convert(*state, cases[i].name);
        lvlm_checkpoint *const written = changed(*state, native, &options), *opened;
        lvlm_manifest manifest;
        lvlm_error err;
        if (lvlm_resolution_open(&manifest, &opened, native, cases[i].pixels, NULL,
                                 &err) < 0 ||
            lvlm_digests_check(opened, NULL, &run, &err) < 0)
            fail_msg("%s: %s", cases[i].name, err.text);
        assert_ptr_equal(manifest.checkpoint, opened);
        same_file(opened, written);
        lvlm_manifest_free(&manifest);
        lvlm_checkpoint_close(opened);
        lvlm_checkpoint_close(written);
    }
}

static void opening_at_its_own_size_is_opening(void **state)
{
    const char *const native = convert(*state, "llava-odd");
    lvlm_checkpoint *const plain = must_open(native), *opened;
    for (uint64_t pixels = 0; pixels < 32; pixels += 31) {
        lvlm_manifest manifest;
        lvlm_error err;
        if (lvlm_resolution_open(&manifest, &opened, native, pixels, NULL, &err) < 0)
            fail_msg("%s", err.text);
        same_file(opened, plain);
        lvlm_manifest_free(&manifest);
        lvlm_checkpoint_close(opened);
    }
    lvlm_checkpoint_close(plain);
}

static void a_damaged_table_is_not_interpolated(void **state)
{
    scratch *const s = *state;
    const char *const native = convert(s, "llava-odd");
    lvlm_checkpoint *cp = must_open(native);
    const lvlm_tensor *const t = lvlm_checkpoint_find(cp, "vision.positions.weight");
    assert_non_null(t);
    const long at = (long)t->offset + 8;
    lvlm_checkpoint_close(cp);
    FILE *const f = fopen(native, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(0x5a, f), 0x5a);
    assert_int_equal(fclose(f), 0);
    lvlm_manifest manifest;
    lvlm_error err;
    assert_int_equal(lvlm_resolution_open(&manifest, &cp, native, 56, NULL, &err),
                     LVLM_ECHECK);
    assert_non_null(strstr(err.text, "'vision.positions.weight' is corrupt"));
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(positions_are_those_of_torch, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(rows_of_both_tables_are_added, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(opening_at_a_size_is_opening_the_changed_file,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(opening_at_its_own_size_is_opening,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_table_is_not_interpolated,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
