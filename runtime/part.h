/* part.h - the three parts of a model, and which of them a weight belongs to. */
#ifndef LVLM_RUNTIME_PART_H
#define LVLM_RUNTIME_PART_H

#include "formats/base/text.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_weight_part {
    LVLM_PART_VISION, /* the tower */
    LVLM_PART_CONNECTOR,
    LVLM_PART_TEXT, /* the language model and its head */
    LVLM_N_PARTS,
} lvlm_weight_part;

/* By a native name: "vision.patch.weight". */
static inline lvlm_weight_part lvlm_part_of(const char *name)
{
    if (lvlm_starts_with(name, "vision.")) return LVLM_PART_VISION;
    return lvlm_starts_with(name, "connector.") ? LVLM_PART_CONNECTOR : LVLM_PART_TEXT;
}

static inline const char *lvlm_part_name(lvlm_weight_part part)
{
    return part == LVLM_PART_VISION      ? "vision"
           : part == LVLM_PART_CONNECTOR ? "connector"
                                         : "text";
}

LVLM_END_DECLS

#endif
