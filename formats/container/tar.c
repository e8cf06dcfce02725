/* tar.c - headers of a tar, one after another, and an index of them; see tar.h. */
#include "formats/container/tar.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/list.h"
#include "formats/base/text.h"

enum { BLOCK = 512 };

/* Fields of a header: offset and bytes. */
enum {
    NAME = 0,
    NAME_BYTES = 100,
    SIZE = 124,
    SIZE_BYTES = 12,
    SUM = 148,
    SUM_BYTES = 8,
    KIND = 156,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_BYTES = 155,
};

/* ---- a header ------------------------------------------------------------------- */

/* Octal digits with blanks around them; or, with the first bit set, bytes. */
static bool read_number(uint64_t *out, const unsigned char *field, size_t n)
{
    size_t i = 0;
    *out = 0;
    if (field[0] == 0x80) {
        for (i = 1; i < n; i++) {
            if (*out >> 55 != 0) return false;
            *out = *out << 8 | field[i];
        }
        return true;
    }
    while (i < n && field[i] == ' ') i++;
    const size_t first = i;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++)
        *out = *out * 8 + (uint64_t)(field[i] - '0');
    return i > first && (i == n || field[i] == ' ' || field[i] == '\0');
}

static bool is_zero(const unsigned char *block)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (block[i] != 0) return false;
    return true;
}

/* The sum of all bytes, those of the sum itself as blanks. */
static bool sum_fits(const unsigned char *h)
{
    uint64_t sum = (uint64_t)SUM_BYTES * ' ', stored;
    for (size_t i = 0; i < BLOCK; i++)
        if (i < SUM || i >= SUM + SUM_BYTES) sum += h[i];
    return read_number(&stored, h + SUM, SUM_BYTES) && stored == sum;
}

static int set_name(lvlm_tar *t, const char *name, size_t n, lvlm_error *err)
{
    n = strnlen(name, n);
    FAIL_IF(n == 0 || n > LVLM_TAR_NAME, err, LVLM_EFORMAT,
            "a name of %zu bytes, expected 1 to %d", n, LVLM_TAR_NAME);
    memcpy(t->name, name, n);
    t->name[n] = '\0';
    return 0;
}

/* The name in the header; the prefix is of ustar only, not of GNU's headers. */
static int read_name(lvlm_tar *t, const unsigned char *h, lvlm_error *err)
{
    char text[PREFIX_BYTES + 1 + NAME_BYTES + 1];
    const char *const name = (const char *)h + NAME;
    const char *const prefix = (const char *)h + PREFIX;
    const bool prefixed = memcmp(h + MAGIC, "ustar", 6) == 0 && *prefix != '\0';
    (void)snprintf(text, sizeof text, "%.*s%s%.*s", prefixed ? PREFIX_BYTES : 0, prefix,
                   prefixed ? "/" : "", NAME_BYTES, name);
    return set_name(t, text, sizeof text, err);
}

/* ---- headers about the next member ---------------------------------------------- */

static int take_record(lvlm_tar *t, const char *key, size_t n, lvlm_error *err)
{
    const char *const value = memchr(key, '=', n);
    FAIL_IF(value == NULL, err, LVLM_EFORMAT, "a pax record without =");
    const size_t n_key = (size_t)(value - key), n_value = n - n_key - 1;
    if (n_key == 4 && memcmp(key, "path", 4) == 0) {
        t->named = true;
        return set_name(t, value + 1, n_value, err);
    }
    if (n_key != 4 || memcmp(key, "size", 4) != 0) return 0;
    t->sized = true;
    t->n_bytes = 0;
    FAIL_IF(n_value == 0 || n_value > 18, err, LVLM_EFORMAT,
            "a pax size of %zu digits, expected 1 to 18", n_value);
    for (size_t i = 1; i <= n_value; i++) {
        FAIL_IF(value[i] < '0' || value[i] > '9', err, LVLM_EFORMAT,
                "a pax size that is not a number");
        t->n_bytes = t->n_bytes * 10 + (uint64_t)(value[i] - '0');
    }
    return 0;
}

/* "LENGTH KEY=VALUE\n", the length being of all of it. */
static int read_pax(lvlm_tar *t, const char *text, size_t n, lvlm_error *err)
{
    while (n > 0 && *text != '\0') {
        size_t length = 0, i = 0;
        for (; i < n && i < 9 && text[i] >= '0' && text[i] <= '9'; i++)
            length = length * 10 + (size_t)(text[i] - '0');
        FAIL_IF(i == 0 || i == n || text[i] != ' ' || length < i + 2 || length > n ||
                    text[length - 1] != '\n',
                err, LVLM_EFORMAT, "a pax record that is damaged");
        TRY(take_record(t, text + i + 1, length - i - 2, err));
        text += length;
        n -= length;
    }
    return 0;
}

/* ---- members -------------------------------------------------------------------- */

/* One header and what follows it: 1 for a regular file. */
static int read_member(lvlm_tar_member *out, lvlm_tar *t, lvlm_error *err)
{
    const unsigned char *const h = t->file->bytes + t->at;
    const char kind = (char)h[KIND];
    const bool regular = kind == '0' || kind == '\0' || kind == '7';
    const uint64_t offset = t->at + BLOCK, left = t->file->n_bytes - offset;
    uint64_t n = 0;
    FAIL_IF(!sum_fits(h), err, LVLM_EFORMAT, "%s",
            t->at == 0 ? "is not a tar" : "its checksum does not fit: it is damaged");
    FAIL_IF(kind == 'S', err, LVLM_EFORMAT, "a sparse file, which is not read");
    FAIL_IF(!read_number(&n, h + SIZE, SIZE_BYTES), err, LVLM_EFORMAT,
            "a size that is not a number");
    if (regular && t->sized) n = t->n_bytes;
    if (kind >= '1' && kind <= '6') n = 0; /* links, devices, folders */
    if (regular && !t->named) TRY(read_name(t, h, err));
    FAIL_IF(n > left, err, LVLM_EFORMAT,
            "%s is cut off: %" PRIu64 " bytes, and %" PRIu64 " are left",
            regular ? t->name : "a header", n, left);
    const uint64_t fill = (BLOCK - n % BLOCK) % BLOCK;
    t->at = offset + n + (fill < left - n ? fill : left - n);
    const char *const data = (const char *)t->file->bytes + offset;
    if (kind == 'x') return read_pax(t, data, (size_t)n, err);
    if (kind == 'L') t->named = true;
    if (kind == 'L') return set_name(t, data, (size_t)n, err);
    if (kind == 'g' || kind == 'K') return 0;
    t->named = t->sized = false;
    *out = (lvlm_tar_member){ t->name, offset, n };
    return regular;
}

int lvlm_tar_next(lvlm_tar_member *out, lvlm_tar *t, lvlm_error *err)
{
    for (int rc = 0; rc == 0;) {
        const uint64_t at = t->at;
        assert(at <= t->file->n_bytes);
        FAIL_IF(t->file->n_bytes - at < BLOCK, err, LVLM_EFORMAT,
                "%s: byte %" PRIu64 ": %s", t->file->path, at,
                at == 0 ? "is not a tar"
                        : "is cut off: expected a header of a tar, or its end");
        if (at > 0 && is_zero(t->file->bytes + at)) return 0;
        rc = read_member(out, t, err);
        if (rc < 0) lvlm_prefix(err, "%s: byte %" PRIu64 ": ", t->file->path, at);
        if (rc != 0) return rc;
    }
    return 0;
}

/* ---- a path that leads inside --------------------------------------------------- */

static const char end_of_file[] = ".tar/";

/* The file in front of a member's name; NULL: out of memory. */
static char *outer(const char *path, const char *inside, lvlm_arena *arena)
{
    return lvlm_arena_strndup(arena, path, (size_t)(inside - path) - 1);
}

const char *lvlm_tar_inside(const char *path)
{
    for (const char *at = path; (at = strstr(at, end_of_file)) != NULL;) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        at += sizeof end_of_file - 1;
        const char *const file = outer(path, at, &arena);
        const bool is_file =
            file != NULL && lvlm_path_exists(file) && !lvlm_path_is_directory(file);
        lvlm_arena_free(&arena);
        if (is_file) return at;
    }
    return NULL;
}

int lvlm_tar_open(lvlm_infile **file, lvlm_tar_member *member, const char *path,
                  lvlm_error *err)
{
    const char *const inside = lvlm_tar_inside(path);
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_tar tar = { .file = NULL };
    assert(inside != NULL);
    const char *const name = outer(path, inside, &arena);
    int rc = name != NULL ? lvlm_infile_map(file, name, err) : lvlm_fail_memory(err);
    lvlm_arena_free(&arena);
    if (rc < 0) return rc;
    tar.file = *file;
    while ((rc = lvlm_tar_next(member, &tar, err)) > 0 &&
           strcmp(member->name, inside) != 0) {
    }
    if (rc == 0)
        rc = lvlm_fail(err, LVLM_EFORMAT, "%s: has no file %s", (*file)->path, inside);
    if (rc < 0) lvlm_infile_close(*file);
    member->name = NULL;
    return rc < 0 ? rc : 0;
}

/* ---- an index ------------------------------------------------------------------- */

static int by_name_and_place(const void *a, const void *b)
{
    const lvlm_tar_member *const x = a, *const y = b;
    const int names = lvlm_by_text(a, b);
    return names != 0 ? names : (x->offset > y->offset) - (x->offset < y->offset);
}

static int list_members(lvlm_tar_index *index, lvlm_error *err)
{
    lvlm_tar tar = { .file = index->file };
    lvlm_tar_member member;
    int rc;
    while ((rc = lvlm_tar_next(&member, &tar, err)) > 0) {
        TRY(lvlm_list_room(&index->at, &index->capacity, index->n, sizeof member, err));
        member.name =
            lvlm_arena_strndup(&index->names, member.name, strlen(member.name));
        if (member.name == NULL) return lvlm_fail_memory(err);
        index->at[index->n++] = member;
    }
    return rc;
}

int lvlm_tar_index_open(lvlm_tar_index *out, const char *path, lvlm_error *err)
{
    *out = (lvlm_tar_index){ .names = LVLM_ARENA_INIT };
    TRY(lvlm_infile_map(&out->file, path, err));
    TRY(list_members(out, err));
    if (out->n > 0) qsort(out->at, out->n, sizeof *out->at, by_name_and_place);
    return 0;
}

void lvlm_tar_index_close(lvlm_tar_index *index)
{
    lvlm_free(index->at);
    lvlm_arena_free(&index->names);
    lvlm_infile_close(index->file);
    *index = (lvlm_tar_index){ .names = LVLM_ARENA_INIT };
}

/* The first member of this name. */
static const lvlm_tar_member *find_name(const lvlm_tar_index *index, const char *name)
{
    size_t low = 0, high = index->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(index->at[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const bool found = low < index->n && strcmp(index->at[low].name, name) == 0;
    return found ? &index->at[low] : NULL;
}

const lvlm_tar_index *lvlm_tar_index_find(lvlm_tar_member *member,
                                          const lvlm_tar_index *index, const char *path)
{
    for (; index != NULL; index = index->next) {
        const size_t n = strlen(index->file->path);
        if (!lvlm_starts_with(path, index->file->path) || path[n] != '/') continue;
        const lvlm_tar_member *const found = find_name(index, path + n + 1);
        if (found == NULL) continue;
        *member = *found;
        return index;
    }
    return NULL;
}
