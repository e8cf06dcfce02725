/* test_changed.c - if a source changes between plan and commit, nothing is committed
 * and the error names the file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "convert/export.h"
#include "convert/import.h"
#include "formats/adapter/adapter_fold.h"
#include "formats/base/infile.h"
#include "tests/convert/converted.h"

#define MODEL LVLM_FIXTURES "/paligemma-odd/model"
#define ADAPTER LVLM_FIXTURES "/lora/paligemma/end"

/* Changes bytes and keeps the size. */
static void touch(const char *path)
{
    const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void refuses_import(scratch *s, const char *changed)
{
    static const lvlm_import_options keep;
    const lvlm_run run = { .threads = 2 };
    char name[128], root[LVLM_DIGEST_HEX + 1];
    const char *const native = scratch_path(s, "new.lvlm");
    lvlm_import *im = NULL;
    lvlm_error err = { 0 };
    snprintf(name, sizeof name, "model/%s", changed);
    const char *const dir = scratch_path(s, "model");
    assert_int_equal(lvlm_import_plan(&im, dir, &keep, &err), 0);
    touch(scratch_path(s, name));
    lvlm_outfile *const file = open_outfile(native);
    assert_int_equal(lvlm_import_execute(im, file, &run, root, &err), LVLM_EIO);
    lvlm_outfile_close(file);
    assert_non_null(strstr(err.text, changed));
    assert_non_null(strstr(err.text, "was written to while it was in use"));
    assert_false(lvlm_path_exists(native));
    lvlm_import_free(im);
}

static const char *native_of(scratch *s, const char *dir)
{
    const char *path = scratch_path(s, "model.lvlm");
    native_convert(dir, path);
    return path;
}

static void import_refuses_a_source_that_changes(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, MODEL, "model");
    refuses_import(&s, "model.safetensors");
    refuses_import(&s, "config.json");
    refuses_import(&s, "tokenizer_config.json");
    scratch_remove(&s);
}

static void export_refuses_a_source_that_changes(void **state)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 2 };
    scratch s;
    lvlm_export *ex = NULL;
    lvlm_error err = { 0 };
    (void)state;
    scratch_make(&s);
    const char *const native = native_of(&s, MODEL);
    const char *const dir = scratch_path(&s, "back");
    assert_int_equal(lvlm_export_plan(&ex, native, &options, &err), 0);
    touch(native);
    lvlm_outdir *const out = open_outdir(dir, &lvlm_model_set);
    assert_int_equal(lvlm_export_execute(ex, out, &writing, &err), LVLM_EIO);
    lvlm_outdir_close(out);
    assert_non_null(strstr(err.text, "model.lvlm: was written to"));
    assert_false(lvlm_path_exists(dir));
    lvlm_export_free(ex);
    scratch_remove(&s);
}

/* `changed`: which of the two sources is modified. */
static void refuses_merge(const char *changed)
{
    const lvlm_run run = { .threads = 2 };
    scratch s;
    lvlm_checkpoint *model = NULL;
    lvlm_manifest manifest;
    lvlm_adapter adapter;
    lvlm_fold_cost cost;
    lvlm_error err = { 0 };
    scratch_make(&s);
    scratch_copy(&s, ADAPTER, "adapter");
    const char *const native = native_of(&s, MODEL);
    const char *const out = scratch_path(&s, "merged.lvlm");
    if (lvlm_manifest_open(&manifest, &model, native, NULL, &err) < 0 ||
        lvlm_adapter_open(&adapter, scratch_path(&s, "adapter"), &manifest, &err) < 0)
        fail_msg("%s", err.text);
    touch(scratch_path(&s, changed));
    lvlm_outfile *const file = open_outfile(out);
    assert_int_equal(lvlm_fold_save(&cost, &adapter, 0, file, &run, &err), LVLM_EIO);
    lvlm_outfile_close(file);
    assert_non_null(strstr(err.text, changed));
    assert_false(lvlm_path_exists(out));
    lvlm_adapter_free(&adapter);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(model);
    scratch_remove(&s);
}

static void merge_refuses_a_source_that_changes(void **state)
{
    (void)state;
    refuses_merge("model.lvlm");
    refuses_merge("adapter/adapter_model.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(import_refuses_a_source_that_changes),
        cmocka_unit_test(export_refuses_a_source_that_changes),
        cmocka_unit_test(merge_refuses_a_source_that_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
