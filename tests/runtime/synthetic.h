/* synthetic.h - checkpoints in memory: batches of inputs, and whole models with random
 * weights, of any family, from a config.json text. For tests; asserts on failure. */
#ifndef LVLM_TESTS_RUNTIME_SYNTHETIC_H
#define LVLM_TESTS_RUNTIME_SYNTHETIC_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"

enum { SYNTHETIC_TENSORS = 256 };

/* Zero it; free with synthetic_free. */
typedef struct synthetic {
    lvlm_checkpoint checkpoint;
    lvlm_manifest manifest; /* models only */
    lvlm_tensor tensors[SYNTHETIC_TENSORS];
    const lvlm_tensor *by_name[SYNTHETIC_TENSORS];
    lvlm_arena arena;
} synthetic;

static inline int synthetic_order(const void *a, const void *b)
{
    return strcmp((*(const lvlm_tensor *const *)a)->name,
                  (*(const lvlm_tensor *const *)b)->name);
}

/* Adds a tensor, or replaces the one of that name. `data` is copied. */
static inline void synthetic_put(synthetic *s, const char *name, lvlm_dtype dtype,
                                 const lvlm_shape *shape, const void *data)
{
    lvlm_checkpoint *const c = &s->checkpoint;
    size_t at = 0;
    while (at < c->n_tensors && strcmp(s->tensors[at].name, name) != 0) at++;
    assert(at < SYNTHETIC_TENSORS);
    if (at == c->n_tensors) c->n_tensors++;
    lvlm_tensor *const t = &s->tensors[at];
    *t = (lvlm_tensor){ .dtype = dtype, .shape = *shape };
    t->name = lvlm_arena_strndup(&s->arena, name, strlen(name));
    const bool fits = lvlm_shape_bytes(&t->n_bytes, shape, dtype);
    unsigned char *const copy = lvlm_arena_alloc(&s->arena, t->n_bytes + 1, 1);
    assert(fits && copy != NULL && t->name != NULL);
    if (data != NULL) memcpy(copy, data, t->n_bytes);
    t->data = copy;
    for (size_t i = 0; i < c->n_tensors; i++) s->by_name[i] = &s->tensors[i];
    qsort(s->by_name, c->n_tensors, sizeof *s->by_name, synthetic_order);
    c->tensors = s->tensors;
    c->by_name = s->by_name;
    (void)fits;
}

static inline void synthetic_put_integers(synthetic *s, const char *name, size_t B,
                                          size_t T, const int64_t *values)
{
    const lvlm_shape shape = { 2, { B, T } };
    synthetic_put(s, name, LVLM_I64, &shape, values);
}

/* The same on every machine: in [-1, 1). */
static inline float synthetic_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

/* F32, uniform in [-scale, scale). */
static inline void synthetic_put_random(synthetic *s, const char *name,
                                        const lvlm_shape *shape, float scale,
                                        uint32_t *state)
{
    uint64_t n = 0;
    const bool fits = lvlm_shape_numel(&n, shape);
    assert(fits && n > 0);
    float *const values = malloc(n * sizeof *values);
    assert(values != NULL);
    for (uint64_t i = 0; i < n; i++) values[i] = scale * synthetic_random(state);
    synthetic_put(s, name, LVLM_F32, shape, values);
    free(values);
    (void)fits;
}

/* Every tensor that the family of `config` needs, by the hub's names; heads tied. */
static inline void synthetic_model(synthetic *s, const char *config)
{
    lvlm_error err;
    lvlm_manifest wanted;
    uint32_t state = 1;
    s->checkpoint.kind = LVLM_CHECKPOINT_HF;
    s->checkpoint.path = "synthetic";
    int rc = lvlm_json_parse(&s->checkpoint.config, config, strlen(config), &err);
    assert(rc == 0);
    rc = lvlm_manifest_build(&wanted, &s->checkpoint, &err);
    assert(rc == 0);
    for (size_t i = 0; i < wanted.n_targets; i++) {
        const lvlm_target *const t = &wanted.targets[i];
        if (t->row->tied_to == NULL)
            synthetic_put_random(s, t->source_name, &t->hf.shape, 0.25f, &state);
    }
    lvlm_manifest_free(&wanted);
    rc = lvlm_manifest_build(&s->manifest, &s->checkpoint, &err);
    assert(rc == 0);
    (void)rc;
}

static inline void synthetic_free(synthetic *s)
{
    if (s->manifest.family != NULL) lvlm_manifest_free(&s->manifest);
    lvlm_json_free(s->checkpoint.config);
    lvlm_arena_free(&s->arena);
    memset(s, 0, sizeof *s);
}

#endif
