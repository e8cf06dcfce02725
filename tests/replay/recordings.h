/* recordings.h - recordings that differ from a fixture's in something, for tests. */
#ifndef LVLM_TESTS_REPLAY_RECORDINGS_H
#define LVLM_TESTS_REPLAY_RECORDINGS_H

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "tests/convert/converted.h"
#include "verify/replay/replay.h"

enum { RECORDED_TENSORS = 512 };

typedef struct recorded {
    lvlm_checkpoint *source;
    lvlm_tensor tensors[RECORDED_TENSORS];
    size_t n;
    cJSON *metadata;
    lvlm_arena arena;
} recorded;

static inline void recorded_open(recorded *r, const char *path)
{
    *r = (recorded){ .source = must_open(path), .arena = LVLM_ARENA_INIT };
    assert_true(r->source->n_tensors <= RECORDED_TENSORS);
    for (size_t i = 0; i < r->source->n_tensors; i++)
        r->tensors[r->n++] = r->source->tensors[i];
    r->metadata = cJSON_Duplicate(r->source->metadata, true);
    assert_non_null(r->metadata);
}

static inline void recorded_close(recorded *r)
{
    lvlm_json_free(r->metadata);
    lvlm_arena_free(&r->arena);
    lvlm_checkpoint_close(r->source);
}

/* Without the tensors that match; at least one does. */
static inline void recorded_drop(recorded *r, const char *glob)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (fnmatch(glob, r->tensors[i].name, 0) != 0) r->tensors[n++] = r->tensors[i];
    assert_true(n < r->n);
    r->n = n;
}

/* Without that key. */
static inline void recorded_forget(recorded *r, const char *key)
{
    assert_non_null(lvlm_json_get(r->metadata, key));
    cJSON_DeleteItemFromObjectCaseSensitive(r->metadata, key);
}

/* The values of a tensor, to be changed. */
static inline void *recorded_values(recorded *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++) {
        lvlm_tensor *const t = &r->tensors[i];
        if (strcmp(t->name, name) != 0) continue;
        void *const values = lvlm_arena_alloc(&r->arena, (size_t)t->n_bytes + 1, 1);
        assert_non_null(values);
        memcpy(values, t->data, (size_t)t->n_bytes);
        t->data = values;
        return values;
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

/* Stages that match, rounded to `dtype` and stored as `stored`. */
static inline void recorded_round(recorded *r, const char *glob, lvlm_dtype dtype,
                                  lvlm_dtype stored)
{
    for (size_t i = 0; i < r->n; i++) {
        lvlm_tensor *const t = &r->tensors[i];
        const size_t n = (size_t)lvlm_tensor_numel(t);
        if (fnmatch(glob, t->name, 0) != 0) continue;
        void *const narrow = lvlm_arena_alloc(&r->arena, n + 1, sizeof(double));
        void *const wide = lvlm_arena_alloc(&r->arena, n + 1, sizeof(double));
        assert_true(narrow != NULL && wide != NULL);
        lvlm_convert_values(narrow, dtype, t->data, t->dtype, n);
        lvlm_convert_values(wide, stored, narrow, dtype, n);
        t->data = wide;
        t->dtype = stored;
        t->n_bytes = n * lvlm_dtype_bytes(stored);
    }
}

static inline void recorded_save(recorded *r, const char *path)
{
    lvlm_error err;
    if (lvlm_safetensors_save(path, r->tensors, r->n, r->metadata, true, &err) < 0)
        fail_msg("%s", err.text);
}

/* ---- replays -------------------------------------------------------------------- */

/* Freed by the caller. */
static inline void must_replay(lvlm_replay *out, const char *model, const char *golden,
                               const lvlm_replay_options *options)
{
    lvlm_error err;
    if (lvlm_replay_run(out, model, golden, options, &err) < 0)
        fail_msg("%s", err.text);
}

static inline const lvlm_replay_stage *stage_of(const lvlm_replay *r, const char *name)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (strcmp(r->stages[i].name, name) == 0) return &r->stages[i];
    fail_msg("no stage %s", name);
    return NULL;
}

/* Does one of the sentences begin so? */
static inline bool says(const lvlm_notes *notes, const char *start)
{
    for (size_t i = 0; i < notes->n; i++)
        if (strncmp(notes->at[i], start, strlen(start)) == 0) return true;
    return false;
}

/* Is the text in one of the sentences? */
static inline bool list_says(const char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(list[i], text) != NULL) return true;
    return false;
}

#endif
