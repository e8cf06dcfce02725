/* splice.h - which row of the connector fills which place of the text. */
#ifndef LVLM_RUNTIME_BATCH_SPLICE_H
#define LVLM_RUNTIME_BATCH_SPLICE_H

#include "runtime/batch/inputs.h"

LVLM_BEGIN_DECLS

/* Set inputs->image_row from ids and images. LVLM_EFORMAT unless there are as many
 * places as the images fill; `prefix` is for messages. */
LVLM_MUST_CHECK int lvlm_splice_rows(lvlm_inputs *inputs, const lvlm_input_spec *spec,
                                     const char *prefix, lvlm_error *err);

LVLM_END_DECLS

#endif
