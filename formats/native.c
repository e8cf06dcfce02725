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

/* A JSON value as the text of a metadata member. */
static bool add_text(cJSON *metadata, const char *key, const cJSON *value)
{
    char *text = NULL;
    const bool ok = lvlm_json_print(&text, value, NULL) == 0 &&
                    cJSON_AddStringToObject(metadata, key, text) != NULL;
    lvlm_free(text);
    return ok;
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
        add_text(m, "provenance", meta->provenance) &&
        add_text(m, "ledger", meta->ledger) &&
        add_digests(m, tensors, n_tensors, digests))
        return m;
    lvlm_json_free(m);
    return NULL;
}

/* Where the 64 digits of the root stand: the first "root" of the header, for only
 * "format" and "version" precede it. NULL when there is none. */
static char *find_root(char *header, size_t n_bytes)
{
    const size_t skip = strlen(root_key);
    char *key = memmem(header, n_bytes, root_key, skip);
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
    memcpy(find_root(out->text, out->length), root, LVLM_DIGEST_HEX);
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

int lvlm_native_validate(const lvlm_checkpoint *cp, lvlm_error *err)
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
    return check_alignment(cp, err);
}

int lvlm_native_meta_json(cJSON **out, const lvlm_checkpoint *cp, const char *key,
                          lvlm_error *err)
{
    const char *text = lvlm_json_string(lvlm_json_get(cp->metadata, key));
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "native file without '%s' in its metadata",
            key);
    const int rc = lvlm_json_parse(out, text, strlen(text), err);
    if (rc < 0) lvlm_prefix(err, "metadata: %s: ", key);
    return rc;
}

int lvlm_native_root(char hex[LVLM_DIGEST_HEX + 1], const lvlm_checkpoint *cp,
                     lvlm_error *err)
{
    const lvlm_infile *map = cp->files[0].map;
    const size_t n = (size_t)(cp->n_tensors > 0 ? cp->tensors[0].offset : map->n_bytes);
    char *header = lvlm_malloc(n);
    int rc;

    if (header == NULL) return lvlm_fail_memory(err);
    memcpy(header, map->bytes, n);
    char *root = find_root(header, n);
    if (root == NULL) {
        rc = lvlm_fail(err, LVLM_EFORMAT, "header without a root digest");
    } else {
        memset(root, '0', LVLM_DIGEST_HEX);
        rc = lvlm_digest_bytes(hex, header, n, err);
    }
    lvlm_free(header);
    return rc;
}
