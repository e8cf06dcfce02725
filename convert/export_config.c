/* export_config.c - config.json of a fresh layout: the source's, with the members
 * changed that no longer match the weights.
 *
 *   tie_word_embeddings    if it says tied and the head is stored, or the reverse
 *   dtype, torch_dtype     if conversion stored another type
 *   quantization_config, compression_config   left out: the weights are not packed
 *
 * One that matches stays byte for byte. One that is changed is printed as transformers
 * does, its members in their order: each on a line, indented by two spaces. */
#include <assert.h>
#include <string.h>

#include "convert/export_parts.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"

typedef struct editor {
    const lvlm_export *export;
    cJSON *config; /* owned */
    bool changed;
} editor;

/* The top level, or a section there; NULL if that is not an object. */
static cJSON *section_of(const editor *e, const char *section)
{
    cJSON *const at = section != NULL
                          ? cJSON_GetObjectItemCaseSensitive(e->config, section)
                          : e->config;
    return cJSON_IsObject(at) ? at : NULL;
}

/* Set a member where it is, or append it. Takes `value`, which may be NULL: out of
 * memory. */
static int set(editor *e, cJSON *section, const char *key, cJSON *value,
               lvlm_error *err)
{
    e->changed = true;
    assert(cJSON_IsObject(section));
    return lvlm_json_replace(section, key, value) ? 0 : lvlm_fail_memory(err);
}

/* transformers reads the top level since 5.0, and text_config, if present, before: set
 * both to what is stored. */
static int edit_ties(editor *e, lvlm_error *err)
{
    static const char *const sections[] = { NULL, "text_config" };
    const lvlm_manifest *const m = &e->export->manifest;
    const lvlm_ties says = lvlm_family_ties(m->family, e->config);
    const lvlm_target *head = m->targets, *const end = head + m->n_targets;
    while (head < end && head->row->tied_to == NULL) head++;
    const bool tied = head < end && head->state == LVLM_TARGET_TIED;
    if (head == end || (says.top == tied && says.text == tied)) return 0;
    for (size_t i = 0; i < 2; i++) {
        cJSON *const section = section_of(e, sections[i]);
        if (section != NULL)
            TRY(set(e, section, LVLM_TIE_KEY, cJSON_CreateBool(tied), err));
    }
    return lvlm_notes_add(e->export->options.notes, err,
                          "config.json: " LVLM_TIE_KEY " is set to %s, as the "
                          "weights are: every version of transformers then loads "
                          "these",
                          tied ? "true" : "false");
}

static int edit_dtypes(editor *e, lvlm_error *err)
{
    static const char *const sections[] = { NULL, "text_config", "vision_config" };
    static const char *const keys[] = { "dtype", "torch_dtype" };
    const lvlm_target *const table =
        lvlm_manifest_find(&e->export->manifest, LVLM_EMBED_TABLE);
    if (!e->export->changed_dtype || table == NULL || table->here.tensor == NULL)
        return 0;
    const char *const name = lvlm_dtype_torch_name(table->here.tensor->dtype);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++) {
            cJSON *const section = section_of(e, sections[i]);
            const char *const said = lvlm_json_string(lvlm_json_get(section, keys[k]));
            if (said != NULL && strcmp(said, name) != 0)
                TRY(set(e, section, keys[k], cJSON_CreateString(name), err));
        }
    return 0;
}

/* Remove a member, if it is there. */
static bool drop(editor *e, const char *section, const char *key)
{
    cJSON *const at = section_of(e, section);
    if (lvlm_json_get(at, key) == NULL) return false;
    cJSON_DeleteItemFromObjectCaseSensitive(at, key);
    return e->changed = true;
}

static int edit_packing(editor *e, lvlm_error *err)
{
    static const char *const keys[] = { "quantization_config", "compression_config" };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const cJSON *section;
        bool dropped = drop(e, NULL, keys[k]);
        LVLM_JSON_MEMBERS (section, e->config)
            dropped |= drop(e, section->string, keys[k]);
        if (dropped)
            TRY(lvlm_notes_add(
                e->export->options.notes, err,
                "config.json: %s is left out: the weights are not packed", keys[k]));
    }
    return 0;
}

int export_config(char **text, const lvlm_export *ex, const lvlm_side_file *side,
                  lvlm_error *err)
{
    editor e = { .export = ex };
    *text = NULL;
    int rc = lvlm_side_file_parse(&e.config, side, err);
    if (rc == 0) rc = edit_ties(&e, err);
    if (rc == 0) rc = edit_dtypes(&e, err);
    if (rc == 0) rc = edit_packing(&e, err);
    if (rc == 0 && e.changed) rc = lvlm_json_print_pretty(text, e.config, err);
    lvlm_json_free(e.config);
    return rc;
}
