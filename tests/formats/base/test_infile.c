/* test_infile.c - lists and names of files, changes to open files, madvise, watchers.
 * (Refusals: test_files.c.) */
#include <fcntl.h>
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
#include "tests/support/scratch.h"

static void list_is_sorted_and_of_regular_files(void **state)
{
    static const char *const expected[] = { ".hidden", "B", "a", "b", "link" };
    scratch s;
    char **names = NULL;
    size_t n = 0;
    (void)state;
    scratch_make(&s);
    (void)scratch_write(&s, "b", "", 0);
    (void)scratch_write(&s, "a", "", 0);
    (void)scratch_write(&s, "B", "", 0);
    (void)scratch_write(&s, ".hidden", "", 0);
    assert_int_equal(mkdir(scratch_path(&s, "folder"), 0700), 0);
    assert_int_equal(symlink("a", scratch_path(&s, "link")), 0);
    assert_int_equal(symlink("gone", scratch_path(&s, "dangling")), 0);
    assert_int_equal(lvlm_path_list(&names, &n, s.dir, NULL), 0);
    assert_int_equal(n, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < n; i++) assert_string_equal(names[i], expected[i]);
    lvlm_path_list_free(names, n);
    scratch_remove(&s);
}

static void list_of_a_regular_file_fails(void **state)
{
    scratch s;
    char **names = NULL;
    size_t n = 0;
    lvlm_error err = { .text = "" };
    (void)state;
    scratch_make(&s);
    const char *path = scratch_write(&s, "file", "", 0);
    assert_int_equal(lvlm_path_list(&names, &n, path, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "file: cannot list: Not a directory"));
    assert_null(names);
    scratch_remove(&s);
}

static void paths_are_classified_and_their_base_found(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    const char *path = scratch_write(&s, "file", "", 0);
    assert_true(lvlm_path_exists(path) && !lvlm_path_is_directory(path));
    assert_true(lvlm_path_exists(s.dir) && lvlm_path_is_directory(s.dir));
    assert_false(lvlm_path_exists(scratch_path(&s, "none")));
    assert_string_equal(lvlm_path_base("a/b/c"), "c");
    assert_string_equal(lvlm_path_base("c"), "c");
    assert_string_equal(lvlm_path_base("a/"), "");
    scratch_remove(&s);
}

static void advice_changes_no_byte(void **state)
{
    static unsigned char bytes[20000];
    scratch s;
    lvlm_infile *file = NULL;
    (void)state;
    scratch_make(&s);
    memset(bytes, 7, sizeof bytes);
    const char *path = scratch_write(&s, "f", bytes, sizeof bytes);
    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    lvlm_infile_done_with(file, 0, sizeof bytes);
    lvlm_infile_done_with(file, 5, 10); /* no whole page */
    assert_memory_equal(file->bytes, bytes, sizeof bytes);
    lvlm_infile_close(file);
    lvlm_infile_close(NULL);
    scratch_remove(&s);
}

/* Bytes that were read do not change: madvise must not drop them like mapped pages. */
static void advice_keeps_bytes_that_were_read(void **state)
{
    static unsigned char bytes[20000];
    scratch s;
    lvlm_infile *file = NULL;
    (void)state;
    scratch_make(&s);
    memset(bytes, 7, sizeof bytes);
    const char *path = scratch_write(&s, "f", bytes, sizeof bytes);
    assert_int_equal(lvlm_infile_open(&file, path, NULL), 0);
    assert_false(file->mapped);
    assert_int_equal(truncate(path, 0), 0);
    lvlm_infile_done_with(file, 0, sizeof bytes);
    assert_memory_equal(file->bytes, bytes, sizeof bytes);
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static void a_write_to_an_open_file_is_detected(void **state)
{
    scratch s;
    lvlm_infile *file = NULL;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    const char *path = scratch_write(&s, "f", "12345", 5);
    const struct timespec other_time[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    assert_int_equal(lvlm_infile_unchanged(file, &err), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, other_time, 0), 0);
    assert_int_equal(lvlm_infile_unchanged(file, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "f: was written to while it was in use"));
    assert_int_equal(unlink(path), 0);
    /* the mapping is of the old file */
    assert_int_equal(lvlm_infile_unchanged(file, &err), 0);
    scratch_write(&s, "f", "other", 5);
    assert_int_equal(lvlm_infile_unchanged(file, &err), 0);
    lvlm_infile_close(file);

    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    assert_int_equal(truncate(path, 2), 0);
    assert_int_equal(lvlm_infile_unchanged(file, &err), LVLM_EIO);
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static const lvlm_infile *watched;

static void count_mapped(const lvlm_infile *file)
{
    watched = file;
}

static void count_unmapped(const lvlm_infile *file)
{
    assert_ptr_equal(file, watched);
    watched = NULL;
}

static void watchers_are_called_for_each_mapping(void **state)
{
    scratch s;
    lvlm_infile *file = NULL;
    (void)state;
    scratch_make(&s);
    const char *path = scratch_write(&s, "f", "12345", 5);
    lvlm_infile_watch(count_mapped, count_unmapped);
    assert_int_equal(lvlm_infile_open(&file, path, NULL), 0);
    assert_null(watched);
    lvlm_infile_close(file);
    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    assert_ptr_equal(watched, file);
    lvlm_infile_close(file);
    assert_null(watched);
    lvlm_infile_watch(NULL, NULL);
    scratch_remove(&s);
}

static void links_out_of_a_folder_are_found(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    char dir[SCRATCH_PATH];
    snprintf(dir, sizeof dir, "%s", scratch_path(&s, "model"));
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(scratch_path(&s, "models--a--b"), 0700), 0);
    assert_int_equal(mkdir(scratch_path(&s, "models--a--b/blobs"), 0700), 0);
    scratch_write(&s, "models--a--b/blobs/01", "x", 1);
    scratch_write(&s, "model/file", "x", 1);
    scratch_write(&s, "modelfile", "x", 1);
    assert_int_equal(symlink("file", scratch_path(&s, "model/in")), 0);
    assert_int_equal(symlink("../modelfile", scratch_path(&s, "model/out")), 0);
    assert_int_equal(symlink("/etc/passwd", scratch_path(&s, "model/far")), 0);
    assert_int_equal(symlink("../models--a--b/blobs/01", scratch_path(&s, "model/hub")),
                     0);
    assert_false(lvlm_path_leads_out(dir, "file"));
    assert_false(lvlm_path_leads_out(dir, "in"));
    assert_true(lvlm_path_leads_out(dir, "out"));
    assert_true(lvlm_path_leads_out(dir, "far"));
    assert_false(lvlm_path_leads_out(dir, "hub"));
    assert_false(lvlm_path_leads_out(dir, "none"));
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_sorted_and_of_regular_files),
        cmocka_unit_test(list_of_a_regular_file_fails),
        cmocka_unit_test(paths_are_classified_and_their_base_found),
        cmocka_unit_test(advice_changes_no_byte),
        cmocka_unit_test(advice_keeps_bytes_that_were_read),
        cmocka_unit_test(a_write_to_an_open_file_is_detected),
        cmocka_unit_test(watchers_are_called_for_each_mapping),
        cmocka_unit_test(links_out_of_a_folder_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
