/* merge.h - a PEFT adapter folded into a native file.
 *
 *   lvlm_merge_open      opens both and checks that they match
 *   lvlm_merge_execute   streams the file with the adapter folded in */
#ifndef LVLM_CONVERT_MERGE_H
#define LVLM_CONVERT_MERGE_H

#include "formats/adapter/adapter_fold.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_merge {
    lvlm_checkpoint *model;
    lvlm_manifest manifest;
    lvlm_adapter adapter;
    uint64_t n_bytes; /* of all tensors */
} lvlm_merge;

/* The native file `model` and the PEFT directory `adapter`; `notes` receives what is
 * skipped; NULL: none. Free *out with lvlm_merge_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_merge_open(lvlm_merge *out, const char *model,
                                    const char *adapter, lvlm_notes *notes,
                                    lvlm_error *err);

typedef struct lvlm_merge_run {
    size_t threads;
    void (*progress)(void *user, uint64_t n_bytes); /* may be NULL */
    void *user;
} lvlm_merge_run;

/* Write the model to `file` with the adapter folded into the weights that it adapts,
 * each in its stored type, and commit. Nothing else changes, except that the provenance
 * counts the adapter. `root` receives the root digest. */
LVLM_MUST_CHECK int lvlm_merge_execute(const lvlm_merge *merge, lvlm_outfile *file,
                                       const lvlm_merge_run *run, lvlm_fold_cost *cost,
                                       lvlm_hex_digest root, lvlm_error *err);
void lvlm_merge_free(lvlm_merge *merge);

LVLM_END_DECLS

#endif
