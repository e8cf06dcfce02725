/* fuzz_adapter.c - any bytes as adapter_config.json; what is accepted makes sense. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/adapter/adapter.h"
#include "formats/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_adapter_config config;
    cJSON *json = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&json, (const char *)data, size, &err) < 0) return 0;
    if (lvlm_adapter_config_read(&config, json, &err) == 0) {
        if (config.r == 0 || !isfinite(config.alpha) ||
            !(config.dropout >= 0 && config.dropout < 1))
            abort();
    } else if (err.code != LVLM_EFORMAT || err.text[0] == '\0') {
        abort();
    }
    lvlm_json_free(json);
    return 0;
}
