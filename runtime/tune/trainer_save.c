/* trainer_save.c - what a training run leaves: the model, and the state to go on from.
 *
 *   model   the native file again, in its order and types, trained tensors replaced
 *   state   w/NAME, m/NAME, v/NAME in float32, and the steps done */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/numeric.h"
#include "formats/rewrite.h"
#include "formats/safetensors.h"
#include "runtime/tune/trainer.h"

enum { CHUNK = 1 << 16 }; /* values narrowed at a time */

static const lvlm_trained *find(const lvlm_trainer *t, const char *name)
{
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return &t->tensors[i];
    return NULL;
}

/* ---- the model ------------------------------------------------------------------ */

static bool is_trained(void *user, const lvlm_tensor *tensor)
{
    return find(user, tensor->name) != NULL;
}

/* Narrowed from its float32 values. */
static int write_trained(void *user, const lvlm_tensor *tensor, lvlm_rewrite_sink *sink,
                         lvlm_error *err)
{
    const lvlm_trained *const p = find(user, tensor->name);
    const size_t element = lvlm_dtype_bytes(tensor->dtype);
    unsigned char *const buffer = lvlm_malloc(CHUNK * sizeof(double));
    if (buffer == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < p->numel; i += CHUNK) {
        const size_t n = p->numel - i < CHUNK ? p->numel - i : CHUNK;
        lvlm_convert_values(buffer, tensor->dtype, p->w + i, LVLM_F32, n);
        lvlm_rewrite_put(sink, buffer, n * element);
    }
    lvlm_free(buffer);
    return 0;
}

int lvlm_trainer_save(const lvlm_trainer *t, const char *path, bool overwrite,
                      lvlm_error *err)
{
    const lvlm_checkpoint *const cp = lvlm_model_manifest(t->model)->checkpoint;
    lvlm_trainer user = *t;
    char root[LVLM_DIGEST_HEX + 1];
    cJSON *provenance = NULL;
    int rc = lvlm_native_meta_json(&provenance, cp, "provenance", err);
    if (rc == 0)
        rc = lvlm_provenance_add(provenance, LVLM_PROVENANCE_STEPS, t->step, err);
    if (rc == 0) {
        const lvlm_rewrite rewrite = { .source = cp,
                                       .provenance = provenance,
                                       .changes = is_trained,
                                       .write = write_trained,
                                       .user = &user,
                                       .threads = t->options.threads,
                                       .overwrite = overwrite };
        rc = lvlm_rewrite_run(&rewrite, path, root, err);
    }
    lvlm_json_free(provenance);
    return rc;
}

/* ---- the state ------------------------------------------------------------------ */

static const char kinds[3] = { 'w', 'm', 'v' };

static float *values_of(const lvlm_trained *p, size_t kind)
{
    return kind == 0 ? p->w : kind == 1 ? p->m : p->v;
}

int lvlm_trainer_save_state(const lvlm_trainer *t, const char *path, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_tensor *tensors = lvlm_arena_alloc(&arena, 3 * t->n_tensors, sizeof *tensors);
    cJSON *metadata = cJSON_CreateObject();
    char steps[32];
    bool ok = tensors != NULL && metadata != NULL;
    (void)snprintf(steps, sizeof steps, "%zu", t->step);
    ok = ok && cJSON_AddStringToObject(metadata, "steps", steps) != NULL;
    for (size_t i = 0; ok && i < 3 * t->n_tensors; i++) {
        const lvlm_trained *p = &t->tensors[i / 3];
        tensors[i] = (lvlm_tensor){ .dtype = LVLM_F32, .shape = { 1, { p->numel } } };
        tensors[i].name = lvlm_arena_printf(&arena, "%c/%s", kinds[i % 3], p->name);
        tensors[i].data = (const unsigned char *)values_of(p, i % 3);
        tensors[i].n_bytes = p->numel * sizeof(float);
        ok = tensors[i].name != NULL;
    }
    const int rc =
        ok ? lvlm_safetensors_save(path, tensors, 3 * t->n_tensors, metadata, true, err)
           : lvlm_fail_memory(err);
    lvlm_json_free(metadata);
    lvlm_arena_free(&arena);
    return rc;
}

static int load_tensor(const lvlm_trained *p, size_t kind, const lvlm_checkpoint *state,
                       lvlm_error *err)
{
    char name[512];
    (void)snprintf(name, sizeof name, "%c/%s", kinds[kind], p->name);
    const lvlm_tensor *tensor = lvlm_checkpoint_find(state, name);
    FAIL_IF(tensor == NULL || tensor->dtype != LVLM_F32 ||
                lvlm_tensor_numel(tensor) != p->numel,
            err, LVLM_EFORMAT,
            "%s: '%s' is not there with %zu values; was it saved by a run of the same "
            "model and stage?",
            state->path, name, p->numel);
    memcpy(values_of(p, kind), tensor->data, (size_t)tensor->n_bytes);
    return 0;
}

int lvlm_trainer_load_state(lvlm_trainer *t, const char *path, lvlm_error *err)
{
    lvlm_checkpoint *state = NULL;
    int rc = lvlm_checkpoint_open(&state, path, NULL, err);
    if (rc < 0) return rc;
    const char *steps = lvlm_json_string(lvlm_json_get(state->metadata, "steps"));
    if (steps == NULL || state->n_tensors != 3 * t->n_tensors)
        rc = lvlm_fail(err, LVLM_EFORMAT,
                       "%s: is no state of such a run: %zu tensors, expected %zu", path,
                       state->n_tensors, 3 * t->n_tensors);
    for (size_t i = 0; rc == 0 && i < 3 * t->n_tensors; i++)
        rc = load_tensor(&t->tensors[i / 3], i % 3, state, err);
    if (rc == 0) t->step = (size_t)strtoull(steps, NULL, 10);
    lvlm_checkpoint_close(state);
    return rc;
}
