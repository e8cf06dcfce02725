/* trainer_save.c - writes the native file again, in its order and types, with the
 * trained tensors replaced. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/finite.h"
#include "formats/container/numeric.h"
#include "formats/native/history.h"
#include "formats/native/rewrite.h"
#include "runtime/tune/trainer_history.h"

enum { CHUNK = 1 << 16 }; /* values narrowed at a time */

/* Values that are finite as trained but not in the type of their tensor. */
typedef struct overflow {
    uint64_t n;
    uint64_t first; /* index in the tensor */
} overflow;

typedef struct saving {
    const lvlm_trainer *trainer;
    overflow *overflows; /* (n_tensors) */
} saving;

static const lvlm_trained *find(const saving *s, const char *name)
{
    const lvlm_trainer *const t = s->trainer;
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return &t->tensors[i];
    return NULL;
}

static bool is_trained(void *user, const lvlm_tensor *tensor)
{
    return find(user, tensor->name) != NULL;
}

/* Write a tensor, narrowed from its trained values. */
static int write_trained(void *user, const lvlm_step *step, lvlm_sink *sink,
                         lvlm_error *err)
{
    const lvlm_tensor *const tensor = &step->out;
    const saving *const s = user;
    const lvlm_trained *const p = find(s, tensor->name);
    assert(p != NULL); /* is_trained */
    const size_t numel = p->of.n, bytes = lvlm_dtype_bytes(p->of.dtype);
    const unsigned char *const values = p->of.w;
    assert(numel == lvlm_tensor_numel(tensor));
    overflow *const o = &s->overflows[p - s->trainer->tensors];
    unsigned char *const buffer = lvlm_malloc(CHUNK * sizeof(double));
    if (buffer == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < numel; i += CHUNK) {
        const size_t n = numel - i < CHUNK ? numel - i : CHUNK;
        uint64_t first;
        lvlm_convert_values(buffer, tensor->dtype, values + i * bytes, p->of.dtype, n);
        const uint64_t found = lvlm_count_not_finite(&first, buffer, tensor->dtype, n);
        if (o->n == 0) o->first = i + first;
        o->n += found;
        lvlm_sink_put(sink, tensor->dtype, buffer, n);
    }
    lvlm_free(buffer);
    return 0;
}

/* A model whose values overflow its types is not written; the state has the values as
 * trained. */
static int check_overflow(void *user, lvlm_native_meta *meta, lvlm_error *err)
{
    (void)meta;
    const saving *const s = user;
    const lvlm_trainer *const t = s->trainer;
    uint64_t n = 0;
    size_t first = t->n_tensors;
    for (size_t i = t->n_tensors; i > 0; i--) {
        n += s->overflows[i - 1].n;
        if (s->overflows[i - 1].n > 0) first = i - 1;
    }
    if (n == 0) return 0;
    assert(first < t->n_tensors);
    const lvlm_target *const target =
        lvlm_manifest_find(lvlm_model_manifest(t->model), t->tensors[first].name);
    const lvlm_dtype dtype = target->here.tensor->dtype;
    char place[LVLM_SHAPE_TEXT];
    return lvlm_fail(err, LVLM_ECHECK,
                     "%" PRIu64 " trained values are beyond their stored type, the "
                     "first in '%s' at %s; %s ends at %.6g",
                     n, target->name,
                     lvlm_place_text(place, &target->shape, s->overflows[first].first),
                     lvlm_dtype_name(dtype), lvlm_dtype_most(dtype));
}

int lvlm_trainer_check(const lvlm_trainer *t, lvlm_error *err)
{
    size_t n = 0, n_tensors = 0;
    const char *first = NULL;
    for (size_t i = 0; i < t->n_tensors; i++) {
        const lvlm_trained *const p = &t->tensors[i];
        const size_t found = lvlm_not_finite(t->dtype, p->of.w, p->of.n) +
                             lvlm_not_finite(t->dtype, p->of.m, 2 * p->of.n);
        if (found == 0) continue;
        if (n_tensors++ == 0) first = p->name;
        n += found;
    }
    FAIL_IF(n > 0, err, LVLM_ECHECK,
            "%zu weights and moments of %zu trained tensors are not finite, the first "
            "of %s; a lower --lr or --clip may help",
            n, n_tensors, first);
    return 0;
}

int lvlm_trainer_save(const lvlm_trainer *t, lvlm_outfile *file, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = lvlm_model_manifest(t->model)->checkpoint;
    const lvlm_run run = { .threads = t->options.model.threads };
    saving user = { .trainer = t };
    lvlm_hex_digest root;
    cJSON *provenance = NULL, *step = NULL;
    assert(t->options.lora == NULL && file != NULL);
    user.overflows = lvlm_calloc(t->n_tensors + 1, sizeof *user.overflows);
    if (user.overflows == NULL) return lvlm_fail_memory(err);
    lvlm_model_trim(t->model); /* the pages of all weights are read now */
    int rc = lvlm_native_meta_json(&provenance, cp, "provenance", err);
    if (rc == 0)
        rc = lvlm_provenance_add(provenance, LVLM_PROVENANCE_STEPS, t->step, err);
    if (rc == 0) rc = trainer_history(&step, t, err);
    if (rc == 0) rc = lvlm_history_add(provenance, step, err);
    const lvlm_rewrite rewrite = { .source = cp,
                                   .provenance = provenance,
                                   .changes = is_trained,
                                   .write = write_trained,
                                   .finish = check_overflow,
                                   .user = &user };
    if (rc == 0) rc = lvlm_rewrite_run(root, file, &rewrite, &run, err);
    lvlm_json_free(step);
    lvlm_json_free(provenance);
    lvlm_free(user.overflows);
    return rc;
}
