/* test_zip.c - the rules of zip.c: each malformed archive is a valid one with a
 * corrupted field, with the expected message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/bytes.h"
#include "formats/container/zip.h"
#include "tests/support/archive.h"

static const char stored[] = "bytes as they are";
/* english: allow "again and again": data that compresses */
static const char repeated[] = "again and again and again and again and again";

/* Two members: "x/stored", and "x/deflated" after it. */
static void build(archive *a, bool zip64)
{
    *a = (archive){ .zip64 = zip64 };
    archive_add(a, "x/stored", stored, sizeof stored, false);
    archive_add(a, "x/deflated", repeated, sizeof repeated, true);
    archive_finish(a);
}

static int read_archive(lvlm_zip *zip, const archive *a, lvlm_arena *arena,
                        lvlm_error *err)
{
    const lvlm_infile file = { .bytes = a->bytes, .n_bytes = a->n };
    return lvlm_zip_read(zip, &file, arena, err);
}

static void refuse(const archive *a, const char *message)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_error err = { .text = "" };
    lvlm_zip zip;
    assert_int_equal(read_archive(&zip, a, &arena, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL)
        fail_msg("expected: %s\ngot: %s", message, err.text);
    lvlm_arena_free(&arena);
}

static void zip_reads_members(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        archive a;
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_zip zip;
        char text[sizeof repeated];
        build(&a, zip64 != 0);
        const lvlm_infile file = { .bytes = a.bytes, .n_bytes = a.n };
        assert_true(lvlm_zip_is(&file));
        assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
        assert_int_equal(zip.n_members, 2);
        assert_null(lvlm_zip_find(&zip, "x/other"));
        const lvlm_zip_member *plain = lvlm_zip_find(&zip, "x/stored");
        const lvlm_zip_member *packed = lvlm_zip_find(&zip, "x/deflated");
        assert_ptr_equal(plain, &zip.members[0]);
        assert_ptr_equal(packed, &zip.members[1]);
        assert_int_equal(plain->method, LVLM_ZIP_STORED);
        assert_int_equal(plain->n_bytes, sizeof stored);
        assert_int_equal(plain->offset, archive_data(&a, 0));
        assert_memory_equal(a.bytes + plain->offset, stored, sizeof stored);
        assert_int_equal(lvlm_zip_inflate(text, plain, &file, NULL), 0);
        assert_memory_equal(text, stored, sizeof stored);
        assert_int_equal(packed->method, LVLM_ZIP_DEFLATED);
        assert_int_equal(packed->n_bytes, sizeof repeated);
        assert_true(packed->stored_bytes < packed->n_bytes);
        assert_int_equal(lvlm_zip_inflate(text, packed, &file, NULL), 0);
        assert_memory_equal(text, repeated, sizeof repeated);
        lvlm_arena_free(&arena);
    }
}

static void zip_reads_empty_members_and_archives(void **state)
{
    archive a = { 0 };
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    char none = 'x';
    (void)state;
    archive_finish(&a);
    assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
    assert_int_equal(zip.n_members, 0);
    assert_null(lvlm_zip_find(&zip, "x"));
    a = (archive){ 0 };
    archive_add(&a, "stored", NULL, 0, false);
    archive_add(&a, "deflated", NULL, 0, true);
    archive_finish(&a);
    const lvlm_infile file = { .bytes = a.bytes, .n_bytes = a.n };
    assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(lvlm_zip_inflate(&none, &zip.members[i], &file, NULL), 0);
    assert_int_equal(none, 'x');
    lvlm_arena_free(&arena);
}

/* torch omits sizes and CRC in the local header and writes them after the data. */
static void zip_accepts_sizes_after_the_data(void **state)
{
    archive a;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    (void)state;
    build(&a, false);
    a.bytes[a.local[0] + 6] = a.bytes[a.entry[0] + 8] = 1 << 3;
    memset(a.bytes + a.local[0] + 14, 0, 12);
    assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
    assert_int_equal(zip.members[0].n_bytes, sizeof stored);
    a.bytes[a.local[0] + 18] = 1; /* if present it must be right */
    refuse(&a, "member 'x/stored': directory and local header disagree about sizes");
    lvlm_arena_free(&arena);
}

/* ---- malformed archives --------------------------------------------------------- */

enum place { LOCAL, ENTRY, SECOND, END, END64, LOCATOR }; /* SECOND: the second entry */

static const struct spoiled {
    enum place place;
    size_t at, n_bytes;
    uint64_t value;
    const char *message;
} spoiled[] = {
    { LOCAL, 0, 1, 'Q', "member 'x/stored': has no local header at 0" },
    { LOCAL, 6, 2, 2, "member 'x/stored': directory and local header disagree" },
    { LOCAL, 8, 2, 8, "directory and local header disagree" },
    { LOCAL, 14, 4, 7, "disagree about sizes" },
    { LOCAL, 18, 4, 7, "disagree about sizes" },
    { LOCAL, 22, 4, 7, "disagree about sizes" },
    { LOCAL, 26, 2, 7, "directory and local header disagree" },
    { LOCAL, 28, 2, 65535, "do not end before the directory" },
    { LOCAL, 30, 1, 'y', "directory and local header disagree" },
    { ENTRY, 0, 1, 'Q', "lists fewer members than the end record" },
    { ENTRY, 8, 2, 1, "member 'x/stored': is encrypted" },
    { ENTRY, 8, 2, 1 << 6, "is encrypted" },
    { ENTRY, 8, 2, 1 << 13, "is encrypted" },
    { ENTRY, 8, 2, 1 << 5, "is a patch" },
    { ENTRY, 10, 2, 12, "is compressed by method 12, expected stored (0) or deflated" },
    { ENTRY, 20, 4, 1 << 20, "do not end before the directory" },
    { ENTRY, 20, 4, UINT32_MAX, "do not end before the directory" },
    { ENTRY, 28, 2, 0, "name is empty or not UTF-8" },
    { ENTRY, 28, 2, 65535, "runs over the end of the directory" },
    { ENTRY, 30, 2, 65535, "runs over the end of the directory" },
    { ENTRY, 34, 2, 1, "is in another part" },
    { ENTRY, 42, 4, 4, "has no local header at 4" },
    { ENTRY, 42, 4, 0x7fffffff, "has no local header at 2147483647" },
    { ENTRY, 46, 1, 0, "name is empty or not UTF-8" },
    { ENTRY, 46, 1, 0xff, "name is empty or not UTF-8" },
    { SECOND, 24, 4, 0x7fffffff, "disagree about sizes" },
    { SECOND, 42, 4, 0, "member 'x/deflated': directory and local header disagree" },
    { END, 0, 1, 'Q', "the file is truncated" },
    { END, 4, 2, 1, "one part of a zip archive" },
    { END, 8, 2, 1, "one part of a zip archive" },
    { END, 12, 4, 1, "does not end where the end record begins" },
    { END, 16, 4, 1, "does not end where the end record begins" },
    { END, 16, 4, UINT32_MAX, "does not end where the end record begins" },
    { END, 20, 2, 1, "the file is truncated" },
};

static const struct spoiled spoiled64[] = {
    { ENTRY, 46 + 8 + 2, 2, 16, "its zip64 field is too short" },
    { ENTRY, 46 + 8 + 12, 8, UINT64_MAX, "do not end before the directory" },
    { ENTRY, 46 + 8 + 20, 8, UINT64_MAX,
      "has no local header at 18446744073709551615" },
    { END, 4, 2, 1, "one part of a zip archive" },
    { END, 10, 2, 1, "one part of a zip archive" },
    { END, 12, 4, 1, "the two end records disagree" },
    { END, 16, 4, 1, "the two end records disagree" },
    { END64, 0, 1, 'Q', "zip64 end record is not where its locator says" },
    { END64, 4, 8, 45, "zip64 end record is not where its locator says" },
    { END64, 16, 4, 1, "one part of a zip archive" },
    { END64, 24, 8, 1, "one part of a zip archive" },
    { END64, 40, 8, UINT64_MAX, "does not end where the end record begins" },
    { END64, 48, 8, UINT64_MAX, "does not end where the end record begins" },
    { LOCATOR, 4, 4, 1, "one part of a zip archive" },
    { LOCATOR, 8, 8, 1, "zip64 end record is not where its locator says" },
    { LOCATOR, 8, 8, UINT64_MAX, "zip64 end record is not where its locator says" },
    { LOCATOR, 16, 4, 2, "one part of a zip archive" },
};

static void refuse_spoiled(const struct spoiled *row, bool zip64)
{
    archive a;
    build(&a, zip64);
    const size_t places[] = {
        [LOCAL] = a.local[0], [ENTRY] = a.entry[0],      [SECOND] = a.entry[1],
        [END] = a.end,        [END64] = a.end - 20 - 56, [LOCATOR] = a.end - 20
    };
    lvlm_store_le(a.bytes + places[row->place] + row->at, row->value, row->n_bytes);
    refuse(&a, row->message);
}

static void zip_refuses_every_malformed_archive(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++)
        refuse_spoiled(&spoiled[i], false);
    for (size_t i = 0; i < sizeof spoiled64 / sizeof spoiled64[0]; i++)
        refuse_spoiled(&spoiled64[i], true);
}

static void zip_refuses_a_truncated_archive(void **state)
{
    archive a;
    (void)state;
    build(&a, true);
    const size_t whole = a.n;
    for (a.n = 0; a.n < whole; a.n++) refuse(&a, "the file is truncated");
}

static void zip_refuses_bytes_before_the_archive(void **state)
{
    archive a;
    (void)state;
    build(&a, false);
    memmove(a.bytes + 1, a.bytes, a.n);
    a.n++;
    refuse(&a, "does not end where the end record begins");
}

static void zip_refuses_duplicates_and_overlaps(void **state)
{
    archive a = { 0 };
    (void)state;
    archive_add(&a, "x", "1", 1, false);
    archive_add(&a, "x", "2", 1, false);
    archive_finish(&a);
    refuse(&a, "member 'x': is listed twice");

    /* "y" hides inside the data of "x". */
    archive inner = { 0 };
    archive_add(&inner, "y", "2", 1, false);
    a = (archive){ 0 };
    archive_add(&a, "x", inner.bytes, inner.n, false);
    archive_add(&a, "y", "2", 1, false);
    a.local[1] = archive_data(&a, 0);
    archive_finish(&a);
    refuse(&a, "member 'y': overlaps 'x'");
}

static void zip_refuses_wrong_numbers_of_members(void **state)
{
    archive a;
    (void)state;
    build(&a, false);
    a.bytes[a.end + 8] = a.bytes[a.end + 10] = 1;
    refuse(&a, "lists more members than the end record");
    build(&a, false);
    a.bytes[a.end + 8] = a.bytes[a.end + 10] = 200;
    refuse(&a, "cannot list 200 members");
}

/* ---- data ----------------------------------------------------------------------- */

static void refuse_data(const archive *a, const lvlm_zip_member *member,
                        const char *message)
{
    const lvlm_infile file = { .bytes = a->bytes, .n_bytes = a->n };
    char text[4 * sizeof repeated];
    lvlm_error err = { .text = "" };
    assert_int_equal(lvlm_zip_inflate(text, member, &file, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void zip_checks_what_it_inflates(void **state)
{
    archive a;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    (void)state;
    build(&a, false);
    assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
    lvlm_zip_member m = zip.members[1];
    m.n_bytes--;
    refuse_data(&a, &m, "do not inflate to exactly 45");
    m.n_bytes += 2;
    refuse_data(&a, &m, "do not inflate to exactly 47");
    m = zip.members[1];
    m.stored_bytes--;
    refuse_data(&a, &m, "do not inflate to exactly 46");
    m.stored_bytes += 2;
    refuse_data(&a, &m, "do not inflate to exactly 46");
    m = zip.members[1];
    m.crc32 ^= 1;
    refuse_data(&a, &m, "member 'x/deflated': is corrupt: its CRC-32 is");
    a.bytes[zip.members[0].offset] ^= 1;
    refuse_data(&a, &zip.members[0], "member 'x/stored': is corrupt: its CRC-32 is");
    a.bytes[zip.members[1].offset] = 0xff; /* no such block type */
    refuse_data(&a, &zip.members[1], "do not inflate");
    lvlm_arena_free(&arena);
}

/* 43 kB of zeros in a few bytes are possible; a terabyte is not. */
static void zip_refuses_sizes_that_deflate_cannot_reach(void **state)
{
    static const char zeros[43000];
    archive a = { 0 };
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    (void)state;
    archive_add(&a, "zeros", zeros, sizeof zeros, true);
    archive_finish(&a);
    assert_int_equal(read_archive(&zip, &a, &arena, NULL), 0);
    lvlm_store_le(a.bytes + a.local[0] + 22, 0x7fffffff, 4);
    lvlm_store_le(a.bytes + a.entry[0] + 24, 0x7fffffff, 4);
    refuse(&a, "cannot inflate to 2147483647");
    lvlm_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zip_reads_members),
        cmocka_unit_test(zip_reads_empty_members_and_archives),
        cmocka_unit_test(zip_accepts_sizes_after_the_data),
        cmocka_unit_test(zip_refuses_every_malformed_archive),
        cmocka_unit_test(zip_refuses_a_truncated_archive),
        cmocka_unit_test(zip_refuses_bytes_before_the_archive),
        cmocka_unit_test(zip_refuses_duplicates_and_overlaps),
        cmocka_unit_test(zip_refuses_wrong_numbers_of_members),
        cmocka_unit_test(zip_checks_what_it_inflates),
        cmocka_unit_test(zip_refuses_sizes_that_deflate_cannot_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
