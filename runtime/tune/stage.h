/* stage.h - which weights a stage of training moves. */
#ifndef LVLM_RUNTIME_TUNE_STAGE_H
#define LVLM_RUNTIME_TUNE_STAGE_H

#include <stdbool.h>

#include "formats/base/error.h"

typedef enum lvlm_stage {
    LVLM_STAGE_1,         /* vision and connector; the language model is frozen */
    LVLM_STAGE_2,         /* everything */
    LVLM_STAGE_3,         /* connector and language model; vision is frozen */
    LVLM_STAGE_FULL,      /* everything */
    LVLM_STAGE_CONNECTOR, /* the connector alone */
    LVLM_N_STAGES,
} lvlm_stage;

/* "1", "2", "3", "full", "connector"; LVLM_EUSAGE for anything else. NULL: full. */
LVLM_MUST_CHECK int lvlm_stage_parse(lvlm_stage *out, const char *text,
                                     lvlm_error *err);

/* Is the weight of this native name trained? `stage` points to an lvlm_stage: fits
 * lvlm_model_options.trains. */
bool lvlm_stage_trains(void *stage, const char *name);

#endif
