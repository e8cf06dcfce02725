/* fuzz_adapter_folder.c - a PEFT directory on a model: { "model": NAME, "config": {..},
 * "metadata": {..}, "tensors": {..} }, opened, folded in, trained on. */
#include <stdlib.h>
#include <string.h>

#include "formats/adapter/adapter_fold.h"
#include "formats/base/alloc.h"
#include "runtime/model.h"
#include "tests/fuzz/fuzz_kit.h"

typedef struct base {
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
} base;

/* The model that is named, opened once. */
static base *base_of(const cJSON *json)
{
    static const char *const fixtures[] = { "qwen2_vl-odd/model",
                                            "paligemma-odd/model" };
    static base bases[2];
    const char *const name = lvlm_json_string(lvlm_json_get(json, "model"));
    const size_t i = name != NULL && strcmp(name, "paligemma") == 0;
    base *const b = &bases[i];
    if (b->checkpoint == NULL &&
        (lvlm_checkpoint_open(&b->checkpoint, kit_model(fixtures[i]), NULL, NULL) < 0 ||
         lvlm_manifest_build(&b->manifest, b->checkpoint, NULL) < 0))
        abort();
    return b;
}

static void use(lvlm_adapter *adapter, const lvlm_manifest *manifest)
{
    const lvlm_model_options options = { .threads = 1, .adapter = adapter };
    const lvlm_run run = { .threads = 1 };
    lvlm_model *model = NULL;
    lvlm_fold_cost cost;
    lvlm_outfile *const file = kit_outfile("m.lvlm");
    if (lvlm_fold_check(adapter, NULL) == 0)
        (void)!lvlm_fold_save(&cost, adapter, 0, file, &run, NULL);
    lvlm_outfile_close(file);
    (void)!lvlm_model_bind(&model, manifest, &options, NULL);
    lvlm_model_free(model);
    kit_remove("m.lvlm");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
    lvlm_adapter adapter = { 0 };
    cJSON *const json = kit_parse(data, size);
    char *const config = kit_text(json, "config");
    if (config != NULL && kit_safetensors(&file, json)) {
        const base *const b = base_of(json);
        (void)kit_write("ad/adapter_config.json", config, strlen(config));
        (void)kit_write("ad/adapter_model.safetensors", file.text, file.length);
        if (lvlm_adapter_open(&adapter, kit_path("ad"), &b->manifest, NULL) == 0)
            use(&adapter, &b->manifest);
        lvlm_adapter_free(&adapter);
    }
    kit_remove("ad");
    lvlm_free(config);
    lvlm_strbuf_free(&file);
    lvlm_json_free(json);
    return 0;
}
