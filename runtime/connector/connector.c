/* connector.c - which connector a configuration names; see connector.h. */
#include "runtime/connector/connector.h"

#include <string.h>

#include "formats/base/json.h"

static const vision_connector *const connectors[] = { &linear_connector,
                                                      &merger_connector,
                                                      &resampler_connector, NULL };

int connector_choose(const vision_connector **out, const cJSON *config, lvlm_error *err)
{
    const char *word = lvlm_json_string(lvlm_json_path(config, "connector.kind"));
    for (size_t i = 0; connectors[i] != NULL; i++) {
        if (word == NULL || strcmp(connectors[i]->word, word) != 0) continue;
        *out = connectors[i];
        return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "configuration: connector.kind '%s' is not one that can be run",
                     word != NULL ? word : "(none)");
}
