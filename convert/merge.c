/* merge.c - opens model and adapter, and has them folded; see merge.h. */
#include "convert/merge.h"

#include "formats/base/json.h"
#include "formats/rewrite.h"

int lvlm_merge(lvlm_fold_cost *cost, const char *model, const char *adapter,
               const char *out, size_t threads, bool overwrite,
               char root[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest;
    lvlm_adapter peft = { .n = 0 };
    cJSON *provenance = NULL;
    int rc;
    if ((rc = lvlm_manifest_open(&manifest, &cp, model, err)) < 0 ||
        (rc = lvlm_adapter_open(&peft, adapter, &manifest, err)) < 0 ||
        (rc = lvlm_native_meta_json(&provenance, cp, "provenance", err)) < 0 ||
        (rc = lvlm_provenance_add(provenance, LVLM_PROVENANCE_ADAPTERS, 1, err)) < 0)
        goto done;
    const lvlm_fold fold = { &peft, provenance, threads, overwrite };
    rc = lvlm_fold_save(cost, &fold, out, root, err);
done:
    lvlm_json_free(provenance);
    lvlm_adapter_free(&peft);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    return rc;
}
