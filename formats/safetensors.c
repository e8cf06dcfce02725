/* safetensors.c - reader and writer for one .safetensors file.
 *
 *   u64 header_len | JSON header, space padded | tensor bytes
 *
 * Reading: `read_header` finds the JSON, `read_entry` turns members into tensors one by
 * one, `validate` checks what only all of them together can show. Tensor bytes are
 * never copied. Not here: sharded models (shards.c), types of values (numeric.c). */
#include "formats/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/size.h"

enum { LENGTH_BYTES = 8 };

static int by_offset(const void *a, const void *b)
{
    const lvlm_tensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The header's text, its length checked against limit and file. */
static int read_header(cJSON **out, uint64_t *header_bytes, const lvlm_infile *file,
                       lvlm_error *err)
{
    FAIL_IF(file->n_bytes < LENGTH_BYTES, err, LVLM_EFORMAT,
            "is %" PRIu64 " bytes long, too short for a safetensors header",
            file->n_bytes);
    const uint64_t length = lvlm_load_le(file->bytes, LENGTH_BYTES);
    FAIL_IF(length > LVLM_SAFETENSORS_MAX_HEADER, err, LVLM_EFORMAT,
            "header length %" PRIu64 " is over the limit of %u bytes; is this a "
            "safetensors file?",
            length, LVLM_SAFETENSORS_MAX_HEADER);
    FAIL_IF(length > file->n_bytes - LENGTH_BYTES, err, LVLM_EFORMAT,
            "header length %" PRIu64 " is beyond the end of the file (%" PRIu64
            " bytes); the file is truncated",
            length, file->n_bytes);
    const char *text = (const char *)file->bytes + LENGTH_BYTES;
    FAIL_IF(length == 0 || text[0] != '{', err, LVLM_EFORMAT,
            "header does not begin with '{'");
    const int rc = lvlm_json_parse(out, text, (size_t)length, err);
    if (rc < 0) lvlm_prefix(err, "header: ");
    *header_bytes = LENGTH_BYTES + length;
    return rc;
}

static int check_metadata(const cJSON *metadata, lvlm_error *err)
{
    FAIL_IF(!cJSON_IsObject(metadata), err, LVLM_EFORMAT,
            "__metadata__ is not an object");
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, metadata)
        FAIL_IF(!cJSON_IsString(item), err, LVLM_EFORMAT,
                "__metadata__: value of '%s' is not a string", item->string);
    return 0;
}

static int read_shape(lvlm_shape *shape, const cJSON *dims, lvlm_error *err)
{
    FAIL_IF(!cJSON_IsArray(dims), err, LVLM_EFORMAT, "shape is not an array");
    const cJSON *dim;
    shape->n = 0;
    LVLM_JSON_ITEMS (dim, dims) {
        FAIL_IF(shape->n == LVLM_MAX_DIMS, err, LVLM_EFORMAT,
                "shape has more than %d dimensions", LVLM_MAX_DIMS);
        FAIL_IF(!lvlm_json_u64(&shape->dims[shape->n], dim), err, LVLM_EFORMAT,
                "dimension %zu of the shape is not a whole number", shape->n);
        shape->n++;
    }
    return 0;
}

/* One member of the header. Offsets stay relative to the data here. */
static int read_entry(lvlm_tensor *tensor, const cJSON *entry, lvlm_error *err)
{
    const char *dtype = lvlm_json_string(lvlm_json_get(entry, "dtype"));
    FAIL_IF(dtype == NULL, err, LVLM_EFORMAT, "has no dtype");
    FAIL_IF(!lvlm_dtype_from_name(&tensor->dtype, dtype), err, LVLM_EFORMAT,
            "unknown dtype '%s'", dtype);
    TRY(read_shape(&tensor->shape, lvlm_json_get(entry, "shape"), err));

    const cJSON *offsets = lvlm_json_get(entry, "data_offsets");
    uint64_t begin, end, expected;
    FAIL_IF(lvlm_json_count(offsets) != 2 ||
                !lvlm_json_u64(&begin, lvlm_json_item(offsets, 0)) ||
                !lvlm_json_u64(&end, lvlm_json_item(offsets, 1)),
            err, LVLM_EFORMAT, "data_offsets is not a pair of whole numbers");
    FAIL_IF(begin > end, err, LVLM_EFORMAT,
            "begins at %" PRIu64 ", after its end at %" PRIu64, begin, end);
    FAIL_IF(!lvlm_shape_bytes(&expected, &tensor->shape, tensor->dtype), err,
            LVLM_EFORMAT, "size of the shape overflows 64 bits");
    char shape[LVLM_SHAPE_TEXT];
    FAIL_IF(end - begin != expected, err, LVLM_EFORMAT,
            "%s %s takes %" PRIu64 " bytes, data_offsets span %" PRIu64, dtype,
            lvlm_shape_text(shape, &tensor->shape), expected, end - begin);
    tensor->offset = begin;
    tensor->n_bytes = end - begin;
    return 0;
}

static int read_entries(lvlm_safetensors *out, cJSON *header, lvlm_arena *arena,
                        lvlm_error *err)
{
    out->n_tensors = 0;
    out->tensors = lvlm_arena_alloc(arena, lvlm_json_count_members(header) + 1,
                                    sizeof *out->tensors);
    if (out->tensors == NULL) return lvlm_fail_memory(err);
    const cJSON *entry;
    LVLM_JSON_MEMBERS (entry, header) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            TRY(check_metadata(entry, err));
            continue;
        }
        lvlm_tensor *tensor = &out->tensors[out->n_tensors++];
        const int rc = read_entry(tensor, entry, err);
        if (rc < 0) {
            lvlm_prefix(err, "tensor '%s': ", entry->string);
            return rc;
        }
        tensor->name = lvlm_arena_strndup(arena, entry->string, strlen(entry->string));
        if (tensor->name == NULL) return lvlm_fail_memory(err);
    }
    return 0;
}

/* Does each tensor begin where the one before it ended, as they are listed? */
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
 *   the file holds at least the 8 bytes of the header's length      read_header
 *   the header is at most LVLM_SAFETENSORS_MAX_HEADER bytes
 *   the header ends inside the file and begins with '{'
 *   it is one JSON object in UTF-8, no key twice, nothing behind    json.c
 *   __metadata__ is an object of strings                            check_metadata
 *   dtype is known; shape is up to 8 whole numbers                  read_entry
 *   data_offsets are two whole numbers, begin <= end
 *   shape x dtype is the span, computed without overflow
 *   sorted by offset, the first tensor begins at 0                  validate
 *   each begins where the one before ended: no hole, no overlap
 *   the last one ends at the end of the file
 *
 * A file without holes cannot hide another file. */
static int validate(const lvlm_safetensors *st, uint64_t file_bytes, bool headers_only,
                    lvlm_error *err)
{
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
            "%" PRIu64 " bytes behind the last tensor belong to no tensor",
            data_bytes - end);
    return 0;
}

/* Turn relative offsets into places in the mapped file. */
static void place(lvlm_safetensors *st, const lvlm_infile *file, bool headers_only)
{
    for (size_t i = 0; i < st->n_tensors; i++) {
        lvlm_tensor *t = &st->tensors[i];
        t->offset += st->header_bytes;
        t->data = headers_only ? NULL : file->bytes + t->offset;
        st->data_bytes += t->n_bytes;
    }
}

int lvlm_safetensors_read(lvlm_safetensors *out, const lvlm_infile *file,
                          bool headers_only, lvlm_arena *arena, lvlm_error *err)
{
    cJSON *header = NULL;
    int rc;

    *out = (lvlm_safetensors){ 0 };
    if ((rc = read_header(&header, &out->header_bytes, file, err)) < 0 ||
        (rc = read_entries(out, header, arena, err)) < 0)
        goto done;
    if (!in_order(out))
        qsort(out->tensors, out->n_tensors, sizeof *out->tensors, by_offset);
    if ((rc = validate(out, file->n_bytes, headers_only, err)) < 0) goto done;
    place(out, file, headers_only);
    out->metadata = cJSON_DetachItemFromObjectCaseSensitive(header, "__metadata__");
done:
    lvlm_json_free(header);
    return rc;
}

void lvlm_safetensors_free(lvlm_safetensors *st)
{
    lvlm_json_free(st->metadata);
    st->metadata = NULL;
}

/* ---- writing -------------------------------------------------------------------- */

/* A JSON string literal, by the one printer that the project has. */
static int put_string(lvlm_strbuf *out, const char *text, lvlm_error *err)
{
    cJSON *item = cJSON_CreateString(text);
    char *literal = NULL;
    const int rc =
        item == NULL ? lvlm_fail_memory(err) : lvlm_json_print(&literal, item, err);
    if (rc == 0) lvlm_strbuf_puts(out, literal);
    lvlm_free(literal);
    lvlm_json_free(item);
    return rc;
}

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
    uint64_t n_bytes;
    const uint64_t begin = *end;
    FAIL_IF(!lvlm_shape_bytes(&n_bytes, &tensor->shape, tensor->dtype) ||
                !lvlm_add_u64(end, begin, n_bytes),
            err, LVLM_EFORMAT, "tensor '%s': size overflows 64 bits", tensor->name);
    TRY(put_string(out, tensor->name, err));
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
    assert(align >= LENGTH_BYTES && (align & (align - 1)) == 0);
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
