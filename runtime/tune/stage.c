/* stage.c - which weights a stage of training moves; see stage.h. */
#include "runtime/tune/stage.h"

#include <string.h>

/* Parts by the first word of a native name. */
static const struct {
    const char *name;
    bool vision, connector, text;
} stages[LVLM_N_STAGES] = {
    [LVLM_STAGE_1] = { "1", true, true, false },
    [LVLM_STAGE_2] = { "2", true, true, true },
    [LVLM_STAGE_3] = { "3", false, true, true },
    [LVLM_STAGE_FULL] = { "full", true, true, true },
    [LVLM_STAGE_CONNECTOR] = { "connector", false, true, false },
};

int lvlm_stage_parse(lvlm_stage *out, const char *text, lvlm_error *err)
{
    *out = LVLM_STAGE_FULL;
    for (size_t i = 0; text != NULL && i < LVLM_N_STAGES; i++) {
        if (strcmp(stages[i].name, text) != 0) continue;
        *out = (lvlm_stage)i;
        return 0;
    }
    FAIL_IF(text != NULL, err, LVLM_EUSAGE,
            "--stage '%s': expected 1, 2, 3, full or connector", text);
    return 0;
}

bool lvlm_stage_trains(void *stage, const char *name)
{
    const lvlm_stage s = *(const lvlm_stage *)stage;
    if (strncmp(name, "vision.", 7) == 0) return stages[s].vision;
    if (strncmp(name, "connector.", 10) == 0) return stages[s].connector;
    return stages[s].text;
}
