/* configure.c - reading settings by table; see configure.h. */
#include "runtime/block/configure.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"

static const char *const activation_words[] = {
    [LVLM_ACTIVATION_GELU_TANH] = "gelu_tanh",
    [LVLM_ACTIVATION_GELU] = "gelu",
    [LVLM_ACTIVATION_QUICK_GELU] = "quick_gelu",
    [LVLM_ACTIVATION_SILU] = "silu",
    [LVLM_ACTIVATION_RELU] = "relu",
    [LVLM_ACTIVATION_IDENTITY] = "identity",
    [LVLM_N_ACTIVATIONS] = NULL,
};

int configure_word(size_t *out, const cJSON *json, const char *path,
                   const char *const *words, lvlm_error *err)
{
    const char *const word = lvlm_json_string(lvlm_json_path(json, path));
    FAIL_IF(word == NULL, err, LVLM_EFORMAT, "configuration: %s is not there", path);
    assert(words[0] != NULL);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) != 0) continue;
        *out = i;
        return 0;
    }
    return lvlm_fail(
        err, LVLM_EFORMAT,
        "configuration: %s '%s' is not one that can be run (first known: '%s')", path,
        word, words[0]);
}

int configure_list(size_t *out, size_t capacity, size_t *n, const cJSON *json,
                   const char *path, lvlm_error *err)
{
    const cJSON *item, *const list = lvlm_json_path(json, path);
    *n = 0;
    assert(capacity > 0);
    FAIL_IF(!cJSON_IsArray(list), err, LVLM_EFORMAT, "configuration: %s is not a list",
            path);
    LVLM_JSON_ITEMS (item, list) {
        uint64_t value;
        FAIL_IF(!lvlm_json_u64(&value, item) || *n == capacity, err, LVLM_EFORMAT,
                "configuration: %s is not a list of at most %zu whole numbers", path,
                capacity);
        out[(*n)++] = (size_t)value;
    }
    return 0;
}

static int read_whole(void *field, const config_row *row, const cJSON *item,
                      lvlm_error *err)
{
    uint64_t value = 0;
    const bool count = row->kind == CONFIG_COUNT;
    FAIL_IF(!lvlm_json_u64(&value, item) || (count && value == 0), err, LVLM_EFORMAT,
            "configuration: %s is not a whole number of at least %d", row->path, count);
    if (count)
        *(size_t *)field = (size_t)value;
    else
        *(int64_t *)field = (int64_t)value;
    return 0;
}

static int read_row(void *field, const config_row *row, const cJSON *json,
                    lvlm_error *err)
{
    const cJSON *const item = lvlm_json_path(json, row->path);
    if (row->maybe && (item == NULL || cJSON_IsNull(item))) return 0;
    switch (row->kind) {
    case CONFIG_COUNT:
    case CONFIG_INDEX: return read_whole(field, row, item, err);
    case CONFIG_NUMBER:
        FAIL_IF(!lvlm_json_double(field, item) || !(*(double *)field > 0), err,
                LVLM_EFORMAT, "configuration: %s is not a number above 0", row->path);
        return 0;
    case CONFIG_BOOL:
        FAIL_IF(!cJSON_IsBool(item), err, LVLM_EFORMAT,
                "configuration: %s is not true or false", row->path);
        *(bool *)field = cJSON_IsTrue(item);
        return 0;
    case CONFIG_ACTIVATION: {
        size_t index = 0;
        TRY(configure_word(&index, json, row->path, activation_words, err));
        *(lvlm_activation *)field = (lvlm_activation)index;
        return 0;
    }
    }
    return 0;
}

int configure(void *config, const config_row *rows, const cJSON *json, lvlm_error *err)
{
    for (const config_row *row = rows; row->path != NULL; row++)
        TRY(read_row((char *)config + row->offset, row, json, err));
    return 0;
}
