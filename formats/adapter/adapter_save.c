/* adapter_save.c - writes an adapter as a PEFT directory; see adapter.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/text.h"
#include "formats/container/finite.h"
#include "formats/container/safetensors.h"

/* ---- which modules -------------------------------------------------------------- */

static bool is_adapted(const lvlm_adapter *adapter, const lvlm_module *module)
{
    for (size_t i = 0; i < adapter->n; i++)
        if (adapter->at[i].module == module) return true;
    return false;
}

/* The last word of a module's name, as used in target_modules. */
static const char *last_word(const lvlm_module *module)
{
    assert(module->name != NULL);
    const char *const dot = strrchr(module->name, '.');
    return dot != NULL ? dot + 1 : module->name;
}

/* Do the last words of the adapted modules match only these modules? A number would
 * match blocks too. */
static bool words_are_enough(const lvlm_adapter *adapter)
{
    for (size_t i = 0; i < adapter->n; i++) {
        const char *const word = last_word(adapter->at[i].module);
        if (strspn(word, "0123456789") == strlen(word)) return false;
        for (size_t j = 0; j < adapter->modules.n; j++)
            if (lvlm_module_named(adapter->modules.at[j].name, word) &&
                !is_adapted(adapter, &adapter->modules.at[j]))
                return false;
    }
    return true;
}

/* target_modules: last words if they suffice, else whole names; unique, sorted. */
static int add_targets(cJSON *config, const lvlm_adapter *adapter, lvlm_error *err)
{
    const bool words = words_are_enough(adapter);
    cJSON *const list = cJSON_AddArrayToObject(config, "target_modules");
    const char **const names = lvlm_calloc(adapter->n + 1, sizeof *names);
    bool ok = list != NULL && names != NULL;
    for (size_t i = 0; ok && i < adapter->n; i++)
        names[i] =
            words ? last_word(adapter->at[i].module) : adapter->at[i].module->name;
    if (ok) qsort(names, adapter->n, sizeof *names, lvlm_by_text);
    for (size_t i = 0; ok && i < adapter->n; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            ok = cJSON_AddItemToArray(list, cJSON_CreateString(names[i]));
    lvlm_free(names);
    return ok ? 0 : lvlm_fail_memory(err);
}

/* ---- adapter_config.json -------------------------------------------------------- */

static bool add_pattern(cJSON *config, const char *key, const cJSON *pattern)
{
    cJSON *const copy =
        cJSON_IsObject(pattern) ? cJSON_Duplicate(pattern, true) : cJSON_CreateObject();
    if (copy != NULL && cJSON_AddItemToObject(config, key, copy)) return true;
    lvlm_json_free(copy);
    return false;
}

static bool add_base(cJSON *config, const char *base)
{
    static const char key[] = "base_model_name_or_path";
    return base != NULL ? cJSON_AddStringToObject(config, key, base) != NULL
                        : cJSON_AddNullToObject(config, key) != NULL;
}

/* null where there are none, as PEFT */
static bool add_saved(cJSON *config, const lvlm_adapter *adapter)
{
    return adapter->n_saved > 0
               ? adapter_saved_add_words(config, adapter)
               : cJSON_AddNullToObject(config, "modules_to_save") != NULL;
}

/* In PEFT's order; absent keys have the class default. */
static int make_config(cJSON *out, const lvlm_adapter *adapter, lvlm_error *err)
{
    const lvlm_adapter_config *const c = &adapter->config;
    const bool ok = add_pattern(out, "alpha_pattern", c->alpha_pattern) &&
                    add_base(out, c->base) &&
                    cJSON_AddStringToObject(out, "bias", "none") != NULL &&
                    (!adapter_saved_ties(adapter) ||
                     cJSON_AddTrueToObject(out, "ensure_weight_tying") != NULL) &&
                    cJSON_AddFalseToObject(out, "fan_in_fan_out") != NULL &&
                    cJSON_AddTrueToObject(out, "inference_mode") != NULL &&
                    cJSON_AddTrueToObject(out, "init_lora_weights") != NULL &&
                    cJSON_AddNumberToObject(out, "lora_alpha", c->alpha) != NULL &&
                    cJSON_AddNumberToObject(out, "lora_dropout", c->dropout) != NULL &&
                    add_saved(out, adapter) &&
                    cJSON_AddStringToObject(out, "peft_type", "LORA") != NULL &&
                    cJSON_AddNumberToObject(out, "r", (double)c->r) != NULL &&
                    add_pattern(out, "rank_pattern", c->rank_pattern);
    if (!ok) return lvlm_fail_memory(err);
    TRY(add_targets(out, adapter, err));
    FAIL_IF(cJSON_AddNullToObject(out, "task_type") == NULL ||
                cJSON_AddFalseToObject(out, "use_dora") == NULL ||
                cJSON_AddBoolToObject(out, "use_rslora", c->rslora) == NULL,
            err, LVLM_ENOMEM, "out of memory");
    return 0;
}

int lvlm_adapter_settings(cJSON **out, const lvlm_adapter *adapter, lvlm_error *err)
{
    const lvlm_adapter_config *const c = &adapter->config;
    cJSON *const json = *out = cJSON_CreateObject();
    if (json == NULL || cJSON_AddNumberToObject(json, "r", (double)c->r) == NULL ||
        cJSON_AddNumberToObject(json, "lora_alpha", c->alpha) == NULL ||
        cJSON_AddNumberToObject(json, "lora_dropout", c->dropout) == NULL ||
        cJSON_AddBoolToObject(json, "use_rslora", c->rslora) == NULL ||
        !add_pattern(json, "rank_pattern", c->rank_pattern) ||
        !add_pattern(json, "alpha_pattern", c->alpha_pattern) ||
        (adapter->n_saved > 0 && !adapter_saved_add_words(json, adapter)))
        return lvlm_fail_memory(err);
    return add_targets(json, adapter, err);
}

static int save_config(const lvlm_adapter *adapter, const char *path, lvlm_error *err)
{
    cJSON *config = cJSON_CreateObject();
    char *text = NULL;
    if (config == NULL) return lvlm_fail_memory(err);
    int rc = make_config(config, adapter, err);
    if (rc == 0) rc = lvlm_json_print_pretty(&text, config, err);
    if (rc == 0) rc = lvlm_outfile_save(path, text, strlen(text), false, err);
    lvlm_free(text);
    lvlm_json_free(config);
    return rc;
}

/* ---- adapter_model.safetensors -------------------------------------------------- */

/* `end` of the name: after the module's. */
static int name_tensor(lvlm_tensor *out, const lvlm_tensor *values, const char *module,
                       const char *end, lvlm_arena *arena, lvlm_error *err)
{
    assert(values->data != NULL);
    *out = *values;
    out->name = lvlm_arena_printf(arena, "base_model.model.%s%s", module, end);
    if (out->name == NULL) return lvlm_fail_memory(err);
    FAIL_IF(!lvlm_shape_bytes(&out->n_bytes, &out->shape, out->dtype), err,
            LVLM_EFORMAT, "%s is too large", out->name);
    return lvlm_check_finite(out, err);
}

/* out (2 n + n_saved), in the file's order */
static int list_tensors(lvlm_tensor *out, const lvlm_adapter *adapter,
                        lvlm_arena *arena, lvlm_error *err)
{
    const size_t n = 2 * adapter->n;
    for (size_t i = 0; i < n; i++) {
        const lvlm_adapted *const x = &adapter->at[i / 2];
        TRY(name_tensor(&out[i], i % 2 == 0 ? &x->a : &x->b, x->module->name,
                        i % 2 == 0 ? ".lora_A.weight" : ".lora_B.weight", arena, err));
    }
    for (size_t i = 0; i < adapter->n_saved; i++)
        TRY(name_tensor(&out[n + i], &adapter->saved[i].value, adapter->saved[i].name,
                        "", arena, err));
    qsort(out, n + adapter->n_saved, sizeof *out, lvlm_safetensors_order);
    return 0;
}

static int save_tensors(const lvlm_adapter *adapter, const char *path, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    const size_t n = 2 * adapter->n + adapter->n_saved;
    lvlm_tensor *const tensors = lvlm_arena_alloc(&arena, n + 1, sizeof *tensors);
    cJSON *metadata = cJSON_CreateObject();
    int rc = 0;
    if (tensors == NULL || metadata == NULL ||
        cJSON_AddStringToObject(metadata, "format", "pt") == NULL)
        rc = lvlm_fail_memory(err);
    if (rc == 0) rc = list_tensors(tensors, adapter, &arena, err);
    if (rc == 0) rc = lvlm_adapter_seal(metadata, adapter, tensors, n, err);
    if (rc == 0) rc = lvlm_safetensors_save(path, tensors, n, metadata, false, err);
    lvlm_json_free(metadata);
    lvlm_arena_free(&arena);
    return rc;
}

static const char *const parts[] = { "adapter_config.json", "adapter_model*", NULL };
static const char *const last[] = { "adapter_config.json", NULL };
const lvlm_outdir_set lvlm_adapter_set = { parts, last };

int lvlm_adapter_save(const lvlm_adapter *adapter, lvlm_outdir *dir, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    const char *const in = lvlm_outdir_path(dir);
    const char *const config = lvlm_arena_printf(&arena, "%s/adapter_config.json", in);
    const char *const weights =
        lvlm_arena_printf(&arena, "%s/adapter_model.safetensors", in);
    int rc = config != NULL && weights != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0) rc = save_config(adapter, config, err);
    if (rc == 0) rc = save_tensors(adapter, weights, err);
    if (rc == 0) rc = lvlm_outdir_commit(dir, err);
    lvlm_arena_free(&arena);
    return rc;
}
