/* test_io.c - real system errors at every point where they can be provoked: no space,
 * no descriptors, no permission, a directory that disappears. The error names the file,
 * old output is kept, and no temporary is left. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "convert/export.h"
#include "formats/base/infile.h"
#include "formats/base/outdir.h"
#include "formats/base/outfile.h"
#include "tests/fault/import_model.h"
#include "tests/support/scratch.h"

enum { NOBODY = 65534, MAX_DESCRIPTORS = 64 };

static void begin_anew(scratch *s)
{
    scratch_remove(s);
    scratch_make(s);
}

/* ---- operations ----------------------------------------------------------------- */

/* An operation on the scratch; returns 0 or a code. */
typedef int operation(scratch *s, lvlm_error *err);

/* Over the model of another checkpoint. */
static int import_over(scratch *s, lvlm_error *err)
{
    return import(SHARDED, scratch_path(s, "old.lvlm"), err);
}

static int export_to(scratch *s, bool source, const char *name, lvlm_error *err)
{
    const lvlm_export_options options = { .source = source, .max_shard = 20000 };
    const lvlm_run writing = { .threads = 1 };
    lvlm_outdir *out = NULL;
    lvlm_export *ex = NULL;
    int rc = lvlm_export_plan(&ex, scratch_path(s, "model.lvlm"), &options, err);
    if (rc == 0)
        rc = lvlm_outdir_open(&out, scratch_path(s, name), false, &lvlm_model_set, err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    return rc;
}

static int export_source(scratch *s, lvlm_error *err)
{
    return export_to(s, true, "dir", err);
}

static int export_shards(scratch *s, lvlm_error *err)
{
    return export_to(s, false, "shards", err);
}

/* Before each operation: creates "model.lvlm" to export, "old.lvlm" to replace, and its
 * copy, "kept.lvlm". */
static void prepare(scratch *s)
{
    lvlm_error err;
    begin_anew(s);
    if (import(HUB, scratch_path(s, "model.lvlm"), &err) < 0) fail_msg("%s", err.text);
    scratch_copy(s, scratch_path(s, "model.lvlm"), "old.lvlm");
    scratch_copy(s, scratch_path(s, "model.lvlm"), "kept.lvlm");
}

/* Run it under a limit of the process; returns its code. */
static int run_within(int resource, rlim_t most, operation *op, scratch *s,
                      lvlm_error *err)
{
    struct rlimit old, limit;
    assert_int_equal(getrlimit((__rlimit_resource_t)resource, &old), 0);
    limit = old;
    limit.rlim_cur = most;
    assert_int_equal(setrlimit((__rlimit_resource_t)resource, &limit), 0);
    const int rc = op(s, err);
    assert_int_equal(setrlimit((__rlimit_resource_t)resource, &old), 0);
    return rc;
}

static void expect_nothing_happened(scratch *s, rlim_t most, int rc,
                                    const lvlm_error *err, const char *reason)
{
    if (rc != LVLM_EIO || err->code != LVLM_EIO || strstr(err->text, reason) == NULL)
        fail_msg("limit %ju gives %d: %s", (uintmax_t)most, rc, err->text);
    assert_true(files_equal(scratch_path(s, "old.lvlm"), scratch_path(s, "kept.lvlm")));
    if (scratch_count(s, "") != 3)
        fail_msg("limit %ju leaves a file: %s", (uintmax_t)most, err->text);
}

static operation *const all[] = { import_over, export_source, export_shards };

enum { N_OPERATIONS = sizeof all / sizeof all[0] };

/* ---- tests ---------------------------------------------------------------------- */

static void a_disk_that_fills_at_any_byte_leaves_the_old_state(void **state)
{
    scratch *s = *state;
    (void)signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        lvlm_error err = { .text = "" };
        rlim_t most = 0;
        prepare(s);
        /* small steps through the header, large ones through the data */
        for (int rc; (rc = run_within(RLIMIT_FSIZE, most, all[i], s, &err)) != 0;
             most += most < 20 ? 1 : most / 3)
            expect_nothing_happened(s, most, rc, &err, "File too large");
        assert_true(most > 20); /* it did write something */
    }
}

/* The lowest free descriptor: all below are in use. */
static rlim_t first_free(void)
{
    const int fd = open("/", O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    return (rlim_t)fd;
}

static void any_descriptor_that_is_missing_leaves_the_old_state(void **state)
{
    scratch *s = *state;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        const rlim_t first = first_free();
        lvlm_error err = { .text = "" };
        rlim_t most = first;
        prepare(s);
        for (int rc; (rc = run_within(RLIMIT_NOFILE, most, all[i], s, &err)) != 0;
             most++) {
            expect_nothing_happened(s, most, rc, &err, "Too many open files");
            assert_true(most < first + MAX_DESCRIPTORS);
        }
        assert_true(most > first);
        assert_int_equal(first_free(), first); /* and none is left open */
    }
}

/* As a user who cannot write to the scratch directory. */
static void refuse_in_read_only_directory(scratch *s)
{
    lvlm_error err = { .text = "" };
    lvlm_outdir *dir = NULL;
    assert_int_equal(lvlm_outfile_save(scratch_path(s, "f"), "x", 1, true, &err),
                     LVLM_EIO);
    assert_non_null(strstr(err.text, "f: cannot create: Permission denied"));
    assert_int_equal(lvlm_outdir_open(&dir, scratch_path(s, "dir"), false, NULL, &err),
                     LVLM_EIO);
    assert_null(dir);
    assert_non_null(strstr(err.text, "dir: cannot create: Permission denied"));
}

static void permissions_are_named_and_respected(void **state)
{
    scratch *s = *state;
    lvlm_infile *file = NULL;
    lvlm_error err = { .text = "" };
    const bool root = geteuid() == 0;
    const char *secret = scratch_write(s, "secret", "x", 1);
    assert_int_equal(chmod(secret, 0), 0);
    assert_int_equal(chmod(s->dir, 0555), 0);
    if (root && seteuid(NOBODY) < 0) skip();
    refuse_in_read_only_directory(s);
    assert_int_equal(lvlm_infile_open(&file, secret, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "secret: cannot open: Permission denied"));
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(s->dir, 0755), 0);
    assert_int_equal(scratch_count(s, ""), 1);
}

/* A user may write to an empty directory, but not to its parent. */
static void outdir_needs_no_permission_beside_an_empty_target(void **state)
{
    scratch *s = *state;
    lvlm_error err = { .text = "" };
    lvlm_outdir *dir = NULL;
    char file[2 * SCRATCH_PATH];
    const bool root = geteuid() == 0;
    const char *target = scratch_path(s, "mine");
    assert_int_equal(mkdir(target, 0777), 0);
    assert_int_equal(chmod(target, 0777), 0); /* whatever the umask */
    assert_int_equal(chmod(s->dir, 0555), 0);
    if (root && seteuid(NOBODY) < 0) skip();
    if (lvlm_outdir_open(&dir, target, false, NULL, &err) < 0) fail_msg("%s", err.text);
    (void)snprintf(file, sizeof file, "%s/f", lvlm_outdir_path(dir));
    assert_int_equal(lvlm_outfile_save(file, "x", 1, false, NULL), 0);
    if (lvlm_outdir_commit(dir, &err) < 0) fail_msg("%s", err.text);
    lvlm_outdir_close(dir);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(s->dir, 0755), 0);
    assert_int_equal(scratch_count(s, "mine"), 1);
    assert_int_equal(scratch_count(s, ""), 1);
}

static void a_target_that_vanishes_is_an_error(void **state)
{
    scratch *s = *state;
    lvlm_error err = { .text = "" };
    lvlm_outfile *file = NULL;
    const char *parent = scratch_path(s, "parent");
    assert_int_equal(mkdir(parent, 0777), 0);
    assert_int_equal(lvlm_outfile_open(&file, scratch_path(s, "parent/f"), true, NULL),
                     0);
    assert_int_equal(rename(parent, scratch_path(s, "elsewhere")), 0);
    lvlm_outfile_write(file, "x", 1);
    assert_int_equal(lvlm_outfile_commit(file, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "f: cannot rename into place: No such file"));
    lvlm_outfile_close(file);
}

/* Another process fills the directory that was empty. */
static void outdir_does_not_replace_files_added_meanwhile(void **state)
{
    scratch *s = *state;
    lvlm_error err = { .text = "" };
    lvlm_outdir *dir = NULL;
    char file[2 * SCRATCH_PATH];
    assert_int_equal(lvlm_outdir_open(&dir, scratch_path(s, "dir"), false, NULL, NULL),
                     0);
    (void)snprintf(file, sizeof file, "%s/f", lvlm_outdir_path(dir));
    assert_int_equal(lvlm_outfile_save(file, "mine", 4, false, NULL), 0);
    assert_int_equal(mkdir(scratch_path(s, "dir"), 0777), 0);
    const char *theirs = scratch_write(s, "dir/f", "theirs", 6);
    assert_int_equal(lvlm_outdir_commit(dir, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "dir: cannot rename into place"));
    lvlm_outdir_close(dir);
    assert_true(files_equal(theirs, scratch_write(s, "same", "theirs", 6)));
    assert_int_equal(scratch_count(s, ""), 2);
}

#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_disk_that_fills_at_any_byte_leaves_the_old_state),
        CASE(any_descriptor_that_is_missing_leaves_the_old_state),
        CASE(permissions_are_named_and_respected),
        CASE(outdir_needs_no_permission_beside_an_empty_target),
        CASE(a_target_that_vanishes_is_an_error),
        CASE(outdir_does_not_replace_files_added_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
