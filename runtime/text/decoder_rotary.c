/* decoder_rotary.c - rotary positions of rows of the text; see decoder.h. */
#include <assert.h>
#include <math.h>

#include "formats/base/alloc.h"
#include "runtime/ops/rope.h"
#include "runtime/text/decoder.h"

/* Past the length that it was trained for, a Qwen of 2023 rotates more slowly, only in
 * evaluation; a continued text rotates as it began. */
static double theta_of(const decoder_config *c, size_t T, bool evaluates)
{
    const decoder_rope *const rope = &c->rope;
    const double D = (double)c->block.head_dim;
    if (!rope->dynamic_ntk || !evaluates || T <= rope->train_length) return rope->theta;
    const double ratio = log2((double)T / (double)rope->train_length);
    const double alpha = exp2(ceil(ratio + 1)) - 1;
    return rope->theta * pow(alpha, D / (D - 2));
}

int decoder_rotary(real *cosines, real *sines, real *logn, const int64_t *positions,
                   size_t N, size_t T, const decoder_config *c, bool evaluates,
                   lvlm_error *err)
{
    const decoder_rope *const rope = &c->rope;
    const size_t half = c->block.head_dim / 2, *s = rope->sections;
    assert(c->block.head_dim % 2 == 0 && (rope->axes == 1 || rope->axes == 3));
    real *const inv_freq = lvlm_malloc(half * sizeof *inv_freq);
    unsigned char *const axis = lvlm_calloc(half, 1);
    const bool ok = inv_freq != NULL && axis != NULL;
    if (ok) {
        for (size_t j = 0; rope->axes == 3 && j < half; j++)
            axis[j] = (unsigned char)((j >= s[0]) + (j >= s[0] + s[1]));
        rope_frequencies(inv_freq, half, theta_of(c, T, evaluates));
        if (rope->llama3)
            rope_scale_llama3(inv_freq, half, rope->factor, rope->low, rope->high,
                              rope->original);
        rope_table(cosines, sines, positions, axis, inv_freq, N, half);
    }
    for (size_t n = 0; logn != NULL && n < N; n++) {
        const double at = (double)positions[n] + 1, most = (double)rope->train_length;
        logn[n] = at > most ? (real)(log(at) / log(most)) : 1;
    }
    lvlm_free(inv_freq);
    lvlm_free(axis);
    return ok ? 0 : lvlm_fail_memory(err);
}
