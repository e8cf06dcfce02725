/* merged.h - an adapter folded into a native file, by path. */
#ifndef LVLM_TESTS_SUPPORT_MERGED_H
#define LVLM_TESTS_SUPPORT_MERGED_H

#include "formats/adapter/adapter_fold.h"

/* Fold the PEFT directory `adapter` into `model` and write it to `out`. */
static inline int merge_adapter(lvlm_fold_cost *cost, const char *model,
                                const char *adapter, lvlm_outfile *out, size_t threads,
                                lvlm_error *err)
{
    const lvlm_run run = { .threads = threads };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest = { 0 };
    lvlm_adapter x = { 0 };
    int rc = lvlm_manifest_open(&manifest, &cp, model, NULL, err);
    if (rc == 0) rc = lvlm_adapter_open(&x, adapter, &manifest, err);
    if (rc == 0) rc = lvlm_fold_save(cost, &x, 0, out, &run, err);
    lvlm_adapter_free(&x);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    return rc;
}

#endif
