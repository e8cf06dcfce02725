/* archive.c - see archive.h; every error fails the test. */
#include "tests/support/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "formats/base/bytes.h"

static void put(archive *a, const void *bytes, size_t n)
{
    assert_true(n <= sizeof a->bytes - a->n);
    if (n > 0) memcpy(a->bytes + a->n, bytes, n);
    a->n += n;
}

static void put_number(archive *a, uint64_t value, size_t n_bytes)
{
    unsigned char bytes[8];
    lvlm_store_le(bytes, value, n_bytes);
    put(a, bytes, n_bytes);
}

static size_t compress_raw(unsigned char *to, size_t room, const void *bytes, size_t n)
{
    z_stream z = { 0 };
    unsigned char copy[ARCHIVE_BYTES];
    assert_true(n <= sizeof copy);
    if (n > 0) memcpy(copy, bytes, n);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    z.next_in = copy;
    z.avail_in = (uInt)n;
    z.next_out = to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

void archive_add(archive *a, const char *name, const void *bytes, size_t n,
                 bool deflate)
{
    unsigned char packed[ARCHIVE_BYTES];
    const size_t n_packed = deflate ? compress_raw(packed, sizeof packed, bytes, n) : n;
    assert_true(a->n_members < ARCHIVE_MEMBERS);
    a->local[a->n_members++] = a->n;
    put(a, "PK\003\004", 4);
    put_number(a, 20, 2);
    put_number(a, 0, 2);
    put_number(a, deflate ? 8 : 0, 2);
    put_number(a, 0, 4); /* time and date */
    put_number(a, n > 0 ? crc32(0, bytes, (uInt)n) : 0, 4);
    put_number(a, a->zip64 ? UINT32_MAX : n_packed, 4);
    put_number(a, a->zip64 ? UINT32_MAX : n, 4);
    put_number(a, strlen(name), 2);
    put_number(a, a->zip64 ? 20 : 0, 2);
    put(a, name, strlen(name));
    if (a->zip64) {
        put_number(a, 1, 2);
        put_number(a, 16, 2);
        put_number(a, n, 8);
        put_number(a, n_packed, 8);
    }
    put(a, deflate ? packed : bytes, n_packed);
}

size_t archive_data(const archive *a, size_t i)
{
    const unsigned char *local = a->bytes + a->local[i];
    return a->local[i] + 30 + (size_t)lvlm_load_le(local + 26, 2) +
           (size_t)lvlm_load_le(local + 28, 2);
}

/* The directory repeats the local header of member `i`. */
static void put_entry(archive *a, size_t i)
{
    const size_t local = a->local[i];
    const size_t n_name = (size_t)lvlm_load_le(a->bytes + local + 26, 2);
    a->entry[i] = a->n;
    put(a, "PK\001\002", 4);
    put_number(a, 20, 2);
    put(a, a->bytes + local + 4, 24);
    put_number(a, a->zip64 ? 28 : 0, 2);
    put_number(a, 0, 2);                             /* comment */
    put_number(a, 0, 2);                             /* part */
    put_number(a, 0, 6);                             /* attributes */
    put_number(a, a->zip64 ? UINT32_MAX : local, 4); /* local header */
    put(a, a->bytes + local + 30, n_name);
    if (!a->zip64) return;
    put_number(a, 1, 2);
    put_number(a, 24, 2);
    put(a, a->bytes + local + 30 + n_name + 4, 16);
    put_number(a, local, 8);
}

void archive_finish(archive *a)
{
    const size_t directory = a->n;
    for (size_t i = 0; i < a->n_members; i++) put_entry(a, i);
    const size_t n_bytes = a->n - directory, end64 = a->n;
    if (a->zip64) {
        put(a, "PK\006\006", 4);
        put_number(a, 44, 8);
        put_number(a, 45, 2);
        put_number(a, 45, 2);
        put_number(a, 0, 8); /* parts */
        put_number(a, a->n_members, 8);
        put_number(a, a->n_members, 8);
        put_number(a, n_bytes, 8);
        put_number(a, directory, 8);
        put(a, "PK\006\007", 4);
        put_number(a, 0, 4);
        put_number(a, end64, 8);
        put_number(a, 1, 4);
    }
    a->end = a->n;
    put(a, "PK\005\006", 4);
    put_number(a, 0, 4); /* parts */
    put_number(a, a->n_members, 2);
    put_number(a, a->n_members, 2);
    put_number(a, a->zip64 ? UINT32_MAX : n_bytes, 4);
    put_number(a, a->zip64 ? UINT32_MAX : directory, 4);
    put_number(a, 0, 2);
}
