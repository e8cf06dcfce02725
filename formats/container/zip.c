/* zip.c - reads zip archives in a mapped file, including 64-bit sizes.
 *
 *   read_end      the end record, searched from the end; the zip64 one if present
 *   read_entry    one entry of the central directory
 *   check_local   the local header that the entry refers to
 *   validate      the rules that involve all members
 *
 * Strict, because lenient readers can disagree about the contents of an archive: no gap
 * between directory and end, no leading bytes that shift offsets, no duplicate
 * names. */
#include "formats/container/zip.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/base/utf8.h"

#define LOCAL_MAGIC "PK\003\004"
#define ENTRY_MAGIC "PK\001\002"
#define END_MAGIC "PK\005\006"
#define END64_MAGIC "PK\006\006"
#define LOCATOR_MAGIC "PK\006\007"

enum {
    LOCAL_BYTES = 30, /* without their variable parts */
    ENTRY_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    END64_LEAD = 12, /* magic and length */
    LOCATOR_BYTES = 20,
    MAX_COMMENT = 65535,
    EXTRA_ZIP64 = 1,
    FLAG_SIZES_BEHIND = 1u << 3,
    FLAG_ENCRYPTED = 1u << 0 | 1u << 6 | 1u << 13,
    FLAG_PATCH = 1u << 5,
};

/* A 32-bit field that refers to the zip64 extra field. */
#define IN_ZIP64 UINT32_MAX

/* Deflate compresses at most 1032 to 1; a directory that claims more is a bomb. */
enum { MAX_RATIO = 1032 };

static bool is_magic(const unsigned char *bytes, const char *magic)
{
    return memcmp(bytes, magic, 4) == 0;
}

static uint16_t load16(const unsigned char *from)
{
    return (uint16_t)lvlm_load_le(from, 2);
}

static uint32_t load32(const unsigned char *from)
{
    return (uint32_t)lvlm_load_le(from, 4);
}

/* Are n bytes at `at` inside the first `end` bytes? */
static bool inside(uint64_t at, uint64_t n, uint64_t end)
{
    return at <= end && n <= end - at;
}

bool lvlm_zip_is(const lvlm_infile *file)
{
    return file->n_bytes >= 4 &&
           (is_magic(file->bytes, LOCAL_MAGIC) || is_magic(file->bytes, END_MAGIC));
}

/* ---- the end -------------------------------------------------------------------- */

/* The contents of the end records. */
typedef struct directory {
    uint64_t offset;
    uint64_t n_bytes;
    uint64_t n_entries;
} directory;

/* Find the end record: the last one whose comment ends with the file. */
static int find_end(uint64_t *out, const lvlm_infile *file, lvlm_error *err)
{
    const uint64_t last = file->n_bytes - END_BYTES;
    for (uint64_t comment = 0; comment <= MAX_COMMENT; comment++) {
        if (file->n_bytes < END_BYTES || comment > last) break;
        const unsigned char *end = file->bytes + (last - comment);
        if (!is_magic(end, END_MAGIC) || load16(end + 20) != comment) continue;
        *out = last - comment;
        return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "does not end like a zip archive; the file is truncated");
}

/* Read the zip64 end record if there is a locator before the end record at `*end`,
 * which is then set to the start of the zip64 one. */
static int read_end64(directory *dir, bool *found, uint64_t *end,
                      const lvlm_infile *file, lvlm_error *err)
{
    *found = false;
    if (*end < LOCATOR_BYTES) return 0;
    const uint64_t before = *end - LOCATOR_BYTES;
    const unsigned char *locator = file->bytes + before;
    if (!is_magic(locator, LOCATOR_MAGIC)) return 0;
    FAIL_IF(load32(locator + 4) != 0 || load32(locator + 16) > 1, err, LVLM_EFORMAT,
            "is one part of a zip archive in several files");
    const uint64_t at = lvlm_load_le(locator + 8, 8);
    FAIL_IF(
        !inside(at, END64_BYTES, before) || !is_magic(file->bytes + at, END64_MAGIC) ||
            lvlm_load_le(file->bytes + at + 4, 8) != before - at - END64_LEAD,
        err, LVLM_EFORMAT, "zip: the zip64 end record is not where its locator says");
    const unsigned char *record = file->bytes + at;
    FAIL_IF(load32(record + 16) != 0 || load32(record + 20) != 0 ||
                lvlm_load_le(record + 24, 8) != lvlm_load_le(record + 32, 8),
            err, LVLM_EFORMAT, "is one part of a zip archive in several files");
    dir->n_entries = lvlm_load_le(record + 32, 8);
    dir->n_bytes = lvlm_load_le(record + 40, 8);
    dir->offset = lvlm_load_le(record + 48, 8);
    *end = at;
    *found = true;
    return 0;
}

/* A field of the end record equals the zip64 one or is all ones. */
static bool agrees(uint64_t small, uint64_t ones, uint64_t large)
{
    return small == ones || small == large;
}

static int read_end(directory *dir, const lvlm_infile *file, lvlm_error *err)
{
    uint64_t end = 0;
    bool is_64;
    TRY(find_end(&end, file, err));
    const unsigned char *record = file->bytes + end;
    const uint32_t entries = load16(record + 10), n_bytes = load32(record + 12),
                   offset = load32(record + 16);
    TRY(read_end64(dir, &is_64, &end, file, err));
    if (!is_64) *dir = (directory){ offset, n_bytes, entries };
    const bool one_part = (load16(record + 4) == 0 && load16(record + 6) == 0 &&
                           load16(record + 8) == entries) ||
                          (is_64 && load16(record + 4) == UINT16_MAX);
    FAIL_IF(!one_part, err, LVLM_EFORMAT,
            "is one part of a zip archive in several files");
    FAIL_IF(is_64 && (!agrees(entries, UINT16_MAX, dir->n_entries) ||
                      !agrees(n_bytes, UINT32_MAX, dir->n_bytes) ||
                      !agrees(offset, UINT32_MAX, dir->offset)),
            err, LVLM_EFORMAT, "zip: the two end records disagree");
    FAIL_IF(
        !inside(dir->offset, dir->n_bytes, end) || dir->offset + dir->n_bytes != end,
        err, LVLM_EFORMAT,
        "zip: the directory (%" PRIu64 " bytes at %" PRIu64
        ") does not end where the end record begins, at %" PRIu64,
        dir->n_bytes, dir->offset, end);
    FAIL_IF(dir->n_entries > dir->n_bytes / ENTRY_BYTES, err, LVLM_EFORMAT,
            "zip: a directory of %" PRIu64 " bytes cannot list %" PRIu64 " members",
            dir->n_bytes, dir->n_entries);
    return 0;
}

/* ---- members -------------------------------------------------------------------- */

/* The three numbers that the zip64 extra field may hold, each only where the 32-bit
 * field is all ones. */
typedef struct sizes {
    uint64_t n_bytes;
    uint64_t stored_bytes;
    uint64_t header; /* offset of the local header; in local headers 0 */
} sizes;

static int read_zip64(sizes *out, const unsigned char *field, size_t n, lvlm_error *err)
{
    uint64_t *const wanted[] = { &out->n_bytes, &out->stored_bytes, &out->header };
    size_t at = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (*wanted[i] != IN_ZIP64) continue;
        FAIL_IF(n - at < 8, err, LVLM_EFORMAT, "its zip64 field is too short");
        *wanted[i] = lvlm_load_le(field + at, 8);
        at += 8;
    }
    return 0;
}

/* Iterate over the extra fields; bytes that are not a field are padding (torch aligns
 * with them). */
static int read_extra(sizes *out, const unsigned char *extra, size_t n, lvlm_error *err)
{
    while (n >= 4) {
        const size_t length = load16(extra + 2);
        if (length > n - 4) break;
        if (load16(extra) == EXTRA_ZIP64)
            return read_zip64(out, extra + 4, length, err);
        extra += 4 + length;
        n -= 4 + length;
    }
    return 0;
}

/* A member's name: UTF-8 without NUL, as messages and callers require. */
static int read_name(const char **out, const unsigned char *bytes, size_t n,
                     lvlm_arena *arena, lvlm_error *err)
{
    const char *text = (const char *)bytes;
    FAIL_IF(n == 0 || memchr(text, '\0', n) != NULL || !lvlm_utf8_valid(text, n), err,
            LVLM_EFORMAT, "zip: a member's name is empty or not UTF-8");
    *out = lvlm_arena_strndup(arena, text, n);
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

static int check_flags(unsigned flags, unsigned method, lvlm_error *err)
{
    FAIL_IF((flags & FLAG_ENCRYPTED) != 0, err, LVLM_EFORMAT, "is encrypted");
    FAIL_IF((flags & FLAG_PATCH) != 0, err, LVLM_EFORMAT, "is a patch, not data");
    FAIL_IF(method != LVLM_ZIP_STORED && method != LVLM_ZIP_DEFLATED, err, LVLM_EFORMAT,
            "is compressed by method %u, expected stored (0) or deflated (8)", method);
    return 0;
}

/* Check the local header at offset `header` against the entry and find the data after
 * it. `limit` is the offset of the directory. */
static int check_local(lvlm_zip_member *m, unsigned flags, uint64_t header,
                       uint64_t limit, const lvlm_infile *file, lvlm_error *err)
{
    FAIL_IF(!inside(header, LOCAL_BYTES, limit) ||
                !is_magic(file->bytes + header, LOCAL_MAGIC),
            err, LVLM_EFORMAT, "has no local header at %" PRIu64, header);
    const unsigned char *local = file->bytes + header;
    const size_t n_name = load16(local + 26), n_extra = load16(local + 28);
    m->offset = header + LOCAL_BYTES + n_name + n_extra;
    FAIL_IF(!inside(m->offset, m->stored_bytes, limit), err, LVLM_EFORMAT,
            "its %" PRIu64 " bytes at %" PRIu64
            " do not end before the directory, at %" PRIu64,
            m->stored_bytes, m->offset, limit);
    FAIL_IF(n_name != strlen(m->name) ||
                memcmp(local + LOCAL_BYTES, m->name, n_name) != 0 ||
                load16(local + 6) != flags || load16(local + 8) != m->method,
            err, LVLM_EFORMAT, "directory and local header disagree");
    sizes s = { load32(local + 22), load32(local + 18), 0 };
    TRY(read_extra(&s, local + LOCAL_BYTES + n_name, n_extra, err));
    const uint32_t crc = load32(local + 14);
    const bool later = (flags & FLAG_SIZES_BEHIND) != 0;
    FAIL_IF(
        (s.n_bytes != m->n_bytes && !(later && s.n_bytes == 0)) ||
            (s.stored_bytes != m->stored_bytes && !(later && s.stored_bytes == 0)) ||
            (crc != m->crc32 && !(later && crc == 0)),
        err, LVLM_EFORMAT, "directory and local header disagree about sizes");
    return 0;
}

/* While members are read, `offset` is the end of the local header; overlap is checked
 * from the start of the header. */
typedef struct entry {
    lvlm_zip_member member;
    uint64_t header;
} entry;

static int read_member(entry *e, const unsigned char *at, const directory *dir,
                       const lvlm_infile *file, lvlm_error *err)
{
    lvlm_zip_member *m = &e->member;
    const unsigned flags = load16(at + 8), method = load16(at + 10);
    const size_t n_name = load16(at + 28);
    sizes s = { load32(at + 24), load32(at + 20), load32(at + 42) };
    TRY(check_flags(flags, method, err));
    FAIL_IF(load16(at + 34) != 0, err, LVLM_EFORMAT, "is in another part");
    TRY(read_extra(&s, at + ENTRY_BYTES + n_name, load16(at + 30), err));
    m->method = (lvlm_zip_method)method;
    m->crc32 = load32(at + 16);
    m->stored_bytes = s.stored_bytes;
    m->n_bytes = s.n_bytes;
    e->header = s.header;
    TRY(check_local(m, flags, s.header, dir->offset, file, err));
    FAIL_IF(m->method == LVLM_ZIP_STORED && m->n_bytes != m->stored_bytes, err,
            LVLM_EFORMAT, "is stored in %" PRIu64 " bytes and has %" PRIu64,
            m->stored_bytes, m->n_bytes);
    FAIL_IF(m->method == LVLM_ZIP_DEFLATED && m->n_bytes / MAX_RATIO > m->stored_bytes,
            err, LVLM_EFORMAT, "%" PRIu64 " bytes cannot inflate to %" PRIu64,
            m->stored_bytes, m->n_bytes);
    return 0;
}

/* Read one entry of the central directory at *at, which is moved after it. */
static int read_entry(entry *e, uint64_t *at, const directory *dir,
                      const lvlm_infile *file, lvlm_arena *arena, lvlm_error *err)
{
    const uint64_t end = dir->offset + dir->n_bytes;
    const unsigned char *bytes = file->bytes + *at;
    FAIL_IF(!inside(*at, ENTRY_BYTES, end) || !is_magic(bytes, ENTRY_MAGIC), err,
            LVLM_EFORMAT, "zip: the directory lists fewer members than the end record");
    const uint64_t n = ENTRY_BYTES + (uint64_t)load16(bytes + 28) + load16(bytes + 30) +
                       load16(bytes + 32);
    FAIL_IF(!inside(*at, n, end), err, LVLM_EFORMAT,
            "zip: an entry runs over the end of the directory");
    TRY(read_name(&e->member.name, bytes + ENTRY_BYTES, load16(bytes + 28), arena,
                  err));
    *at += n;
    return lvlm_within(read_member(e, bytes, dir, file, err), err,
                       "member '%s': ", e->member.name);
}

/* ---- all of them ---------------------------------------------------------------- */

static int by_header(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->header != y->header) return x->header < y->header ? -1 : 1;
    return strcmp(x->member.name, y->member.name);
}

static int validate(const lvlm_zip *zip, const entry *entries, lvlm_error *err)
{
    for (size_t i = 1; i < zip->n_members; i++) {
        const lvlm_zip_member *before = &zip->members[i - 1];
        FAIL_IF(entries[i].header < before->offset + before->stored_bytes, err,
                LVLM_EFORMAT, "member '%s': overlaps '%s'", zip->members[i].name,
                before->name);
        FAIL_IF(strcmp(zip->by_name[i - 1]->name, zip->by_name[i]->name) == 0, err,
                LVLM_EFORMAT, "member '%s': is listed twice", zip->by_name[i]->name);
    }
    return 0;
}

static int read_entries(entry *entries, const directory *dir, const lvlm_infile *file,
                        lvlm_arena *arena, lvlm_error *err)
{
    uint64_t at = dir->offset;
    for (uint64_t i = 0; i < dir->n_entries; i++)
        TRY(read_entry(&entries[i], &at, dir, file, arena, err));
    FAIL_IF(at != dir->offset + dir->n_bytes, err, LVLM_EFORMAT,
            "zip: the directory lists more members than the end record");
    return 0;
}

/* Every rule that an archive must satisfy, in the order in which they are checked:
 *
 *   an end record, whose comment ends with the file                 find_end
 *   a zip64 locator leads to the zip64 end record right before it   read_end64
 *   one part; both end records agree                                read_end
 *   the directory ends where they begin
 *   each entry is whole; names are UTF-8, not empty                 read_entry
 *   not encrypted; stored or deflated                               check_flags
 *   a local header with the same name, flags, method, sizes, CRC    check_local
 *   data ends before the directory
 *   stored: one size; deflated: a size that deflate can reach       read_member
 *   as many entries as the end record says, nothing after them      read_entries
 *   members do not overlap; names are unique                        validate */
int lvlm_zip_read(lvlm_zip *out, const lvlm_infile *file, lvlm_arena *arena,
                  lvlm_error *err)
{
    directory dir;
    *out = (lvlm_zip){ 0 };
    TRY(read_end(&dir, file, err));
    const size_t n = (size_t)dir.n_entries;
    entry *entries = lvlm_arena_alloc(arena, n + 1, sizeof *entries);
    out->members = lvlm_arena_alloc(arena, n + 1, sizeof *out->members);
    out->by_name = lvlm_arena_alloc(arena, n + 1, sizeof *out->by_name);
    if (entries == NULL || out->members == NULL || out->by_name == NULL)
        return lvlm_fail_memory(err);
    TRY(read_entries(entries, &dir, file, arena, err));
    qsort(entries, n, sizeof *entries, by_header);
    for (size_t i = 0; i < n; i++) {
        out->members[i] = entries[i].member;
        out->by_name[i] = &out->members[i];
    }
    out->n_members = n;
    qsort(out->by_name, n, sizeof *out->by_name, lvlm_by_name);
    return validate(out, entries, err);
}

const lvlm_zip_member *lvlm_zip_find(const lvlm_zip *zip, const char *name)
{
    assert(zip->by_name != NULL || zip->n_members == 0);
    return lvlm_find_name(name, zip->by_name, zip->n_members);
}

/* ---- data ----------------------------------------------------------------------- */

static void *z_alloc(void *user, unsigned count, unsigned bytes)
{
    (void)user;
    return lvlm_calloc(count, bytes);
}

static void z_free(void *user, void *block)
{
    (void)user;
    lvlm_free(block);
}

/* zlib counts in unsigned int, so input and output are passed in pieces. Returns
 * Z_STREAM_END if the data ends exactly with both buffers, Z_MEM_ERROR, or another
 * code. */
static int run_inflate(z_stream *z, unsigned char *to, uint64_t n_to,
                       const unsigned char *from, uint64_t n_from)
{
    int rc = Z_OK;
    unsigned char none; /* zlib requires a pointer even if nothing may be written */
    z->next_out = n_to > 0 ? to : &none;
    z->next_in = from;
    while (rc == Z_OK) {
        if (z->avail_in == 0) {
            z->avail_in = (uInt)(n_from < UINT_MAX ? n_from : UINT_MAX);
            n_from -= z->avail_in;
        }
        if (z->avail_out == 0) {
            z->avail_out = (uInt)(n_to < UINT_MAX ? n_to : UINT_MAX);
            n_to -= z->avail_out;
        }
        rc = inflate(z, Z_NO_FLUSH);
    }
    const bool exact =
        n_from == 0 && z->avail_in == 0 && n_to == 0 && z->avail_out == 0;
    return rc != Z_STREAM_END || exact ? rc : Z_DATA_ERROR;
}

static int inflate_member(unsigned char *to, const lvlm_zip_member *member,
                          const unsigned char *from, lvlm_error *err)
{
    assert(member->method == LVLM_ZIP_DEFLATED);
    z_stream z = { .zalloc = z_alloc, .zfree = z_free };
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return lvlm_fail_memory(err);
    const int rc = run_inflate(&z, to, member->n_bytes, from, member->stored_bytes);
    inflateEnd(&z);
    if (rc == Z_MEM_ERROR) return lvlm_fail_memory(err);
    FAIL_IF(rc != Z_STREAM_END, err, LVLM_EFORMAT,
            "member '%s': %" PRIu64 " bytes do not inflate to exactly %" PRIu64,
            member->name, member->stored_bytes, member->n_bytes);
    return 0;
}

static int check_crc(const lvlm_zip_member *member, const void *data, size_t n,
                     lvlm_error *err)
{
    const uint32_t crc = n > 0 ? (uint32_t)crc32_z(0, data, n) : 0;
    FAIL_IF(crc != member->crc32, err, LVLM_EFORMAT,
            "member '%s': is corrupt: its CRC-32 is %08" PRIx32
            ", the directory says %08" PRIx32,
            member->name, crc, member->crc32);
    return 0;
}

int lvlm_zip_inflate(void *to, const lvlm_zip_member *member, const lvlm_infile *file,
                     lvlm_error *err)
{
    assert(to != NULL || member->n_bytes == 0);
    const unsigned char *from = file->bytes + member->offset;
    const size_t n = (size_t)member->n_bytes;
    if (member->method == LVLM_ZIP_DEFLATED)
        TRY(inflate_member(to, member, from, err));
    else if (n > 0)
        memcpy(to, from, n);
    return check_crc(member, to, n, err);
}

int lvlm_zip_check(const lvlm_zip_member *member, const lvlm_infile *file,
                   lvlm_error *err)
{
    assert(member->method == LVLM_ZIP_STORED);
    return check_crc(member, file->bytes + member->offset, (size_t)member->n_bytes,
                     err);
}

int lvlm_zip_inflate_start(void *to, size_t n, const lvlm_zip_member *member,
                           const lvlm_infile *file, lvlm_error *err)
{
    assert(n <= member->n_bytes && n <= UINT_MAX);
    const unsigned char *from = file->bytes + member->offset;
    if (n == 0) return 0;
    if (member->method == LVLM_ZIP_STORED) {
        memcpy(to, from, n);
        return 0;
    }
    z_stream z = { .zalloc = z_alloc, .zfree = z_free };
    const uint64_t n_from = member->stored_bytes;
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return lvlm_fail_memory(err);
    z.next_in = from;
    z.avail_in = (uInt)(n_from < UINT_MAX ? n_from : UINT_MAX);
    z.next_out = to;
    z.avail_out = (uInt)n;
    const int rc = inflate(&z, Z_SYNC_FLUSH);
    inflateEnd(&z);
    if (rc == Z_MEM_ERROR) return lvlm_fail_memory(err);
    FAIL_IF(z.avail_out > 0, err, LVLM_EFORMAT,
            "member '%s': its first bytes do not inflate", member->name);
    return 0;
}
