/* recording.c - opens and checks a recording; see recording.h. */
#include "verify/replay/recording.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"
#include "formats/container/finite.h"
#include "runtime/batch/input_tensor.h"

enum { NAME_BYTES = 1024 };

/* ---- metadata ------------------------------------------------------------------- */

#define INERT LVLM_KEY_INERT
#define MADE "says how it was made"

// clang-format off
static const lvlm_key metadata_keys[] = {
    { "reference" },
    { "family" },
    { "layers" },
    { "training" },
    { "left_out", INERT, MADE },
    { "not_repeated", INERT, MADE },
    { "format", INERT, MADE },
    { "transformers", INERT, MADE },
    { "torch", INERT, MADE },
    { "attention", INERT, MADE },
    { "instruction_set", INERT, MADE },
    { "seed", INERT, MADE },
    { "model", INERT, MADE },
    { "checkpoint" },
    { "what", INERT, MADE },
    { "one_forward", INERT, MADE },
    { "repetition_penalty" },
    { "precision", LVLM_KEY_NOTED, "it is judged as a recording in float32",
      "\"double\"|\"float32\"|\"bfloat16\"|\"float16\"" },
    { "dtype", INERT, MADE },
    { NULL },
};
// clang-format on

/* 4.57 is the last version of transformers 4. Later versions of 5 may exist by now. */
static bool was_released(const char *reference)
{
    static const char name[] = "transformers-";
    char *end;
    if (strncmp(reference, name, sizeof name - 1) != 0) return true;
    const long major = strtol(reference + sizeof name - 1, &end, 10);
    const long minor = *end == '.' ? strtol(end + 1, &end, 10) : 0;
    return (major == 4 && minor <= 57) || major == 5;
}

static const char *metadata_text(const lvlm_recording *r, const char *key)
{
    return lvlm_json_string(lvlm_json_get(r->metadata, key));
}

/* NAN: none. */
static double number_of(const char *text)
{
    char *end;
    const double value = text != NULL ? strtod(text, &end) : NAN;
    return text == NULL || end == text || *end != '\0' ? NAN : value;
}

static int read_metadata(lvlm_recording *r, lvlm_notes *notes, lvlm_error *err)
{
    const char *const precision = metadata_text(r, "precision");
    const char *const layers = metadata_text(r, "layers");
    char *end = NULL;
    r->family = metadata_text(r, "family");
    r->reference = metadata_text(r, "reference");
    r->source = metadata_text(r, "checkpoint");
    r->training = metadata_text(r, "training");
    r->penalty = number_of(metadata_text(r, "repetition_penalty"));
    r->in_double = precision != NULL && strcmp(precision, "double") == 0;
    if (layers != NULL) {
        r->layers = (size_t)strtoul(layers, &end, 10);
        FAIL_IF(*end != '\0' || r->layers == 0, err, LVLM_EFORMAT,
                "metadata: layers '%.32s' is not a number of decoder blocks", layers);
    }
    if (r->reference != NULL && !was_released(r->reference))
        TRY(lvlm_notes_add(notes, err,
                           "recording: reference '%s': no such version was released; "
                           "what the nearest ones do is computed",
                           r->reference));
    return lvlm_keys_check(r->metadata, "recording: metadata", metadata_keys, notes,
                           err);
}

/* ---- tensors -------------------------------------------------------------------- */

static bool keeps_name(const char *name)
{
    return lvlm_starts_with(name, LVLM_RECORDED_GRADIENT) ||
           lvlm_starts_with(name, LVLM_RECORDED_STEP) ||
           lvlm_starts_with(name, LVLM_RECORDED_WEIGHT) ||
           lvlm_starts_with(name, LVLM_RECORDED_ROUND) ||
           lvlm_starts_with(name, LVLM_RECORDED_CACHE);
}

const char *lvlm_recorded_name(const lvlm_tensor *tensor)
{
    if (keeps_name(tensor->name)) return tensor->name;
    return lvlm_starts_with(tensor->name, LVLM_RECORDED_STAGE)
               ? tensor->name + strlen(LVLM_RECORDED_STAGE)
               : NULL;
}

static const lvlm_tensor *find(const lvlm_recording *r, const char *prefix,
                               const char *name)
{
    char text[NAME_BYTES];
    if (*prefix == '\0') return lvlm_checkpoint_find(r->checkpoint, name);
    const int n = snprintf(text, sizeof text, "%s%s", prefix, name);
    if (n < 0 || (size_t)n >= sizeof text) return NULL;
    return lvlm_checkpoint_find(r->checkpoint, text);
}

const lvlm_tensor *lvlm_recording_find(const lvlm_recording *recording,
                                       const char *name)
{
    const lvlm_tensor *const t =
        find(recording, keeps_name(name) ? "" : LVLM_RECORDED_STAGE, name);
    return t != NULL && lvlm_dtype_is_weight(t->dtype) ? t : NULL;
}

lvlm_rows lvlm_recording_rows(const lvlm_recording *recording,
                              const lvlm_tensor *tensor)
{
    const char *const name = lvlm_recorded_name(tensor);
    assert(name != NULL);
    return lvlm_rows_of(name, &tensor->shape, recording->ids, recording->mask,
                        find(recording, LVLM_RECORDED_ROWS, name));
}

/* Check the row numbers of a stage of which only some rows are recorded: one per
 * recorded row, none negative, and within the texts if the stage is of text. */
static int check_rows(const lvlm_recording *r, const lvlm_tensor *rows, lvlm_error *err)
{
    const char *const name = rows->name + strlen(LVLM_RECORDED_ROWS);
    const lvlm_tensor *const stage = lvlm_recording_find(r, name);
    FAIL_IF(stage == NULL, err, LVLM_EFORMAT, "'%s': there is no stage 'out.%s'",
            rows->name, name);
    FAIL_IF(rows->dtype != LVLM_I64 || rows->shape.n != 1 || stage->shape.n != 2 ||
                stage->shape.dims[0] != rows->shape.dims[0],
            err, LVLM_EFORMAT,
            "'%s': expected I64 [%" PRIu64 "], the row numbers of '%s', which is "
            "[rows, width]",
            rows->name, stage->shape.n > 0 ? stage->shape.dims[0] : 0, stage->name);
    const lvlm_rows map = lvlm_recording_rows(r, stage);
    const int64_t n_tokens =
        map.ids != NULL ? (int64_t)lvlm_tensor_numel(map.ids) : INT64_MAX;
    for (size_t i = 0; i < rows->shape.dims[0]; i++) {
        const int64_t at = lvlm_input_integer(rows, i);
        FAIL_IF(at < 0 || at >= n_tokens, err, LVLM_EFORMAT,
                "'%s'[%zu]: %" PRId64 " is not a row of the stage", rows->name, i, at);
    }
    return 0;
}

/* A value that is not finite proves nothing. */
static int check_values(const lvlm_recording *r, const lvlm_tensor *t, lvlm_error *err)
{
    const lvlm_rows rows = lvlm_recording_rows(r, t);
    const size_t C = t->shape.n > 0 ? (size_t)t->shape.dims[t->shape.n - 1] : 1;
    const size_t n = C > 0 ? (size_t)lvlm_tensor_numel(t) / C : 0;
    const size_t row_bytes = C * lvlm_dtype_bytes(t->dtype);
    char place[LVLM_SHAPE_TEXT];
    for (size_t i = 0; i < n; i++) {
        uint64_t first;
        if (!lvlm_row_counts(&rows, i)) continue;
        const uint64_t n_bad =
            lvlm_count_not_finite(&first, t->data + i * row_bytes, t->dtype, C);
        FAIL_IF(n_bad > 0, err, LVLM_EFORMAT,
                "'%s': the value at %s is not finite: what is computed cannot be "
                "compared with it; record it again",
                t->name, lvlm_place_text(place, &t->shape, i * C + first));
    }
    return 0;
}

static int check_tensor(const lvlm_recording *r, const lvlm_tensor *t,
                        lvlm_notes *notes, lvlm_error *err)
{
    const bool named = lvlm_recorded_name(t) != NULL;
    if (lvlm_starts_with(t->name, LVLM_RECORDED_INPUT) ||
        lvlm_starts_with(t->name, LVLM_RECORDED_BATCH) ||
        lvlm_starts_with(t->name, LVLM_RECORDED_ROWS) || t == r->tokens)
        return 0;
    if (named && lvlm_dtype_is_weight(t->dtype)) return check_values(r, t, err);
    return lvlm_notes_add(notes, err, "recording: '%s' is compared with nothing: %s",
                          t->name,
                          named ? "its values are not those of a stage"
                                : "stages are called out.*, gradients grad.*");
}

/* ---- the file ------------------------------------------------------------------- */

static bool has_stage(const lvlm_checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_tensors; i++)
        if ((lvlm_starts_with(cp->tensors[i].name, LVLM_RECORDED_STAGE) ||
             lvlm_starts_with(cp->tensors[i].name, LVLM_RECORDED_STEP)) &&
            lvlm_dtype_is_weight(cp->tensors[i].dtype))
            return true;
    return false;
}

static int check(lvlm_recording *r, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = r->checkpoint;
    FAIL_IF(cp->kind != LVLM_CHECKPOINT_PLAIN, err, LVLM_EFORMAT,
            "is a model, not a recording");
    r->metadata = cp->metadata;
    r->ids = lvlm_rows_input(cp, LVLM_RECORDED_INPUT, "input_ids");
    r->mask = lvlm_rows_input(cp, LVLM_RECORDED_INPUT, "attention_mask");
    r->tokens = find(r, LVLM_RECORDED_STAGE, LVLM_RECORDED_TOKENS);
    if (r->tokens != NULL && (r->tokens->dtype != LVLM_I64 || r->tokens->shape.n != 1 ||
                              r->tokens->shape.dims[0] == 0))
        r->tokens = NULL;
    FAIL_IF(!has_stage(cp) && r->tokens == NULL, err, LVLM_EFORMAT,
            "records no stage (no tensor is called " LVLM_RECORDED_STAGE "*)");
    TRY(read_metadata(r, notes, err));
    for (size_t i = 0; i < cp->n_tensors; i++) /* values are checked by rows */
        if (lvlm_starts_with(cp->tensors[i].name, LVLM_RECORDED_ROWS))
            TRY(check_rows(r, &cp->tensors[i], err));
    for (size_t i = 0; i < cp->n_tensors; i++)
        TRY(check_tensor(r, &cp->tensors[i], notes, err));
    const lvlm_infile *const map = cp->files[0].map;
    return lvlm_digest_bytes(r->sha256, map->bytes, (size_t)map->n_bytes, err);
}

int lvlm_recording_open(lvlm_recording *out, const char *path, lvlm_notes *notes,
                        lvlm_error *err)
{
    *out = (lvlm_recording){ .path = path };
    TRY(lvlm_checkpoint_open(&out->checkpoint, path, NULL, err));
    const int rc = check(out, notes, err);
    if (rc == 0) return 0;
    lvlm_prefix(err, "%s: ", path);
    lvlm_recording_close(out);
    return rc;
}

void lvlm_recording_close(lvlm_recording *recording)
{
    lvlm_checkpoint_close(recording->checkpoint);
    *recording = (lvlm_recording){ .path = NULL };
}
