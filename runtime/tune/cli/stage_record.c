/* stage_record.c - records of finished and interrupted stages; see stage_record.h. */
#include "runtime/tune/cli/stage_record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/text.h"

#define FORMAT "lvlm-stage-1"

/* Options that change no byte of the model; what is at the paths of the data has a
 * digest. */
static const char without_effect[] =
    "about|data|images|batches|log|plot|eval|eval-every|"
    "save-every|report-every|checkpointing";

/* ---- the file ------------------------------------------------------------------- */

static bool read_digest(lvlm_hex_digest out, const cJSON *json, const char *key)
{
    const char *const text = lvlm_json_string(lvlm_json_get(json, key));
    const size_t n = text != NULL ? strlen(text) + 1 : SIZE_MAX;
    if (n > sizeof(lvlm_hex_digest)) return false;
    memcpy(out, text, n);
    return true;
}

static int parse(stage_record *r, const char *path, lvlm_error *err)
{
    TRY(lvlm_json_load(&r->json, path, err));
    const char *const format = lvlm_json_string(lvlm_json_get(r->json, "format"));
    r->facts.options = lvlm_json_get(r->json, "options");
    FAIL_IF(format == NULL || strcmp(format, FORMAT) != 0 ||
                !cJSON_IsObject(r->facts.options) ||
                !read_digest(r->facts.data, r->json, "data") ||
                !read_digest(r->facts.input, r->json, "input") ||
                !read_digest(r->facts.output, r->json, "output"),
            err, LVLM_EFORMAT, "%s: is not the record of a stage", path);
    return 0;
}

int stage_record_read(stage_record *out, const char *path, lvlm_error *err)
{
    *out = (stage_record){ .exists = lvlm_path_exists(path) };
    return out->exists ? parse(out, path, err) : 0;
}

void stage_record_free(stage_record *record)
{
    lvlm_json_free(record->json);
    *record = (stage_record){ .exists = false };
}

int stage_record_write(const char *path, const stage_facts *facts, lvlm_error *err)
{
    cJSON *const json = cJSON_CreateObject();
    char *text = NULL;
    assert(cJSON_IsObject(facts->options) && facts->input[0] != '\0');
    const bool ok = json != NULL && cJSON_AddStringToObject(json, "format", FORMAT) &&
                    lvlm_json_set_copy(json, "options", facts->options) &&
                    cJSON_AddStringToObject(json, "data", facts->data) &&
                    cJSON_AddStringToObject(json, "input", facts->input) &&
                    cJSON_AddStringToObject(json, "output", facts->output);
    int rc = ok ? lvlm_json_print_pretty(&text, json, err) : lvlm_fail_memory(err);
    if (rc == 0) rc = lvlm_outfile_save(path, text, strlen(text), true, err);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

/* ---- changes -------------------------------------------------------------------- */

/* The first option of `a` that has an effect, and in `b` another value or none. */
static const char *first_difference(const cJSON *a, const cJSON *b)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, a)
        if (!lvlm_is_listed(without_effect, item->string) &&
            !cJSON_Compare(item, lvlm_json_get(b, item->string), true))
            return item->string;
    return NULL;
}

/* "5e-5", or "its default". *out is owned. */
static int print_value(char **out, const cJSON *item, lvlm_error *err)
{
    if (item != NULL) return lvlm_json_print(out, item, err);
    *out = lvlm_strdup("its default");
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

static int refuse_option(const char *name, const cJSON *was, const cJSON *is,
                         lvlm_error *err)
{
    char *before = NULL, *now = NULL;
    int rc = print_value(&before, lvlm_json_get(was, name), err);
    if (rc == 0) rc = print_value(&now, lvlm_json_get(is, name), err);
    if (rc == 0)
        rc = lvlm_fail(err, LVLM_EUSAGE,
                       "has \"%s\" %s, and was begun with %s; --force trains it anew",
                       name, now, before);
    lvlm_free(before);
    lvlm_free(now);
    return rc;
}

int stage_record_compare(const stage_record *record, const stage_facts *now,
                         lvlm_error *err)
{
    const stage_facts *const was = &record->facts;
    const char *name = first_difference(now->options, was->options);
    assert(record->exists);
    if (name == NULL) name = first_difference(was->options, now->options);
    if (name != NULL) return refuse_option(name, was->options, now->options, err);
    FAIL_IF(strcmp(was->data, now->data) != 0, err, LVLM_EUSAGE,
            "its data is not what it was begun with; --force trains it anew");
    FAIL_IF(now->input[0] != '\0' && strcmp(was->input, now->input) != 0, err,
            LVLM_EUSAGE,
            "the model that it starts from is not the one that it was begun with; "
            "--force trains it anew");
    return 0;
}
