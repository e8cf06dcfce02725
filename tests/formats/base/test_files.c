/* test_files.c - infile, outfile, outdir: input that is refused, output that appears
 * whole or not at all. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/base/outdir.h"
#include "formats/base/outfile.h"
#include "formats/base/workers.h"
#include "tests/support/scratch.h"

static int setup(void **state)
{
    scratch *s = calloc(1, sizeof *s);
    scratch_make(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* ---- infile --------------------------------------------------------------------- */

static void refuse(const char *path, const char *message)
{
    lvlm_infile *file = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(lvlm_infile_open(&file, path, &err), LVLM_EIO);
    assert_null(file);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void infile_refuses_all_but_regular_files(void **state)
{
    scratch *s = *state;
    refuse(scratch_path(s, "none"), "cannot open: No such file or directory");
    refuse(s->dir, "is a directory");
    assert_int_equal(mkfifo(scratch_path(s, "pipe"), 0600), 0);
    refuse(scratch_path(s, "pipe"), "is not a regular file"); /* and does not wait */
}

static void infile_follows_links_and_accepts_empty_files(void **state)
{
    scratch *s = *state;
    lvlm_infile *file = NULL;
    (void)scratch_write(s, "blob", "weights", 7);
    assert_int_equal(symlink("blob", scratch_path(s, "link")), 0);
    assert_int_equal(lvlm_infile_open(&file, scratch_path(s, "link"), NULL), 0);
    assert_int_equal(file->n_bytes, 7);
    assert_memory_equal(file->bytes, "weights", 7);
    lvlm_infile_close(file);
    assert_int_equal(lvlm_infile_open(&file, scratch_write(s, "empty", "", 0), NULL),
                     0);
    assert_int_equal(file->n_bytes, 0);
    lvlm_infile_close(file);
}

/* ---- outfile -------------------------------------------------------------------- */

static void outfile_appears_only_on_commit(void **state)
{
    scratch *s = *state;
    const char *path = scratch_path(s, "new");
    lvlm_outfile *file = NULL;
    assert_int_equal(lvlm_outfile_open(&file, path, false, NULL), 0);
    lvlm_outfile_write(file, "abc", 3);
    assert_false(lvlm_path_exists(path));
    lvlm_outfile_close(file); /* no commit */
    assert_int_equal(scratch_count(s, ""), 0);

    assert_int_equal(lvlm_outfile_open(&file, path, false, NULL), 0);
    lvlm_outfile_write(file, "abc", 3);
    lvlm_outfile_write(file, "def", 3);
    assert_int_equal(lvlm_outfile_commit(file, NULL), 0);
    lvlm_outfile_close(file);
    assert_true(files_equal(path, scratch_write(s, "same", "abcdef", 6)));
    assert_int_equal(scratch_count(s, ""), 2);
}

static void outfile_replaces_only_on_request(void **state)
{
    scratch *s = *state;
    const char *path = scratch_path(s, "x");
    lvlm_outfile *file = NULL;
    lvlm_error err;
    /* another file appears between open and commit */
    assert_int_equal(lvlm_outfile_open(&file, path, false, NULL), 0);
    lvlm_outfile_write(file, "mine", 4);
    scratch_copy(s, scratch_write(s, "y", "theirs", 6), "other");
    assert_int_equal(rename(scratch_path(s, "other"), path), 0);
    assert_int_equal(lvlm_outfile_commit(file, &err), LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "x: exists; --force overwrites"));
    lvlm_outfile_close(file);
    assert_int_equal(scratch_count(s, ""), 2);
    assert_true(files_equal(path, scratch_path(s, "y")));
    assert_int_equal(lvlm_outfile_open(&file, path, false, NULL), LVLM_EUSAGE);
    assert_int_equal(lvlm_outfile_save(path, "mine", 4, true, NULL), 0);
    assert_true(files_equal(path, scratch_write(s, "y", "mine", 4)));
}

static void outfile_has_the_mode_that_the_umask_leaves(void **state)
{
    scratch *s = *state;
    struct stat st;
    const mode_t old = umask(027);
    assert_int_equal(stat(scratch_write(s, "m", "m", 1), &st), 0);
    (void)umask(old);
    assert_int_equal(st.st_mode & 0777, 0640);
}

typedef struct parallel {
    lvlm_outfile *file;
    unsigned char *bytes;
    char hex[8][LVLM_DIGEST_HEX + 1];
    int next;
} parallel;

enum { PART = 300000 };

static void write_parts(void *user)
{
    parallel *p = user;
    for (int i; (i = __atomic_fetch_add(&p->next, 1, __ATOMIC_SEQ_CST)) < 8;) {
        lvlm_digest digest = lvlm_digest_start();
        for (size_t at = 0; at < PART; at += 1000)
            lvlm_outfile_write_at(p->file, (uint64_t)i * PART + at,
                                  p->bytes + (size_t)i * PART + at, 1000, &digest);
        if (lvlm_digest_finish(&digest, p->hex[i], NULL) < 0) abort();
    }
}

static void outfile_accepts_parts_from_many_threads(void **state)
{
    scratch *s = *state;
    parallel p = { .bytes = malloc(8 * PART) };
    for (size_t i = 0; i < 8 * PART; i++) p.bytes[i] = (unsigned char)(i * 7 + i / 999);
    assert_int_equal(lvlm_outfile_open(&p.file, scratch_path(s, "p"), false, NULL), 0);
    lvlm_workers_run(5, write_parts, &p);
    assert_int_equal(lvlm_outfile_commit(p.file, NULL), 0);
    lvlm_outfile_close(p.file);
    assert_true(
        files_equal(scratch_path(s, "p"), scratch_write(s, "q", p.bytes, 8 * PART)));
    for (size_t i = 0; i < 8; i++) {
        char hex[LVLM_DIGEST_HEX + 1];
        assert_int_equal(lvlm_digest_bytes(hex, p.bytes + i * PART, PART, NULL), 0);
        assert_string_equal(hex, p.hex[i]);
    }
    free(p.bytes);
}

static void outfile_on_a_full_disk_leaves_the_old_one(void **state)
{
    scratch *s = *state;
    static const char much[100000];
    const struct rlimit limit = { 4096, RLIM_INFINITY };
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    lvlm_error err = { .text = "" };
    const char *path = scratch_write(s, "f", "old", 3);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int rc = lvlm_outfile_save(path, much, sizeof much, true, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(rc, LVLM_EIO);
    assert_non_null(strstr(err.text, "f: cannot write: File too large"));
    assert_true(files_equal(path, scratch_write(s, "g", "old", 3)));
    assert_int_equal(scratch_count(s, ""), 2);
}

static void outfile_keeps_the_first_error(void **state)
{
    scratch *s = *state;
    static const char much[100000];
    const struct rlimit limit = { 4096, RLIM_INFINITY };
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    lvlm_outfile *file = NULL;
    lvlm_error err = { .text = "" };
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(lvlm_outfile_open(&file, scratch_path(s, "f"), false, NULL), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    lvlm_outfile_write(file, much, sizeof much);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    lvlm_outfile_write(file, much, sizeof much); /* there is space again: too late */
    assert_int_equal(lvlm_outfile_commit(file, &err), LVLM_EIO);
    assert_non_null(strstr(err.text, "f: cannot write: File too large"));
    lvlm_outfile_close(file);
    assert_int_equal(scratch_count(s, ""), 0);
}

static void digest_is_sha256(void **state)
{
    char hex[LVLM_DIGEST_HEX + 1];
    (void)state;
    assert_int_equal(lvlm_digest_bytes(hex, "abc", 3, NULL), 0); /* FIPS 180-4, B.1 */
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* ---- outdir --------------------------------------------------------------------- */

static void fill(const lvlm_outdir *dir)
{
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, "%s/file", lvlm_outdir_path(dir));
    assert_int_equal(lvlm_outfile_save(path, "new", 3, true, NULL), 0);
}

static void outdir_appears_whole_or_not_at_all(void **state)
{
    scratch *s = *state;
    const char *path = scratch_path(s, "dir/");
    lvlm_outdir *dir = NULL;
    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, NULL), 0);
    fill(dir);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, ""), 0);
    assert_int_equal(mkdir(scratch_path(s, "dir"), 0777), 0); /* empty is fine */
    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, NULL), 0);
    fill(dir);
    assert_int_equal(scratch_count(s, "dir"), 0);
    assert_int_equal(lvlm_outdir_commit(dir, NULL), 0);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, "dir"), 1);
    assert_int_equal(scratch_count(s, ""), 1);
}

static void outdir_keeps_what_is_not_ours(void **state)
{
    scratch *s = *state;
    lvlm_outdir *dir = NULL;
    lvlm_error err;
    assert_int_equal(mkdir(scratch_path(s, "full"), 0777), 0);
    (void)scratch_write(s, "full/theirs", "x", 1);
    const char *path = scratch_path(s, "full");
    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, &err), LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "is not empty; --force overwrites"));
    assert_int_equal(lvlm_outdir_open(&dir, path, true, NULL, NULL), 0);
    fill(dir);
    assert_int_equal(lvlm_outdir_commit(dir, NULL), 0);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, "full"), 2);
    (void)scratch_write(s, "plain", "x", 1);
    assert_int_equal(lvlm_outdir_open(&dir, scratch_path(s, "plain"), true, NULL, NULL),
                     LVLM_EUSAGE);
}

/* A directory that rename cannot replace: files are moved one by one. */
static void fill_empty(scratch *s, const char *path, const char *name)
{
    lvlm_outdir *dir = NULL;
    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, NULL), 0);
    fill(dir);
    lvlm_outdir_close(dir); /* no commit */
    assert_int_equal(scratch_count(s, name), 0);

    assert_int_equal(lvlm_outdir_open(&dir, path, false, NULL, NULL), 0);
    fill(dir);
    assert_int_equal(lvlm_outdir_commit(dir, NULL), 0);
    lvlm_outdir_close(dir);
    assert_int_equal(scratch_count(s, name), 1);
}

static void outdir_fills_an_empty_directory_under_any_name(void **state)
{
    scratch *s = *state;
    const int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(mkdir(scratch_path(s, "a"), 0777), 0);
    assert_int_equal(mkdir(scratch_path(s, "b"), 0777), 0);
    assert_int_equal(symlink("b", scratch_path(s, "link")), 0);
    assert_int_equal(chdir(scratch_path(s, "a")), 0);
    fill_empty(s, ".", "a");
    assert_int_equal(fchdir(here), 0);
    assert_int_equal(close(here), 0);
    fill_empty(s, scratch_path(s, "link"), "b");
    assert_int_equal(scratch_count(s, ""), 3);
    assert_int_equal(lvlm_outdir_open(&(lvlm_outdir *){ NULL }, "", false, NULL, NULL),
                     LVLM_EUSAGE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(infile_refuses_all_but_regular_files),
        CASE(infile_follows_links_and_accepts_empty_files),
        CASE(outfile_appears_only_on_commit),
        CASE(outfile_replaces_only_on_request),
        CASE(outfile_has_the_mode_that_the_umask_leaves),
        CASE(outfile_accepts_parts_from_many_threads),
        CASE(outfile_on_a_full_disk_leaves_the_old_one),
        CASE(outfile_keeps_the_first_error),
        CASE(digest_is_sha256),
        CASE(outdir_appears_whole_or_not_at_all),
        CASE(outdir_keeps_what_is_not_ours),
        CASE(outdir_fills_an_empty_directory_under_any_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
