/* compose_config.c - config.json of a composed model: what
 * LlavaForConditionalGeneration and its processor read, in all versions since 4.45.
 *
 * Versions read different keys for the same thing, so both are written: rope_theta and
 * rope_parameters, torch_dtype and dtype, a flag of the tie at the top and in
 * text_config. The configurations of the parts are kept as they are but for these. */
#include <assert.h>
#include <string.h>

#include "convert/compose/compose_parts.h"
#include "formats/base/json.h"

static bool add_text(cJSON *to, const char *key, const char *value)
{
    return lvlm_json_set(to, key, cJSON_CreateString(value));
}

static bool add_number(cJSON *to, const char *key, double value)
{
    return lvlm_json_set(to, key, cJSON_CreateNumber(value));
}

static bool add_flag(cJSON *to, const char *key, bool value)
{
    return lvlm_json_set(to, key, cJSON_CreateBool(value));
}

/* transformers 5 reads rope_parameters { rope_type, rope_theta, ... }, 4 rope_theta and
 * rope_scaling. */
static bool add_rope(cJSON *text)
{
    const cJSON *const parameters = lvlm_json_get(text, "rope_parameters");
    const cJSON *const theta = lvlm_json_get(parameters, "rope_theta");
    const char *const type = lvlm_json_string(lvlm_json_get(parameters, "rope_type"));
    if (theta == NULL) return true;
    if (!lvlm_json_set_copy(text, "rope_theta", theta)) return false;
    return type == NULL || strcmp(type, "default") == 0 ||
           lvlm_json_get(text, "rope_scaling") != NULL ||
           lvlm_json_set_copy(text, "rope_scaling", parameters);
}

static const char *dtype_of(const lvlm_compose_parts *parts,
                            const lvlm_compose_spec *spec)
{
    lvlm_dtype dtype = parts->text.tensors[0].dtype;
    (void)lvlm_dtype_from_option(&dtype, spec->dtype);
    return lvlm_dtype_torch_name(dtype);
}

static bool add_layers(cJSON *top, const lvlm_compose_spec *spec)
{
    assert(spec->n_layers > 0 && spec->n_layers <= LVLM_COMPOSE_MAX_LAYERS);
    static const char key[] = "vision_feature_layer";
    if (spec->n_layers == 1) return add_number(top, key, (double)spec->layers[0]);
    cJSON *const list = cJSON_AddArrayToObject(top, key);
    bool ok = list != NULL;
    for (size_t i = 0; i < spec->n_layers && ok; i++) {
        cJSON *const item = cJSON_CreateNumber((double)spec->layers[i]);
        ok = item != NULL && cJSON_AddItemToArray(list, item);
    }
    return ok;
}

static const char *strategy_of(const lvlm_compose_spec *spec)
{
    return strcmp(spec->rows, "all") == 0 ? "full" : "default";
}

/* What LLaVA's layout has no keys for. */
static bool add_own_connector(cJSON *top, const lvlm_compose_spec *spec)
{
    const bool merges = strcmp(spec->kind, "merger") == 0;
    const bool deep = strcmp(spec->kind, "mlp") == 0;
    cJSON *const own = cJSON_CreateObject();
    if (!lvlm_json_set(top, "lvlm_connector", own) ||
        !add_text(own, "kind", deep ? "deep_mlp" : spec->kind))
        return false;
    if (deep) return add_number(own, "layers", (double)spec->n_maps);
    if (merges) return add_number(own, "merge", (double)spec->merge);
    return add_number(own, "queries", (double)spec->queries) &&
           add_number(own, "heads", (double)spec->heads);
}

static bool add_connector(cJSON *top, const lvlm_compose_spec *spec)
{
    const bool linear = strcmp(spec->kind, "linear") == 0;
    const bool deep = lvlm_compose_is_llava(spec) && spec->n_maps > 2;
    if ((!lvlm_compose_is_llava(spec) || deep) && !add_own_connector(top, spec))
        return false;
    return add_text(top, "projector_hidden_act",
                    linear ? "linear" : spec->activation) &&
           (!lvlm_compose_is_llava(spec) ||
            add_flag(top, "multimodal_projector_bias", spec->bias)) &&
           add_layers(top, spec) &&
           add_text(top, "vision_feature_select_strategy", strategy_of(spec));
}

static bool compose(cJSON *top, const lvlm_compose_parts *parts,
                    const lvlm_compose_spec *spec)
{
    static const char *const classes[] = { "LlavaForConditionalGeneration" };
    const cJSON *const pad = lvlm_json_get(parts->text.config, "pad_token_id");
    const char *const dtype = dtype_of(parts, spec);
    cJSON *const list = cJSON_CreateStringArray(classes, 1);
    bool ok = lvlm_json_set(top, "architectures", list) &&
              add_text(top, "model_type", "llava") && add_text(top, "dtype", dtype) &&
              add_text(top, "torch_dtype", dtype) &&
              add_number(top, "ignore_index", -100) &&
              add_number(top, "image_token_index", (double)parts->image_id) &&
              add_number(top, "image_seq_length",
                         (double)lvlm_compose_image_rows(parts, spec)) &&
              add_connector(top, spec);
    ok = ok && add_number(top, "vocab_size", (double)parts->rows) &&
         add_number(parts->text.config, "vocab_size", (double)parts->rows);
    if (ok && pad != NULL) ok = lvlm_json_set_copy(top, "pad_token_id", pad);
    return ok && add_flag(top, "tie_word_embeddings", parts->tied) &&
           lvlm_json_set_copy(top, "vision_config", parts->vision.config) &&
           lvlm_json_set_copy(top, "text_config", parts->text.config);
}

int lvlm_compose_config(char **out, const lvlm_compose_parts *parts,
                        const lvlm_compose_spec *spec, lvlm_error *err)
{
    cJSON *const top = cJSON_CreateObject();
    const bool ok = top != NULL && add_rope(parts->text.config) &&
                    add_flag(parts->text.config, "tie_word_embeddings", parts->tied) &&
                    compose(top, parts, spec);
    const int rc = ok ? lvlm_json_print_pretty(out, top, err) : lvlm_fail_memory(err);
    lvlm_json_free(top);
    return rc;
}

int lvlm_compose_processor(char **out, const lvlm_compose_parts *parts,
                           const lvlm_compose_spec *spec, lvlm_error *err)
{
    cJSON *const top = cJSON_CreateObject();
    const lvlm_compose_sizes *const s = &parts->sizes;
    const bool ok = top != NULL && add_text(top, "processor_class", "LlavaProcessor") &&
                    add_text(top, "image_token", spec->image_text) &&
                    add_number(top, "patch_size", (double)s->patch) &&
                    add_number(top, "num_additional_image_tokens", s->has_class_row) &&
                    add_text(top, "vision_feature_select_strategy", strategy_of(spec));
    const int rc = ok ? lvlm_json_print_pretty(out, top, err) : lvlm_fail_memory(err);
    lvlm_json_free(top);
    return rc;
}
