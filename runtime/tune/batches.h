/* batches.h - a folder of ready batches as a source. */
#ifndef LVLM_RUNTIME_TUNE_BATCHES_H
#define LVLM_RUNTIME_TUNE_BATCHES_H

#include <stdbool.h>

#include "runtime/tune/batch_source.h"

LVLM_BEGIN_DECLS

/* The files batch-*.safetensors of a folder in order of their names, or, with
 * `shuffled`, in an order that follows from `seed`, a new one for each epoch.
 * LVLM_EFORMAT when there is none. On success close it with lvlm_batch_source_close. */
LVLM_MUST_CHECK int lvlm_batches_open(lvlm_batch_source *out, const char *folder,
                                      bool shuffled, uint64_t seed, lvlm_error *err);

LVLM_END_DECLS

#endif
