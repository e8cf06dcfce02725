/* trainer_save.c - what a training run leaves: the model, and the state to go on from.
 *
 *   model   the native file again, in its order and types, trained tensors replaced
 *   state   w/NAME, m/NAME, v/NAME in float32, and the steps done */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/native.h"
#include "formats/numeric.h"
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

/* What goes into the header besides the tensors. */
typedef struct meta {
    cJSON *config, *provenance, *ledger;
    lvlm_native_meta native;
} meta;

static void meta_free(meta *m)
{
    lvlm_json_free(m->config);
    lvlm_json_free(m->provenance);
    lvlm_json_free(m->ledger);
}

/* That of the file, and how many steps it has been trained, all runs together. */
static int meta_make(meta *m, const lvlm_trainer *t, lvlm_error *err)
{
    const lvlm_manifest *manifest = lvlm_model_manifest(t->model);
    const lvlm_checkpoint *cp = manifest->checkpoint;
    uint64_t before = 0;
    TRY(lvlm_native_meta_json(&m->config, cp, "config", err));
    TRY(lvlm_native_meta_json(&m->provenance, cp, "provenance", err));
    TRY(lvlm_native_meta_json(&m->ledger, cp, "ledger", err));
    (void)lvlm_json_u64(&before, lvlm_json_get(m->provenance, "trained_steps"));
    cJSON_DeleteItemFromObjectCaseSensitive(m->provenance, "trained_steps");
    if (cJSON_AddNumberToObject(m->provenance, "trained_steps",
                                (double)(before + t->step)) == NULL)
        return lvlm_fail_memory(err);
    m->native = (lvlm_native_meta){ manifest->family->name, m->config, m->provenance,
                                    m->ledger };
    return 0;
}

/* One tensor's bytes at its place, as they were or narrowed from its float32 values. */
static int write_tensor(lvlm_outfile *file, uint64_t at, const lvlm_tensor *tensor,
                        const lvlm_trained *trained, char hex[LVLM_DIGEST_HEX + 1],
                        lvlm_error *err)
{
    lvlm_digest digest = LVLM_DIGEST_INIT;
    const size_t element = lvlm_dtype_bytes(tensor->dtype);
    unsigned char *buffer = lvlm_malloc(CHUNK * sizeof(double));
    if (buffer == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_digest_start(&digest, err);
    if (rc == 0 && trained == NULL)
        lvlm_outfile_write_at(file, at, tensor->data, (size_t)tensor->n_bytes, &digest);
    for (size_t i = 0; rc == 0 && trained != NULL && i < trained->numel; i += CHUNK) {
        const size_t n = trained->numel - i < CHUNK ? trained->numel - i : CHUNK;
        lvlm_convert_values(buffer, tensor->dtype, trained->w + i, LVLM_F32, n);
        lvlm_outfile_write_at(file, at + i * element, buffer, n * element, &digest);
    }
    if (rc == 0) rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    lvlm_free(buffer);
    return rc;
}

/* Header, tensors in their order, and the header again, now with the digests. */
static int write_model(const lvlm_trainer *t, const meta *m, lvlm_outfile *file,
                       char (*digests)[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    const lvlm_checkpoint *cp = lvlm_model_manifest(t->model)->checkpoint;
    const size_t max = LVLM_SAFETENSORS_MAX_HEADER + 2 * LVLM_NATIVE_ALIGN_DATA;
    lvlm_strbuf blank = LVLM_STRBUF_INIT(max), header = LVLM_STRBUF_INIT(max);
    int rc =
        lvlm_native_header(&blank, &m->native, cp->tensors, cp->n_tensors, NULL, err);
    uint64_t at = blank.length;
    for (size_t i = 0; rc == 0 && i < cp->n_tensors; i++) {
        const lvlm_tensor *tensor = &cp->tensors[i];
        rc = write_tensor(file, at, tensor, find(t, tensor->name), digests[i], err);
        at += tensor->n_bytes;
    }
    if (rc == 0)
        rc = lvlm_native_header(&header, &m->native, cp->tensors, cp->n_tensors,
                                digests, err);
    if (rc == 0) {
        lvlm_outfile_write_at(file, 0, header.text, header.length, NULL);
        rc = lvlm_outfile_commit(file, err);
    }
    lvlm_strbuf_free(&blank);
    lvlm_strbuf_free(&header);
    return rc;
}

int lvlm_trainer_save(const lvlm_trainer *t, const char *path, bool overwrite,
                      lvlm_error *err)
{
    const lvlm_checkpoint *cp = lvlm_model_manifest(t->model)->checkpoint;
    char(*digests)[LVLM_DIGEST_HEX + 1] = lvlm_calloc(cp->n_tensors, sizeof *digests);
    lvlm_outfile *file = NULL;
    meta m = { 0 };
    int rc;
    if (digests == NULL) return lvlm_fail_memory(err);
    if ((rc = meta_make(&m, t, err)) == 0 &&
        (rc = lvlm_outfile_open(&file, path, overwrite, err)) == 0)
        rc = write_model(t, &m, file, digests, err);
    lvlm_outfile_close(file);
    meta_free(&m);
    lvlm_free(digests);
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
