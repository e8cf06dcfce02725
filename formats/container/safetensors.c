/* safetensors.c - reader and writer for one .safetensors file.
 *
 *   u64 header_len | JSON header, space padded | tensor bytes
 *
 * Reading: `read_header` finds the JSON, `read_entry` turns members into tensors one by
 * one, `validate` checks the rules that involve all of them. Tensor bytes are never
 * copied. Not here: sharded models (shards.c), types of values (numeric.c). */
#include "formats/container/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/base/outfile.h"
#include "formats/base/size.h"

enum {
    LENGTH_BYTES = 8,
    MAX_METADATA = 100000, /* members; they become a tree */
};

/* The limit for the end of data, so that sums with a header fit 64 bits. */
#define MAX_FILE ((uint64_t)1 << 62)

/* The kind of a file that does not begin with a length: "a JPEG picture", or NULL. */
static const char *other_kind(const unsigned char *bytes)
{
    static const struct {
        const char *begin, *kind;
    } kinds[] = {
        { "\xff\xd8\xff", "a JPEG picture" },
        { "\x89PNG", "a PNG picture" },
        { "GIF8", "a GIF picture" },
        { "RIFF", "a WebP picture or another RIFF file" },
        { "%PDF", "a PDF document" },
        { "GGUF", "a GGUF file" },
        { "PK\3\4", "a zip archive" },
        { "\x1f\x8b", "compressed by gzip" },
        { "<", "a page of HTML or XML" },
        { "{\"", "JSON text" },
        { "{\n", "JSON text" },
        { "{ ", "JSON text" },
        { "[", "JSON text" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (memcmp(bytes, kinds[i].begin, strlen(kinds[i].begin)) == 0)
            return kinds[i].kind;
    return NULL;
}

/* The header's text, with its length checked against the limit and the file. */
static int find_header(const char **text, size_t *n_bytes, const lvlm_infile *file,
                       lvlm_error *err)
{
    FAIL_IF(file->n_bytes < LENGTH_BYTES, err, LVLM_EFORMAT,
            "is %" PRIu64 " bytes long, too short for a safetensors header",
            file->n_bytes);
    const uint64_t length = lvlm_load_le(file->bytes, LENGTH_BYTES);
    const char *const kind = other_kind(file->bytes);
    FAIL_IF(length > LVLM_SAFETENSORS_MAX_HEADER && kind != NULL, err, LVLM_EFORMAT,
            "is %s, not a model or a safetensors file", kind);
    FAIL_IF(length > LVLM_SAFETENSORS_MAX_HEADER, err, LVLM_EFORMAT,
            "is not a safetensors file: the length of its header is over the limit of "
            "%u bytes (%" PRIu64 ")",
            LVLM_SAFETENSORS_MAX_HEADER, length);
    FAIL_IF(length > file->n_bytes - LENGTH_BYTES, err, LVLM_EFORMAT,
            "header length %" PRIu64 " is beyond the end of the file (%" PRIu64
            " bytes); the file is truncated",
            length, file->n_bytes);
    *text = (const char *)file->bytes + LENGTH_BYTES;
    *n_bytes = (size_t)length;
    FAIL_IF(length == 0 || (*text)[0] != '{', err, LVLM_EFORMAT,
            "header does not begin with '{'");
    return 0;
}

static int read_metadata(cJSON **out, lvlm_json_reader *r, lvlm_error *err)
{
    const cJSON *item;
    FAIL_IF(lvlm_json_peek(r) != LVLM_JSON_OBJECT, err, LVLM_EFORMAT, "not an object");
    TRY(lvlm_json_read_tree(out, MAX_METADATA + 1, r, err));
    LVLM_JSON_MEMBERS (item, *out)
        FAIL_IF(!cJSON_IsString(item), err, LVLM_EFORMAT,
                "value of '%s' is not a string", item->string);
    return 0;
}

static int read_dtype(lvlm_dtype *out, lvlm_json_reader *r, lvlm_error *err)
{
    const char *name;
    TRY(lvlm_json_read_text(&name, r, err));
    FAIL_IF(!lvlm_dtype_from_name(out, name), err, LVLM_EFORMAT, "unknown dtype '%s'",
            name);
    return 0;
}

static int read_offsets(uint64_t offsets[2], lvlm_json_reader *r, lvlm_error *err)
{
    size_t n = 0;
    int rc;
    TRY(lvlm_json_begin_list(r, err));
    while ((rc = lvlm_json_next_item(r, err)) > 0) {
        FAIL_IF(n == 2, err, LVLM_EFORMAT, "more than two numbers");
        TRY(lvlm_json_read_u64(&offsets[n++], r, err));
    }
    FAIL_IF(rc == 0 && n < 2, err, LVLM_EFORMAT, "not a pair of numbers");
    return rc;
}

/* The members of an entry. */
typedef struct entry {
    bool has_dtype, has_shape, has_offsets;
    uint64_t offsets[2];
} entry;

static int read_member(entry *e, lvlm_tensor *tensor, const char *key,
                       lvlm_json_reader *r, lvlm_error *err)
{
    if (strcmp(key, "dtype") == 0) {
        e->has_dtype = true;
        return read_dtype(&tensor->dtype, r, err);
    }
    if (strcmp(key, "shape") == 0) {
        e->has_shape = true;
        return lvlm_within(lvlm_shape_read(&tensor->shape, r, err), err, "shape: ");
    }
    FAIL_IF(strcmp(key, "data_offsets") != 0, err, LVLM_EFORMAT, "unknown member '%s'",
            key);
    e->has_offsets = true;
    return lvlm_within(read_offsets(e->offsets, r, err), err, "data_offsets: ");
}

/* Offsets are still relative to the data here. */
static int finish_entry(lvlm_tensor *tensor, const entry *e, lvlm_error *err)
{
    const uint64_t begin = e->offsets[0], end = e->offsets[1];
    uint64_t expected;
    FAIL_IF(!e->has_dtype, err, LVLM_EFORMAT, "has no dtype");
    FAIL_IF(!e->has_shape, err, LVLM_EFORMAT, "has no shape");
    FAIL_IF(!e->has_offsets, err, LVLM_EFORMAT, "has no data_offsets");
    FAIL_IF(begin > end, err, LVLM_EFORMAT,
            "begins at %" PRIu64 ", after its end at %" PRIu64, begin, end);
    FAIL_IF(end > MAX_FILE, err, LVLM_EFORMAT,
            "ends at %" PRIu64 ", beyond what a file can hold", end);
    FAIL_IF(!lvlm_shape_bytes(&expected, &tensor->shape, tensor->dtype), err,
            LVLM_EFORMAT, "size of the shape overflows 64 bits");
    char shape[LVLM_SHAPE_TEXT];
    FAIL_IF(end - begin != expected, err, LVLM_EFORMAT,
            "%s %s takes %" PRIu64 " bytes, data_offsets span %" PRIu64,
            lvlm_dtype_name(tensor->dtype), lvlm_shape_text(shape, &tensor->shape),
            expected, end - begin);
    tensor->offset = begin;
    tensor->n_bytes = end - begin;
    return 0;
}

static int read_entry(lvlm_tensor *tensor, lvlm_json_reader *r, lvlm_error *err)
{
    entry e = { 0 };
    const char *key;
    int rc;
    TRY(lvlm_json_begin_object(r, err));
    while ((rc = lvlm_json_next_key(&key, r, err)) > 0)
        TRY(read_member(&e, tensor, key, r, err));
    return rc < 0 ? rc : finish_entry(tensor, &e, err);
}

/* The list grows on the heap and is handed over: a million tensors are not copied. */
static int add_tensor(lvlm_safetensors *st, size_t *capacity, lvlm_error *err)
{
    TRY(lvlm_list_room(&st->tensors, capacity, st->n_tensors, sizeof *st->tensors,
                       err));
    st->tensors[st->n_tensors++] = (lvlm_tensor){ 0 };
    return 0;
}

static int read_named(lvlm_safetensors *out, const char *key, size_t *capacity,
                      lvlm_json_reader *r, lvlm_arena *arena, lvlm_error *err)
{
    if (strcmp(key, "__metadata__") == 0 && out->metadata == NULL) {
        out->metadata_first = out->n_tensors == 0;
        return lvlm_within(read_metadata(&out->metadata, r, err), err,
                           "__metadata__: ");
    }
    TRY(add_tensor(out, capacity, err));
    lvlm_tensor *tensor = &out->tensors[out->n_tensors - 1];
    tensor->name = lvlm_arena_strndup(arena, key, strlen(key));
    if (tensor->name == NULL) return lvlm_fail_memory(err);
    return lvlm_within(read_entry(tensor, r, err), err, "tensor '%s': ", tensor->name);
}

static int read_header(lvlm_safetensors *out, const char *text, size_t n_bytes,
                       lvlm_arena *arena, lvlm_error *err)
{
    lvlm_json_reader r;
    const char *key;
    size_t capacity = 0;
    TRY(lvlm_json_open(&r, text, n_bytes, err));
    int rc = lvlm_json_begin_object(&r, err);
    while (rc == 0 && (rc = lvlm_json_next_key(&key, &r, err)) > 0)
        rc = read_named(out, key, &capacity, &r, arena, err);
    if (rc == 0) rc = lvlm_json_end(&r, err);
    lvlm_json_close(&r);
    return rc;
}

/* Does each tensor begin at the end of the one listed before it? */
static bool in_order(const lvlm_safetensors *st)
{
    uint64_t end = 0;
    for (size_t i = 0; i < st->n_tensors; i++) {
        if (st->tensors[i].offset != end) return false;
        end += st->tensors[i].n_bytes;
    }
    return true;
}

/* Every rule that a file must satisfy, in the order in which they are checked:
 *
 *   the file holds at least the 8 bytes of the header's length      find_header
 *   the header is at most LVLM_SAFETENSORS_MAX_HEADER bytes
 *   the header ends inside the file and begins with '{'
 *   it is one JSON object in UTF-8, no key twice, nothing after it  json_reader.c
 *   __metadata__ is an object of strings                            read_metadata
 *   dtype is known; shape is up to 8 whole numbers; no other member read_entry
 *   data_offsets are two whole numbers, begin <= end < 2^62         finish_entry
 *   shape x dtype is the span, computed without overflow
 *   sorted by offset, the first tensor begins at 0                  validate
 *   each begins where the one before ended: no hole, no overlap
 *   the last one ends at the end of the file
 *
 * A file without holes cannot hide another file. */
static int validate(const lvlm_safetensors *st, uint64_t file_bytes, bool headers_only,
                    lvlm_error *err)
{
    assert(st->header_bytes <= file_bytes);
    uint64_t end = 0;
    for (size_t i = 0; i < st->n_tensors; i++) {
        const lvlm_tensor *t = &st->tensors[i];
        FAIL_IF(t->offset > end, err, LVLM_EFORMAT,
                "tensor '%s': begins at %" PRIu64
                ", the data before it ends at %" PRIu64 ": %" PRIu64
                " bytes belong to no tensor",
                t->name, t->offset, end, t->offset - end);
        FAIL_IF(t->offset < end, err, LVLM_EFORMAT,
                "tensor '%s': begins at %" PRIu64
                ", inside '%s', which ends at %" PRIu64,
                t->name, t->offset, st->tensors[i - 1].name, end);
        end = t->offset + t->n_bytes;
    }
    const uint64_t data_bytes = file_bytes - st->header_bytes;
    if (headers_only) return 0;
    FAIL_IF(end > data_bytes, err, LVLM_EFORMAT,
            "tensor '%s': ends at %" PRIu64 ", the file holds %" PRIu64
            " bytes of data; it is truncated",
            st->tensors[st->n_tensors - 1].name, end, data_bytes);
    FAIL_IF(end < data_bytes, err, LVLM_EFORMAT,
            "%" PRIu64 " bytes after the last tensor belong to no tensor",
            data_bytes - end);
    return 0;
}

/* Turn relative offsets into pointers to the mapped file. */
static void place(lvlm_safetensors *st, const lvlm_infile *file, bool headers_only)
{
    for (size_t i = 0; i < st->n_tensors; i++) {
        lvlm_tensor *t = &st->tensors[i];
        t->offset += st->header_bytes;
        t->data = headers_only ? NULL : file->bytes + t->offset;
        t->map = headers_only ? NULL : file;
    }
}

int lvlm_safetensors_read(lvlm_safetensors *out, const lvlm_infile *file,
                          bool headers_only, lvlm_arena *arena, lvlm_error *err)
{
    const char *text = NULL;
    size_t n_bytes = 0;
    *out = (lvlm_safetensors){ 0 };
    TRY(find_header(&text, &n_bytes, file, err));
    out->header_bytes = LENGTH_BYTES + n_bytes;
    int rc = lvlm_within(read_header(out, text, n_bytes, arena, err), err, "header: ");
    if (rc == 0) out->data_in_order = in_order(out);
    if (rc == 0 && !out->data_in_order)
        qsort(out->tensors, out->n_tensors, sizeof *out->tensors,
              lvlm_tensor_span_order);
    if (rc == 0) rc = validate(out, file->n_bytes, headers_only, err);
    if (rc == 0)
        place(out, file, headers_only);
    else
        lvlm_safetensors_free(out);
    return rc;
}

void lvlm_safetensors_free(lvlm_safetensors *st)
{
    lvlm_json_free(st->metadata);
    lvlm_free(st->tensors);
    *st = (lvlm_safetensors){ 0 };
}

/* ---- writing -------------------------------------------------------------------- */

static int put_metadata(lvlm_strbuf *out, const cJSON *metadata, lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_json_print(&text, metadata, err));
    lvlm_strbuf_printf(out, "\"__metadata__\":%s", text);
    lvlm_free(text);
    return 0;
}

static int put_tensor(lvlm_strbuf *out, const lvlm_tensor *tensor, uint64_t *end,
                      lvlm_error *err)
{
    assert(tensor->name != NULL);
    uint64_t n_bytes;
    const uint64_t begin = *end;
    FAIL_IF(!lvlm_shape_bytes(&n_bytes, &tensor->shape, tensor->dtype) ||
                !lvlm_add_u64(end, begin, n_bytes),
            err, LVLM_EFORMAT, "tensor '%s': size overflows 64 bits", tensor->name);
    lvlm_json_put_text(out, tensor->name);
    lvlm_strbuf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[",
                       lvlm_dtype_name(tensor->dtype));
    for (size_t i = 0; i < tensor->shape.n; i++)
        lvlm_strbuf_printf(out, "%s%" PRIu64, i > 0 ? "," : "", tensor->shape.dims[i]);
    lvlm_strbuf_printf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                       *end);
    return 0;
}

int lvlm_safetensors_header(lvlm_strbuf *out, const lvlm_tensor *tensors,
                            size_t n_tensors, const cJSON *metadata, uint64_t align,
                            lvlm_error *err)
{
    assert(align >= LVLM_SAFETENSORS_ALIGN && (align & (align - 1)) == 0);
    const size_t start = out->length;
    uint64_t end = 0;

    lvlm_strbuf_append(out, "\0\0\0\0\0\0\0", LENGTH_BYTES);
    lvlm_strbuf_puts(out, "{");
    if (metadata != NULL) TRY(put_metadata(out, metadata, err));
    for (size_t i = 0; i < n_tensors; i++) {
        if (i > 0 || metadata != NULL) lvlm_strbuf_puts(out, ",");
        TRY(put_tensor(out, &tensors[i], &end, err));
    }
    lvlm_strbuf_puts(out, "}");
    while ((out->length - start) % align != 0 && !out->failed)
        lvlm_strbuf_puts(out, " ");
    TRY(lvlm_strbuf_check(out, err));
    lvlm_store_le((unsigned char *)out->text + start,
                  out->length - start - LENGTH_BYTES, LENGTH_BYTES);
    return 0;
}

int lvlm_safetensors_order(const void *a, const void *b)
{
    const lvlm_tensor *x = a, *y = b;
    if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

int lvlm_safetensors_write(lvlm_outfile *file, const lvlm_tensor *tensors,
                           size_t n_tensors, const cJSON *metadata, lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(LENGTH_BYTES + LVLM_SAFETENSORS_MAX_HEADER);
    int rc = lvlm_safetensors_header(&header, tensors, n_tensors, metadata,
                                     LENGTH_BYTES, err);
    if (rc == 0) {
        lvlm_outfile_write(file, header.text, header.length);
        for (size_t i = 0; i < n_tensors; i++)
            lvlm_outfile_write(file, tensors[i].data, (size_t)tensors[i].n_bytes);
        rc = lvlm_outfile_commit(file, err);
    }
    lvlm_strbuf_free(&header);
    return rc;
}

int lvlm_safetensors_save(const char *path, const lvlm_tensor *tensors,
                          size_t n_tensors, const cJSON *metadata, bool overwrite,
                          lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    TRY(lvlm_outfile_open(&file, path, overwrite, err));
    const int rc = lvlm_safetensors_write(file, tensors, n_tensors, metadata, err);
    lvlm_outfile_close(file);
    return rc;
}
