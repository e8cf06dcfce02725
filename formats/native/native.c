/* native.c - recognises and digests the header of a .lvlm file. The rules are in
 * native_rules.c; native_writer.c composes it. */
#include "formats/native/native.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/container/contents_read.h"
#include "formats/container/safetensors.h"

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

lvlm_native_section lvlm_native_section_of(const char **rest, const char *name)
{
    static const char *const prefixes[] = { "", LVLM_NATIVE_UNUSED, LVLM_NATIVE_FRAMES,
                                            LVLM_NATIVE_FILES, LVLM_NATIVE_PAD };
    int section = LVLM_SECTION_PAD;
    while (!lvlm_starts_with(name, prefixes[section])) section--;
    if (rest != NULL) *rest = name + strlen(prefixes[section]);
    return (lvlm_native_section)section;
}

/* ---- reading -------------------------------------------------------------------- */

bool lvlm_native_is(const cJSON *metadata)
{
    const char *format = lvlm_json_string(lvlm_json_get(metadata, "format"));
    return format != NULL && strcmp(format, "lvlm") == 0;
}

bool lvlm_native_is_file(const char *path)
{
    /* after the header's length: the first bytes that the writer writes */
    static const char start[] = "{\"__metadata__\":{\"format\":\"lvlm\"";
    char bytes[sizeof(uint64_t) + sizeof start - 1];
    size_t n = sizeof bytes;
    return lvlm_path_start(bytes, &n, path) && n == sizeof bytes &&
           memcmp(bytes + sizeof(uint64_t), start, sizeof start - 1) == 0;
}

bool lvlm_native_claims(const char *path)
{
    /* the first members, one of them complete, which no other file has there */
    static const char *const marks[] = { "\"format\":\"lvlm\"", "\"root\":\"" };
    char bytes[160];
    size_t n = sizeof bytes;
    if (!lvlm_path_start(bytes, &n, path)) return false;
    bool found = lvlm_ends_with(path, ".lvlm");
    for (size_t i = 0; i < 2; i++)
        found = found || memmem(bytes, n, marks[i], strlen(marks[i])) != NULL;
    return found;
}

void lvlm_native_free(lvlm_native *native)
{
    if (native == NULL) return;
    lvlm_json_free(native->config);
    lvlm_json_free(native->provenance);
}

int lvlm_native_meta_json(cJSON **out, const lvlm_checkpoint *cp, const char *key,
                          lvlm_error *err)
{
    assert(key != NULL);
    const char *text = lvlm_checkpoint_meta(cp, key);
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "file without '%s' in its metadata", key);
    return lvlm_within(lvlm_json_parse(out, text, strlen(text), err), err,
                       "metadata: %s: ", key);
}

int lvlm_native_list_files(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->native != NULL && cp->by_name != NULL);
    cp->side_files =
        lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->side_files);
    if (cp->side_files == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = cp->by_name[i];
        const char *name;
        if (lvlm_native_section_of(&name, t->name) == LVLM_SECTION_FILES)
            cp->side_files[cp->n_side_files++] =
                (lvlm_side_file){ name, t->data, t->n_bytes };
    }
    return 0;
}

int lvlm_native_check_header(const void *header, size_t n_bytes, lvlm_error *err)
{
    assert(header != NULL && n_bytes > 0);
    lvlm_infile map = { .bytes = header, .n_bytes = n_bytes };
    lvlm_source_file file = { .name = "", .map = &map };
    lvlm_checkpoint *cp = lvlm_calloc(1, sizeof *cp);
    if (cp == NULL) return lvlm_fail_memory(err);
    cp->kind = LVLM_CHECKPOINT_NATIVE;
    cp->headers_only = true;
    cp->files = &file;
    int rc = checkpoint_add_safetensors(cp, &map, err);
    if (rc == 0) rc = checkpoint_index_names(cp, err);
    if (rc == 0) rc = lvlm_native_validate(cp, err);
    lvlm_native_free(cp->native);
    checkpoint_free(cp); /* n_files is 0: the header is still the caller's */
    return rc;
}

/* ---- digests -------------------------------------------------------------------- */

/* The 64 digits of the root: the first "root" of the header, because only "format" and
 * "version" precede it. NULL if there is none. */
static const char *find_root(const char *header, size_t n_bytes)
{
    static const char root_key[] = "\"root\":\"";
    const size_t skip = strlen(root_key);
    const char *key = memmem(header, n_bytes, root_key, skip);
    if (key == NULL || n_bytes - (size_t)(key - header) < skip + LVLM_DIGEST_HEX)
        return NULL;
    return key + skip;
}

int lvlm_native_root(lvlm_hex_digest hex, const char **recorded, const void *header,
                     size_t n_bytes, lvlm_error *err)
{
    assert(header != NULL && n_bytes > 0);
    const char *const text = header, *const root = find_root(text, n_bytes);
    FAIL_IF(root == NULL, err, LVLM_EFORMAT, "header without a root digest");
    const size_t before = (size_t)(root - text), after = before + LVLM_DIGEST_HEX;
    lvlm_digest digest = lvlm_digest_start();
    lvlm_digest_update(&digest, text, before);
    lvlm_digest_update(&digest, lvlm_zero_digest, LVLM_DIGEST_HEX);
    lvlm_digest_update(&digest, text + after, n_bytes - after);
    *recorded = root;
    return lvlm_digest_finish(&digest, hex, err);
}

const char *lvlm_native_digest_of(const lvlm_checkpoint *cp, const lvlm_tensor *tensor)
{
    assert(cp->digests != NULL);
    assert(tensor >= cp->tensors && tensor < cp->tensors + cp->n_tensors);
    return cp->digests[tensor - cp->tensors];
}

bool lvlm_native_is_model(const lvlm_tensor *tensor)
{
    return lvlm_native_section_of(NULL, tensor->name) == LVLM_SECTION_MODEL;
}

int lvlm_native_digest_line(lvlm_digest *digest, const lvlm_tensor *tensor,
                            const char *hex, lvlm_error *err)
{
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    lvlm_strbuf_printf(&line, "%s %s ", tensor->name, lvlm_dtype_name(tensor->dtype));
    lvlm_shape_print(&line, &tensor->shape);
    lvlm_strbuf_printf(&line, " %s\n", hex);
    const int rc = lvlm_strbuf_check(&line, err);
    if (rc == 0) lvlm_digest_update(digest, line.text, line.length);
    lvlm_strbuf_free(&line);
    return rc;
}

int lvlm_native_weights_digest(lvlm_hex_digest hex, const lvlm_checkpoint *cp,
                               lvlm_error *err)
{
    static const char *const keys[] = { "family", "config" };
    assert(cp->kind == LVLM_CHECKPOINT_NATIVE);
    lvlm_digest digest = lvlm_digest_start();
    int rc = 0;
    for (size_t i = 0; i < 2; i++) {
        const char *text = lvlm_checkpoint_meta(cp, keys[i]);
        lvlm_digest_update(&digest, text, strlen(text));
        lvlm_digest_update(&digest, "\n", 1);
    }
    for (size_t i = 0; i < cp->n_tensors && rc == 0; i++)
        if (lvlm_native_is_model(&cp->tensors[i]))
            rc = lvlm_native_digest_line(&digest, &cp->tensors[i],
                                         lvlm_native_digest_of(cp, &cp->tensors[i]),
                                         err);
    if (rc == 0) rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    return rc;
}
