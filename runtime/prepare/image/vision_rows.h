/* vision_rows.h - private to vision_settings.c: rows of an image, as a processor counts
 * them.
 *
 *   processor_config.json  patch_size, num_additional_image_tokens,
 *                          vision_feature_select_strategy
 *
 * A processor that writes another number of placeholders than the model has rows
 * prepares prompts that no version of transformers can run. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_ROWS_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_ROWS_H

#include "formats/checkpoint/checkpoint.h"
#include "runtime/batch/inputs.h"

LVLM_BEGIN_DECLS

/* For squares of `side`. LVLM_EFORMAT has both numbers. The file counts patches, each
 * of which a connector "mlp" makes a row; with other connectors nothing is compared,
 * nor is it if the file has no patch_size: then the model counts by itself. */
LVLM_MUST_CHECK int vision_rows_check(const lvlm_checkpoint *checkpoint,
                                      const lvlm_input_spec *model, uint64_t side,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
