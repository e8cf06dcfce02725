/* dataset_parts.h - reading lines and leaving them out. Private to dataset.c and
 * dataset_batch.c. */
#ifndef LVLM_RUNTIME_TUNE_DATA_DATASET_PARTS_H
#define LVLM_RUNTIME_TUNE_DATA_DATASET_PARTS_H

#include "runtime/tune/data/dataset.h"

LVLM_BEGIN_DECLS

/* What lvlm_dataset.noted says of a line. */
enum { DATASET_NOTED_BAD = 1, DATASET_NOTED_CUT = 2 };

/* Messages begin with the line's place. Free with lvlm_example_free, also after a
 * failure. */
LVLM_MUST_CHECK int dataset_read_example(lvlm_example *out, const lvlm_dataset *dataset,
                                         size_t value, lvlm_error *err);

/* May a line that failed with `rc` be left out, so that the run continues? */
bool dataset_may_skip(const lvlm_dataset *dataset, int rc);

/* Report and count a bad line, once. */
void dataset_leave_out(lvlm_dataset *dataset, size_t value, const char *why);

LVLM_END_DECLS

#endif
