/* unprepared.h - what programs say that are built without images, tokenizers and
 * prompts (-DLVLM_PREPARE=OFF). */
#ifndef LVLM_RUNTIME_PREPARE_UNPREPARED_H
#define LVLM_RUNTIME_PREPARE_UNPREPARED_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* After the name of a command or option. */
#define LVLM_UNPREPARED                                                                \
    "needs images, tokenizers and prompts, which this build is without; configure it " \
    "with -DLVLM_PREPARE=ON"

LVLM_END_DECLS

#endif
