/* packed.c - recognises packed weights by configuration, tensor names and types; see
 * packed.h. */
#include "formats/checkpoint/packed.h"

#include <assert.h>
#include <fnmatch.h>

#include "formats/base/json.h"

/* Names of packed weights, for when config.json has no quantization_config. */
static const struct {
    const char *glob;
    const char *method;
} packed_names[] = {
    { "*.qweight", "GPTQ or AWQ" },
    { "*.qzeros", "GPTQ or AWQ" },
    { "*.g_idx", "GPTQ" },
    { "*.SCB", "bitsandbytes, 8 bits" },
    { "*.absmax", "bitsandbytes" },
    { "*.quant_state*", "bitsandbytes" },
    { "*.quant_map", "bitsandbytes" },
    { "*.weight_scale", "fp8" },
    { "*.weight_scale_inv", "fp8" },
    { "*.input_scale", "fp8" },
    { "*.weight_packed", "compressed-tensors" },
};

static int refuse_tensors(const lvlm_checkpoint *cp, lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_tensors; i++)
        for (size_t j = 0; j < sizeof packed_names / sizeof *packed_names; j++)
            FAIL_IF(
                fnmatch(packed_names[j].glob, cp->tensors[i].name, 0) == 0, err,
                LVLM_EFORMAT,
                "%s: is quantised (%s, by its tensor '%s'): its weights are packed; "
                "convert the checkpoint that it was made from",
                cp->path, packed_names[j].method, cp->tensors[i].name);
    for (size_t i = 0; i < cp->n_tensors; i++)
        FAIL_IF(
            cp->tensors[i].dtype == LVLM_F8_E4M3 ||
                cp->tensors[i].dtype == LVLM_F8_E5M2,
            err, LVLM_EFORMAT,
            "%s: is quantised (fp8, by the type %s of its tensor '%s'): convert the "
            "checkpoint that it was made from",
            cp->path, lvlm_dtype_name(cp->tensors[i].dtype), cp->tensors[i].name);
    return 0;
}

/* The settings of a quantisation method, or NULL. */
static const cJSON *packing_of(const cJSON *section)
{
    static const char *const keys[] = { "quantization_config", "compression_config" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (cJSON_IsObject(lvlm_json_get(section, keys[i])))
            return lvlm_json_get(section, keys[i]);
    return NULL;
}

static const cJSON *find_settings(const cJSON *config)
{
    const cJSON *settings = packing_of(config), *section;
    LVLM_JSON_MEMBERS (section, config)
        if (settings == NULL) settings = packing_of(section);
    return settings;
}

static const char *method_of(const cJSON *settings)
{
    const char *method = lvlm_json_string(lvlm_json_get(settings, "quant_method"));
    return method != NULL ? method : "method not named";
}

int lvlm_packed_settings_refuse(const lvlm_checkpoint *cp, lvlm_error *err)
{
    const cJSON *const settings = find_settings(cp->config);
    FAIL_IF(settings != NULL, err, LVLM_EFORMAT,
            "%s: is quantised (%s): its weights are packed; convert the checkpoint "
            "that it was made from",
            cp->path, method_of(settings));
    return 0;
}

/* Every method packs into integers of up to 32 bits or into 8-bit floats; the 64-bit
 * ones are position ids. */
static bool is_unpacked(const lvlm_checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (!lvlm_dtype_is_weight(cp->tensors[i].dtype) &&
            cp->tensors[i].dtype != LVLM_I64)
            return false;
    return true;
}

int lvlm_packed_refuse(const lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->config != NULL);
    const cJSON *const settings = find_settings(cp->config);
    TRY(refuse_tensors(cp, err));
    if (settings == NULL) return 0;
    if (!is_unpacked(cp)) return lvlm_packed_settings_refuse(cp, err);
    return lvlm_notes_add(cp->notes, err,
                          "config.json: quantization_config (%s) is not followed: no "
                          "tensor is packed",
                          method_of(settings));
}
