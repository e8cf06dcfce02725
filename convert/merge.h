/* merge.h - a PEFT adapter folded into a native file. */
#ifndef LVLM_CONVERT_MERGE_H
#define LVLM_CONVERT_MERGE_H

#include "formats/adapter_fold.h"

/* `model` again at `out`, with the adapter of directory `adapter` folded into the
 * weights that it adapts, each in its stored type. Nothing else changes, but that the
 * provenance counts the adapter. */
LVLM_MUST_CHECK int lvlm_merge(lvlm_fold_cost *cost, const char *model,
                               const char *adapter, const char *out, size_t threads,
                               bool overwrite, char root[LVLM_DIGEST_HEX + 1],
                               lvlm_error *err);

#endif
