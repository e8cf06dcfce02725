/* native.c - the header of a .lvlm file: composed, recognised, checked.
 *
 * The header's length depends on names, shapes and metadata alone, never on digests: so
 * it is laid out first, data is written behind it in one pass, and the header with the
 * digests of what was written goes in last. */
#include "formats/native.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/safetensors.h"

static const char zeros[LVLM_DIGEST_HEX + 1] =
    "0000000000000000000000000000000000000000000000000000000000000000";
static const char root_key[] = "\"root\":\"";

static uint64_t alignment(const lvlm_tensor *tensor)
{
    const size_t element = lvlm_dtype_bytes(tensor->dtype);
    return element > 1 && tensor->n_bytes >= LVLM_NATIVE_LARGE ? LVLM_NATIVE_ALIGN_LARGE
                                                               : element;
}

uint64_t lvlm_native_pad(uint64_t end, const lvlm_tensor *tensor)
{
    return lvlm_round_up(end, alignment(tensor)) - end;
}

/* ---- composing ------------------------------------------------------------------ */

/* A JSON value as the text of a metadata member, of `n_bytes` bytes at least. */
static bool add_padded(cJSON *metadata, const char *key, const cJSON *value,
                       size_t n_bytes)
{
    char *text = NULL;
    lvlm_strbuf padded = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    bool ok = lvlm_json_print(&text, value, NULL) == 0;
    if (ok) lvlm_strbuf_printf(&padded, "%-*s", (int)n_bytes, text);
    ok = ok && lvlm_strbuf_check(&padded, NULL) == 0 &&
         cJSON_AddStringToObject(metadata, key, padded.text) != NULL;
    lvlm_strbuf_free(&padded);
    lvlm_free(text);
    return ok;
}

static bool add_text(cJSON *metadata, const char *key, const cJSON *value)
{
    return add_padded(metadata, key, value, 0);
}

static bool add_digests(cJSON *metadata, const lvlm_tensor *tensors, size_t n_tensors,
                        char (*digests)[LVLM_DIGEST_HEX + 1])
{
    cJSON *all = cJSON_CreateObject();
    bool ok = all != NULL;
    for (size_t i = 0; i < n_tensors && ok; i++) {
        const char *hex = digests != NULL ? digests[i] : zeros;
        ok = cJSON_AddStringToObject(all, tensors[i].name, hex) != NULL;
    }
    ok = ok && add_text(metadata, "digests", all);
    lvlm_json_free(all);
    return ok;
}

static cJSON *compose(const lvlm_native_meta *meta, const lvlm_tensor *tensors,
                      size_t n_tensors, char (*digests)[LVLM_DIGEST_HEX + 1])
{
    cJSON *m = cJSON_CreateObject();
    if (m != NULL && cJSON_AddStringToObject(m, "format", "lvlm") != NULL &&
        cJSON_AddStringToObject(m, "version", LVLM_NATIVE_VERSION) != NULL &&
        cJSON_AddStringToObject(m, "root", zeros) != NULL &&
        cJSON_AddStringToObject(m, "family", meta->family) != NULL &&
        add_text(m, "config", meta->config) &&
        add_padded(m, "provenance", meta->provenance, meta->provenance_bytes) &&
        add_text(m, "ledger", meta->ledger) &&
        add_digests(m, tensors, n_tensors, digests))
        return m;
    lvlm_json_free(m);
    return NULL;
}

/* Where the 64 digits of the root stand: the first "root" of the header, for only
 * "format" and "version" precede it. NULL when there is none. */
static const char *find_root(const char *header, size_t n_bytes)
{
    const size_t skip = strlen(root_key);
    const char *key = memmem(header, n_bytes, root_key, skip);
    if (key == NULL || n_bytes - (size_t)(key - header) < skip + LVLM_DIGEST_HEX)
        return NULL;
    return key + skip;
}

int lvlm_native_header(lvlm_strbuf *out, const lvlm_native_meta *meta,
                       const lvlm_tensor *tensors, size_t n_tensors,
                       char (*digests)[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    assert(out->length == 0);
    cJSON *metadata = compose(meta, tensors, n_tensors, digests);
    if (metadata == NULL) return lvlm_fail_memory(err);
    const int rc = lvlm_safetensors_header(out, tensors, n_tensors, metadata,
                                           LVLM_NATIVE_ALIGN_DATA, err);
    lvlm_json_free(metadata);
    if (rc < 0 || digests == NULL) return rc;

    char root[LVLM_DIGEST_HEX + 1];
    TRY(lvlm_digest_bytes(root, out->text, out->length, err));
    const char *const at = find_root(out->text, out->length);
    memcpy(out->text + (at - out->text), root, LVLM_DIGEST_HEX);
    return 0;
}

int lvlm_native_find_root(char hex[LVLM_DIGEST_HEX + 1], char *header, size_t n_bytes,
                          lvlm_error *err)
{
    const char *root = find_root(header, n_bytes);
    FAIL_IF(root == NULL, err, LVLM_EFORMAT, "header without a root digest");
    memcpy(hex, root, LVLM_DIGEST_HEX);
    hex[LVLM_DIGEST_HEX] = '\0';
    return 0;
}

/* ---- reading -------------------------------------------------------------------- */

bool lvlm_native_is(const cJSON *metadata)
{
    const char *format = lvlm_json_string(lvlm_json_get(metadata, "format"));
    return format != NULL && strcmp(format, "lvlm") == 0;
}

bool lvlm_native_is_file(const char *path)
{
    /* after the length of the header: what the writer puts first */
    static const char start[] = "{\"__metadata__\":{\"format\":\"lvlm\"";
    const size_t n = sizeof start - 1, at = sizeof(uint64_t);
    lvlm_infile *map = NULL;
    if (lvlm_infile_map(&map, path, NULL) < 0) return false;
    const bool is = map->n_bytes >= at + n && memcmp(map->bytes + at, start, n) == 0;
    lvlm_infile_close(map);
    return is;
}

bool lvlm_native_claims(const char *path)
{
    /* what no other file has there: the members that come first, one of them whole */
    static const char *const marks[] = { "\"format\":\"lvlm\"", "\"root\":\"" };
    enum { BEGINNING = 160 };
    const size_t n = strlen(path), skip = strlen(".lvlm");
    lvlm_infile *map = NULL;
    bool found = n > skip && strcmp(path + n - skip, ".lvlm") == 0;
    if (lvlm_infile_open(&map, path, NULL) < 0) return false;
    for (size_t i = 0; i < 2 && map->n_bytes > 0; i++)
        if (memmem(map->bytes, map->n_bytes < BEGINNING ? map->n_bytes : BEGINNING,
                   marks[i], strlen(marks[i])) != NULL)
            found = true;
    lvlm_infile_close(map);
    return found;
}

static int check_alignment(const lvlm_checkpoint *cp, lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = &cp->tensors[i];
        FAIL_IF(t->offset % alignment(t) != 0, err, LVLM_EFORMAT,
                "tensor '%s': begins at %" PRIu64 ", not at a multiple of %" PRIu64,
                t->name, t->offset, alignment(t));
    }
    FAIL_IF(cp->n_tensors > 0 && cp->tensors[0].offset % LVLM_NATIVE_ALIGN_DATA != 0,
            err, LVLM_EFORMAT,
            "tensor data begins at %" PRIu64 ", not at a multiple of %d",
            cp->tensors[0].offset, LVLM_NATIVE_ALIGN_DATA);
    return 0;
}

/* 64 lower-case hexadecimal digits. */
static bool is_digest(const char *text)
{
    return text != NULL && strlen(text) == LVLM_DIGEST_HEX &&
           strspn(text, "0123456789abcdef") == LVLM_DIGEST_HEX;
}

/* One digest for each tensor, in file order, and no other. */
static int read_digests(lvlm_checkpoint *cp, lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_native_meta_json(&json, cp, "digests", err));
    const cJSON *item = lvlm_json_first_member(json);
    int rc = 0;
    cp->digests = lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->digests);
    if (cp->digests == NULL) rc = lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors && rc == 0; i++) {
        const char *const hex = lvlm_json_string(item);
        if (item == NULL || strcmp(item->string, cp->tensors[i].name) != 0)
            rc =
                lvlm_fail(err, LVLM_EFORMAT,
                          "digests: expected tensor '%s' as number %zu, got %s",
                          cp->tensors[i].name, i, item != NULL ? item->string : "none");
        else if (!is_digest(hex))
            rc = lvlm_fail(
                err, LVLM_EFORMAT,
                "digests: that of '%s' is not 64 lower-case hexadecimal digits",
                item->string);
        else
            memcpy(cp->digests[i], hex, LVLM_DIGEST_HEX);
        if (rc == 0) item = item->next;
    }
    if (rc == 0 && item != NULL)
        rc = lvlm_fail(err, LVLM_EFORMAT, "digests: '%s' is not a tensor of the file",
                       item->string);
    lvlm_json_free(json);
    return rc;
}

static int check_root(const lvlm_checkpoint *cp, lvlm_error *err)
{
    const char *const recorded = lvlm_json_string(lvlm_json_get(cp->metadata, "root"));
    char root[LVLM_DIGEST_HEX + 1];
    TRY(lvlm_native_root(root, cp, err));
    FAIL_IF(strcmp(root, recorded) != 0, err, LVLM_EFORMAT,
            "header is corrupt: its SHA-256 is %s, recorded is %s; the file is damaged "
            "or was edited",
            root, recorded);
    return 0;
}

int lvlm_native_check_seal(lvlm_checkpoint *cp, lvlm_error *err)
{
    FAIL_IF(lvlm_json_string(lvlm_json_get(cp->metadata, "root")) == NULL, err,
            LVLM_EFORMAT, "header without a root digest");
    TRY(check_root(cp, err));
    return read_digests(cp, err);
}

int lvlm_native_validate(lvlm_checkpoint *cp, lvlm_error *err)
{
    static const char *const keys[] = { "version", "family",  "config", "provenance",
                                        "ledger",  "digests", "root" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        FAIL_IF(lvlm_json_string(lvlm_json_get(cp->metadata, keys[i])) == NULL, err,
                LVLM_EFORMAT, "native file without '%s' in its metadata", keys[i]);
    const char *version = lvlm_json_string(lvlm_json_get(cp->metadata, "version"));
    FAIL_IF(strcmp(version, LVLM_NATIVE_VERSION) != 0, err, LVLM_EFORMAT,
            "native file of version %s; this program reads version %s", version,
            LVLM_NATIVE_VERSION);
    TRY(lvlm_native_check_seal(cp, err));
    return check_alignment(cp, err);
}

int lvlm_native_meta_json(cJSON **out, const lvlm_checkpoint *cp, const char *key,
                          lvlm_error *err)
{
    const char *text = lvlm_json_string(lvlm_json_get(cp->metadata, key));
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "file without '%s' in its metadata", key);
    const int rc = lvlm_json_parse(out, text, strlen(text), err);
    if (rc < 0) lvlm_prefix(err, "metadata: %s: ", key);
    return rc;
}

int lvlm_native_root(char hex[LVLM_DIGEST_HEX + 1], const lvlm_checkpoint *cp,
                     lvlm_error *err)
{
    const unsigned char *const bytes = cp->files[0].map->bytes;
    const size_t n = (size_t)lvlm_load_le(bytes, 8) + 8;
    const char *const root = find_root((const char *)bytes, n);
    lvlm_digest digest = LVLM_DIGEST_INIT;
    FAIL_IF(root == NULL, err, LVLM_EFORMAT, "header without a root digest");
    const size_t before = (size_t)(root - (const char *)bytes);
    const size_t after = before + LVLM_DIGEST_HEX;
    int rc = lvlm_digest_start(&digest, err);
    if (rc == 0) rc = lvlm_digest_update(&digest, bytes, before, err);
    if (rc == 0) rc = lvlm_digest_update(&digest, zeros, LVLM_DIGEST_HEX, err);
    if (rc == 0) rc = lvlm_digest_update(&digest, bytes + after, n - after, err);
    if (rc == 0) rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    return rc;
}

/* ---- digests -------------------------------------------------------------------- */

const char *lvlm_native_digest_of(const lvlm_checkpoint *cp, const lvlm_tensor *tensor)
{
    assert(cp->digests != NULL);
    assert(tensor >= cp->tensors && tensor < cp->tensors + cp->n_tensors);
    return cp->digests[tensor - cp->tensors];
}

bool lvlm_native_is_model(const lvlm_tensor *tensor)
{
    static const char *const others[] = { LVLM_NATIVE_UNUSED, LVLM_NATIVE_FRAMES,
                                          LVLM_NATIVE_FILES, LVLM_NATIVE_PAD };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(tensor->name, others[i], strlen(others[i])) == 0) return false;
    return true;
}

/* "NAME DTYPE [2048, 1152] DIGEST\n" */
static int add_line(lvlm_digest *digest, const lvlm_checkpoint *cp,
                    const lvlm_tensor *tensor, lvlm_error *err)
{
    char shape[LVLM_SHAPE_TEXT];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    lvlm_strbuf_printf(
        &line, "%s %s %s %s\n", tensor->name, lvlm_dtype_name(tensor->dtype),
        lvlm_shape_text(shape, &tensor->shape), lvlm_native_digest_of(cp, tensor));
    int rc = lvlm_strbuf_check(&line, err);
    if (rc == 0) rc = lvlm_digest_update(digest, line.text, line.length, err);
    lvlm_strbuf_free(&line);
    return rc;
}

int lvlm_native_weights_digest(char hex[LVLM_DIGEST_HEX + 1], const lvlm_checkpoint *cp,
                               lvlm_error *err)
{
    static const char *const keys[] = { "family", "config" };
    lvlm_digest digest = LVLM_DIGEST_INIT;
    assert(cp->kind == LVLM_CHECKPOINT_NATIVE);
    int rc = lvlm_digest_start(&digest, err);
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        const char *text = lvlm_json_string(lvlm_json_get(cp->metadata, keys[i]));
        rc = lvlm_digest_update(&digest, text, strlen(text), err);
        if (rc == 0) rc = lvlm_digest_update(&digest, "\n", 1, err);
    }
    for (size_t i = 0; i < cp->n_tensors && rc == 0; i++)
        if (lvlm_native_is_model(&cp->tensors[i]))
            rc = add_line(&digest, cp, &cp->tensors[i], err);
    if (rc == 0) rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    return rc;
}
