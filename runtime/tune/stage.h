/* stage.h - which weights a stage of training trains: whole parts, with the exceptions
 * that the family's table lists (lvlm_stage_rule). */
#ifndef LVLM_RUNTIME_TUNE_STAGE_H
#define LVLM_RUNTIME_TUNE_STAGE_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_stage {
    LVLM_STAGE_1,         /* vision and connector; the language model is frozen */
    LVLM_STAGE_2,         /* all that the makers trained */
    LVLM_STAGE_3,         /* connector and language model; vision is frozen */
    LVLM_STAGE_FULL,      /* everything, without exceptions */
    LVLM_STAGE_CONNECTOR, /* only the connector */
    LVLM_N_STAGES,
} lvlm_stage;

/* "1", "2", "3", "full", "connector"; LVLM_EUSAGE for anything else. NULL: full. */
LVLM_MUST_CHECK int lvlm_stage_parse(lvlm_stage *out, const char *text,
                                     lvlm_error *err);
const char *lvlm_stage_name(lvlm_stage stage);

/* Is this weight trained? `stage` points to an lvlm_stage: fits
 * lvlm_model_options.trains. */
bool lvlm_stage_trains(void *stage, const lvlm_manifest *manifest,
                       const lvlm_target *target);

/* Does it have a gradient only if a batch has images? */
bool lvlm_stage_needs_image(const lvlm_target *target);

LVLM_END_DECLS

#endif
