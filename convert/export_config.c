/* export_config.c - config.json of a fresh layout: the source's, with the members
 * changed that no longer match the weights.
 *
 *   tie_word_embeddings    if it says tied and the head is stored, or the reverse
 *   dtype, torch_dtype     if conversion stored another type
 *   quantization_config, compression_config   left out: the weights are not packed
 *
 * The text is edited instead of printed again, which would turn 30.0 into 30, which
 * strict readers refuse. The result is parsed and checked. */
#include <string.h>

#include "convert/export_parts.h"
#include "formats/base/json.h"

/* A member at the top level or in a section there, and its new value. */
typedef struct edit {
    const char *section; /* NULL: the top level */
    const char *key;
    const char *value; /* JSON; NULL: the member is removed */
    bool insert;       /* the member is new */
} edit;

typedef struct edits {
    edit *at;
    size_t n, capacity;
    lvlm_arena *arena;
} edits;

/* ---- which members -------------------------------------------------------------- */

static const cJSON *section_of(const cJSON *config, const char *section)
{
    return section != NULL ? lvlm_json_get(config, section) : config;
}

static int push(edits *e, const char *section, const char *key, const char *value,
                bool insert, lvlm_error *err)
{
    edit *const at =
        lvlm_arena_room(e->arena, e->at, e->n, &e->capacity, sizeof *e->at);
    if (at == NULL) return lvlm_fail_memory(err);
    e->at = at;
    e->at[e->n++] = (edit){ section, key, value, insert };
    return 0;
}

/* transformers reads the top level since 5.0, and text_config, if present, before: set
 * both to what is stored. */
static int edit_ties(edits *e, lvlm_export *ex, const cJSON *config, lvlm_error *err)
{
    static const char *const sections[] = { NULL, "text_config" };
    const lvlm_ties says = lvlm_family_ties(ex->manifest.family, config);
    for (size_t i = 0; i < ex->manifest.n_targets; i++) {
        const lvlm_target *t = &ex->manifest.targets[i];
        if (t->row->tied_to == NULL) continue;
        const bool tied = t->state == LVLM_TARGET_TIED;
        if (says.top == tied && says.text == tied) return 0;
        for (size_t k = 0; k < 2; k++) {
            const cJSON *section = section_of(config, sections[k]);
            if (!cJSON_IsObject(section)) continue;
            TRY(push(e, sections[k], LVLM_TIE_KEY, tied ? "true" : "false",
                     lvlm_json_get(section, LVLM_TIE_KEY) == NULL, err));
        }
        return lvlm_notes_add(ex->options.notes, err,
                              "config.json: " LVLM_TIE_KEY " is set to %s, as the "
                              "weights are: every version of transformers then loads "
                              "these",
                              tied ? "true" : "false");
    }
    return 0;
}

static int edit_dtypes(edits *e, const lvlm_export *ex, const cJSON *config,
                       lvlm_error *err)
{
    static const char *const sections[] = { NULL, "text_config", "vision_config" };
    static const char *const keys[] = { "dtype", "torch_dtype" };
    const lvlm_target *table = lvlm_manifest_find(&ex->manifest, LVLM_EMBED_TABLE);
    if (!ex->changed_dtype || table == NULL || table->here.tensor == NULL) return 0;
    const char *const name = lvlm_arena_printf(
        e->arena, "\"%s\"", lvlm_dtype_torch_name(table->here.tensor->dtype));
    if (name == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++)
            if (lvlm_json_string(
                    lvlm_json_get(section_of(config, sections[i]), keys[k])) != NULL)
                TRY(push(e, sections[i], keys[k], name, false, err));
    return 0;
}

static int edit_packing(edits *e, lvlm_export *ex, const cJSON *config, lvlm_error *err)
{
    static const char *const keys[] = { "quantization_config", "compression_config" };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const cJSON *section;
        const size_t before = e->n;
        if (lvlm_json_get(config, keys[k]) != NULL)
            TRY(push(e, NULL, keys[k], NULL, false, err));
        LVLM_JSON_MEMBERS (section, config)
            if (lvlm_json_get(section, keys[k]) != NULL)
                TRY(push(e, section->string, keys[k], NULL, false, err));
        if (e->n > before)
            TRY(lvlm_notes_add(
                ex->options.notes, err,
                "config.json: %s is left out: the weights are not packed", keys[k]));
    }
    return 0;
}

/* ---- the text ------------------------------------------------------------------- */

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* The position after the string that begins at `at`, at its quote. */
static const char *skip_text(const char *at)
{
    for (at++; *at != '"' && *at != '\0'; at++)
        if (*at == '\\' && at[1] != '\0') at++;
    return *at == '"' ? at + 1 : at;
}

/* The position after the value that begins at `at`. */
static const char *skip_value(const char *at)
{
    size_t depth = 0;
    do {
        if (*at == '"') {
            at = skip_text(at);
            continue;
        }
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
        if (depth == 0 && strchr("}]", at[-1]) == NULL) at += strcspn(at, ",}] \t\r\n");
    } while (depth > 0 && *at != '\0');
    return at;
}

/* Position of the scan: depth 1 is the top level, 2 a section of it. */
typedef struct place {
    size_t depth;
    const char *section; /* the key at the top level ... */
    size_t n_section;    /* ... and its length */
} place;

static bool is_here(const edit *e, const place *p)
{
    if (e->section == NULL) return p->depth == 1;
    return p->depth == 2 && strlen(e->section) == p->n_section &&
           memcmp(e->section, p->section, p->n_section) == 0;
}

static const edit *find(const edits *e, const place *p, const char *key, size_t n_key)
{
    for (size_t i = 0; i < e->n; i++)
        if (!e->at[i].insert && is_here(&e->at[i], p) &&
            strlen(e->at[i].key) == n_key && memcmp(e->at[i].key, key, n_key) == 0)
            return &e->at[i];
    return NULL;
}

/* Insert the new members of the object that begins here; `next` is the first byte
 * inside. */
static void put_new(lvlm_strbuf *out, const edits *e, const place *p, const char *next)
{
    const bool empty = *skip_blanks(next) == '}';
    const size_t blanks = strspn(next, " \t\r\n");
    const char *comma = "";
    for (size_t i = 0; i < e->n; i++) {
        if (!e->at[i].insert || !is_here(&e->at[i], p)) continue;
        lvlm_strbuf_puts(out, comma);
        lvlm_strbuf_append(out, next, blanks);
        lvlm_strbuf_printf(out, "\"%s\": %s", e->at[i].key, e->at[i].value);
        comma = ",";
    }
    if (comma[0] != '\0' && !empty) lvlm_strbuf_puts(out, ",");
}

/* Remove the member whose value ends at `at`, with one of the commas around it. */
static const char *drop(lvlm_strbuf *out, const char *at)
{
    const char *const next = skip_blanks(at);
    if (*next == ',') return skip_blanks(next + 1);
    while (out->length > 0 && strchr(" \t\r\n", out->text[out->length - 1]) != NULL)
        out->length--;
    if (out->length > 0 && out->text[out->length - 1] == ',') out->length--;
    return at;
}

/* Process the key at `at` and its value; returns where to continue. */
static const char *copy_member(lvlm_strbuf *out, const edits *e, place *p,
                               const char *at)
{
    const char *const end = skip_text(at), *const colon = skip_blanks(end);
    const bool is_key = *colon == ':';
    const size_t n = (size_t)(end - at) - 2;
    if (is_key && p->depth == 1) {
        p->section = at + 1;
        p->n_section = n;
    }
    const edit *const found = is_key ? find(e, p, at + 1, n) : NULL;
    if (found == NULL) {
        lvlm_strbuf_append(out, at, (size_t)(end - at));
        return end;
    }
    const char *const value = skip_blanks(colon + 1);
    if (found->value == NULL) return drop(out, skip_value(value));
    lvlm_strbuf_append(out, at, (size_t)(value - at));
    lvlm_strbuf_puts(out, found->value);
    return skip_value(value);
}

/* Edit `text`, which is an object. */
static void apply(lvlm_strbuf *out, const edits *e, const char *text)
{
    place p = { 0, "", 0 };
    while (*text != '\0') {
        if (*text == '"') {
            text = copy_member(out, e, &p, text);
            continue;
        }
        if (*text == '}' || *text == ']') p.depth--;
        lvlm_strbuf_append(out, text, 1);
        if (*text == '{' || *text == '[') p.depth++;
        if (*text++ == '{') put_new(out, e, &p, text);
    }
}

/* Check that the edited text has the intended members: a key that is written with
 * escapes is not found above. */
static int check(const edits *e, const lvlm_strbuf *text, lvlm_error *err)
{
    cJSON *config = NULL;
    TRY(lvlm_strbuf_check(text, err));
    int rc = lvlm_json_parse(&config, text->text, text->length, err);
    for (size_t i = 0; i < e->n && rc == 0; i++) {
        const cJSON *at =
            lvlm_json_get(section_of(config, e->at[i].section), e->at[i].key);
        const char *const value = e->at[i].value;
        cJSON *meant = NULL;
        if (value != NULL) rc = lvlm_json_parse(&meant, value, strlen(value), err);
        if (rc == 0 && (value != NULL ? !cJSON_Compare(at, meant, true) : at != NULL))
            rc = lvlm_fail(err, LVLM_EFORMAT, "%s cannot be changed", e->at[i].key);
        lvlm_json_free(meant);
    }
    lvlm_json_free(config);
    return rc;
}

/* ---- public --------------------------------------------------------------------- */

static int list_edits(edits *e, lvlm_export *ex, const lvlm_side_file *side,
                      lvlm_error *err)
{
    cJSON *config = NULL;
    int rc =
        lvlm_json_parse(&config, (const char *)side->bytes, (size_t)side->n_bytes, err);
    if (rc == 0 && (rc = edit_ties(e, ex, config, err)) == 0 &&
        (rc = edit_dtypes(e, ex, config, err)) == 0)
        rc = edit_packing(e, ex, config, err);
    for (size_t i = 0; i < e->n && rc == 0;
         i++) /* the names of sections are in the tree */
        if (e->at[i].section != NULL) {
            e->at[i].section = lvlm_arena_strndup(e->arena, e->at[i].section,
                                                  strlen(e->at[i].section));
            if (e->at[i].section == NULL) rc = lvlm_fail_memory(err);
        }
    lvlm_json_free(config);
    return rc;
}

int export_config(const char **text, size_t *n_bytes, lvlm_export *ex,
                  const lvlm_side_file *side, lvlm_error *err)
{
    edits e = { .arena = &ex->arena };
    lvlm_strbuf out = LVLM_STRBUF_INIT(2 * (size_t)side->n_bytes + 4096);
    *text = NULL;
    int rc = list_edits(&e, ex, side, err);
    const char *const copy =
        rc == 0 ? lvlm_arena_strndup(&ex->arena, (const char *)side->bytes,
                                     (size_t)side->n_bytes)
                : NULL;
    if (rc == 0 && copy == NULL) rc = lvlm_fail_memory(err);
    if (rc == 0 && e.n > 0) {
        apply(&out, &e, copy);
        rc = check(&e, &out, err);
        if (rc == 0) {
            *text = lvlm_arena_strndup(&ex->arena, out.text, out.length);
            *n_bytes = out.length;
            if (*text == NULL) rc = lvlm_fail_memory(err);
        }
    }
    lvlm_strbuf_free(&out);
    if (rc < 0) lvlm_prefix(err, "config.json: ");
    return rc;
}
