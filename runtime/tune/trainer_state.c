/* trainer_state.c - the state of a run, to resume it: a sealed file (digests.h).
 *
 *   w/NAME, m/NAME, v/NAME   weights and moments, F32 or F64 as they are trained
 *   steps                    I64 [tensors]: how many moved each, in order of use
 *   metadata: format         "lvlm-state", and version "1"
 *             base           the weights digest of the model that is trained
 *             settings       JSON: the options of the run; it can only be resumed with
 *                            the same ones
 *             steps, last    how many are done, and the line of the log for the last
 *             root, digests  of the header and of every tensor */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/container/safetensors.h"
#include "formats/native/digests.h"
#include "formats/native/native.h"
#include "runtime/tune/trainer_history.h"
#include "runtime/tune/trainer_lora.h"

/* ---- settings ------------------------------------------------------------------- */

static bool add_text(cJSON *json, const char *key, const char *text)
{
    return cJSON_AddStringToObject(json, key, text != NULL ? text : "") != NULL;
}

static bool add_number(cJSON *json, const char *key, double value)
{
    return cJSON_AddNumberToObject(json, key, value) != NULL;
}

/* States of runs without the option do not have it. */
static bool add_if_given(cJSON *json, const char *key, double value)
{
    return value == 0 || add_number(json, key, value);
}

static bool add_rates(cJSON *json, const lvlm_trainer_options *o)
{
    for (lvlm_weight_part part = 0; part < LVLM_N_PARTS; part++) {
        char name[32];
        const double own = o->lr_part[part];
        (void)snprintf(name, sizeof name, "lr-%s", lvlm_part_name(part));
        if (!add_number(json, name, own > 0 ? own : o->adamw.lr)) return false;
    }
    return true;
}

static bool add_adamw(cJSON *json, const lvlm_adamw *o)
{
    return add_number(json, "beta1", o->beta1) && add_number(json, "beta2", o->beta2) &&
           add_number(json, "eps", o->eps) &&
           add_number(json, "weight-decay", o->decay);
}

/* A constant rate does not depend on how long the run is to be. */
static bool add_schedule(cJSON *json, const lvlm_schedule *s)
{
    return add_text(json, "schedule", lvlm_schedule_name(s->kind)) &&
           add_number(json, "warmup", (double)s->warmup) &&
           (s->kind == LVLM_SCHEDULE_CONSTANT ||
            add_number(json, "steps", (double)s->steps));
}

/* Rates by place, of places that have one. */
static bool add_dropout(cJSON *json, const double *rates)
{
    cJSON *all = NULL;
    for (lvlm_dropout_place i = 0; i < LVLM_N_DROPOUTS; i++) {
        if (rates[i] == 0) continue;
        if (all == NULL) all = cJSON_AddObjectToObject(json, "dropout");
        if (!add_number(all, lvlm_dropout_name(i), rates[i])) return false;
    }
    return true;
}

/* The seed, where anything is drawn. */
static int add_seed(cJSON *json, const lvlm_trainer *t, lvlm_error *err)
{
    if (t->options.lora == NULL && lvlm_json_get(json, "dropout") == NULL) return 0;
    const bool ok = add_number(json, "seed", (double)t->options.seed);
    return ok ? 0 : lvlm_fail_memory(err);
}

int trainer_settings(cJSON **out, const lvlm_trainer *t, lvlm_error *err)
{
    const lvlm_trainer_options *const o = &t->options;
    const char *const reference = o->model.reference;
    cJSON *const json = *out = cJSON_CreateObject();
    const bool ok =
        json != NULL && add_text(json, "stage", lvlm_stage_name(o->stage)) &&
        add_text(json, "data", o->data) &&
        add_number(json, "accumulate", (double)o->accumulate) &&
        add_number(json, "lr", o->adamw.lr) && add_rates(json, o) &&
        add_if_given(json, "min-lr", o->min_lr) &&
        add_if_given(json, "layer-decay", o->layer_decay) &&
        add_adamw(json, &o->adamw) &&
        add_text(json, "decay", o->decay_all ? "all" : "matrices") &&
        add_number(json, "clip", o->clip) && add_schedule(json, &o->schedule) &&
        (o->model.compute == LVLM_COMPUTE_F32 ||
         add_text(json, "compute", lvlm_compute_name(o->model.compute))) &&
        add_text(json, "reference",
                 reference != NULL ? reference : LVLM_REFERENCE_TRAINED) &&
        add_dropout(json, t->dropout);
    if (!ok) return lvlm_fail_memory(err);
    TRY(trainer_lora_settings(json, t, err));
    return add_seed(json, t, err);
}

static const char not_there[] = "(none)";

enum { REASON_BYTES = 80 };

/* Why another length makes it another run. */
static const char *reason_of(char text[REASON_BYTES], const char *name,
                             const lvlm_schedule *s)
{
    if (strcmp(name, "warmup") == 0)
        return " steps, of which a share depends on --steps";
    if (strcmp(name, "steps") != 0) return "";
    (void)snprintf(text, REASON_BYTES, ": --schedule %s falls to %s at the last step",
                   lvlm_schedule_name(s->kind), s->least > 0 ? "--min-lr" : "0");
    return text;
}

static int refuse_setting(const char *name, const char *was, const char *is,
                          const lvlm_schedule *schedule, lvlm_error *err)
{
    char reason[REASON_BYTES];
    if (strcmp(name, "data") == 0)
        return lvlm_fail(err, LVLM_EUSAGE,
                         "belongs to a run on other batches, or in another order");
    if (strncmp(name, "lora ", 5) == 0 &&
        (strcmp(was, not_there) == 0 || strcmp(is, not_there) == 0))
        return lvlm_fail(err, LVLM_EUSAGE,
                         "belongs to a run %s --lora; a run continues only as it began",
                         strcmp(was, not_there) == 0 ? "without" : "with");
    return lvlm_fail(
        err, LVLM_EUSAGE,
        "belongs to a run with --%s %s, not %s%s; a run continues only as it began",
        name, was, is, reason_of(reason, name, schedule));
}

/* The first setting of `a` that differs or is absent in `b`. */
static const char *first_difference(const cJSON *a, const cJSON *b)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, a)
        if (!cJSON_Compare(item, lvlm_json_get(b, item->string), true))
            return item->string;
    return NULL;
}

static int compare_settings(const cJSON *was, const cJSON *is,
                            const lvlm_schedule *schedule, lvlm_error *err)
{
    const char *name = first_difference(is, was);
    char *before = NULL, *now = NULL;
    if (name == NULL) name = first_difference(was, is);
    if (name == NULL) return 0;
    const cJSON *const old = lvlm_json_get(was, name);
    const cJSON *const new = lvlm_json_get(is, name);
    int rc = old != NULL ? lvlm_json_print(&before, old, err) : 0;
    if (rc == 0 && new != NULL) rc = lvlm_json_print(&now, new, err);
    if (rc == 0)
        rc = refuse_setting(name, before != NULL ? before : not_there,
                            now != NULL ? now : not_there, schedule, err);
    lvlm_free(before);
    lvlm_free(now);
    return rc;
}

/* A member of the state's header; NULL: it is not there. */
static const char *member(const lvlm_checkpoint *state, const char *key)
{
    return lvlm_json_string(lvlm_json_get(state->metadata, key));
}

static int check_settings(const lvlm_trainer *t, const lvlm_checkpoint *state,
                          lvlm_error *err)
{
    const char *const text = member(state, "settings");
    cJSON *was = NULL, *is = NULL;
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "header without settings");
    int rc = lvlm_json_parse(&was, text, strlen(text), err);
    if (rc == 0) rc = trainer_settings(&is, t, err);
    if (rc == 0) rc = compare_settings(was, is, &t->options.schedule, err);
    lvlm_json_free(was);
    lvlm_json_free(is);
    return rc;
}

/* ---- the file ------------------------------------------------------------------- */

#define FORMAT "lvlm-state"
#define VERSION "1"

static const char kinds[3] = { 'w', 'm', 'v' };

static void *values_of(const lvlm_trained *p, size_t kind)
{
    assert(kind < sizeof kinds);
    return kind == 0 ? p->of.w : kind == 1 ? p->of.m : p->of.v;
}

static int metadata_of(cJSON **out, const lvlm_trainer *t, lvlm_error *err)
{
    const lvlm_checkpoint *const model = lvlm_model_manifest(t->model)->checkpoint;
    cJSON *const metadata = *out = cJSON_CreateObject();
    cJSON *settings = NULL;
    lvlm_hex_digest base;
    char steps[32], *text = NULL;
    (void)snprintf(steps, sizeof steps, "%zu", t->step);
    if (metadata == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_native_weights_digest(base, model, err);
    if (rc == 0) rc = trainer_settings(&settings, t, err);
    if (rc == 0) rc = lvlm_json_print(&text, settings, err);
    if (rc == 0 &&
        (!add_text(metadata, "format", FORMAT) ||
         !add_text(metadata, "version", VERSION) || !add_text(metadata, "base", base) ||
         !add_text(metadata, "settings", text) || !add_text(metadata, "steps", steps) ||
         !add_text(metadata, "last", t->last)))
        rc = lvlm_fail_memory(err);
    lvlm_free(text);
    lvlm_json_free(settings);
    return rc;
}

/* All tensors of a state; the last one is `steps`.  out (3 * n_tensors + 1) */
static int list_tensors(lvlm_tensor *out, const lvlm_trainer *t, lvlm_arena *arena,
                        lvlm_error *err)
{
    const size_t n = 3 * t->n_tensors;
    assert(t->n_tensors > 0);
    int64_t *const steps = lvlm_arena_alloc(arena, t->n_tensors, sizeof *steps);
    if (steps == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const lvlm_trained *const p = &t->tensors[i / 3];
        out[i] = (lvlm_tensor){ .dtype = t->dtype, .shape = { 1, { p->of.n } } };
        out[i].name = lvlm_arena_printf(arena, "%c/%s", kinds[i % 3], p->name);
        out[i].data = values_of(p, i % 3);
        out[i].n_bytes = p->of.n * lvlm_dtype_bytes(t->dtype);
        if (out[i].name == NULL) return lvlm_fail_memory(err);
        steps[i / 3] = (int64_t)p->steps;
    }
    out[n] = (lvlm_tensor){ .name = "steps",
                            .dtype = LVLM_I64,
                            .shape = { 1, { t->n_tensors } },
                            .data = (const unsigned char *)steps,
                            .n_bytes = t->n_tensors * sizeof *steps };
    return 0;
}

int lvlm_trainer_save_state(const lvlm_trainer *t, const char *path, lvlm_error *err)
{
    assert(t->model != NULL && t->n_tensors > 0 && path != NULL);
    const size_t n = 3 * t->n_tensors + 1;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_tensor *const tensors = lvlm_arena_alloc(&arena, n, sizeof *tensors);
    cJSON *metadata = NULL;
    int rc = lvlm_trainer_check(t, err);
    if (rc == 0 && tensors == NULL) rc = lvlm_fail_memory(err);
    if (rc == 0) rc = list_tensors(tensors, t, &arena, err);
    if (rc == 0) rc = metadata_of(&metadata, t, err);
    if (rc == 0) rc = lvlm_seal(metadata, tensors, n, t->options.model.threads, err);
    if (rc == 0) rc = lvlm_safetensors_save(path, tensors, n, metadata, true, err);
    lvlm_json_free(metadata);
    lvlm_arena_free(&arena);
    return rc;
}

static const unsigned char *find(const lvlm_checkpoint *state, const char *name,
                                 lvlm_dtype dtype, size_t numel, lvlm_error *err)
{
    const lvlm_tensor *const tensor = lvlm_checkpoint_find(state, name);
    if (tensor != NULL && tensor->dtype == dtype && lvlm_tensor_numel(tensor) == numel)
        return tensor->data;
    (void)lvlm_fail(err, LVLM_EFORMAT, "'%s' is not there with %zu values", name,
                    numel);
    return NULL;
}

static int load_tensors(lvlm_trainer *t, const lvlm_checkpoint *state, lvlm_error *err)
{
    for (size_t i = 0; i < 3 * t->n_tensors; i++) {
        const lvlm_trained *const p = &t->tensors[i / 3];
        char name[512];
        (void)snprintf(name, sizeof name, "%c/%s", kinds[i % 3], p->name);
        assert(strlen(name) == strlen(p->name) + 2);
        const unsigned char *const data = find(state, name, t->dtype, p->of.n, err);
        if (data == NULL) return LVLM_EFORMAT;
        memcpy(values_of(p, i % 3), data, p->of.n * lvlm_dtype_bytes(t->dtype));
    }
    const unsigned char *data = find(state, "steps", LVLM_I64, t->n_tensors, err);
    if (data == NULL) return LVLM_EFORMAT;
    for (size_t i = 0; i < t->n_tensors; i++, data += sizeof(int64_t))
        t->tensors[i].steps = (size_t)lvlm_load_le(data, sizeof(int64_t));
    return 0;
}

/* Check the whole file before anything of it is used. */
static int check_state(const lvlm_trainer *t, lvlm_checkpoint *state, lvlm_error *err)
{
    const lvlm_checkpoint *const model = lvlm_model_manifest(t->model)->checkpoint;
    const lvlm_model_options *const o = &t->options.model;
    const lvlm_run run = { o->threads, o->checking, o->checking_user };
    const char *const format = member(state, "format");
    const char *const version = member(state, "version");
    const char *const base = member(state, "base");
    lvlm_hex_digest weights;
    FAIL_IF(format == NULL && member(state, "settings") != NULL, err, LVLM_EFORMAT,
            "is a state without digests, of a version that is not read any more; the "
            "run has to begin again");
    FAIL_IF(format == NULL || strcmp(format, FORMAT) != 0, err, LVLM_EFORMAT,
            "is not the state of a run");
    FAIL_IF(version == NULL || strcmp(version, VERSION) != 0, err, LVLM_EFORMAT,
            "is a state of version %.20s; this program reads version " VERSION,
            version != NULL ? version : "(none)");
    TRY(lvlm_native_check_seal(state, err));
    TRY(lvlm_native_weights_digest(weights, model, err));
    FAIL_IF(base == NULL || strcmp(base, weights) != 0, err, LVLM_EUSAGE,
            "belongs to a run from another model: its weights digest is %.16s..., that "
            "of %s is %.16s...",
            base != NULL ? base : "(none)", model->path, weights);
    TRY(check_settings(t, state, err));
    return lvlm_digests_check(state, NULL, &run, err);
}

static int load_all(lvlm_trainer *t, lvlm_checkpoint *state, lvlm_error *err)
{
    char *end = NULL;
    TRY(check_state(t, state, err));
    const char *const steps = member(state, "steps");
    const unsigned long long done = steps != NULL ? strtoull(steps, &end, 10) : 0;
    FAIL_IF(steps == NULL || end == steps || *end != '\0', err, LVLM_EFORMAT,
            "does not say how many steps are done");
    FAIL_IF(state->n_tensors != 3 * t->n_tensors + 1, err, LVLM_EFORMAT,
            "holds %zu tensors, expected %zu", state->n_tensors, 3 * t->n_tensors + 1);
    TRY(load_tensors(t, state, err));
    const char *const last = member(state, "last");
    (void)snprintf(t->last, sizeof t->last, "%s", last != NULL ? last : "");
    t->step = (size_t)done;
    return 0;
}

int lvlm_trainer_load_state(lvlm_trainer *t, const char *path, lvlm_error *err)
{
    lvlm_checkpoint *state = NULL;
    assert(t->model != NULL && path != NULL);
    TRY(lvlm_checkpoint_open(&state, path, NULL, err));
    const int rc = lvlm_within(load_all(t, state, err), err, "%s: ", path);
    lvlm_checkpoint_close(state);
    return rc;
}
