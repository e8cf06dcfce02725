/* history.c - steps that changed the values of a native file; see history.h. */
#include "formats/native/history.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/version.h"
#include "formats/native/native.h"

int lvlm_history_begin(cJSON **out, const char *did, const lvlm_checkpoint *base,
                       lvlm_error *err)
{
    lvlm_hex_digest weights;
    cJSON *const step = *out = cJSON_CreateObject();
    TRY(lvlm_native_weights_digest(weights, base, err));
    if (cJSON_AddStringToObject(step, "did", did) == NULL ||
        cJSON_AddStringToObject(step, "version", "lvlm " LVLM_VERSION) == NULL ||
        cJSON_AddStringToObject(step, "base", weights) == NULL)
        return lvlm_fail_memory(err);
    return 0;
}

int lvlm_history_add(cJSON *provenance, const cJSON *step, lvlm_error *err)
{
    cJSON *const old =
        cJSON_GetObjectItemCaseSensitive(provenance, LVLM_PROVENANCE_HISTORY);
    cJSON *const copy = cJSON_Duplicate(step, true);
    cJSON *list = old;
    assert(cJSON_IsObject(provenance) && (old == NULL || cJSON_IsArray(old)));
    if (list == NULL) {
        list = cJSON_CreateArray();
        if (!lvlm_json_set(provenance, LVLM_PROVENANCE_HISTORY, list)) list = NULL;
    }
    if (list != NULL && copy != NULL && cJSON_AddItemToArray(list, copy)) return 0;
    lvlm_json_free(copy);
    return lvlm_fail_memory(err);
}

/* ---- what a file has ------------------------------------------------------------- */

typedef enum member_kind {
    TEXT,
    DIGEST,
    COUNT,
    COUNTS, /* an object of counts */
    OBJECT,
} member_kind;

static const struct member {
    const char *name;
    member_kind kind;
    bool needed;
} members[] = {
    { "did", TEXT, true },
    { "version", TEXT, true },
    { "base", DIGEST, true },
    { "data", DIGEST, false },
    { "data_file", DIGEST, false },
    { "batches", TEXT, false },
    { "steps", COUNT, false },
    { "settings", OBJECT, false },
    { "trained", COUNTS, false },
    { "adapted", COUNTS, false },
    { "frozen", COUNTS, false },
    { "adapter", DIGEST, false },
    { "adapter_config", DIGEST, false },
};

enum { N_MEMBERS = sizeof members / sizeof members[0] };

static bool is_counts(const cJSON *item)
{
    const cJSON *part;
    uint64_t count;
    LVLM_JSON_MEMBERS (part, item)
        if (!lvlm_json_u64(&count, part)) return false;
    return cJSON_IsObject(item);
}

static bool is_kind(const cJSON *item, member_kind kind)
{
    const char *const text = lvlm_json_string(item);
    uint64_t count;
    switch (kind) {
    case TEXT: return text != NULL;
    case DIGEST: return text != NULL && lvlm_digest_is(text);
    case COUNT: return lvlm_json_u64(&count, item);
    case COUNTS: return is_counts(item);
    case OBJECT: break;
    }
    return cJSON_IsObject(item);
}

static int check_step(const cJSON *step, lvlm_error *err)
{
    static const char *const kinds[] = { "text", "a digest", "a count",
                                         "an object of counts", "an object" };
    const cJSON *item;
    FAIL_IF(!cJSON_IsObject(step), err, LVLM_EFORMAT, "is not an object");
    for (size_t i = 0; i < N_MEMBERS; i++)
        FAIL_IF(members[i].needed && lvlm_json_get(step, members[i].name) == NULL, err,
                LVLM_EFORMAT, "'%s' is missing", members[i].name);
    LVLM_JSON_MEMBERS (item, step) {
        size_t i = 0;
        while (i < N_MEMBERS && strcmp(members[i].name, item->string) != 0) i++;
        FAIL_IF(i == N_MEMBERS, err, LVLM_EFORMAT, "unknown member '%s'", item->string);
        FAIL_IF(!is_kind(item, members[i].kind), err, LVLM_EFORMAT, "'%s' is not %s",
                item->string, kinds[members[i].kind]);
    }
    return 0;
}

int lvlm_history_check(const cJSON *history, lvlm_error *err)
{
    const cJSON *step;
    size_t i = 0;
    FAIL_IF(!cJSON_IsArray(history) || lvlm_json_count(history) == 0, err, LVLM_EFORMAT,
            "is not a list of steps");
    LVLM_JSON_ITEMS (step, history)
        TRY(lvlm_within(check_step(step, err), err, "step %zu: ", ++i));
    return 0;
}
