/* fuzz_config.c - any bytes as config.json: what is accepted resolves every shape of
 * its family and the model's inputs. */
#include <stddef.h>
#include <stdint.h>

#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "runtime/batch/inputs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like a checkpoint without tensors: everything is missing, but has a shape. */
static void account(cJSON *hf)
{
    const lvlm_checkpoint empty = { .kind = LVLM_CHECKPOINT_HF,
                                    .path = "fuzz",
                                    .config = hf };
    lvlm_manifest manifest;
    lvlm_input_spec spec;
    lvlm_error err;
    if (lvlm_manifest_build(&manifest, &empty, &err) == 0)
        (void)!lvlm_input_spec_read(&spec, manifest.config, &err);
    lvlm_manifest_free(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_family *family = NULL;
    cJSON *hf = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&hf, (const char *)data, size, &err) < 0) return 0;
    if (lvlm_family_detect(&family, hf, &err) == 0) account(hf);
    lvlm_json_free(hf);
    return 0;
}
