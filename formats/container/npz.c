/* npz.c - reads the arrays of an .npz; see npz.h.
 *
 *   zip members -> header of each -> a span of the file or a copy -> sorted
 *
 * The header is a Python literal; only the form that numpy writes is parsed: three
 * keys, each once, in any order. Nothing is evaluated. */
#include "formats/container/npz.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/container/transform.h"

enum {
    /* "\x93NUMPY", version; then a length of 2 bytes, or of 4 since version 2. */
    MAGIC_BYTES = 8,
    /* numpy pads headers to 64 or 128 bytes and refuses those over 10,000. */
    MAX_HEADER = 10000,
    MAX_START = MAGIC_BYTES + 4 + MAX_HEADER,
    /* Alignment of copies, the same as numpy's. */
    COPY_ALIGN = 64,
};

/* A member and the place of its elements. */
typedef struct array {
    lvlm_tensor tensor;
    const lvlm_zip_member *member;
    uint64_t start; /* bytes of the member before its elements */
    bool fortran;   /* first index fastest, and the order matters */
} array;

typedef struct reader {
    const lvlm_infile *file;
    lvlm_zip zip;
    array *arrays;
    size_t n_arrays;
    lvlm_arena *arena;  /* for results */
    lvlm_arena scratch; /* for temporaries */
    lvlm_error *err;
} reader;

/* ---- the header's dictionary ---------------------------------------------------- */

/* The remaining bytes of the text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

/* If `text` is next, skip it. */
static bool accept(cursor *c, const char *text)
{
    const size_t n = strlen(text);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

/* 'text', without escapes, into `to`. */
static bool parse_text(cursor *c, char *to, size_t room)
{
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    const char quote = *c->at++;
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (close == NULL || (size_t)(close - c->at) >= room ||
        memchr(c->at, '\\', (size_t)(close - c->at)) != NULL)
        return false;
    const size_t n = (size_t)(close - c->at);
    memcpy(to, c->at, n);
    to[n] = '\0';
    c->at = close + 1;
    return true;
}

static bool parse_number(uint64_t *out, cursor *c)
{
    uint64_t value = 0;
    skip_blanks(c);
    const char *first = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (!lvlm_mul_u64(&value, value, 10) ||
            !lvlm_add_u64(&value, value, (uint64_t)(*c->at - '0')))
            return false;
    *out = value;
    return c->at > first && (c->at - first == 1 || *first != '0');
}

/* (), (3,), (3, 4) */
static int parse_shape(lvlm_shape *out, cursor *c, lvlm_error *err)
{
    FAIL_IF(!accept(c, "("), err, LVLM_EFORMAT,
            "'shape' is not a tuple of whole "
            "numbers");
    bool comma = true;
    while (!accept(c, ")")) {
        uint64_t dim;
        FAIL_IF(!comma || !parse_number(&dim, c), err, LVLM_EFORMAT,
                "'shape' is not a tuple of whole numbers below 2^64");
        FAIL_IF(out->n == LVLM_MAX_DIMS, err, LVLM_EFORMAT, "has over %d dimensions",
                LVLM_MAX_DIMS);
        out->dims[out->n++] = dim;
        comma = accept(c, ",");
    }
    FAIL_IF(out->n == 1 && !comma, err, LVLM_EFORMAT,
            "'shape' is a number in brackets, not a tuple");
    return 0;
}

/* numpy's name of a type to ours. bf16 is stored as two-byte void. */
static int read_descr(lvlm_dtype *out, const char *descr, lvlm_error *err)
{
    static const struct {
        const char *descr;
        lvlm_dtype dtype;
    } types[] = {
        { "<f4", LVLM_F32 }, { "|V2", LVLM_BF16 }, { "<V2", LVLM_BF16 },
        { "<f2", LVLM_F16 }, { "<f8", LVLM_F64 },  { "|b1", LVLM_BOOL },
        { "|u1", LVLM_U8 },  { "|i1", LVLM_I8 },   { "<u2", LVLM_U16 },
        { "<i2", LVLM_I16 }, { "<u4", LVLM_U32 },  { "<i4", LVLM_I32 },
        { "<u8", LVLM_U64 }, { "<i8", LVLM_I64 },
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].descr, descr) != 0) continue;
        *out = types[i].dtype;
        return 0;
    }
    FAIL_IF(descr[0] == '>', err, LVLM_EFORMAT,
            "is big-endian ('%s'): expected little-endian", descr);
    FAIL_IF(strchr(descr, 'O') != NULL, err, LVLM_EFORMAT,
            "holds pickled Python objects ('%s'), which are never executed here: "
            "expected numbers",
            descr);
    return lvlm_fail(err, LVLM_EFORMAT,
                     "has elements of type '%s': expected '<f4', '|V2' (bf16), '<f2', "
                     "'<f8', or whole numbers",
                     descr);
}

enum { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4, ALL_KEYS = 7 };

/* One "KEY: VALUE"; the key is added to `seen`. */
static int parse_item(array *a, unsigned *seen, cursor *c, lvlm_error *err)
{
    char key[32], descr[32];
    unsigned bit = 0;
    FAIL_IF(!parse_text(c, key, sizeof key) || !accept(c, ":"), err, LVLM_EFORMAT,
            "its header is not a dictionary of numpy's");
    if (strcmp(key, "descr") == 0) {
        bit = KEY_DESCR;
        FAIL_IF(!parse_text(c, descr, sizeof descr), err, LVLM_EFORMAT,
                "'descr' is not a simple type: arrays of records are not read");
        TRY(read_descr(&a->tensor.dtype, descr, err));
    } else if (strcmp(key, "fortran_order") == 0) {
        bit = KEY_ORDER;
        a->fortran = accept(c, "True");
        FAIL_IF(!a->fortran && !accept(c, "False"), err, LVLM_EFORMAT,
                "'fortran_order' is neither True nor False");
    } else if (strcmp(key, "shape") == 0) {
        bit = KEY_SHAPE;
        if ((*seen & bit) == 0) TRY(parse_shape(&a->tensor.shape, c, err));
    }
    FAIL_IF(bit == 0, err, LVLM_EFORMAT,
            "its header has a key '%s' that numpy does "
            "not have",
            key);
    FAIL_IF((*seen & bit) != 0, err, LVLM_EFORMAT, "its header has '%s' twice", key);
    *seen |= bit;
    return 0;
}

static int parse_header(array *a, const char *text, size_t n, lvlm_error *err)
{
    cursor c = { text, text + n };
    unsigned seen = 0;
    bool comma = true;
    FAIL_IF(!accept(&c, "{"), err, LVLM_EFORMAT, "its header is not a dictionary");
    while (!accept(&c, "}")) {
        FAIL_IF(!comma, err, LVLM_EFORMAT, "its header is not a dictionary of numpy's");
        TRY(parse_item(a, &seen, &c, err));
        comma = accept(&c, ",");
    }
    skip_blanks(&c);
    FAIL_IF(c.at != c.end, err, LVLM_EFORMAT, "its header continues after its end");
    FAIL_IF(seen != ALL_KEYS, err, LVLM_EFORMAT,
            "its header lacks 'descr', 'fortran_order' or 'shape'");
    return 0;
}

/* ---- one member ----------------------------------------------------------------- */

/* `bytes` are the first `n` of the member, enough for any header. */
static int read_start(array *a, const unsigned char *bytes, uint64_t n, lvlm_error *err)
{
    static const unsigned char magic[] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };
    FAIL_IF(n < MAGIC_BYTES + 4 || memcmp(bytes, magic, sizeof magic) != 0, err,
            LVLM_EFORMAT,
            "is not an array of numpy's: it does not begin with "
            "\\x93NUMPY");
    const unsigned version = bytes[6];
    FAIL_IF(version < 1 || version > 3 || bytes[7] != 0, err, LVLM_EFORMAT,
            "has version %u.%u: expected 1.0, 2.0 or 3.0", version, bytes[7]);
    const size_t n_length = version == 1 ? 2 : 4;
    const uint64_t length = lvlm_load_le(bytes + MAGIC_BYTES, n_length);
    a->start = MAGIC_BYTES + n_length + length;
    FAIL_IF(length > MAX_HEADER || a->start > n, err, LVLM_EFORMAT,
            "says that its header has %" PRIu64 " bytes: expected at most %d, inside "
            "the member",
            length, MAX_HEADER);
    return parse_header(a, (const char *)bytes + MAGIC_BYTES + n_length, (size_t)length,
                        err);
}

/* The order of elements matters if two dimensions are not 1. */
static bool order_matters(const lvlm_shape *shape)
{
    size_t wide = 0;
    for (size_t i = 0; i < shape->n; i++) wide += shape->dims[i] != 1;
    return wide > 1;
}

static int resolve_place(array *a, lvlm_error *err)
{
    assert(a->start <= a->member->n_bytes);
    lvlm_tensor *t = &a->tensor;
    const lvlm_zip_member *m = a->member;
    char shape[LVLM_SHAPE_TEXT];
    FAIL_IF(!lvlm_shape_bytes(&t->n_bytes, &t->shape, t->dtype), err, LVLM_EFORMAT,
            "size of the shape %s overflows 64 bits",
            lvlm_shape_text(shape, &t->shape));
    FAIL_IF(m->n_bytes - a->start != t->n_bytes, err, LVLM_EFORMAT,
            "has %" PRIu64 " bytes of elements: %s %s needs %" PRIu64,
            m->n_bytes - a->start, lvlm_dtype_name(t->dtype),
            lvlm_shape_text(shape, &t->shape), t->n_bytes);
    a->fortran = a->fortran && t->n_bytes > 0 && order_matters(&t->shape);
    t->detached = a->fortran || m->method == LVLM_ZIP_DEFLATED;
    t->offset = m->offset + (m->method == LVLM_ZIP_STORED ? a->start : 0);
    return 0;
}

/* `start` has room for MAX_START bytes of a deflated member. */
static int read_array(reader *r, array *a, unsigned char *start)
{
    const lvlm_zip_member *m = a->member;
    const uint64_t n = m->n_bytes < MAX_START ? m->n_bytes : MAX_START;
    if (m->method == LVLM_ZIP_STORED) {
        TRY(read_start(a, r->file->bytes + m->offset, m->n_bytes, r->err));
    } else {
        TRY(lvlm_zip_inflate_start(start, (size_t)n, m, r->file, r->err));
        TRY(read_start(a, start, n, r->err));
    }
    return resolve_place(a, r->err);
}

static int read_arrays(reader *r)
{
    static const char suffix[] = ".npy";
    const size_t skip = sizeof suffix - 1;
    unsigned char *start = lvlm_arena_alloc(&r->scratch, MAX_START, 1);
    r->arrays = lvlm_arena_alloc(&r->scratch, r->zip.n_members + 1, sizeof *r->arrays);
    if (start == NULL || r->arrays == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->zip.n_members; i++) {
        array *a = &r->arrays[r->n_arrays++];
        const char *name = r->zip.members[i].name;
        const size_t n = strlen(name);
        FAIL_IF(!lvlm_ends_with(name, suffix), r->err, LVLM_EFORMAT,
                "member '%s': is not an array: expected a name that ends in .npy",
                name);
        a->member = &r->zip.members[i];
        a->tensor.name = lvlm_arena_strndup(r->arena, name, n - skip);
        if (a->tensor.name == NULL) return lvlm_fail_memory(r->err);
        TRY(lvlm_within(read_array(r, a, start), r->err, "member '%s': ", name));
    }
    FAIL_IF(r->n_arrays == 0, r->err, LVLM_EFORMAT, "holds no arrays");
    return 0;
}

/* ---- copies --------------------------------------------------------------------- */

/* Strides of Fortran order: the first index is the fastest. */
static void fortran_strides(uint64_t stride[LVLM_MAX_DIMS], const lvlm_shape *shape)
{
    uint64_t step = 1;
    for (size_t i = 0; i < shape->n; step *= shape->dims[i++]) stride[i] = step;
}

static void to_c_order(unsigned char *to, const lvlm_tensor *t,
                       const unsigned char *from)
{
    assert(t->shape.n > 1);
    uint64_t stride[LVLM_MAX_DIMS];
    fortran_strides(stride, &t->shape);
    const lvlm_elements source = { from, lvlm_tensor_numel(t),
                                   lvlm_dtype_bytes(t->dtype), &t->shape, stride };
    lvlm_elements_read(to, 0, source.n, &source);
}

/* Leave the elements in their order, where they are or once they are inflated. */
static int read_in_place(reader *r, array *a)
{
    lvlm_tensor *const t = &a->tensor;
    if (!a->fortran) return 0;
    uint64_t *const stride = lvlm_arena_alloc(r->arena, LVLM_MAX_DIMS, sizeof *stride);
    if (stride == NULL) return lvlm_fail_memory(r->err);
    fortran_strides(stride, &t->shape);
    t->stride = stride;
    if (a->member->method == LVLM_ZIP_DEFLATED) return 0;
    t->data = r->file->bytes + t->offset;
    t->map = r->file;
    return 0;
}

/* Is a copy the only way to read it? */
static bool is_copied(const array *a)
{
    const bool inflated = a->member->method == LVLM_ZIP_DEFLATED;
    return a->tensor.detached && (inflated || a->tensor.stride == NULL);
}

/* Copy the values of a detached tensor to `to`, which has room for its whole member. */
static int copy_array(reader *r, array *a, unsigned char *to)
{
    assert(is_copied(a));
    const lvlm_zip_member *m = a->member;
    a->tensor.data = to;
    if (m->method == LVLM_ZIP_STORED) {
        to_c_order(to, &a->tensor, r->file->bytes + a->tensor.offset);
        return 0;
    }
    if (!a->fortran || a->tensor.stride != NULL) {
        a->tensor.data = to + a->start;
        return lvlm_zip_inflate(to, m, r->file, r->err);
    }
    unsigned char *whole = lvlm_malloc((size_t)m->n_bytes);
    if (whole == NULL) return lvlm_fail_memory(r->err);
    const int rc = lvlm_zip_inflate(whole, m, r->file, r->err);
    if (rc == 0) to_c_order(to, &a->tensor, whole + a->start);
    lvlm_free(whole);
    return rc;
}

static int copy_detached(reader *r, unsigned char **copies)
{
    uint64_t total = 0;
    for (size_t i = 0; i < r->n_arrays; i++)
        if (is_copied(&r->arrays[i]) &&
            !lvlm_add_u64(&total, total,
                          lvlm_round_up(r->arrays[i].member->n_bytes, COPY_ALIGN)))
            return lvlm_fail_memory(r->err);
    if (total == 0) return 0;
    if (total > SIZE_MAX || (*copies = lvlm_malloc((size_t)total)) == NULL)
        return lvlm_fail_memory(r->err);
    unsigned char *to = *copies;
    for (size_t i = 0; i < r->n_arrays; i++) {
        array *a = &r->arrays[i];
        if (!is_copied(a)) continue;
        TRY(copy_array(r, a, to));
        to += lvlm_round_up(a->member->n_bytes, COPY_ALIGN);
    }
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

static int read_all(lvlm_archive *out, reader *r, lvlm_read how)
{
    FAIL_IF(!lvlm_zip_is(r->file), r->err, LVLM_EFORMAT,
            "is not an .npz: it does not begin like a zip archive");
    TRY(lvlm_zip_read(&r->zip, r->file, r->arena, r->err));
    TRY(read_arrays(r));
    for (size_t i = 0; i < r->n_arrays && how == LVLM_READ_IN_PLACE; i++)
        TRY(read_in_place(r, &r->arrays[i]));
    if (how != LVLM_READ_HEADERS) TRY(copy_detached(r, &out->copies));
    out->zip = r->zip;
    out->tensors = lvlm_arena_alloc(r->arena, r->n_arrays, sizeof *out->tensors);
    if (out->tensors == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_arrays; i++) {
        lvlm_tensor *t = &out->tensors[out->n_tensors++];
        *t = r->arrays[i].tensor;
        if (how != LVLM_READ_HEADERS && !t->detached) {
            t->data = r->file->bytes + t->offset;
            t->map = r->file;
        }
        out->compressed |= r->arrays[i].member->method == LVLM_ZIP_DEFLATED;
    }
    qsort(out->tensors, out->n_tensors, sizeof *out->tensors, lvlm_tensor_span_order);
    return 0;
}

int lvlm_npz_read(lvlm_archive *out, const lvlm_infile *file, lvlm_read how,
                  lvlm_arena *arena, lvlm_error *err)
{
    reader r = { .file = file, .arena = arena, .err = err };
    *out = (lvlm_archive){ 0 };
    const int rc = read_all(out, &r, how);
    lvlm_arena_free(&r.scratch);
    if (rc == 0) return 0;
    lvlm_free(out->copies);
    *out = (lvlm_archive){ 0 };
    return rc;
}
