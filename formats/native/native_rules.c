/* native_rules.c - every rule of a native file besides those of safetensors
 * (safetensors.c), in the order in which they are checked:
 *
 *   version is one that this program reads                          check_version
 *   root is the SHA-256 of the header                               check_root
 *   the members of __metadata__ are the eight, in their order       check_members
 *   the header is a multiple of 4096 bytes, JSON and then spaces    check_header
 *   metadata comes first, tensors are listed in the data's order
 *   names have no control characters; model, unused/, frames/,      check_tensors
 *     files/ follow in this order, and nothing else
 *   tensors are aligned; pad/K fills exactly the gap that this
 *     requires, with zeros
 *   frames and side files are bytes; side files have plain names,
 *     in order
 *   digests has one of 64 lower-case digits for each tensor         read_digests
 *   family is known; config has all of its settings                 read_config
 *   provenance has only known members                               read_provenance
 *   the ledger's own rules                                          ledger.c
 *   every target exists, with as many values and a type that the    check_entries
 *     source's can be converted to; every tensor of the model and
 *     every unused one is the target of one entry, or made
 *   every source file has its frame, of the size of its bytes that  check_frames
 *     belong to no tensor
 *   no side file has the name of a source file with tensors         check_file_names
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/native/history.h"
#include "formats/native/native.h"

/* ---- header --------------------------------------------------------------------- */

static int check_version(const lvlm_checkpoint *cp, lvlm_error *err)
{
    const char *const version = lvlm_checkpoint_meta(cp, "version");
    FAIL_IF(version != NULL && strcmp(version, LVLM_NATIVE_VERSION) != 0, err,
            LVLM_EFORMAT, "native file of version %s; this program reads version %s",
            version, LVLM_NATIVE_VERSION);
    return 0;
}

static int check_root(const lvlm_checkpoint *cp, lvlm_error *err)
{
    const char *const recorded = lvlm_checkpoint_meta(cp, "root"), *digits;
    lvlm_hex_digest root;
    TRY(lvlm_native_root(root, &digits, cp->files[0].map->bytes,
                         (size_t)cp->header_bytes, err));
    FAIL_IF(recorded == NULL || strcmp(root, recorded) != 0, err, LVLM_EFORMAT,
            "header is corrupt: its SHA-256 is %s, recorded is %s; the file is damaged "
            "or was edited",
            root, recorded != NULL ? recorded : "none");
    return 0;
}

static int check_members(const lvlm_checkpoint *cp, lvlm_error *err)
{
    static const char *const keys[] = { "format", "version",    "root",   "family",
                                        "config", "provenance", "ledger", "digests" };
    enum { N_KEYS = sizeof keys / sizeof keys[0] };
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_MEMBERS (item, cp->metadata) {
        FAIL_IF(n == N_KEYS, err, LVLM_EFORMAT, "metadata: unknown member '%s'",
                item->string);
        FAIL_IF(strcmp(item->string, keys[n]) != 0, err, LVLM_EFORMAT,
                "metadata: expected '%s' as member %zu, got '%s'", keys[n], n,
                item->string);
        n++;
    }
    FAIL_IF(n < N_KEYS, err, LVLM_EFORMAT, "native file without '%s' in its metadata",
            keys[n]);
    return 0;
}

static int check_header(const lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->header_bytes > 0);
    const unsigned char *const bytes = cp->files[0].map->bytes;
    uint64_t end = cp->header_bytes;
    FAIL_IF(end % LVLM_NATIVE_ALIGN_DATA != 0, err, LVLM_EFORMAT,
            "header takes %" PRIu64 " bytes, not a multiple of %d", end,
            LVLM_NATIVE_ALIGN_DATA);
    while (end > 0 && bytes[end - 1] == ' ') end--;
    FAIL_IF(bytes[end - 1] != '}' || cp->header_bytes - end >= LVLM_NATIVE_ALIGN_DATA,
            err, LVLM_EFORMAT, "header is not padded by up to %d spaces",
            LVLM_NATIVE_ALIGN_DATA - 1);
    FAIL_IF(!cp->header_in_order, err, LVLM_EFORMAT,
            "header does not list metadata first and tensors in the order of the data");
    return 0;
}

/* ---- tensors -------------------------------------------------------------------- */

#define MODEL LVLM_SECTION_MODEL
#define UNUSED LVLM_SECTION_UNUSED
#define FRAMES LVLM_SECTION_FRAMES
#define FILES LVLM_SECTION_FILES
#define PAD LVLM_SECTION_PAD

static lvlm_native_section section_of(const lvlm_tensor *t)
{
    return lvlm_native_section_of(NULL, t->name);
}

/* The name after its section's prefix. */
static const char *rest_of(const lvlm_tensor *t)
{
    const char *rest;
    (void)lvlm_native_section_of(&rest, t->name);
    return rest;
}

static bool is_plain(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL;
}

static bool is_bytes(const lvlm_tensor *t)
{
    return t->dtype == LVLM_U8 && t->shape.n == 1;
}

static bool has_control_character(const char *name)
{
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < ' ' || *name == 0x7f) return true;
    return false;
}

/* Does `pad` fill exactly the gap before `next`? */
static int check_pad(const lvlm_tensor *pad, const lvlm_tensor *next, size_t n,
                     lvlm_error *err)
{
    char name[32];
    (void)snprintf(name, sizeof name, LVLM_NATIVE_PAD "%zu", n);
    FAIL_IF(strcmp(pad->name, name) != 0 || !is_bytes(pad), err, LVLM_EFORMAT,
            "tensor '%s': expected '%s', of bytes", pad->name, name);
    FAIL_IF(next == NULL || pad->n_bytes == 0 ||
                lvlm_native_pad(pad->offset, next) != pad->n_bytes,
            err, LVLM_EFORMAT, "tensor '%s': %" PRIu64 " bytes align nothing",
            pad->name, pad->n_bytes);
    for (uint64_t i = 0; pad->data != NULL && i < pad->n_bytes; i++)
        FAIL_IF(pad->data[i] != 0, err, LVLM_EFORMAT, "tensor '%s': is not all zeros",
                pad->name);
    return 0;
}

static int check_side_file(const lvlm_tensor *t, const lvlm_tensor *before,
                           lvlm_error *err)
{
    const char *const name = rest_of(t);
    FAIL_IF(!is_plain(name) || strcmp(name, ".") == 0 || strcmp(name, "..") == 0, err,
            LVLM_EFORMAT, "side file '%s' is not a plain file name", name);
    FAIL_IF(before != NULL && section_of(before) == FILES &&
                strcmp(rest_of(before), name) >= 0,
            err, LVLM_EFORMAT, "side file '%s' precedes '%s'", rest_of(before), name);
    return 0;
}

static int check_tensor(const lvlm_checkpoint *cp, size_t i,
                        lvlm_native_section *section, lvlm_error *err)
{
    assert(i < cp->n_tensors);
    const lvlm_tensor *const t = &cp->tensors[i];
    const lvlm_native_section own = section_of(t);
    FAIL_IF(has_control_character(t->name), err, LVLM_EFORMAT,
            "tensor '%s': the name has a control character", t->name);
    FAIL_IF(own == MODEL && !is_plain(t->name), err, LVLM_EFORMAT,
            "tensor '%s': is of no section of a native file", t->name);
    FAIL_IF(lvlm_native_pad(t->offset, t) != 0, err, LVLM_EFORMAT,
            "tensor '%s': begins at %" PRIu64 ", off its alignment", t->name,
            t->offset);
    if (own == PAD) return 0;
    FAIL_IF(own < *section, err, LVLM_EFORMAT, "tensor '%s': is after '%s'", t->name,
            cp->tensors[i - 1].name);
    *section = own;
    FAIL_IF(own >= FRAMES && !is_bytes(t), err, LVLM_EFORMAT,
            "tensor '%s': is not bytes", t->name);
    return own == FILES ? check_side_file(t, i > 0 ? t - 1 : NULL, err) : 0;
}

static int check_tensors(const lvlm_checkpoint *cp, lvlm_error *err)
{
    size_t n_pads = 0;
    lvlm_native_section section = MODEL;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *const t = &cp->tensors[i];
        const bool last = i + 1 == cp->n_tensors;
        if (section_of(t) == PAD) TRY(check_pad(t, last ? NULL : t + 1, n_pads++, err));
        TRY(check_tensor(cp, i, &section, err));
    }
    return 0;
}

/* ---- metadata ------------------------------------------------------------------- */

static int read_digest(lvlm_checkpoint *cp, size_t i, const char *key,
                       lvlm_json_reader *r, lvlm_error *err)
{
    const char *hex;
    FAIL_IF(i == cp->n_tensors, err, LVLM_EFORMAT, "'%s' is not a tensor of the file",
            key);
    const char *const name = cp->tensors[i].name;
    FAIL_IF(strcmp(key, name) != 0, err, LVLM_EFORMAT,
            "expected tensor '%s' as number %zu, got '%s'", name, i, key);
    TRY(lvlm_json_read_text(&hex, r, err));
    FAIL_IF(!lvlm_digest_is(hex), err, LVLM_EFORMAT,
            "that of '%s' is not 64 lower-case hexadecimal digits", name);
    memcpy(cp->digests[i], hex, LVLM_DIGEST_HEX);
    return 0;
}

/* One per tensor, in file order, and no others. */
static int read_digests(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->digests == NULL);
    const char *const text = lvlm_checkpoint_meta(cp, "digests"), *key;
    lvlm_json_reader r;
    size_t n = 0;
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "header without digests");
    cp->digests = lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->digests);
    if (cp->digests == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_json_open(&r, text, strlen(text), err));
    int rc = lvlm_json_begin_object(&r, err);
    while (rc == 0 && (rc = lvlm_json_next_key(&key, &r, err)) > 0)
        rc = read_digest(cp, n++, key, &r, err);
    if (rc == 0) rc = lvlm_json_end(&r, err);
    lvlm_json_close(&r);
    if (rc == 0 && n < cp->n_tensors)
        rc = lvlm_fail(err, LVLM_EFORMAT, "none for tensor '%s'", cp->tensors[n].name);
    return lvlm_within(rc, err, "digests: ");
}

/* Does one of the settings after it have its name? */
static bool is_replaced(const lvlm_setting *setting, lvlm_setting_walk after)
{
    const lvlm_setting *s;
    while ((s = lvlm_setting_next(&after)) != NULL)
        if (strcmp(s->canonical, setting->canonical) == 0) return true;
    return false;
}

static int read_config(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->native != NULL && cp->native->config == NULL);
    lvlm_native *const native = cp->native;
    native->family = lvlm_family_by_name(lvlm_checkpoint_meta(cp, "family"));
    FAIL_IF(native->family == NULL, err, LVLM_EFORMAT,
            "family '%s' is not known to this version",
            lvlm_checkpoint_meta(cp, "family"));
    TRY(lvlm_native_meta_json(&native->config, cp, "config", err));
    lvlm_setting_walk walk = { .config = native->config,
                               .table = native->family->settings };
    const lvlm_setting *s;
    while ((s = lvlm_setting_next(&walk)) != NULL) {
        const cJSON *const value = lvlm_json_path(native->config, s->canonical);
        FAIL_IF(
            value == NULL, err, LVLM_EFORMAT,
            "metadata: config: %s is missing; was it converted by an older version? "
            "Convert it again",
            s->canonical);
        if (is_replaced(s, walk)) continue;
        TRY(lvlm_within(lvlm_setting_check(s, value, err), err, "metadata: config: "));
    }
    return 0;
}

/* Members of the provenance that are text. The others are the history, and counts or
 * objects of counts: the effects of training, merging and conversion on values. */
static const struct provenance_member {
    const char *name;
    bool needed;
} provenance_texts[] = { { "converter", true }, { "source", true },
                         { "dtype", true },     { "config", false },
                         { "new_rows", false }, { "transformers_version", false } };

enum { N_PROVENANCE = sizeof provenance_texts / sizeof provenance_texts[0] };

static bool are_counts(const cJSON *item)
{
    const cJSON *part;
    uint64_t count;
    if (!cJSON_IsObject(item)) return lvlm_json_u64(&count, item);
    LVLM_JSON_MEMBERS (part, item)
        if (!lvlm_json_u64(&count, part)) return false;
    return true;
}

static int check_provenance_member(const cJSON *item, lvlm_error *err)
{
    lvlm_dtype dtype;
    for (size_t i = 0; i < N_PROVENANCE; i++) {
        const char *const text = lvlm_json_string(item);
        if (strcmp(item->string, provenance_texts[i].name) != 0) continue;
        FAIL_IF(text == NULL, err, LVLM_EFORMAT,
                "metadata: provenance: '%s' is not text", item->string);
        FAIL_IF(
            strcmp(item->string, "dtype") == 0 && strcmp(text, "keep") != 0 &&
                (!lvlm_dtype_from_name(&dtype, text) || !lvlm_dtype_is_weight(dtype)),
            err, LVLM_EFORMAT, "metadata: provenance: unknown dtype '%s'", text);
        return 0;
    }
    if (strcmp(item->string, LVLM_PROVENANCE_HISTORY) == 0)
        return lvlm_within(lvlm_history_check(item, err), err,
                           "metadata: provenance: history: ");
    FAIL_IF(!are_counts(item), err, LVLM_EFORMAT,
            "metadata: provenance: '%s' is neither known nor a count", item->string);
    return 0;
}

static int read_provenance(lvlm_checkpoint *cp, lvlm_error *err)
{
    const cJSON *item;
    TRY(lvlm_native_meta_json(&cp->native->provenance, cp, "provenance", err));
    for (size_t i = 0; i < N_PROVENANCE; i++)
        FAIL_IF(
            provenance_texts[i].needed &&
                lvlm_json_get(cp->native->provenance, provenance_texts[i].name) == NULL,
            err, LVLM_EFORMAT, "metadata: provenance: '%s' is missing",
            provenance_texts[i].name);
    LVLM_JSON_MEMBERS (item, cp->native->provenance)
        TRY(check_provenance_member(item, err));
    return 0;
}

/* ---- ledger --------------------------------------------------------------------- */

/* Check a target of `entry`: it exists, in the right section, with as many values and a
 * possible type. `claimed` is true for tensors that have a source. */
static int check_target(const lvlm_checkpoint *cp, const lvlm_ledger_entry *entry,
                        const char *name, bool *claimed, lvlm_error *err)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(cp, name);
    const lvlm_tensor *const source = &entry->source;
    const lvlm_native_section section = entry->use == LVLM_USE_UNUSED ? UNUSED : MODEL;
    const uint64_t numel = lvlm_transform_is_keep(&entry->transform)
                               ? lvlm_tensor_numel(source)
                               : lvlm_transform_numel(&entry->transform);
    FAIL_IF(t == NULL || section_of(t) != section, err, LVLM_EFORMAT,
            "its target '%s' is not in the file", name);
    if (entry->grown) {
        FAIL_IF(t->shape.n != 2 || t->shape.dims[1] != source->shape.dims[1] ||
                    t->shape.dims[0] <= source->shape.dims[0],
                err, LVLM_EFORMAT, "has not grown to '%s'", name);
    }
    FAIL_IF(!entry->grown && lvlm_tensor_numel(t) != numel, err, LVLM_EFORMAT,
            "has %" PRIu64 " values for '%s', which has %" PRIu64, numel, name,
            lvlm_tensor_numel(t));
    FAIL_IF(t->dtype != source->dtype && (!lvlm_dtype_is_weight(t->dtype) ||
                                          !lvlm_dtype_is_weight(source->dtype)),
            err, LVLM_EFORMAT, "is %s and cannot be '%s', which is %s",
            lvlm_dtype_name(source->dtype), name, lvlm_dtype_name(t->dtype));
    if (entry->use == LVLM_USE_TIED) return 0;
    FAIL_IF(claimed[t - cp->tensors], err, LVLM_EFORMAT, "'%s' has another source too",
            name);
    claimed[t - cp->tensors] = true;
    return 0;
}

static int check_entry(const lvlm_checkpoint *cp, const lvlm_ledger_entry *entry,
                       bool *claimed, lvlm_error *err)
{
    for (size_t i = 0; i < entry->n_targets; i++)
        TRY(lvlm_within(check_target(cp, entry, entry->targets[i], claimed, err), err,
                        "ledger: tensor '%s': ", entry->source.name));
    return 0;
}

static int check_made(const lvlm_checkpoint *cp, const lvlm_ledger_made *made,
                      bool *claimed, lvlm_error *err)
{
    assert(made->target != NULL);
    const lvlm_tensor *const t = lvlm_checkpoint_find(cp, made->target);
    FAIL_IF(t == NULL || section_of(t) != MODEL || claimed[t - cp->tensors], err,
            LVLM_EFORMAT, "ledger: made: '%s' is not in the file or has a source",
            made->target);
    claimed[t - cp->tensors] = true;
    return 0;
}

static int check_entries(lvlm_checkpoint *cp, lvlm_error *err)
{
    const lvlm_ledger *const l = &cp->native->ledger;
    bool *const claimed =
        lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *claimed);
    if (claimed == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < l->n_entries; i++)
        TRY(check_entry(cp, &l->entries[i], claimed, err));
    for (size_t i = 0; i < l->n_made; i++)
        TRY(check_made(cp, &l->made[i], claimed, err));
    for (size_t i = 0; i < cp->n_tensors; i++)
        FAIL_IF(section_of(&cp->tensors[i]) <= UNUSED && !claimed[i], err, LVLM_EFORMAT,
                "ledger: does not say where tensor '%s' comes from",
                cp->tensors[i].name);
    return 0;
}

/* Bytes of file number `file` that belong to none of its tensors. *entry is the first
 * entry of the file; it advances to that of the next one. */
static uint64_t frame_bytes(const lvlm_ledger *l, size_t file, size_t *entry)
{
    assert(file < l->n_files);
    uint64_t n_bytes = l->files[file].n_bytes;
    for (; *entry < l->n_entries && l->entries[*entry].source.file == file; (*entry)++)
        if (!l->entries[*entry].source.detached)
            n_bytes -= l->entries[*entry].source.n_bytes;
    return n_bytes;
}

static int check_frames(const lvlm_checkpoint *cp, lvlm_error *err)
{
    const lvlm_ledger *const l = &cp->native->ledger;
    size_t at = 0, entry = 0;
    while (at < cp->n_tensors && section_of(&cp->tensors[at]) != FRAMES) at++;
    for (size_t i = 0; i < l->n_files; i++) {
        const char *const name = l->files[i].name;
        const lvlm_tensor *const t = at < cp->n_tensors ? &cp->tensors[at] : NULL;
        const uint64_t n_bytes = frame_bytes(l, i, &entry);
        if (l->files[i].compressed) continue;
        FAIL_IF(t == NULL || section_of(t) != FRAMES || strcmp(rest_of(t), name) != 0,
                err, LVLM_EFORMAT, "ledger: file '%s': its frame is missing", name);
        FAIL_IF(t->n_bytes != n_bytes, err, LVLM_EFORMAT,
                "ledger: file '%s': its frame should have %" PRIu64
                " bytes, got %" PRIu64,
                name, n_bytes, t->n_bytes);
        at++;
    }
    FAIL_IF(at < cp->n_tensors && section_of(&cp->tensors[at]) == FRAMES, err,
            LVLM_EFORMAT, "ledger: '%s' is the frame of no file", cp->tensors[at].name);
    return 0;
}

/* A file cannot hold weights and be a side file. One without tensors may have the name
 * of a side file, which is then what conversion made of it. */
static int check_file_names(lvlm_checkpoint *cp, lvlm_error *err)
{
    const lvlm_ledger *const l = &cp->native->ledger;
    for (size_t i = 0; i < l->n_files; i++) {
        const char *const name = l->files[i].name;
        const char *const side =
            lvlm_arena_printf(&cp->arena, LVLM_NATIVE_FILES "%s", name);
        if (side == NULL) return lvlm_fail_memory(err);
        FAIL_IF(lvlm_checkpoint_find(cp, side) != NULL && lvlm_ledger_has_tensors(l, i),
                err, LVLM_EFORMAT, "'%s' is a source file and a side file", name);
    }
    return 0;
}

static int read_ledger(lvlm_checkpoint *cp, lvlm_error *err)
{
    const char *const text = lvlm_checkpoint_meta(cp, "ledger");
    return lvlm_within(
        lvlm_ledger_read(&cp->native->ledger, text, strlen(text), &cp->arena, err), err,
        "ledger: ");
}

/* ---- public --------------------------------------------------------------------- */

int lvlm_native_check_seal(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->files != NULL && cp->digests == NULL);
    TRY(check_root(cp, err));
    return read_digests(cp, err);
}

int lvlm_native_validate(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->files != NULL && cp->native == NULL);
    TRY(check_version(cp, err));
    TRY(check_root(cp, err));
    TRY(check_members(cp, err));
    TRY(check_header(cp, err));
    TRY(check_tensors(cp, err));
    TRY(read_digests(cp, err));
    cp->native = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->native);
    if (cp->native == NULL) return lvlm_fail_memory(err);
    TRY(read_config(cp, err));
    TRY(read_provenance(cp, err));
    TRY(read_ledger(cp, err));
    TRY(check_entries(cp, err));
    TRY(check_frames(cp, err));
    return check_file_names(cp, err);
}
