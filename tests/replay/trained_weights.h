/* trained_weights.h - weights after training compared with those that a reference
 * trained. */
#ifndef LVLM_TESTS_REPLAY_TRAINED_WEIGHTS_H
#define LVLM_TESTS_REPLAY_TRAINED_WEIGHTS_H

#include <math.h>

#include "formats/checkpoint/manifest.h"
#include "formats/container/numeric.h"
#include "tests/convert/converted.h"

static inline double value_of(const lvlm_tensor *t, uint64_t i)
{
    double value = NAN;
    lvlm_convert_values(&value, LVLM_F64, t->data + i * lvlm_dtype_bytes(t->dtype),
                        t->dtype, 1);
    return value;
}

/* Adjacent values of bf16: a value near their middle may be rounded to either,
 * depending on the last bits of its sum, which depend on the processor. */
static inline bool are_neighbours(const lvlm_tensor *a, const lvlm_tensor *b,
                                  uint64_t i)
{
    if (a->dtype != LVLM_BF16) return false;
    const int x = a->data[2 * i] | a->data[2 * i + 1] << 8;
    const int y = b->data[2 * i] | b->data[2 * i + 1] << 8;
    return abs(x - y) == 1;
}

/* A bias of keys adds the same number to all scores of a query: its true gradient is 0,
 * and AdamW makes steps of the rounding. */
static inline bool has_no_slope(const char *name)
{
    return strstr(name, ".attn.k.bias") != NULL;
}

typedef struct weights_change {
    double error; /* of the change of all weights together, relative */
    lvlm_dtype dtype;
    size_t n, n_other; /* values, and how many are not the expected ones */
} weights_change;

/* How the weights of `tuned` changed from those of `native`, compared with those in
 * `reference`, which have the checkpoint's names. */
static inline weights_change weights_compare(const char *native, const char *tuned,
                                             const char *reference)
{
    lvlm_checkpoint *const before = must_open(native), *const after = must_open(tuned);
    lvlm_checkpoint *const expected = must_open(reference);
    lvlm_manifest m;
    lvlm_error err;
    double apart = 0, moved = 0;
    size_t n_tensors = 0;
    weights_change c = { .dtype = expected->tensors[0].dtype };
    if (lvlm_manifest_build(&m, after, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < m.n_targets; i++) {
        const lvlm_tensor *const e =
            lvlm_checkpoint_find(expected, m.targets[i].source_name);
        if (e == NULL || m.targets[i].here.tensor == NULL) continue;
        const lvlm_tensor *const got = m.targets[i].here.tensor;
        const lvlm_tensor *const was = lvlm_checkpoint_find(before, got->name);
        n_tensors++;
        if (has_no_slope(got->name)) continue;
        assert_int_equal(got->dtype, e->dtype);
        assert_int_equal(got->n_bytes, e->n_bytes);
        for (uint64_t k = 0; k < lvlm_tensor_numel(e); k++, c.n++) {
            const double a = value_of(got, k), b = value_of(e, k), w = value_of(was, k);
            if (!are_neighbours(got, e, k)) apart += (a - b) * (a - b);
            moved += (b - w) * (b - w);
            c.n_other += a != b;
        }
    }
    assert_int_equal(n_tensors, expected->n_tensors);
    c.error = sqrt(apart / moved);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(before);
    lvlm_checkpoint_close(after);
    lvlm_checkpoint_close(expected);
    return c;
}

#endif
