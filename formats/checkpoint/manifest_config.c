/* manifest_config.c - what config.json says besides the canonical configuration; see
 * manifest.h. */

#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "formats/container/side_file.h"
#include "formats/native/native.h"

/* The checkpoint's config.json, or that inside a native file, which is parsed to
 * *carried, owned by the caller; NULL if there is none. */
static int source_config(const cJSON **out, cJSON **carried, const lvlm_manifest *m,
                         lvlm_error *err)
{
    const lvlm_checkpoint *const cp = m->checkpoint;
    *carried = NULL;
    *out = cp->config;
    if (cp->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    TRY(lvlm_within(lvlm_side_file_json(carried, cp, "config.json", err), err,
                    LVLM_NATIVE_FILES));
    *out = *carried;
    return 0;
}

int lvlm_manifest_ties(lvlm_ties *out, const lvlm_manifest *m, lvlm_error *err)
{
    const cJSON *config;
    cJSON *carried;
    TRY(source_config(&config, &carried, m, err));
    *out = lvlm_family_ties(m->family, config);
    lvlm_json_free(carried);
    return 0;
}

int lvlm_manifest_max_positions(uint64_t *out, const lvlm_manifest *m, lvlm_error *err)
{
    static const char *const paths[] = { "text_config.max_position_embeddings",
                                         "max_position_embeddings" };
    const cJSON *config;
    cJSON *carried;
    int rc = 0;
    TRY(source_config(&config, &carried, m, err));
    *out = m->family->max_positions;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const cJSON *const item = lvlm_json_path(config, paths[i]);
        if (item == NULL || cJSON_IsNull(item)) continue;
        if (!lvlm_json_u64(out, item) || *out == 0)
            rc = lvlm_fail(err, LVLM_EFORMAT,
                           "config.json: %s is not a whole number of at least 1",
                           paths[i]);
        break;
    }
    lvlm_json_free(carried);
    return rc;
}
