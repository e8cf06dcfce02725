/* adapter_seal.c - the record of itself in the metadata of an adapter's tensors; see
 * adapter.h.
 *
 *   lvlm      "adapter 1"
 *   family    of the model that it was trained with, and
 *   base      the digest of its weights
 *   settings  JSON: the members of adapter_config.json that decide what it computes
 *   root, digests   (digests.h) */
#include <assert.h>
#include <string.h>

#include "formats/adapter/adapter.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/native/digests.h"
#include "formats/native/native.h"

#define VERSION "adapter 1"

/* One member suffices: if one is damaged, the others still show that there is a
 * seal. */
static bool is_sealed(const lvlm_adapter *adapter)
{
    static const char *const keys[] = { "lvlm", "root", "digests", "settings" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (lvlm_checkpoint_meta(adapter->file, keys[i]) != NULL) return true;
    return false;
}

/* ---- reading -------------------------------------------------------------------- */

static int refuse_setting(const cJSON *recorded, const cJSON *found, lvlm_error *err)
{
    char *was = NULL, *is = NULL;
    int rc = lvlm_json_print(&was, recorded, err);
    if (rc == 0 && found != NULL) rc = lvlm_json_print(&is, found, err);
    if (rc == 0)
        rc = lvlm_fail(err, LVLM_ECHECK,
                       "records %s %.200s, and adapter_config.json says %.200s: it was "
                       "damaged or edited; PEFT's save_pretrained writes an adapter "
                       "with other settings",
                       recorded->string, was, is != NULL ? is : "nothing");
    lvlm_free(was);
    lvlm_free(is);
    return rc;
}

static int check_settings(const lvlm_adapter *adapter, lvlm_error *err)
{
    cJSON *settings = NULL;
    const cJSON *item;
    int rc = lvlm_native_meta_json(&settings, adapter->file, "settings", err);
    LVLM_JSON_MEMBERS (item, settings) {
        const cJSON *const found = lvlm_json_get(adapter->json, item->string);
        if (rc == 0 && !cJSON_Compare(item, found, true))
            rc = refuse_setting(item, found, err);
    }
    lvlm_json_free(settings);
    return rc;
}

/* What other maps of the same shape would do with it has no meaning. */
static int check_family(const lvlm_adapter *adapter, lvlm_error *err)
{
    const lvlm_family *const own = adapter->modules.manifest->family;
    const char *const name = lvlm_checkpoint_meta(adapter->file, "family");
    FAIL_IF(name != NULL && strcmp(name, own->name) != 0, err, LVLM_EFORMAT,
            "was trained beside a model of the family %.40s, and this one is %s (%s)",
            name, own->name, own->title);
    return 0;
}

static int compare_base(lvlm_adapter *adapter, lvlm_error *err)
{
    const lvlm_checkpoint *const model = adapter->modules.manifest->checkpoint;
    const char *const base = lvlm_checkpoint_meta(adapter->file, "base");
    lvlm_hex_digest weights;
    if (base == NULL || model->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    TRY(lvlm_native_weights_digest(weights, model, err));
    adapter->beside =
        strcmp(base, weights) == 0 ? LVLM_BESIDE_THESE : LVLM_BESIDE_OTHERS;
    if (adapter->beside == LVLM_BESIDE_THESE) return 0;
    return lvlm_notes_add(
        model->notes, err,
        "%s: was trained beside other weights than those of %s: their "
        "weights digest is %.16s..., not %.16s...",
        adapter->file->path, model->path, base, weights);
}

int lvlm_adapter_check_seal(lvlm_adapter *adapter, lvlm_error *err)
{
    assert(adapter->file != NULL && adapter->json != NULL);
    const lvlm_run run = { .threads = 1 };
    if (!is_sealed(adapter)) return 0;
    TRY(lvlm_native_check_seal(adapter->file, err));
    const char *const version = lvlm_checkpoint_meta(adapter->file, "lvlm");
    FAIL_IF(version == NULL || strcmp(version, VERSION) != 0, err, LVLM_EFORMAT,
            "is '%.40s', and this program reads '" VERSION "'",
            version != NULL ? version : "(no version)");
    TRY(check_settings(adapter, err));
    TRY(lvlm_digests_check(adapter->file, NULL, &run, err));
    TRY(check_family(adapter, err));
    return compare_base(adapter, err);
}

/* ---- writing -------------------------------------------------------------------- */

int lvlm_adapter_seal(cJSON *metadata, const lvlm_adapter *adapter,
                      const lvlm_tensor *tensors, size_t n_tensors, lvlm_error *err)
{
    assert(lvlm_json_get(metadata, "lvlm") == NULL);
    const lvlm_checkpoint *const model = adapter->modules.manifest->checkpoint;
    lvlm_hex_digest weights;
    cJSON *settings = NULL;
    char *text = NULL;
    int rc = lvlm_adapter_settings(&settings, adapter, err);
    if (rc == 0) rc = lvlm_json_print(&text, settings, err);
    const char *const family = adapter->modules.manifest->family->name;
    if (rc == 0 && (cJSON_AddStringToObject(metadata, "lvlm", VERSION) == NULL ||
                    cJSON_AddStringToObject(metadata, "family", family) == NULL ||
                    cJSON_AddStringToObject(metadata, "settings", text) == NULL))
        rc = lvlm_fail_memory(err);
    if (rc == 0 && model->kind == LVLM_CHECKPOINT_NATIVE) {
        rc = lvlm_native_weights_digest(weights, model, err);
        if (rc == 0 && cJSON_AddStringToObject(metadata, "base", weights) == NULL)
            rc = lvlm_fail_memory(err);
    }
    lvlm_free(text);
    lvlm_json_free(settings);
    return rc < 0 ? rc : lvlm_seal(metadata, tensors, n_tensors, 1, err);
}
