/* torchfile.c - tensors out of the files of torch.save.
 *
 *   read_zip | read_legacy   the object's pickle; where each storage is in the file
 *   find_state_dict          the dictionary that holds tensors, wrapped or not
 *   add_view                 one tensor: storage, offset, size, stride, all in bounds
 *   settle                   spans in order of offset; what overlaps or is strided is
 *                            detached
 *   copy_strided             values of strided tensors, row-major
 *
 * Not here: the pickle's opcodes (pickle.c), the archive (zip.c). */
#include "formats/torchfile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/pickle.h"
#include "formats/zip.h"

enum { MAX_KEY = 200 };

typedef lvlm_pickle_value value;

/* One storage as a persistent id names it; the same one may be named many times. */
typedef struct storage {
    const char *key; /* n_key bytes */
    size_t n_key;
    size_t element; /* bytes of one of its elements */
    uint64_t numel;
    uint64_t first;  /* legacy views of a storage: its first element there ... */
    uint64_t n_view; /* ... and how many; else 0 and numel */
    uint64_t offset; /* in the file; of the whole storage */
    bool placed;
    lvlm_dtype dtype;
    bool untyped; /* the tensor says what it is */
} storage;

/* A tensor before its place is settled. */
typedef struct view {
    lvlm_tensor tensor;
    uint64_t stride[LVLM_MAX_DIMS]; /* in elements */
    bool strided;
} view;

typedef struct reader {
    const lvlm_infile *file;
    bool headers_only;
    lvlm_arena *arena;  /* the caller's: names */
    lvlm_arena scratch; /* the pickle, the directory */
    lvlm_pickle pickle; /* of the object */
    storage *storages;  /* one for each persistent id */
    view *views;
    size_t n_views;
    size_t n_looked; /* values below the state dict that were looked at */
    unsigned char *copies;
    lvlm_error *err;
} reader;

/* ---- storages ------------------------------------------------------------------- */

static bool whole_number(uint64_t *out, const value *v)
{
    if (v->kind != LVLM_PICKLE_INTEGER || v->integer < 0) return false;
    *out = (uint64_t)v->integer;
    return true;
}

/* Digits, in every file that torch wrote: an index, or an address. */
static bool is_plain(const value *key)
{
    for (size_t i = 0; i < key->n; i++)
        if (key->text[i] <= ' ' || key->text[i] > '~') return false;
    return true;
}

/* What files of before torch 0.4 say of a view: (key, first element, elements). */
static int read_view_of_storage(storage *s, const value *v, lvlm_error *err)
{
    uint64_t end;
    s->n_view = s->numel;
    if (v->kind == LVLM_PICKLE_NONE) return 0;
    FAIL_IF(v->kind != LVLM_PICKLE_TUPLE || v->n != 3 ||
                !whole_number(&s->first, v->items[1]) ||
                !whole_number(&s->n_view, v->items[2]) ||
                !lvlm_add_u64(&end, s->first, s->n_view) || end > s->numel,
            err, LVLM_EFORMAT, "a view of a storage lies outside of it");
    return 0;
}

/* ("storage", type, key, device, elements[, view]) */
static int read_storage(storage *s, const value *id, lvlm_error *err)
{
    FAIL_IF(id->n < 5 || !lvlm_pickle_is_text(id->items[0], "storage") ||
                id->items[1]->kind != LVLM_PICKLE_GLOBAL ||
                id->items[2]->kind != LVLM_PICKLE_TEXT ||
                !whole_number(&s->numel, id->items[4]),
            err, LVLM_EFORMAT, "a persistent id describes no storage");
    const lvlm_pickle_global *type = id->items[1]->global;
    FAIL_IF(id->items[2]->n > MAX_KEY || !is_plain(id->items[2]), err, LVLM_EFORMAT,
            "the key of a storage is no plain text");
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
    r->storages =
        lvlm_arena_alloc(&r->scratch, p->n_persistent + 1, sizeof *r->storages);
    if (r->storages == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < p->n_persistent; i++)
        TRY(read_storage(&r->storages[i], p->persistent[i], r->err));
    return 0;
}

/* ---- zip form ------------------------------------------------------------------- */

static bool has_suffix(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcmp(text + n - m, suffix) == 0;
}

/* "NAME/data.pkl": the only pickle one folder deep. */
static int find_pickle(const lvlm_zip_member **out, const lvlm_zip *zip,
                       lvlm_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < zip->n_members; i++) {
        const lvlm_zip_member *m = &zip->members[i];
        if (!has_suffix(m->name, "/data.pkl") ||
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

/* Bytes of a member: in the file, or inflated where some tool has packed the archive
 * again. */
static int member_bytes(const unsigned char **out, reader *r, const lvlm_zip_member *m)
{
    *out = r->file->bytes + m->offset;
    if (m->method == LVLM_ZIP_STORED) return 0;
    FAIL_IF(m->n_bytes > LVLM_PICKLE_MAX_BYTES, r->err, LVLM_EFORMAT,
            "member '%s': is over the limit of %zu bytes", m->name,
            LVLM_PICKLE_MAX_BYTES);
    unsigned char *bytes = lvlm_arena_alloc(&r->scratch, (size_t)m->n_bytes, 1);
    if (bytes == NULL) return lvlm_fail_memory(r->err);
    *out = bytes;
    return lvlm_zip_inflate(bytes, m, r->file, r->err);
}

static int check_byteorder(reader *r, const lvlm_zip *zip, const char *folder)
{
    const unsigned char *text;
    const char *name = lvlm_arena_printf(&r->scratch, "%sbyteorder", folder);
    if (name == NULL) return lvlm_fail_memory(r->err);
    const lvlm_zip_member *m = lvlm_zip_find(zip, name);
    if (m == NULL) return 0; /* before torch 2.1 */
    TRY(member_bytes(&text, r, m));
    FAIL_IF(m->n_bytes != 6 || memcmp(text, "little", 6) != 0, r->err, LVLM_EFORMAT,
            "member '%s': expected \"little\"; big-endian files are not read", name);
    return 0;
}

/* The member that holds a storage, in place and long enough. */
static int place_in_zip(reader *r, storage *s, const lvlm_zip *zip, const char *folder)
{
    uint64_t n_bytes;
    const char *name =
        lvlm_arena_printf(&r->scratch, "%sdata/%.*s", folder, (int)s->n_key, s->key);
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
    lvlm_zip zip;
    const lvlm_zip_member *object;
    const unsigned char *bytes;
    TRY(lvlm_zip_read(&zip, r->file, &r->scratch, r->err));
    TRY(find_pickle(&object, &zip, r->err));
    const size_t n_folder = strlen(object->name) - strlen("data.pkl");
    const char *folder = lvlm_arena_strndup(&r->scratch, object->name, n_folder);
    if (folder == NULL) return lvlm_fail_memory(r->err);
    TRY(check_byteorder(r, &zip, folder));
    TRY(member_bytes(&bytes, r, object));
    const int rc =
        lvlm_pickle_read(&r->pickle, bytes, object->n_bytes, &r->scratch, r->err);
    if (rc < 0) {
        lvlm_prefix(r->err, "%s: ", object->name);
        return rc;
    }
    TRY(read_storages(r));
    for (size_t i = 0; i < r->pickle.n_persistent; i++)
        TRY(place_in_zip(r, &r->storages[i], &zip, folder));
    return 0;
}

/* ---- legacy form ---------------------------------------------------------------- */

static const char legacy_magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
enum { LEGACY_PROTOCOL = 1001, MAGIC_BYTES = sizeof legacy_magic - 1 };

/* PROTO, and then LONG1 of ten bytes, in a frame of 13 bytes or in none. Read as the
 * length of a safetensors header, both are over its limit. */
static bool is_legacy(const lvlm_infile *file)
{
    static const unsigned char plain[] = { 0x8a, MAGIC_BYTES }, framed[] = { 0x95, 13 };
    return file->n_bytes >= 4 && file->bytes[0] == 0x80 &&
           (memcmp(file->bytes + 2, plain, 2) == 0 ||
            memcmp(file->bytes + 2, framed, 2) == 0);
}

/* The next pickle at *at, which moves behind it. */
static int next_pickle(reader *r, lvlm_pickle *out, uint64_t *at, const char *what)
{
    const int rc = lvlm_pickle_read(out, r->file->bytes + *at, r->file->n_bytes - *at,
                                    &r->scratch, r->err);
    if (rc < 0) lvlm_prefix(r->err, "%s, at %" PRIu64 ": ", what, *at);
    *at += out->n_bytes;
    return rc;
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

static int compare_keys(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order != 0 ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_key(const void *a, const void *b)
{
    const storage *x = *(storage *const *)a, *y = *(storage *const *)b;
    return compare_keys(x->key, x->n_key, y->key, y->n_key);
}

/* The first of the storages, sorted by key, whose key is not before this one; n when
 * there is none. */
static size_t first_of(storage *const *sorted, size_t n, const value *key)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const storage *s = sorted[middle];
        if (compare_keys(s->key, s->n_key, key->text, key->n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* One storage of the file at *at, which moves behind it; given to all that name it. */
static int place_in_legacy(reader *r, storage **sorted, size_t n, const value *key,
                           uint64_t *at)
{
    uint64_t n_bytes;
    FAIL_IF(key->kind != LVLM_PICKLE_TEXT, r->err, LVLM_EFORMAT,
            "the key of a storage is no text");
    const size_t first = first_of(sorted, n, key);
    FAIL_IF(first == n || compare_keys(sorted[first]->key, sorted[first]->n_key,
                                       key->text, key->n) != 0,
            r->err, LVLM_EFORMAT, "holds a storage that nothing refers to");
    const storage *s = sorted[first];
    FAIL_IF(r->file->n_bytes - *at < 8 ||
                !lvlm_mul_u64(&n_bytes, s->numel, s->element) ||
                n_bytes > r->file->n_bytes - *at - 8,
            r->err, LVLM_EFORMAT,
            "a storage of %" PRIu64 " elements at %" PRIu64
            " goes on behind the end of the file (%" PRIu64 " bytes); it is truncated",
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
            "the keys of storages are no list");
    TRY(read_storages(r));
    const size_t n = r->pickle.n_persistent;
    storage **sorted = lvlm_arena_alloc(&r->scratch, n + 1, sizeof *sorted);
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

/* ---- the state dict ------------------------------------------------------------- */

/* The call that makes a tensor, or NULL when `v` is something else. */
static const value *tensor_of(const value *v)
{
    if (lvlm_pickle_is_call(v, LVLM_ROLE_PARAMETER) && v->n > 0) v = v->items[0];
    return lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR) ||
                   lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR_V2) ||
                   lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR_V3)
               ? v
               : NULL;
}

static bool holds_tensors(const value *v)
{
    if (v == NULL || v->kind != LVLM_PICKLE_DICT) return false;
    for (size_t i = 1; i < v->n; i += 2)
        if (tensor_of(v->items[i]) != NULL) return true;
    return false;
}

static int find_state_dict(const value **out, const value *object, lvlm_error *err)
{
    static const char *const wrappers[] = { "state_dict", "model", "module" };
    *out = object;
    if (holds_tensors(object)) return 0;
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        *out = lvlm_pickle_get(object, wrappers[i]);
        if (holds_tensors(*out)) return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "holds no state dict: expected a dictionary of tensors, alone or "
                     "as 'state_dict', 'model' or 'module'");
}

/* ---- tensors -------------------------------------------------------------------- */

static int read_dims(uint64_t dims[LVLM_MAX_DIMS], size_t *n, const value *v,
                     const char *what, lvlm_error *err)
{
    FAIL_IF(v->kind != LVLM_PICKLE_TUPLE || v->n > LVLM_MAX_DIMS, err, LVLM_EFORMAT,
            "%s is no tuple of up to %d numbers", what, LVLM_MAX_DIMS);
    *n = v->n;
    for (size_t i = 0; i < v->n; i++)
        FAIL_IF(!whole_number(&dims[i], v->items[i]), err, LVLM_EFORMAT,
                "%s: not a whole number", what);
    return 0;
}

/* Elements from the first to the last that the view reads; 0 when it is empty. */
static bool extent(uint64_t *out, const view *v)
{
    const lvlm_shape *shape = &v->tensor.shape;
    uint64_t sum = 1, step;
    for (size_t i = 0; i < shape->n; i++) {
        if (shape->dims[i] == 0) {
            *out = 0;
            return true;
        }
        if (!lvlm_mul_u64(&step, shape->dims[i] - 1, v->stride[i]) ||
            !lvlm_add_u64(&sum, sum, step))
            return false;
    }
    *out = sum;
    return true;
}

/* Do the strides differ from those of the row-major shape? Where there is at most one
 * index, a stride means nothing. */
static bool is_strided(const view *v)
{
    const lvlm_shape *shape = &v->tensor.shape;
    uint64_t step = 1;
    if (v->tensor.n_bytes == 0) return false;
    for (size_t i = shape->n; i-- > 0; step *= shape->dims[i])
        if (shape->dims[i] > 1 && v->stride[i] != step) return true;
    return false;
}

/* Place the view in its storage: `first` is the element that it begins with. */
static int place_view(view *v, const storage *s, uint64_t first, lvlm_error *err)
{
    lvlm_tensor *t = &v->tensor;
    uint64_t n, end;
    const size_t element = lvlm_dtype_bytes(t->dtype);
    const uint64_t room = s->n_view * s->element / element;
    FAIL_IF(!lvlm_shape_bytes(&t->n_bytes, &t->shape, t->dtype), err, LVLM_EFORMAT,
            "size of the shape overflows 64 bits");
    FAIL_IF(!extent(&n, v) || !lvlm_add_u64(&end, first, n) || end > room, err,
            LVLM_EFORMAT,
            "goes from element %" PRIu64 " over the end of its storage, which has "
            "%" PRIu64,
            first, room);
    t->offset = s->offset + s->first * s->element + first * element;
    v->strided = is_strided(v);
    return 0;
}

/* (storage, first element, size, stride, ...[, dtype]) */
static int read_view(view *v, const value *call, const storage *storages,
                     lvlm_error *err)
{
    static const size_t n_arguments[] = {
        [LVLM_ROLE_TENSOR] = 4, [LVLM_ROLE_TENSOR_V2] = 6, [LVLM_ROLE_TENSOR_V3] = 7
    };
    value *const *a = call->items;
    uint64_t first;
    size_t n_strides;
    FAIL_IF(call->n < n_arguments[call->global->role] ||
                a[0]->kind != LVLM_PICKLE_PERSISTENT || !whole_number(&first, a[1]),
            err, LVLM_EFORMAT, "is not made of a storage and a place in it");
    const storage *s = &storages[a[0]->integer];
    TRY(read_dims(v->tensor.shape.dims, &v->tensor.shape.n, a[2], "size", err));
    TRY(read_dims(v->stride, &n_strides, a[3], "stride", err));
    FAIL_IF(n_strides != v->tensor.shape.n, err, LVLM_EFORMAT,
            "has %zu dimensions and %zu strides", v->tensor.shape.n, n_strides);
    v->tensor.dtype = s->dtype;
    if (call->global->role == LVLM_ROLE_TENSOR_V3) {
        FAIL_IF(
            a[6]->kind != LVLM_PICKLE_GLOBAL || a[6]->global->role != LVLM_ROLE_DTYPE,
            err, LVLM_EFORMAT, "has no dtype");
        v->tensor.dtype = a[6]->global->dtype;
    }
    FAIL_IF(s->untyped && call->global->role != LVLM_ROLE_TENSOR_V3, err, LVLM_EFORMAT,
            "has no dtype");
    return place_view(v, s, first, err);
}

static int add_view(reader *r, const value *key, const value *call)
{
    view *v = &r->views[r->n_views++];
    FAIL_IF(key->kind != LVLM_PICKLE_TEXT || memchr(key->text, '\0', key->n) != NULL ||
                !lvlm_utf8_valid(key->text, key->n),
            r->err, LVLM_EFORMAT, "the name of a tensor is no text in UTF-8");
    v->tensor.name = lvlm_arena_strndup(r->arena, key->text, key->n);
    if (v->tensor.name == NULL) return lvlm_fail_memory(r->err);
    const int rc = read_view(v, call, r->storages, r->err);
    if (rc < 0) lvlm_prefix(r->err, "tensor '%s': ", v->tensor.name);
    return rc;
}

static int read_views(reader *r)
{
    const value *dict = NULL;
    TRY(find_state_dict(&dict, r->pickle.value, r->err));
    r->views = lvlm_arena_alloc(&r->scratch, dict->n / 2 + 1, sizeof *r->views);
    if (r->views == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < dict->n; i += 2) {
        const value *key = dict->items[i], *held = dict->items[i + 1];
        const value *call = tensor_of(held);
        if (call != NULL) TRY(add_view(r, key, call));
        r->n_looked += held->kind == LVLM_PICKLE_DICT ? held->n : 0;
        FAIL_IF(r->n_looked > LVLM_PICKLE_MAX_VALUES, r->err, LVLM_EFORMAT,
                "holds over %d values beside its tensors", LVLM_PICKLE_MAX_VALUES);
        FAIL_IF(
            holds_tensors(held), r->err, LVLM_EFORMAT,
            "'%.*s' holds tensors below those of the state dict; expected them side "
            "by side",
            key->kind == LVLM_PICKLE_TEXT && key->n < 200 ? (int)key->n : 0,
            key->kind == LVLM_PICKLE_TEXT ? key->text : "");
    }
    return 0;
}

/* ---- spans and what is detached ------------------------------------------------- */

/* By offset; an empty tensor before the one that begins there, a whole before its
 * part. */
static int by_offset(const void *a, const void *b)
{
    const view *x = a, *y = b;
    const lvlm_tensor *t = &x->tensor, *u = &y->tensor;
    if (x->strided != y->strided) return x->strided - y->strided;
    if (t->offset != u->offset) return t->offset < u->offset ? -1 : 1;
    if ((t->n_bytes == 0) != (u->n_bytes == 0)) return t->n_bytes == 0 ? -1 : 1;
    if (t->n_bytes != u->n_bytes) return t->n_bytes > u->n_bytes ? -1 : 1;
    return strcmp(t->name, u->name);
}

static int spans_first(const void *a, const void *b)
{
    const view *x = a, *y = b;
    const lvlm_tensor *t = &x->tensor, *u = &y->tensor;
    if (t->detached != u->detached) return t->detached - u->detached;
    if (t->offset != u->offset) return t->offset < u->offset ? -1 : 1;
    if (!t->detached && t->n_bytes != u->n_bytes)
        return t->n_bytes < u->n_bytes ? -1 : 1;
    return strcmp(t->name, u->name);
}

static void settle(reader *r)
{
    uint64_t end = 0;
    qsort(r->views, r->n_views, sizeof *r->views, by_offset);
    for (size_t i = 0; i < r->n_views; i++) {
        view *v = &r->views[i];
        lvlm_tensor *t = &v->tensor;
        t->detached = v->strided || t->offset < end;
        if (!t->detached) end = t->offset + t->n_bytes;
        if (!r->headers_only && !v->strided) t->data = r->file->bytes + t->offset;
    }
    qsort(r->views, r->n_views, sizeof *r->views, spans_first);
}

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp((*(const lvlm_tensor *const *)a)->name,
                  (*(const lvlm_tensor *const *)b)->name);
}

static int check_names(reader *r)
{
    const lvlm_tensor **sorted =
        lvlm_arena_alloc(&r->scratch, r->n_views + 1, sizeof *sorted);
    if (sorted == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) sorted[i] = &r->views[i].tensor;
    qsort(sorted, r->n_views, sizeof *sorted, by_tensor_name);
    for (size_t i = 1; i < r->n_views; i++)
        FAIL_IF(strcmp(sorted[i - 1]->name, sorted[i]->name) == 0, r->err, LVLM_EFORMAT,
                "tensor '%s': is there twice", sorted[i]->name);
    return 0;
}

/* ---- strided tensors ------------------------------------------------------------ */

/* The elements of a view in row-major order. */
static void gather(unsigned char *to, const view *v, const unsigned char *from)
{
    const lvlm_shape *shape = &v->tensor.shape;
    const size_t element = lvlm_dtype_bytes(v->tensor.dtype), last = shape->n - 1;
    const unsigned char *const end = to + v->tensor.n_bytes;
    uint64_t index[LVLM_MAX_DIMS] = { 0 };
    while (to < end) {
        uint64_t at = 0;
        for (size_t i = 0; i < last; i++) at += index[i] * v->stride[i];
        for (uint64_t i = 0; i < shape->dims[last]; i++, to += element)
            memcpy(to, from + (at + i * v->stride[last]) * element, element);
        for (size_t i = last; i-- > 0 && ++index[i] == shape->dims[i];) index[i] = 0;
    }
}

static int copy_strided(reader *r)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->n_views; i++) {
        const view *v = &r->views[i];
        if (!v->strided) continue;
        FAIL_IF(v->tensor.n_bytes > r->file->n_bytes ||
                    (total += v->tensor.n_bytes) > r->file->n_bytes,
                r->err, LVLM_EFORMAT,
                "tensor '%s': is expanded: strided tensors would take more bytes than "
                "the file has",
                v->tensor.name);
    }
    if (total == 0 || r->headers_only) return 0;
    unsigned char *to = r->copies = lvlm_malloc((size_t)total);
    if (to == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) {
        view *v = &r->views[i];
        if (!v->strided) continue;
        gather(to, v, r->file->bytes + v->tensor.offset);
        v->tensor.data = to;
        to += v->tensor.n_bytes;
    }
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

bool lvlm_torchfile_is(const lvlm_infile *file)
{
    return lvlm_zip_is(file) || is_legacy(file);
}

static int read_all(lvlm_torchfile *out, reader *r)
{
    FAIL_IF(
        !lvlm_torchfile_is(r->file), r->err, LVLM_EFORMAT,
        "is no file of torch.save: it begins as neither a zip archive nor a pickle");
    TRY(lvlm_zip_is(r->file) ? read_zip(r) : read_legacy(r));
    TRY(read_views(r));
    TRY(check_names(r));
    settle(r);
    TRY(copy_strided(r));
    out->tensors = lvlm_arena_alloc(r->arena, r->n_views + 1, sizeof *out->tensors);
    if (out->tensors == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) out->tensors[i] = r->views[i].tensor;
    out->n_tensors = r->n_views;
    return 0;
}

int lvlm_torchfile_read(lvlm_torchfile *out, const lvlm_infile *file, bool headers_only,
                        lvlm_arena *arena, lvlm_error *err)
{
    reader r = {
        .file = file, .headers_only = headers_only, .arena = arena, .err = err
    };
    *out = (lvlm_torchfile){ 0 };
    const int rc = read_all(out, &r);
    out->copies = r.copies;
    if (rc < 0) lvlm_torchfile_free(out);
    lvlm_arena_free(&r.scratch);
    return rc;
}

void lvlm_torchfile_free(lvlm_torchfile *torchfile)
{
    lvlm_free(torchfile->copies);
    torchfile->copies = NULL;
}
