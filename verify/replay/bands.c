/* bands.c - bands by default and from a file; see bands.h. */
#include "verify/replay/bands.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"

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
    if (lvlm_starts_with(stage->name, LVLM_RECORDED_STEP))
        stage->band = exact ? LVLM_BAND_EXACT_STEP : LVLM_BAND_F32_STEP;
    else if (lvlm_starts_with(stage->name, LVLM_RECORDED_WEIGHT))
        stage->band = exact ? LVLM_BAND_EXACT_CHANGE : LVLM_BAND_F32_CHANGE;
    else if (exact)
        stage->band = stage->is_gradient ? LVLM_BAND_EXACT_GRADIENT : LVLM_BAND_EXACT;
    if (exact) stage->band_kl = LVLM_BAND_EXACT_KL;
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

/* Does the pattern match one of the blocks of which the setting has the number? */
static bool has_block(const cJSON *item, const cJSON *config, const char *setting,
                      const char *prefix)
{
    uint64_t n = 0;
    char name[64];
    (void)lvlm_json_u64(&n, lvlm_json_path(config, setting));
    for (uint64_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "%s%" PRIu64, prefix, i);
        if (fits(item, name)) return true;
    }
    return false;
}

/* Does the pattern match a stage that this model can have? */
static bool model_has(const lvlm_manifest *m, const cJSON *item)
{
    static const char *const single[] = { "vision.patches", "vision.embed",
                                          "vision.out",     "connector.out",
                                          "text.embed",     "text.norm",
                                          "logits",         "loss" };
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        if (fits(item, single[i])) return true;
    return lvlm_starts_with(item->string, "connector.") ||
           has_block(item, m->config, "vision.layers", "vision.blocks.") ||
           has_block(item, m->config, "vision.global_layers",
                     "vision.global_blocks.") ||
           has_block(item, m->config, "text.layers", "text.blocks.");
}

/* Does it match a gradient of a tensor that the model has? */
static bool has_gradient(const lvlm_manifest *m, const cJSON *item)
{
    char name[512];
    for (size_t i = 0; i < m->ledger.n_entries; i++) {
        (void)snprintf(name, sizeof name, LVLM_RECORDED_GRADIENT "%s",
                       m->ledger.entries[i].source.name);
        if (fits(item, name)) return true;
    }
    return false;
}

/* Does the pattern match a stage of this recording, or one of others of this model? */
static bool has_stage(const lvlm_replay *r, const lvlm_manifest *m, const cJSON *item)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (fits(item, r->stages[i].name)) return true;
    if (fits(item, LVLM_BAND_KL)) return true;
    return m != NULL && (model_has(m, item) || has_gradient(m, item));
}

/* An error relative to what is recorded is 1 where nothing is computed. */
static int check_band(const cJSON *item, lvlm_error *err)
{
    double band;
    FAIL_IF(!lvlm_json_double(&band, item) || !(band >= 0), err, LVLM_EFORMAT,
            "'%s': the band is not a positive number", item->string);
    FAIL_IF(band >= 1 && strcmp(item->string, LVLM_BAND_KL) != 0, err, LVLM_EFORMAT,
            "'%.64s': within a band of %g a model that computes zeros passes: expected "
            "less than 1",
            item->string, band);
    return 0;
}

static int check_bands(const lvlm_replay *r, const lvlm_manifest *m, const cJSON *json,
                       lvlm_error *err)
{
    const cJSON *item;
    FAIL_IF(!cJSON_IsObject(json), err, LVLM_EFORMAT,
            "is not an object: expected { STAGE or GLOB: band, ... }");
    FAIL_IF(lvlm_json_count_members(json) == 0, err, LVLM_EFORMAT,
            "sets no band: expected { STAGE or GLOB: band, ... }");
    LVLM_JSON_MEMBERS (item, json) {
        FAIL_IF(!has_stage(r, m, item), err, LVLM_EFORMAT,
                "'%.64s' fits no stage; stages are called vision.blocks.0, text.norm, "
                "logits and so on",
                item->string);
        TRY(check_band(item, err));
    }
    return 0;
}

static void set_bands(lvlm_replay_stage *stage, const cJSON *json)
{
    const cJSON *const own = find_band(json, stage->name);
    const cJSON *const kl = find_band(json, LVLM_BAND_KL);
    const double before = stage->band;
    (void)lvlm_json_double(&stage->band, own);
    stage->band_given = own != NULL || (stage->is_logits && kl != NULL);
    if (stage->band > before) stage->band_kl *= stage->band / before;
    (void)lvlm_json_double(&stage->band_kl, kl);
}

int lvlm_bands_read(lvlm_replay *replay, const lvlm_manifest *m, const char *path,
                    lvlm_error *err)
{
    cJSON *json = NULL;
    if (path == NULL) return 0;
    TRY(lvlm_json_load(&json, path, err));
    const int rc = check_bands(replay, m, json, err);
    for (size_t i = 0; rc == 0 && i < replay->n_stages; i++)
        set_bands(&replay->stages[i], json);
    lvlm_json_free(json);
    return lvlm_within(rc, err, "%s: ", path);
}
