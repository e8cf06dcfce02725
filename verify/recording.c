/* recording.c - a recording's own words, and the bands for it; see recording.h. */
#include "verify/recording.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"

/* ---- metadata ------------------------------------------------------------------- */

#define INERT LVLM_KEY_INERT
#define MADE "says how it was made"

// clang-format off
static const lvlm_key metadata_keys[] = {
    { "reference" },
    { "family" },
    { "format", INERT, MADE },
    { "transformers", INERT, MADE },
    { "torch", INERT, MADE },
    { "attention", INERT, MADE },
    { "instruction_set", INERT, MADE },
    { "seed", INERT, MADE },
    { "model", INERT, MADE },
    { "checkpoint", INERT, MADE },
    { "what", INERT, MADE },
    { "one_forward", INERT, MADE },
    { "repetition_penalty", INERT, "of a recording of generated tokens" },
    { "precision", LVLM_KEY_NOTED, "bands are those of --compute", "\"double\"|\"float32\"" },
    { NULL },
};
// clang-format on

/* 4.57 is the last of transformers 4. Later ones of 5 may be there by now. */
static bool was_released(const char *reference)
{
    static const char name[] = "transformers-";
    char *end;
    if (strncmp(reference, name, sizeof name - 1) != 0) return true;
    const long major = strtol(reference + sizeof name - 1, &end, 10);
    const long minor = *end == '.' ? strtol(end + 1, &end, 10) : 0;
    return (major == 4 && minor <= 57) || major == 5;
}

static int check_metadata(const cJSON *metadata, const char *family, lvlm_notes *notes,
                          lvlm_error *err)
{
    const char *const reference =
        lvlm_json_string(lvlm_json_get(metadata, "reference"));
    const char *const recorded = lvlm_json_string(lvlm_json_get(metadata, "family"));
    if (reference != NULL && !was_released(reference))
        TRY(lvlm_notes_add(notes, err,
                           "recording: reference '%s': no such version was released; "
                           "what the nearest ones do is computed",
                           reference));
    if (recorded != NULL && strcmp(recorded, family) != 0)
        TRY(lvlm_notes_add(notes, err, "recording: is of family '%s', the model is %s",
                           recorded, family));
    return lvlm_keys_check(metadata, "recording: metadata", metadata_keys, notes, err);
}

/* ---- tensors -------------------------------------------------------------------- */

int lvlm_recording_check(const lvlm_checkpoint *recording, const char *family,
                         bool grads, lvlm_notes *notes, lvlm_error *err)
{
    size_t n_left_out = 0;
    TRY(check_metadata(recording->metadata, family, notes, err));
    for (size_t i = 0; i < recording->n_tensors; i++) {
        const lvlm_tensor *const t = &recording->tensors[i];
        const bool compared =
            lvlm_starts_with(t->name, "out.") || lvlm_starts_with(t->name, "grad.");
        if (lvlm_starts_with(t->name, "in.")) continue;
        if (compared && lvlm_dtype_is_weight(t->dtype)) {
            n_left_out += lvlm_starts_with(t->name, "grad.") && !grads;
            continue;
        }
        TRY(lvlm_notes_add(notes, err, "recording: '%s' is compared with nothing: %s",
                           t->name,
                           compared ? "its values are not those of a stage"
                                    : "stages are called out.*, gradients grad.*"));
    }
    if (n_left_out == 0) return 0;
    return lvlm_notes_add(notes, err,
                          "recording: %zu gradient%s not compared without --grads",
                          n_left_out, n_left_out == 1 ? " is" : "s are");
}

/* ---- bands ---------------------------------------------------------------------- */

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

/* Is it for a stage of this recording, or of another? */
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
    if (stage->band > before) stage->band_kl *= stage->band / before;
    (void)lvlm_json_double(&stage->band_kl, kl);
}

int lvlm_tolerance_read(lvlm_replay *replay, const char *path, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    if (path == NULL) return 0;
    TRY(lvlm_infile_open(&file, path, err));
    int rc =
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, err);
    if (rc == 0) rc = check_bands(replay, json, err);
    for (size_t i = 0; rc == 0 && i < replay->n_stages; i++)
        set_bands(&replay->stages[i], json);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    lvlm_json_free(json);
    lvlm_infile_close(file);
    return rc;
}
