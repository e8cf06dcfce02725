/* test_outfile.c - details of output: many small writes, odd targets, no leftovers.
 * (The contract: test_files.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/base/outfile.h"
#include "tests/support/scratch.h"

static void expect_refusal(const char *path, bool overwrite, const char *message)
{
    lvlm_outfile *file = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(lvlm_outfile_open(&file, path, overwrite, &err), LVLM_EUSAGE);
    assert_null(file);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void outfile_joins_small_and_large_writes(void **state)
{
    enum { N = 400000 };
    scratch s;
    unsigned char *bytes = malloc(N);
    lvlm_outfile *file = NULL;
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < N; i++) bytes[i] = (unsigned char)(i * 31 + i / 1000);
    scratch_make(&s);
    assert_int_equal(lvlm_outfile_open(&file, scratch_path(&s, "f"), false, NULL), 0);
    size_t at = 0;
    for (size_t n = 1; at + n <= N; at += n, n = n * 5 % 99991)
        lvlm_outfile_write(file, bytes + at, n); /* below, at and over the buffer */
    lvlm_outfile_write(file, bytes + at, N - at);
    lvlm_outfile_write(file, NULL, 0);
    assert_int_equal(lvlm_outfile_commit(file, NULL), 0);
    lvlm_outfile_close(file);
    assert_true(files_equal(scratch_path(&s, "f"), scratch_write(&s, "g", bytes, N)));
    scratch_remove(&s);
    free(bytes);
}

static void outfile_mixes_appends_and_writes_at_an_offset(void **state)
{
    scratch s;
    lvlm_outfile *file = NULL;
    (void)state;
    scratch_make(&s);
    assert_int_equal(lvlm_outfile_open(&file, scratch_path(&s, "f"), false, NULL), 0);
    lvlm_outfile_write(file, "head", 4);
    lvlm_outfile_write_at(file, 8, "tail", 4, NULL);
    lvlm_outfile_write(file, "body", 4);
    assert_int_equal(lvlm_outfile_commit(file, NULL), 0);
    lvlm_outfile_close(file);
    assert_true(
        files_equal(scratch_path(&s, "f"), scratch_write(&s, "g", "headbodytail", 12)));
    scratch_remove(&s);
}

static void outfile_refuses_directories_and_devices(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    assert_int_equal(mkfifo(scratch_path(&s, "pipe"), 0600), 0);
    expect_refusal(s.dir, false, "is a directory");
    expect_refusal(s.dir, true, "is a directory");
    expect_refusal(scratch_path(&s, "pipe"), false, "pipe: exists; --force");
    expect_refusal(scratch_path(&s, "pipe"), true, "is not a regular file");
    scratch_remove(&s);
}

static void outfile_replaces_a_link_and_not_what_it_names(void **state)
{
    scratch s;
    struct stat st;
    (void)state;
    scratch_make(&s);
    const char *blob = scratch_write(&s, "blob", "old", 3);
    const char *alias = scratch_path(&s, "link");
    assert_int_equal(symlink("blob", alias), 0);
    expect_refusal(alias, false, "link: exists");
    assert_int_equal(lvlm_outfile_save(alias, "new", 3, true, NULL), 0);
    assert_int_equal(lstat(alias, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_true(files_equal(blob, scratch_write(&s, "same", "old", 3)));
    scratch_remove(&s);
}

static void outfile_keeps_open_mappings_of_the_old_file(void **state)
{
    scratch s;
    lvlm_infile *old = NULL;
    (void)state;
    scratch_make(&s);
    const char *path = scratch_write(&s, "f", "old bytes", 9);
    assert_int_equal(lvlm_infile_open(&old, path, NULL), 0);
    assert_int_equal(lvlm_outfile_save(path, "x", 1, true, NULL), 0);
    assert_memory_equal(old->bytes, "old bytes", 9);
    lvlm_infile_close(old);
    scratch_remove(&s);
}

static void outfile_needs_its_directory(void **state)
{
    scratch s;
    lvlm_error err = { .text = "" };
    (void)state;
    scratch_make(&s);
    const char *path = scratch_path(&s, "none/f");
    assert_int_equal(lvlm_outfile_save(path, "x", 1, false, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "none/f: cannot create: No such file"));
    assert_int_equal(scratch_count(&s, ""), 0);
    scratch_remove(&s);
}

/* A file name without a directory is in the working directory. */
static void outfile_accepts_a_bare_name(void **state)
{
    scratch s;
    char here[4096];
    (void)state;
    scratch_make(&s);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(s.dir), 0);
    const int rc = lvlm_outfile_save("bare", "x", 1, false, NULL);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rc, 0);
    assert_true(lvlm_path_exists(scratch_path(&s, "bare")));
    assert_int_equal(scratch_count(&s, ""), 1);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outfile_joins_small_and_large_writes),
        cmocka_unit_test(outfile_mixes_appends_and_writes_at_an_offset),
        cmocka_unit_test(outfile_refuses_directories_and_devices),
        cmocka_unit_test(outfile_replaces_a_link_and_not_what_it_names),
        cmocka_unit_test(outfile_keeps_open_mappings_of_the_old_file),
        cmocka_unit_test(outfile_needs_its_directory),
        cmocka_unit_test(outfile_accepts_a_bare_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
