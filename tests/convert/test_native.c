/* test_native.c - the native file: what identifies it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "convert/import.h"
#include "formats/base/json.h"
#include "formats/native.h"
#include "tests/support/scratch.h"

#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"

static int setup(void **state)
{
    static scratch s;
    scratch_make(&s);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

static int import(const char *source, const char *native, bool to_f16, lvlm_error *err)
{
    const lvlm_import_options options = { .change_dtype = to_f16, .dtype = LVLM_F16 };
    const lvlm_import_run run = { .threads = 2 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import im;
    int rc = lvlm_import_plan(&im, source, &options, false, NULL, NULL, err);
    lvlm_outfile *const file = open_outfile(native);
    if (rc == 0) rc = lvlm_import_execute(&im, file, &run, root, err);
    lvlm_outfile_close(file);
    lvlm_import_free(&im);
    return rc;
}

static lvlm_checkpoint *must_open(const char *native)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&cp, native, NULL, &err) < 0) fail_msg("%s", err.text);
    return cp;
}

/* ---- digests -------------------------------------------------------------------- */

static void the_root_digest_covers_the_header(void **state)
{
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL;
    char root[LVLM_DIGEST_HEX + 1];
    assert_int_equal(import(HUB, scratch_path(s, "root.lvlm"), false, NULL), 0);
    cp = must_open(scratch_path(s, "root.lvlm"));
    assert_int_equal(lvlm_native_root(root, cp, NULL), 0);
    assert_string_equal(root, lvlm_json_string(lvlm_json_get(cp->metadata, "root")));
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (cp->tensors[i].n_bytes >= 4096 && cp->tensors[i].dtype != LVLM_U8)
            assert_int_equal(cp->tensors[i].offset % 64, 0);
    lvlm_checkpoint_close(cp);
    file_replace(scratch_path(s, "root.lvlm"), "\"family\":\"paligemma\"",
                 "\"famile\":\"paligemma\"");
    lvlm_error err;
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "root.lvlm"), NULL, &err),
        LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "native file without 'family'"));
    file_replace(scratch_path(s, "root.lvlm"), "\"famile\"", "\"family\"");
    file_replace(scratch_path(s, "root.lvlm"), "norm_eps", "norm_epz");
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "root.lvlm"), NULL, &err),
        LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "header is corrupt"));
    assert_non_null(strstr(err.text, root));
}

static void digest_weights(char hex[LVLM_DIGEST_HEX + 1], scratch *s,
                           const char *source, bool to_f16)
{
    lvlm_error err;
    if (import(source, scratch_path(s, "digest.lvlm"), to_f16, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint *cp = must_open(scratch_path(s, "digest.lvlm"));
    assert_int_equal(lvlm_native_weights_digest(hex, cp, NULL), 0);
    lvlm_checkpoint_close(cp);
}

static void the_weights_digest_ignores_side_files(void **state)
{
    scratch *s = *state;
    char was[LVLM_DIGEST_HEX + 1], is[LVLM_DIGEST_HEX + 1];
    digest_weights(was, s, HUB, false);
    scratch_copy(s, HUB, "noted");
    scratch_write(s, "noted/notes.txt", "more", 4);
    digest_weights(is, s, scratch_path(s, "noted"), false);
    assert_string_equal(was, is);
    digest_weights(is, s, HUB, true);
    assert_string_not_equal(was, is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_digest_covers_the_header),
        cmocka_unit_test(the_weights_digest_ignores_side_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
