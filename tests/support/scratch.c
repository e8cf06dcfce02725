/* scratch.c - see scratch.h; every error fails the test. */
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "formats/base/bytes.h"
#include "formats/base/infile.h"

void scratch_make(scratch *s)
{
    const char *below = getenv("TMPDIR");
    *s = (scratch){ .next = 0 };
    (void)snprintf(s->dir, sizeof s->dir, "%s/lvlm-test-XXXXXX",
                   below != NULL ? below : P_tmpdir);
    assert_non_null(mkdtemp(s->dir));
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        char below[2 * SCRATCH_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            remove_tree(below);
        else
            assert_int_equal(unlink(below), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

void scratch_remove(scratch *s)
{
    remove_tree(s->dir);
}

int scratch_setup(void **state)
{
    static scratch s;
    scratch_make(&s);
    *state = &s;
    return 0;
}

int scratch_teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

const char *scratch_path(scratch *s, const char *name)
{
    char built[SCRATCH_PATH + sizeof s->dir]; /* `name` may be one of our own paths */
    const int n = snprintf(built, sizeof built, "%s/%s", s->dir, name);
    assert_true(n > 0 && n < SCRATCH_PATH);
    return memcpy(s->path[s->next++ % 8], built, (size_t)n + 1);
}

/* Replaces a file by a new one. Not by an outfile, which waits for the disk: tests
 * write thousands of files, and none has to survive a crash. */
static void write_file(const char *path, const void *bytes, size_t n)
{
    (void)unlink(path);
    FILE *const file = fopen(path, "wb");
    if (file == NULL || (n > 0 && fwrite(bytes, 1, n, file) != n) || fclose(file) != 0)
        fail_msg("%s: cannot be written", path);
}

const char *scratch_write(scratch *s, const char *name, const void *bytes, size_t n)
{
    const char *path = scratch_path(s, name);
    write_file(path, bytes, n);
    return path;
}

void scratch_tree(scratch *s, const scratch_file *files, size_t most)
{
    for (size_t i = 0; i < most && files[i].path != NULL; i++) {
        char path[SCRATCH_PATH];
        const int n = snprintf(path, sizeof path, "%s%s", s->dir, files[i].path);
        assert_true(n > 0 && n < SCRATCH_PATH);
        for (char *at = path + strlen(s->dir) + 1; (at = strchr(at, '/')) != NULL;
             at++) {
            *at = '\0';
            (void)mkdir(path, 0777);
            *at = '/';
        }
        (void)scratch_write(s, files[i].path + 1, files[i].text, strlen(files[i].text));
    }
}

const char *scratch_safetensors(scratch *s, const char *name, const char *header,
                                const void *data, size_t n)
{
    const size_t length = strlen(header);
    unsigned char *bytes = malloc(8 + length + n + 1);
    assert_non_null(bytes);
    lvlm_store_le(bytes, length, 8);
    memcpy(bytes + 8, header, length);
    if (n > 0) memcpy(bytes + 8 + length, data, n);
    const char *path = scratch_write(s, name, bytes, 8 + length + n);
    free(bytes);
    return path;
}

static void copy_file(const char *from, const char *to)
{
    lvlm_infile *in = NULL;
    lvlm_error err;
    if (lvlm_infile_open(&in, from, &err) < 0) fail_msg("%s", err.text);
    write_file(to, in->bytes, (size_t)in->n_bytes);
    lvlm_infile_close(in);
}

void scratch_copy(scratch *s, const char *from, const char *name)
{
    char **names;
    size_t n;
    if (!lvlm_path_is_directory(from)) {
        copy_file(from, scratch_path(s, name));
        return;
    }
    assert_int_equal(mkdir(scratch_path(s, name), 0777), 0);
    assert_int_equal(lvlm_path_list(&names, &n, from, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char source[SCRATCH_PATH], target[SCRATCH_PATH];
        (void)snprintf(source, sizeof source, "%s/%s", from, names[i]);
        (void)snprintf(target, sizeof target, "%s/%s", name, names[i]);
        copy_file(source, scratch_path(s, target));
    }
    lvlm_path_list_free(names, n);
}

size_t scratch_count(scratch *s, const char *name)
{
    DIR *dir = opendir(scratch_path(s, name));
    size_t n = 0;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

bool files_equal(const char *a, const char *b)
{
    lvlm_infile *x = NULL, *y = NULL;
    bool equal = lvlm_infile_open(&x, a, NULL) == 0 &&
                 lvlm_infile_open(&y, b, NULL) == 0 && x->n_bytes == y->n_bytes;
    if (equal && x->n_bytes > 0)
        equal = memcmp(x->bytes, y->bytes, (size_t)x->n_bytes) == 0;
    lvlm_infile_close(x);
    lvlm_infile_close(y);
    return equal;
}

bool directories_equal(const char *a, const char *b)
{
    char **x, **y;
    size_t n, m;
    assert_int_equal(lvlm_path_list(&x, &n, a, NULL), 0);
    assert_int_equal(lvlm_path_list(&y, &m, b, NULL), 0);
    bool equal = n == m;
    for (size_t i = 0; i < n && equal; i++) {
        char left[SCRATCH_PATH], right[SCRATCH_PATH];
        (void)snprintf(left, sizeof left, "%s/%s", a, x[i]);
        (void)snprintf(right, sizeof right, "%s/%s", b, y[i]);
        equal = strcmp(x[i], y[i]) == 0 && files_equal(left, right);
    }
    lvlm_path_list_free(x, n);
    lvlm_path_list_free(y, m);
    return equal;
}

void file_replace(const char *path, const char *from, const char *to)
{
    FILE *file = fopen(path, "r+b");
    char bytes[1 << 16];
    const size_t n = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;
    const char *at = memmem(bytes, n, from, strlen(from));
    assert_int_equal(strlen(from), strlen(to));
    if (at == NULL) fail_msg("%s: does not contain '%s'", path, from);
    assert_int_equal(fseek(file, at - bytes, SEEK_SET), 0);
    assert_int_equal(fwrite(to, 1, strlen(to), file), strlen(to));
    assert_int_equal(fclose(file), 0);
}

lvlm_outfile *open_outfile(const char *path)
{
    lvlm_outfile *file = NULL;
    lvlm_error err;
    if (lvlm_outfile_open(&file, path, true, &err) < 0) fail_msg("%s", err.text);
    return file;
}

lvlm_outdir *open_outdir(const char *path, const lvlm_outdir_set *set)
{
    lvlm_outdir *dir = NULL;
    lvlm_error err;
    if (lvlm_outdir_open(&dir, path, true, set, &err) < 0) fail_msg("%s", err.text);
    return dir;
}
