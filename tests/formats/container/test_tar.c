/* test_tar.c - members of a tar: names of every kind, sizes, what is passed over, and
 * damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/container/tar.h"
#include "tests/support/scratch.h"

enum { BLOCK = 512, ROOM = 40 * BLOCK };

/* A tar in the making. */
typedef struct maker {
    unsigned char bytes[ROOM];
    size_t n;
} maker;

static void set_sum(unsigned char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++) sum += h[i];
    (void)snprintf((char *)h + 148, 8, "%06o", sum);
}

/* Append a header of this kind, and its data. */
static unsigned char *put(maker *m, char kind, const char *prefix, const char *name,
                          const char *data, size_t n)
{
    unsigned char *const h = m->bytes + m->n;
    assert_true(m->n + BLOCK + n + BLOCK <= ROOM && strlen(name) <= 100);
    memcpy(h, name, strlen(name));
    (void)snprintf((char *)h + 124, 12, "%011o", (unsigned)n);
    h[156] = (unsigned char)kind;
    memcpy(h + 257, "ustar", 6);
    (void)snprintf((char *)h + 345, 155, "%s", prefix);
    set_sum(h);
    memcpy(h + BLOCK, data, n);
    m->n += BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK;
    return h;
}

static unsigned char *file(maker *m, const char *name, const char *data)
{
    return put(m, '0', "", name, data, strlen(data));
}

static lvlm_infile as_file(const maker *m, size_t n)
{
    static char path[] = "x.tar";
    return (lvlm_infile){ .bytes = m->bytes, .n_bytes = n, .path = path };
}

/* "NAME=data;NAME=data;", or the error. */
static int list(char out[8192], const maker *m, size_t n, lvlm_error *err)
{
    const lvlm_infile f = as_file(m, n);
    lvlm_tar tar = { .file = &f };
    lvlm_tar_member member;
    size_t used = 0;
    int rc;
    *out = '\0';
    while ((rc = lvlm_tar_next(&member, &tar, err)) > 0) {
        assert_true(member.offset + member.n_bytes <= n);
        used += (size_t)snprintf(out + used, 8192 - used, "%s=%.*s;", member.name,
                                 (int)member.n_bytes, f.bytes + member.offset);
    }
    return rc;
}

static void check(const maker *m, const char *expected)
{
    char text[8192];
    lvlm_error err;
    if (list(text, m, m->n + 2 * BLOCK, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(text, expected);
}

static void check_refused(const maker *m, size_t n, const char *said)
{
    char text[8192];
    lvlm_error err;
    assert_int_equal(list(text, m, n, &err), LVLM_EFORMAT);
    if (strstr(err.text, said) == NULL) fail_msg("'%s' lacks '%s'", err.text, said);
}

static void tar_names_its_files(void **state)
{
    maker m = { .n = 0 };
    char name[101];
    (void)state;
    memset(name, 'n', 100);
    name[100] = '\0';
    (void)file(&m, "a/b.jpg", "one");
    (void)file(&m, "empty", "");
    (void)put(&m, '5', "", "folder/", "", 0);
    (void)put(&m, '\0', "", "old", "two", 3);
    (void)put(&m, '0', "pre/fix", "c.txt", "three", 5);
    check(&m, "a/b.jpg=one;empty=;old=two;pre/fix/c.txt=three;");
    m = (maker){ .n = 0 };
    (void)file(&m, name, "x");
    check(&m, "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
              "nnnnnnnnnnnnnnnnnnnnnnnnnnnn=x;");
}

static void tar_reads_headers_before_a_file(void **state)
{
    maker m = { .n = 0 };
    (void)state;
    (void)put(&m, 'g', "", "g", "11 path=no\n", 11);
    (void)put(&m, 'x', "", "x", "20 mtime=17.1234567\n15 path=long/a\n", 35);
    (void)file(&m, "short", "one");
    (void)file(&m, "next", "two");
    (void)put(&m, 'L', "", "././@LongLink", "gnu/name", 9);
    (void)file(&m, "short", "three");
    (void)put(&m, 'x', "", "x", "10 size=2\n", 10);
    (void)file(&m, "sized", "four");
    check(&m, "long/a=one;next=two;gnu/name=three;sized=fo;");
    unsigned char *const h = file(&m, "binary", "five");
    memset(h + 124, 0, 12);
    h[124] = 0x80;
    h[135] = 4;
    set_sum(h);
    check(&m, "long/a=one;next=two;gnu/name=three;sized=fo;binary=five;");
}

static void tar_refuses_damage(void **state)
{
    maker m = { .n = 0 };
    (void)state;
    check_refused(&m, 0, "x.tar: byte 0: is not a tar");
    check_refused(&m, BLOCK, "byte 0: is not a tar");
    (void)file(&m, "a", "one");
    unsigned char *const h = file(&m, "b", "two");
    check_refused(&m, m.n, "byte 2048: is cut off: expected a header of a tar, or its");
    check_refused(&m, m.n - BLOCK + 2, "byte 1024: b is cut off: 3 bytes, and 2 are");
    check_refused(&m, m.n - BLOCK - 1, "byte 1024: is cut off: expected a header");
    h[0] ^= 1;
    check_refused(&m, m.n, "byte 1024: its checksum does not fit: it is damaged");
    h[0] ^= 1;
    h[130] = 'x';
    set_sum(h);
    check_refused(&m, m.n, "byte 1024: a size that is not a number");
    static const struct {
        char kind;
        const char *data, *said;
    } cases[] = {
        { 'S', "x", "a sparse file, which is not read" },
        { 'x', "9 path=a\n2", "a pax record that is damaged" },
        { 'x', "99 path=a\n", "a pax record that is damaged" },
        { 'x', "3 \n", "a pax record without =" },
        { 'x', "2 \n", "a pax record that is damaged" },
        { 'x', "8 path=\n", "a name of 0 bytes" },
        { 'x', "9 size=a\n", "a pax size that is not a number" },
        { 'x', "8 size=\n", "a pax size of 0 digits" },
        { 'L', "", "a name of 0 bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m = (maker){ .n = 0 };
        (void)put(&m, cases[i].kind, "", "x", cases[i].data, strlen(cases[i].data));
        check_refused(&m, m.n + 2 * BLOCK, cases[i].said);
    }
}

static void a_path_leads_into_a_tar(void **state)
{
    scratch s = { .next = 0 };
    lvlm_infile *f = NULL;
    lvlm_tar_member member;
    lvlm_error err;
    maker m = { .n = 0 };
    char path[512];
    (void)state;
    (void)file(&m, "a", "one");
    (void)file(&m, "f/b.png", "two");
    scratch_make(&s);
    const char *const tar = scratch_write(&s, "x.tar", m.bytes, m.n + 2 * BLOCK);
    assert_null(lvlm_tar_inside(tar));
    (void)snprintf(path, sizeof path, "%s/f/b.png", tar);
    assert_string_equal(lvlm_tar_inside(path), "f/b.png");
    assert_int_equal(lvlm_tar_open(&f, &member, path, &err), 0);
    assert_int_equal(member.n_bytes, 3);
    assert_memory_equal(f->bytes + member.offset, "two", 3);
    lvlm_infile_close(f);
    (void)snprintf(path, sizeof path, "%s/c", tar);
    assert_int_equal(lvlm_tar_open(&f, &member, path, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "x.tar: has no file c"));
    assert_null(lvlm_tar_inside("nowhere.tar/a"));
    scratch_remove(&s);
}

/* Finds `path` and compares the bytes of the member. */
static void check_found(const lvlm_tar_index *index, const char *path, const char *data)
{
    lvlm_tar_member member;
    const lvlm_tar_index *const in = lvlm_tar_index_find(&member, index, path);
    if (in == NULL) fail_msg("%s is not found", path);
    assert_int_equal(member.n_bytes, strlen(data));
    assert_memory_equal(in->file->bytes + member.offset, data, strlen(data));
}

static void an_index_finds_members(void **state)
{
    scratch s = { .next = 0 };
    lvlm_tar_index first, second;
    lvlm_tar_member member;
    lvlm_error err;
    maker m = { .n = 0 };
    char path[512];
    (void)state;
    scratch_make(&s);
    (void)file(&m, "f/b.png", "two");
    const char *const one = scratch_write(&s, "x.tar", m.bytes, m.n + 2 * BLOCK);
    (void)file(&m, "c", "three");
    (void)file(&m, "a", "one");
    (void)file(&m, "a", "again");
    const char *const other = scratch_write(&s, "x.tar.tar", m.bytes, m.n + 2 * BLOCK);
    assert_int_equal(lvlm_tar_index_open(&first, one, &err), 0);
    assert_int_equal(lvlm_tar_index_open(&second, other, &err), 0);
    first.next = &second;
    (void)snprintf(path, sizeof path, "%s/f/b.png", one);
    check_found(&first, path, "two");
    assert_null(lvlm_tar_index_find(&member, &second, path));
    assert_null(lvlm_tar_index_find(&member, NULL, path));
    (void)snprintf(path, sizeof path, "%s/a", one);
    assert_null(lvlm_tar_index_find(&member, &first, path));
    assert_null(lvlm_tar_index_find(&member, &first, one));
    (void)snprintf(path, sizeof path, "%s/a", other);
    check_found(&first, path, "one"); /* as lvlm_tar_open */
    (void)snprintf(path, sizeof path, "%s/c", other);
    check_found(&first, path, "three");
    lvlm_tar_index_close(&first);
    lvlm_tar_index_close(&second);
    const char *const cut = scratch_write(&s, "cut.tar", m.bytes, BLOCK + 2);
    assert_int_equal(lvlm_tar_index_open(&first, cut, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "cut.tar: byte 0: f/b.png is cut off"));
    lvlm_tar_index_close(&first);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tar_names_its_files),
        cmocka_unit_test(tar_reads_headers_before_a_file),
        cmocka_unit_test(tar_refuses_damage),
        cmocka_unit_test(a_path_leads_into_a_tar),
        cmocka_unit_test(an_index_finds_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
