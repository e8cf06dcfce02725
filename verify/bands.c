/* bands.c - bands by default and from a file; see bands.h. */
#include "verify/bands.h"

#include <assert.h>
#include <fnmatch.h>

#include "formats/base/json.h"

/* By precision; the second side is as exact as float32 at least. */
static const struct {
    double stage, gradient, kl;
} bands[] = {
    [LVLM_COMPUTE_F32] = { LVLM_BAND_F32, LVLM_BAND_F32_GRADIENT, LVLM_BAND_F32_KL },
    [LVLM_COMPUTE_F64] = { LVLM_BAND_F32, LVLM_BAND_F32_GRADIENT, LVLM_BAND_F32_KL },
    [LVLM_COMPUTE_BF16X2] = { LVLM_BAND_BF16X2, LVLM_BAND_BF16X2_GRADIENT,
                              LVLM_BAND_BF16X2_KL },
    [LVLM_COMPUTE_BF16] = { LVLM_BAND_BF16, LVLM_BAND_BF16_GRADIENT,
                            LVLM_BAND_BF16_KL },
};

void lvlm_bands_default(lvlm_replay_stage *stage, bool exact, lvlm_compute compute)
{
    assert(!exact || compute == LVLM_COMPUTE_F64);
    stage->band = stage->is_gradient ? bands[compute].gradient : bands[compute].stage;
    stage->band_kl = bands[compute].kl;
    if (!exact) return;
    stage->band = stage->is_gradient ? LVLM_BAND_EXACT_GRADIENT : LVLM_BAND_EXACT;
    stage->band_kl = LVLM_BAND_EXACT_KL;
}

/* ---- from a file ---------------------------------------------------------------- */

static bool fits(const cJSON *item, const char *name)
{
    return fnmatch(item->string, name, 0) == 0;
}

static const cJSON *find_band(const cJSON *json, const char *name)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, json)
        if (fits(item, name)) return item;
    return NULL;
}

/* Does the pattern match a stage of this recording? */
static bool has_stage(const lvlm_replay *r, const cJSON *item)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (fits(item, r->stages[i].name)) return true;
    return fits(item, "logits.kl") || lvlm_replay_knows(item->string);
}

static int check_bands(const lvlm_replay *r, const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    double band;
    FAIL_IF(!cJSON_IsObject(json), err, LVLM_EFORMAT,
            "is not an object: expected { STAGE or GLOB: band, ... }");
    LVLM_JSON_MEMBERS (item, json) {
        FAIL_IF(!lvlm_json_double(&band, item) || !(band >= 0), err, LVLM_EFORMAT,
                "'%s': the band is not a positive number", item->string);
        FAIL_IF(!has_stage(r, item), err, LVLM_EFORMAT,
                "'%.64s' fits no stage; stages are called vision.blocks.0, text.norm, "
                "logits and so on",
                item->string);
    }
    return 0;
}

static void set_bands(lvlm_replay_stage *stage, const cJSON *json)
{
    const cJSON *const own = find_band(json, stage->name);
    const cJSON *const kl = find_band(json, "logits.kl");
    const double before = stage->band;
    (void)lvlm_json_double(&stage->band, own);
    stage->band_given = own != NULL || (stage->is_logits && kl != NULL);
    if (stage->band > before) stage->band_kl *= stage->band / before;
    (void)lvlm_json_double(&stage->band_kl, kl);
}

int lvlm_bands_read(lvlm_replay *replay, const char *path, lvlm_error *err)
{
    cJSON *json = NULL;
    if (path == NULL) return 0;
    TRY(lvlm_json_load(&json, path, err));
    const int rc = check_bands(replay, json, err);
    for (size_t i = 0; rc == 0 && i < replay->n_stages; i++)
        set_bands(&replay->stages[i], json);
    lvlm_json_free(json);
    return lvlm_within(rc, err, "%s: ", path);
}
