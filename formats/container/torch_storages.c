/* torch_storages.c - reads both forms of torch.save: the pickle of the object, and for
 * each storage that it names the bytes in the file.
 *
 *   read_zip       NAME/data.pkl, NAME/byteorder, NAME/data/KEY
 *   read_legacy    magic | protocol | system | object | keys | storages, one by one */
#include "formats/container/torch_storages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/bytes.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/container/zip.h"

enum { MAX_KEY = 200 };

typedef lvlm_pickle_value value;
typedef torch_storage storage;

typedef struct reader {
    const lvlm_infile *file;
    lvlm_arena *arena;
    lvlm_arena *members; /* for the archive's members, which outlive the object */
    lvlm_zip zip;
    lvlm_pickle pickle; /* of the object */
    storage *storages;
    lvlm_error *err;
} reader;

/* ---- storages ------------------------------------------------------------------- */

bool torch_whole_number(uint64_t *out, const lvlm_pickle_value *v)
{
    if (v->kind != LVLM_PICKLE_INTEGER || v->integer < 0) return false;
    *out = (uint64_t)v->integer;
    return true;
}

/* Keys are digits in every file of torch: an index or an address. */
static bool is_printable(const value *key)
{
    for (size_t i = 0; i < key->n; i++)
        if (key->text[i] <= ' ' || key->text[i] > '~') return false;
    return true;
}

/* The description of a view before torch 0.4: (key, first element, elements). */
static int read_view_of_storage(storage *s, const value *v, lvlm_error *err)
{
    uint64_t end;
    s->n_view = s->numel;
    if (v->kind == LVLM_PICKLE_NONE) return 0;
    FAIL_IF(v->kind != LVLM_PICKLE_TUPLE || v->n != 3 ||
                !torch_whole_number(&s->first, v->items[1]) ||
                !torch_whole_number(&s->n_view, v->items[2]) ||
                !lvlm_add_u64(&end, s->first, s->n_view) || end > s->numel,
            err, LVLM_EFORMAT, "a view of a storage is outside of it");
    return 0;
}

/* ("storage", type, key, device, elements[, view]) */
static int read_storage(storage *s, const value *id, lvlm_error *err)
{
    FAIL_IF(id->n < 5 || !lvlm_pickle_is_text(id->items[0], "storage") ||
                id->items[1]->kind != LVLM_PICKLE_GLOBAL ||
                id->items[2]->kind != LVLM_PICKLE_TEXT ||
                !torch_whole_number(&s->numel, id->items[4]),
            err, LVLM_EFORMAT, "a persistent id does not describe a storage");
    const lvlm_pickle_global *type = id->items[1]->global;
    FAIL_IF(id->items[2]->n > MAX_KEY || !is_printable(id->items[2]), err, LVLM_EFORMAT,
            "the key of a storage is not plain text");
    FAIL_IF(type->role != LVLM_ROLE_STORAGE && type->role != LVLM_ROLE_UNTYPED, err,
            LVLM_EFORMAT, "a storage has type %s.%s", type->module, type->name);
    s->key = id->items[2]->text;
    s->n_key = id->items[2]->n;
    s->dtype = type->dtype;
    s->untyped = type->role == LVLM_ROLE_UNTYPED;
    s->element = lvlm_dtype_bytes(s->dtype);
    s->n_view = s->numel;
    return id->n > 5 ? read_view_of_storage(s, id->items[5], err) : 0;
}

static int read_storages(reader *r)
{
    const lvlm_pickle *p = &r->pickle;
    r->storages = lvlm_arena_alloc(r->arena, p->n_persistent + 1, sizeof *r->storages);
    if (r->storages == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < p->n_persistent; i++)
        TRY(read_storage(&r->storages[i], p->persistent[i], r->err));
    return 0;
}

/* ---- zip form ------------------------------------------------------------------- */

/* "NAME/data.pkl": the only pickle one folder deep. */
static int find_pickle(const lvlm_zip_member **out, const lvlm_zip *zip,
                       lvlm_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < zip->n_members; i++) {
        const lvlm_zip_member *m = &zip->members[i];
        if (!lvlm_ends_with(m->name, "/data.pkl") ||
            strchr(m->name, '/') != strrchr(m->name, '/'))
            continue;
        FAIL_IF(*out != NULL, err, LVLM_EFORMAT, "holds two objects, '%s' and '%s'",
                (*out)->name, m->name);
        *out = m;
    }
    FAIL_IF(*out == NULL, err, LVLM_EFORMAT,
            "is a zip archive without NAME/data.pkl; is it a file of torch.save?");
    return 0;
}

/* The bytes of a member: in the file, or inflated if another tool has repacked the
 * archive. */
static int member_bytes(const unsigned char **out, reader *r, const lvlm_zip_member *m)
{
    *out = r->file->bytes + m->offset;
    if (m->method == LVLM_ZIP_STORED) return 0;
    FAIL_IF(m->n_bytes > LVLM_PICKLE_MAX_BYTES, r->err, LVLM_EFORMAT,
            "member '%s': is over the limit of %zu bytes", m->name,
            LVLM_PICKLE_MAX_BYTES);
    unsigned char *bytes = lvlm_arena_alloc(r->arena, (size_t)m->n_bytes, 1);
    if (bytes == NULL) return lvlm_fail_memory(r->err);
    *out = bytes;
    return lvlm_zip_inflate(bytes, m, r->file, r->err);
}

static int check_byteorder(reader *r, const lvlm_zip *zip, const char *folder)
{
    const unsigned char *text;
    const char *name = lvlm_arena_printf(r->arena, "%sbyteorder", folder);
    if (name == NULL) return lvlm_fail_memory(r->err);
    const lvlm_zip_member *m = lvlm_zip_find(zip, name);
    if (m == NULL) return 0; /* older than torch 2.1 */
    TRY(member_bytes(&text, r, m));
    FAIL_IF(m->n_bytes != 6 || memcmp(text, "little", 6) != 0, r->err, LVLM_EFORMAT,
            "member '%s': expected \"little\"; big-endian files are not read", name);
    return 0;
}

/* The member that holds a storage; it must be stored and long enough. */
static int place_in_zip(reader *r, storage *s, const lvlm_zip *zip, const char *folder)
{
    assert(!s->placed);
    uint64_t n_bytes;
    const char *name =
        lvlm_arena_printf(r->arena, "%sdata/%.*s", folder, (int)s->n_key, s->key);
    if (name == NULL) return lvlm_fail_memory(r->err);
    const lvlm_zip_member *m = lvlm_zip_find(zip, name);
    FAIL_IF(m == NULL, r->err, LVLM_EFORMAT, "holds no member '%s'", name);
    FAIL_IF(m->method != LVLM_ZIP_STORED, r->err, LVLM_EFORMAT,
            "member '%s': is compressed; torch stores tensors as they are", name);
    FAIL_IF(!lvlm_mul_u64(&n_bytes, s->numel, s->element) || n_bytes > m->n_bytes,
            r->err, LVLM_EFORMAT,
            "member '%s': has %" PRIu64 " bytes, fewer than %" PRIu64
            " elements of %zu",
            name, m->n_bytes, s->numel, s->element);
    s->offset = m->offset;
    s->placed = true;
    return 0;
}

static int read_zip(reader *r)
{
    const lvlm_zip *const zip = &r->zip;
    const lvlm_zip_member *object;
    const unsigned char *bytes;
    TRY(lvlm_zip_read(&r->zip, r->file, r->members, r->err));
    TRY(find_pickle(&object, zip, r->err));
    const size_t n_folder = strlen(object->name) - strlen("data.pkl");
    const char *folder = lvlm_arena_strndup(r->arena, object->name, n_folder);
    if (folder == NULL) return lvlm_fail_memory(r->err);
    TRY(check_byteorder(r, zip, folder));
    TRY(member_bytes(&bytes, r, object));
    TRY(lvlm_within(
        lvlm_pickle_read(&r->pickle, bytes, object->n_bytes, r->arena, r->err), r->err,
        "%s: ", object->name));
    TRY(read_storages(r));
    for (size_t i = 0; i < r->pickle.n_persistent; i++)
        TRY(place_in_zip(r, &r->storages[i], zip, folder));
    return 0;
}

/* ---- legacy form ---------------------------------------------------------------- */

static const char legacy_magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
enum { LEGACY_PROTOCOL = 1001, MAGIC_BYTES = sizeof legacy_magic - 1 };

bool torch_is_legacy(const lvlm_infile *file)
{
    static const unsigned char plain[] = { 0x8a, MAGIC_BYTES }, framed[] = { 0x95, 13 };
    return file->n_bytes >= 4 && file->bytes[0] == 0x80 &&
           (memcmp(file->bytes + 2, plain, 2) == 0 ||
            memcmp(file->bytes + 2, framed, 2) == 0);
}

/* The next pickle at *at, which is moved after it. */
static int next_pickle(reader *r, lvlm_pickle *out, uint64_t *at, const char *what)
{
    TRY(lvlm_within(lvlm_pickle_read(out, r->file->bytes + *at, r->file->n_bytes - *at,
                                     r->arena, r->err),
                    r->err, "%s, at %" PRIu64 ": ", what, *at));
    *at += out->n_bytes;
    return 0;
}

static int read_legacy_lead(reader *r, uint64_t *at)
{
    lvlm_pickle p;
    TRY(next_pickle(r, &p, at, "magic number"));
    FAIL_IF(p.value->kind != LVLM_PICKLE_LONG || p.value->n != MAGIC_BYTES ||
                memcmp(p.value->text, legacy_magic, MAGIC_BYTES) != 0,
            r->err, LVLM_EFORMAT, "is a pickle, but not one of torch.save");
    TRY(next_pickle(r, &p, at, "protocol"));
    FAIL_IF(p.value->kind != LVLM_PICKLE_INTEGER || p.value->integer != LEGACY_PROTOCOL,
            r->err, LVLM_EFORMAT, "is of an unknown protocol, expected %d",
            LEGACY_PROTOCOL);
    TRY(next_pickle(r, &p, at, "system"));
    const value *little = lvlm_pickle_get(p.value, "little_endian");
    FAIL_IF(little == NULL || little->kind != LVLM_PICKLE_BOOL || little->integer == 0,
            r->err, LVLM_EFORMAT,
            "is not little-endian; big-endian files are not read");
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const storage *x = *(storage *const *)a, *y = *(storage *const *)b;
    const int order = memcmp(x->key, y->key, x->n_key < y->n_key ? x->n_key : y->n_key);
    return order != 0 ? order : (x->n_key > y->n_key) - (x->n_key < y->n_key);
}

/* Read one storage of the file at *at, which is moved after it, and set it in all
 * entries that name it. */
static int place_in_legacy(reader *r, storage **sorted, size_t n, const value *key,
                           uint64_t *at)
{
    uint64_t n_bytes;
    FAIL_IF(key->kind != LVLM_PICKLE_TEXT, r->err, LVLM_EFORMAT,
            "the key of a storage is not text");
    storage wanted = { .key = key->text, .n_key = key->n }, *const at_key = &wanted;
    const size_t first =
        lvlm_first_not_below(&at_key, sorted, n, sizeof *sorted, by_key);
    FAIL_IF(first == n || by_key(&at_key, &sorted[first]) != 0, r->err, LVLM_EFORMAT,
            "holds a storage that nothing refers to");
    const storage *s = sorted[first];
    FAIL_IF(r->file->n_bytes - *at < 8 ||
                !lvlm_mul_u64(&n_bytes, s->numel, s->element) ||
                n_bytes > r->file->n_bytes - *at - 8,
            r->err, LVLM_EFORMAT,
            "a storage of %" PRIu64 " elements at %" PRIu64
            " continues after the end of the file (%" PRIu64 " bytes); it is truncated",
            s->numel, *at, r->file->n_bytes);
    const uint64_t numel = lvlm_load_le(r->file->bytes + *at, 8);
    FAIL_IF(s->placed, r->err, LVLM_EFORMAT, "holds a storage twice");
    for (size_t i = first; i < n && by_key(&sorted[first], &sorted[i]) == 0; i++) {
        FAIL_IF(sorted[i]->numel != numel || sorted[i]->element != s->element, r->err,
                LVLM_EFORMAT,
                "a storage has %" PRIu64 " elements, a tensor takes it for %" PRIu64
                " of %zu bytes",
                numel, sorted[i]->numel, sorted[i]->element);
        sorted[i]->offset = *at + 8;
        sorted[i]->placed = true;
    }
    *at += 8 + n_bytes;
    return 0;
}

static int read_legacy(reader *r)
{
    lvlm_pickle keys;
    uint64_t at = 0;
    TRY(read_legacy_lead(r, &at));
    TRY(next_pickle(r, &r->pickle, &at, "object"));
    TRY(next_pickle(r, &keys, &at, "keys"));
    FAIL_IF(keys.value->kind != LVLM_PICKLE_LIST, r->err, LVLM_EFORMAT,
            "the keys of storages are not a list");
    TRY(read_storages(r));
    const size_t n = r->pickle.n_persistent;
    storage **sorted = lvlm_arena_alloc(r->arena, n + 1, sizeof *sorted);
    if (sorted == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < n; i++) sorted[i] = &r->storages[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < keys.value->n; i++)
        TRY(place_in_legacy(r, sorted, n, keys.value->items[i], &at));
    for (size_t i = 0; i < n; i++)
        FAIL_IF(!r->storages[i].placed, r->err, LVLM_EFORMAT,
                "a tensor refers to a storage that is not in the file");
    return 0;
}

/* ---- both ----------------------------------------------------------------------- */

int torch_object_read(torch_object *out, const lvlm_infile *file, lvlm_arena *arena,
                      lvlm_arena *members, lvlm_error *err)
{
    reader r = { .file = file, .arena = arena, .members = members, .err = err };
    FAIL_IF(!lvlm_zip_is(file) && !torch_is_legacy(file), err, LVLM_EFORMAT,
            "is not a file of torch.save: it begins like neither a zip archive nor a "
            "pickle");
    TRY(lvlm_zip_is(file) ? read_zip(&r) : read_legacy(&r));
    *out = (torch_object){ r.pickle, r.storages, r.zip };
    return 0;
}
