/* test_temporary.c - the temporary of a target: its name, its lock, and leftovers of a
 * killed run. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/base/temporary.h"
#include "tests/support/scratch.h"

static void expect_name(const char *path, const char *name)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    assert_string_equal(lvlm_temporary_name(path, &arena), name);
    lvlm_arena_free(&arena);
}

static void names_are_hidden_and_beside_their_target(void **state)
{
    (void)state;
    expect_name("m.lvlm", ".m.lvlm.lvlm-tmp");
    expect_name("a/b/m", "a/b/.m.lvlm-tmp");
    expect_name("/m", "/.m.lvlm-tmp");
}

static void a_name_of_any_length_can_be_written(void **state)
{
    scratch *s = *state;
    char a[NAME_MAX + 1] = "", b[NAME_MAX + 1] = "";
    memset(a, 'x', NAME_MAX);
    memset(b, 'x', NAME_MAX);
    b[NAME_MAX - 1] = 'y';
    lvlm_arena arena = LVLM_ARENA_INIT;
    const char *const one = lvlm_temporary_name(a, &arena);
    const char *const other = lvlm_temporary_name(b, &arena);
    assert_string_not_equal(one, other);
    assert_true(strlen(one) < NAME_MAX && strlen(other) < NAME_MAX);
    lvlm_arena_free(&arena);
    assert_int_equal(lvlm_outfile_save(scratch_path(s, a), "x", 1, false, NULL), 0);
    assert_int_equal(lvlm_outfile_save(scratch_path(s, b), "x", 1, false, NULL), 0);
    assert_int_equal(scratch_count(s, ""), 2);
}

static void a_second_run_on_a_file_is_refused(void **state)
{
    scratch *s = *state;
    const char *const path = scratch_path(s, "f");
    lvlm_outfile *first = open_outfile(path), *second = NULL;
    lvlm_error err;
    lvlm_outfile_write(first, "first", 5);
    assert_int_equal(lvlm_outfile_open(&second, path, true, &err), LVLM_EIO);
    assert_null(second);
    assert_non_null(strstr(err.text, "f: is being written by another run"));
    assert_int_equal(lvlm_outfile_commit(first, NULL), 0);
    lvlm_outfile_close(first);
    second = open_outfile(path); /* now permitted */
    lvlm_outfile_close(second);
    assert_true(files_equal(path, scratch_write(s, "same", "first", 5)));
}

static void expect_folder_is_taken(const char *path)
{
    lvlm_outdir *dir = NULL;
    lvlm_error err;
    assert_int_equal(lvlm_outdir_open(&dir, path, true, NULL, &err), LVLM_EIO);
    assert_null(dir);
    assert_non_null(strstr(err.text, "is being written by another run"));
}

static void a_second_run_on_a_folder_is_refused(void **state)
{
    scratch *s = *state;
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, "%s", scratch_path(s, "d"));
    lvlm_outdir *dir = open_outdir(path, NULL); /* absent target: next to it */
    expect_folder_is_taken(path);
    assert_int_equal(mkdir(path, 0777), 0);
    (void)scratch_write(s, "d/theirs", "x", 1); /* there now: inside of it */
    expect_folder_is_taken(path);
    lvlm_outdir_close(dir);
    dir = open_outdir(path, NULL);
    expect_folder_is_taken(path);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, "d"), 1);
    assert_int_equal(scratch_count(s, ""), 1);
}

static void leftovers_of_a_killed_run_are_removed(void **state)
{
    scratch *s = *state;
    (void)scratch_write(s, ".f.lvlm-tmp", "half", 4);
    assert_int_equal(lvlm_outfile_save(scratch_path(s, "f"), "x", 1, false, NULL), 0);
    assert_int_equal(mkdir(scratch_path(s, ".d.lvlm-tmp"), 0777), 0);
    (void)scratch_write(s, ".d.lvlm-tmp/half", "half", 4);
    (void)scratch_write(s, ".d.lvlm-tmp/.half.lvlm-tmp", "half", 4);
    lvlm_outdir_close(open_outdir(scratch_path(s, "d"), NULL));
    assert_int_equal(scratch_count(s, ""), 1);
}

/* Inside the folder, which then counts as empty. */
static void leftovers_inside_a_folder_are_removed(void **state)
{
    scratch *s = *state;
    char path[SCRATCH_PATH];
    lvlm_outdir *dir = NULL;
    (void)snprintf(path, sizeof path, "%s", scratch_path(s, "d"));
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(mkdir(scratch_path(s, "d/.lvlm-tmp"), 0777), 0);
    (void)scratch_write(s, "d/.lvlm-tmp/half", "half", 4);
    assert_int_equal(mkdir(scratch_path(s, ".d.lvlm-tmp"), 0777), 0);
    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, NULL), 0);
    assert_int_equal(lvlm_outdir_commit(dir, NULL), 0);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, "d"), 0);
    assert_int_equal(scratch_count(s, ""), 1);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void a_file_keeps_its_mode(void **state)
{
    scratch *s = *state;
    const char *const path = scratch_write(s, "f", "old", 3);
    assert_int_equal(chmod(path, 0600), 0);
    lvlm_outfile *const file = open_outfile(path);
    assert_int_equal(mode_of(lvlm_outfile_temporary(file)), 0600); /* meanwhile too */
    assert_int_equal(lvlm_outfile_commit(file, NULL), 0);
    lvlm_outfile_close(file);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(symlink("f", scratch_path(s, "link")), 0);
    assert_int_equal(lvlm_outfile_save(scratch_path(s, "link"), "x", 1, true, NULL), 0);
    assert_int_equal(mode_of(scratch_path(s, "link")), 0600);
}

static void an_empty_folder_keeps_its_mode(void **state)
{
    scratch *s = *state;
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, "%s", scratch_path(s, "d"));
    assert_int_equal(mkdir(path, 0700), 0);
    lvlm_outdir *const dir = open_outdir(path, NULL);
    assert_int_equal(lvlm_outdir_commit(dir, NULL), 0);
    lvlm_outdir_close(dir);
    assert_int_equal(mode_of(path), 0700);
}

static void a_link_to_a_device_is_never_replaced(void **state)
{
    scratch *s = *state;
    const char *const path = scratch_path(s, "link");
    lvlm_outfile *file = NULL;
    lvlm_error err;
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(lvlm_outfile_open(&file, path, true, &err), LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "is not a regular file"));
    assert_int_equal(scratch_count(s, ""), 1);
}

static void the_umask_of_the_process_stays(void **state)
{
    scratch *s = *state;
    const mode_t old = umask(077);
    lvlm_outdir *const dir = open_outdir(scratch_path(s, "d"), NULL);
    assert_int_equal(mode_of(lvlm_outdir_path(dir)), 0700);
    lvlm_outdir_close(dir);
    assert_int_equal(umask(old), 077);
}

#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_are_hidden_and_beside_their_target),
        CASE(a_name_of_any_length_can_be_written),
        CASE(a_second_run_on_a_file_is_refused),
        CASE(a_second_run_on_a_folder_is_refused),
        CASE(leftovers_of_a_killed_run_are_removed),
        CASE(leftovers_inside_a_folder_are_removed),
        CASE(a_file_keeps_its_mode),
        CASE(an_empty_folder_keeps_its_mode),
        CASE(a_link_to_a_device_is_never_replaced),
        CASE(the_umask_of_the_process_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
