/* merge.c - opens model and adapter and folds them; see merge.h. */
#include "convert/merge.h"

#include "formats/base/json.h"
#include "formats/native/rewrite.h"

int lvlm_merge_open(lvlm_merge *out, const char *model, const char *adapter,
                    lvlm_notes *notes, lvlm_error *err)
{
    *out = (lvlm_merge){ .n_bytes = 0 };
    TRY(lvlm_manifest_open(&out->manifest, &out->model, model, notes, err));
    for (size_t i = 0; i < out->model->n_tensors; i++)
        out->n_bytes += out->model->tensors[i].n_bytes;
    return lvlm_adapter_open(&out->adapter, adapter, &out->manifest, err);
}

int lvlm_merge_execute(const lvlm_merge *merge, lvlm_outfile *file,
                       const lvlm_merge_run *run, lvlm_fold_cost *cost,
                       lvlm_hex_digest root, lvlm_error *err)
{
    cJSON *provenance = NULL;
    int rc = lvlm_native_meta_json(&provenance, merge->model, "provenance", err);
    if (rc == 0) rc = lvlm_provenance_add(provenance, LVLM_PROVENANCE_ADAPTERS, 1, err);
    if (rc == 0) {
        const lvlm_fold fold = { .adapter = &merge->adapter,
                                 .provenance = provenance,
                                 .threads = run->threads,
                                 .progress = run->progress,
                                 .user = run->user };
        rc = lvlm_fold_save(cost, &fold, file, root, err);
    }
    lvlm_json_free(provenance);
    return rc;
}

void lvlm_merge_free(lvlm_merge *merge)
{
    lvlm_adapter_free(&merge->adapter);
    lvlm_manifest_free(&merge->manifest);
    lvlm_checkpoint_close(merge->model);
    *merge = (lvlm_merge){ .n_bytes = 0 };
}
