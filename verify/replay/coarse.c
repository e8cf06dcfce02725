/* coarse.c - recordings in bf16 or f16, and models rounded to them; see coarse.h. */
#include "verify/replay/coarse.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "formats/native/native.h"
#include "verify/replay/bands.h"

static const struct {
    const char *name, *long_name;
    lvlm_dtype dtype;
    double unit; /* the distance from 1 to the next number */
} types[] = {
    { "bf16", "bfloat16", LVLM_BF16, 0x1p-7 },
    { "f16", "float16", LVLM_F16, 0x1p-10 },
};
enum { N_TYPES = sizeof types / sizeof *types, PART = 1024 };

static double unit_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < N_TYPES; i++)
        if (strcmp(types[i].name, name) == 0) return types[i].unit;
    return 0;
}

/* ---- the recording -------------------------------------------------------------- */

/* Is the value of a metadata key the name of a type: "bf16", "bfloat16",
 * "torch.bfloat16"? */
static const char *named(const cJSON *metadata, const char *key)
{
    const char *word = lvlm_json_string(lvlm_json_get(metadata, key));
    if (word == NULL) return NULL;
    if (lvlm_starts_with(word, "torch.")) word += strlen("torch.");
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(word, types[i].name) == 0 || strcmp(word, types[i].long_name) == 0)
            return types[i].name;
    return NULL;
}

/* Stages whose values say in which type they were computed: references widen logits and
 * the loss, and words are those of a table, whatever is done to them. */
static bool is_telling(const lvlm_replay_stage *s)
{
    return !s->is_gradient && !s->is_logits && strcmp(s->name, "loss") != 0 &&
           strcmp(s->name, "text.embed") != 0;
}

static const char *stored_as(const lvlm_replay *r)
{
    for (size_t k = 0; k < N_TYPES; k++)
        for (size_t i = 0; i < r->n_stages; i++)
            if (r->stages[i].recorded->dtype == types[k].dtype) return types[k].name;
    return NULL;
}

/* Is every value of the tensor one of that type? */
static bool fits(const lvlm_tensor *t, lvlm_dtype dtype, size_t *n_values)
{
    const size_t n = (size_t)lvlm_tensor_numel(t), bytes = lvlm_dtype_bytes(t->dtype);
    double wide[PART], again[PART];
    unsigned char narrow[PART * sizeof(double)];
    for (size_t at = 0; at < n; at += PART) {
        const size_t m = n - at < PART ? n - at : PART;
        lvlm_convert_values(wide, LVLM_F64, t->data + at * bytes, t->dtype, m);
        lvlm_convert_values(narrow, dtype, wide, LVLM_F64, m);
        lvlm_convert_values(again, LVLM_F64, narrow, dtype, m);
        for (size_t i = 0; i < m; i++)
            if (isfinite(wide[i]) && wide[i] != again[i]) return false;
    }
    *n_values += n;
    return true;
}

/* Were float32 stages rounded to `dtype`? One that is not says that they were not. */
static bool all_fit(const lvlm_replay *r, lvlm_dtype dtype)
{
    enum { LEAST = 64 }; /* values; fewer may be so by chance */
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++)
        if (is_telling(&r->stages[i]) && !fits(r->stages[i].recorded, dtype, &n))
            return false;
    return n >= LEAST;
}

static void find_recording(lvlm_replay *r)
{
    lvlm_coarse *const c = &r->coarse;
    const cJSON *const metadata = r->recording.metadata;
    if (r->recording.in_double) return;
    c->how = "its metadata says so";
    if ((c->recording = named(metadata, "precision")) != NULL) return;
    if ((c->recording = named(metadata, "dtype")) != NULL) return;
    c->how = "stages are stored in it";
    if ((c->recording = stored_as(r)) != NULL) return;
    c->how = "all values of its stages are of that type";
    for (size_t k = 0; k < N_TYPES && c->recording == NULL; k++)
        if (all_fit(r, types[k].dtype)) c->recording = types[k].name;
}

/* ---- the model ------------------------------------------------------------------ */

static void find_model(lvlm_replay *r, const lvlm_checkpoint *model)
{
    const cJSON *const provenance =
        model->native != NULL ? model->native->provenance : NULL;
    uint64_t n = 0;
    (void)lvlm_json_u64(&n, lvlm_json_path(provenance, "narrowed.rounded"));
    const char *const dtype = lvlm_json_string(lvlm_json_get(provenance, "dtype"));
    for (size_t i = 0; n > 0 && dtype != NULL && i < N_TYPES; i++)
        if (strcmp(dtype, lvlm_dtype_name(types[i].dtype)) == 0)
            r->coarse.model = types[i].name;
    r->coarse.n_rounded = n;
}

void lvlm_coarse_find(lvlm_replay *r, const lvlm_model *model)
{
    assert(r->coarse.recording == NULL && r->coarse.model == NULL);
    find_recording(r);
    find_model(r, lvlm_model_manifest(model)->checkpoint);
}

const char *lvlm_coarse_type(const lvlm_replay *r)
{
    const double recording = unit_of(r->coarse.recording);
    return recording >= unit_of(r->coarse.model) ? r->coarse.recording
                                                 : r->coarse.model;
}

double lvlm_coarse_limit(const lvlm_replay *r, double own_error)
{
    const double unit = unit_of(lvlm_coarse_type(r));
    return fmax(LVLM_ROUNDING_COARSE * own_error * unit / FLT_EPSILON, unit / 2);
}
