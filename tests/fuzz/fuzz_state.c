/* fuzz_state.c - the state of a training run: { "metadata": {..}, "tensors": {..} },
 * with correct digests; members that the metadata lack are those of a run of this
 * harness. A state that loads is saved again. */
#include <stdlib.h>
#include <string.h>

#include "runtime/tune/trainer.h"
#include "tests/fuzz/fuzz_kit.h"

/* An adapter of one module, so that a state is small. */
static void open_trainer(lvlm_trainer *t)
{
    static lvlm_lora lora;
    const lvlm_trainer_options options = {
        .adamw = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 },
        .schedule = { .kind = LVLM_SCHEDULE_CONSTANT },
        .accumulate = 1,
        .model.threads = 1,
        .lora = &lora
    };
    if (lora.n_targets == 0 &&
        lvlm_lora_parse(&lora, "r=1,targets=language_model.layers.0.self_attn.q_proj",
                        NULL) < 0)
        abort();
    if (lvlm_trainer_open(t, kit_model("paligemma-odd/model"), &options, NULL) < 0)
        abort();
}

/* Metadata of a state that is good. */
static const cJSON *good_metadata(const lvlm_trainer *t)
{
    static lvlm_checkpoint *good;
    const char *const path = kit_path("good.safetensors");
    if (good == NULL && (lvlm_trainer_save_state(t, path, NULL) < 0 ||
                         lvlm_checkpoint_open(&good, path, NULL, NULL) < 0))
        abort();
    return good->metadata;
}

/* Defaults for members that the input's metadata lacks. */
static void complete(cJSON *json, const cJSON *good)
{
    const cJSON *const given = lvlm_json_get(json, "metadata"), *item;
    cJSON *const all = cJSON_CreateObject();
    LVLM_JSON_MEMBERS (item, good) {
        const cJSON *const own = lvlm_json_get(given, item->string);
        if (strcmp(item->string, "digests") != 0 || own != NULL)
            cJSON_AddItemToObject(all, item->string,
                                  cJSON_Duplicate(own != NULL ? own : item, true));
    }
    LVLM_JSON_MEMBERS (item, given)
        if (lvlm_json_get(all, item->string) == NULL)
            cJSON_AddItemToObject(all, item->string, cJSON_Duplicate(item, true));
    cJSON_DeleteItemFromObjectCaseSensitive(json, "metadata");
    cJSON_AddItemToObject(json, "metadata", all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lvlm_trainer trainer;
    lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
    cJSON *const json = kit_parse(data, size);
    if (trainer.model == NULL) open_trainer(&trainer);
    if (cJSON_IsObject(json)) complete(json, good_metadata(&trainer));
    if (kit_native(&file, json) &&
        lvlm_trainer_load_state(&trainer,
                                kit_write("state.safetensors", file.text, file.length),
                                NULL) == 0)
        (void)!lvlm_trainer_save_state(&trainer, kit_path("again.safetensors"), NULL);
    kit_remove("again.safetensors");
    kit_remove("state.safetensors");
    lvlm_strbuf_free(&file);
    lvlm_json_free(json);
    return 0;
}
