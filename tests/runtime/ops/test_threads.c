/* test_threads.c - every op gives the same bits with 1, 2, 3 and 7 threads.
 *
 * Written for `real`: test_threads_f32.c compiles it for float. Sizes are above
 * LVLM_PARALLEL_MIN, or the teams would never start. */
#include "formats/container/numeric.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/embed.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/lowrank.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/patchify.h"
#include "runtime/ops/rope.h"
#include "tests/runtime/ops/ops_test.h"

static const size_t team_sizes[] = { 1, 2, 3, 7 };

static real *array(size_t n)
{
    real *x = test_calloc(n, sizeof *x);
    uint32_t bits = 1;
    for (size_t i = 0; i < n; i++) {
        bits = bits * 1664525u + 1013904223u;
        x[i] = (real)(bits >> 8) / (real)(1 << 24) - (real)0.5;
    }
    return x;
}

/* An op under test writes n results to out, using the given team and its own inputs. */
typedef void threads_op(real *out, const real *in, const ops_scratch *scratch);

/* Inputs are the first elements of one long random array. */
static void check_teams(threads_op *op, size_t n, size_t n_in, size_t scratch_numel)
{
    real *in = array(n_in), *first = array(n), *out = test_calloc(n, sizeof *out);
    for (size_t k = 0; k < COUNT(team_sizes); k++) {
        const ops_scratch scratch = { array(scratch_numel + 1), scratch_numel,
                                      team_sizes[k] };
        real *result = k == 0 ? first : out;
        ops_threads(team_sizes[k]);
        memset(result, 0, n * sizeof *result);
        op(result, in, &scratch);
        ASSERT_BYTES_EQUAL(result, first, n);
        test_free(scratch.data);
    }
    test_free(in), test_free(first), test_free(out);
}

enum { N = 37, I = 1100, O = 1300 };

static void linear_forward_op(real *out, const real *in, const ops_scratch *scratch)
{
    uint16_t *w = test_calloc(O * I, sizeof *w);
    lvlm_convert_values(w, LVLM_BF16, in + N * I, LVLM_REAL_DTYPE, O * I);
    linear_forward(out, in, (lvlm_stored){ w, LVLM_BF16 }, in, N, I, O, scratch);
    linear_forward(out + N * O, in, (lvlm_stored){ w, LVLM_BF16 }, in, 1, I, O,
                   scratch);
    const lvlm_stored plain = { in + N * I, LVLM_REAL_DTYPE };
    linear_forward(out + N * O + O, in, plain, NULL, N, I, O, scratch);
    test_free(w);
}

static void linear_backward_op(real *out, const real *in, const ops_scratch *scratch)
{
    uint16_t *w = test_calloc(O * I, sizeof *w);
    lvlm_convert_values(w, LVLM_BF16, in + N * I, LVLM_REAL_DTYPE, O * I);
    linear_backward(out, out + N * I, out + N * I + O * I, in + 5, in,
                    (lvlm_stored){ w, LVLM_BF16 }, N, I, O, scratch);
    test_free(w);
}

enum { RANK = 5 };

static void lowrank_op(real *out, const real *in, const ops_scratch *scratch)
{
    const lowrank_noise noise = { true, 0.25, 3 };
    real *const dx = out + N * O, *const da = dx + N * I, *const db = da + RANK * I;
    const lowrank w = { .a = in + 7,
                        .b = in + 11,
                        .da = da,
                        .db = db,
                        .r = RANK,
                        .scale = (real)0.5,
                        .noise = &noise };
    lowrank_forward(out, in, &w, N, I, O, scratch);
    lowrank_backward(dx, in + 5, in, &w, N, I, O, scratch);
}

enum { TQ = 150, TK = 290, HEADS = 6, KV_HEADS = 2, D = 20 };
enum { NQ = TQ * HEADS * D, NK = TK * KV_HEADS * D };

static void attention_op(real *out, const real *in, const ops_scratch *scratch)
{
    size_t lo[TQ], hi[TQ];
    uint64_t rows[TQ];
    const attention_dims dims = { TQ,        TK, HEADS, KV_HEADS, D,
                                  (real)0.3, 2,  lo,    hi,       { 0.2, 3, rows } };
    for (size_t t = 0; t < TQ; t++) {
        rows[t] = t;
        lo[t] = t / 2;
        hi[t] = t % 11 == 0 ? 0 : TK - TQ + t;
    }
    attention_forward(out, in, in + NQ, in + NQ + NK, &dims, scratch);
    attention_backward(out + NQ, out + 2 * NQ, out + 2 * NQ + NK, in + 7, in, in + NQ,
                       in + NQ + NK, &dims, scratch);
}

enum { ROWS = 70, C = 513, RC = ROWS * C };

static void norm_op(real *out, const real *in, const ops_scratch *scratch)
{
    layernorm_forward(out, in, in, in, (real)1e-6, ROWS, C);
    rmsnorm_forward(out + RC, in, in, 1, (real)1e-6, ROWS, C);
    layernorm_backward(out + 2 * RC, out + 4 * RC, out + 4 * RC + C, in + 1, in, in,
                       (real)1e-6, ROWS, C, scratch);
    rmsnorm_backward(out + 3 * RC, out + 4 * RC + 2 * C, in + 1, in, in, 1, (real)1e-6,
                     ROWS, C, scratch);
}

static void elementwise_op(real *out, const real *in, const ops_scratch *scratch)
{
    const lvlm_activation act = LVLM_ACTIVATION_GELU_TANH;
    (void)scratch;
    activation_forward(out, in, NULL, act, RC);
    activation_backward(out + RC, NULL, in + 1, in, NULL, act, RC);
    activation_forward(out + 2 * RC, in, in + 1, act, RC);
    activation_backward(out + 3 * RC, out + 4 * RC, in + 2, in, in + 1, act, RC);
    softcap_forward(out + 5 * RC, in, (real)0.3, RC);
    add_forward(out, in, RC);
    add_rows_forward(out, in, ROWS, ROWS / 2, C);
    add_rows_backward(out + 7 * RC, in, ROWS, ROWS / 2, C);
    uint64_t rows[ROWS];
    for (size_t n = 0; n < ROWS; n++) rows[n] = n;
    dropout_rows(out, &(dropout){ 0.5, 9, rows }, NULL, ROWS, C);
}

static void row_op(real *out, const real *in, const ops_scratch *scratch)
{
    int64_t ids[ROWS];
    double loss[ROWS];
    (void)scratch;
    for (size_t n = 0; n < ROWS; n++) ids[n] = (int64_t)(n * n % 7);
    embed_forward(out, (lvlm_stored){ in, LVLM_REAL_DTYPE }, ids, 3, ROWS, 7, C);
    embed_backward(out + RC, in, ids, -1, 3, ROWS, 7, C);
    memcpy(out + 2 * RC, in, RC * sizeof *in);
    cross_entropy_gradient(loss, out + 2 * RC, ids, 0.7, 0, ROWS, C);
    for (size_t n = 0; n < ROWS; n++) out[3 * RC + n] = (real)loss[n];
    patchify_forward(out + 4 * RC, in, 3, 100, 100, 9);
    real inv_freq[256];
    rope_frequencies(inv_freq, 256, 1e4);
    rope_table(out + 6 * RC, out + 7 * RC, ids, NULL, inv_freq, ROWS, 256);
    rope_forward(out + 8 * RC, in, out + 6 * RC, out + 7 * RC, ROWS, 1, 512);
}

static void linear_forward_ignores_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(linear_forward_op, 2 * N * O + O, N * I + O * I,
                linear_scratch(I, O, 7));
}

static void lowrank_ignores_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(lowrank_op, N * O + N * I + RANK * (I + O), N * O + N * I,
                lowrank_scratch(I, RANK, 7));
}

static void linear_backward_ignores_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(linear_backward_op, N * I + O * I + O, N * O + N * I + O * I,
                linear_scratch(I, O, 7));
}

static void attention_ignores_the_number_of_threads(void **state)
{
    const attention_dims dims = {
        .Tq = TQ, .Tk = TK, .heads = HEADS, .kv_heads = KV_HEADS, .D = D
    };
    (void)state;
    check_teams(attention_op, 2 * NQ + 2 * NK, NQ + 2 * NK + 7,
                attention_scratch(&dims, 7));
}

static void norms_ignore_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(norm_op, 4 * RC + 3 * C, RC + 1, norm_scratch(ROWS));
}

static void elementwise_ignores_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(elementwise_op, 8 * RC, RC + 2, 0);
}

static void rows_ignore_the_number_of_threads(void **state)
{
    (void)state;
    check_teams(row_op, 9 * RC, RC + 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_forward_ignores_the_number_of_threads),
        cmocka_unit_test(lowrank_ignores_the_number_of_threads),
        cmocka_unit_test(linear_backward_ignores_the_number_of_threads),
        cmocka_unit_test(attention_ignores_the_number_of_threads),
        cmocka_unit_test(norms_ignore_the_number_of_threads),
        cmocka_unit_test(elementwise_ignores_the_number_of_threads),
        cmocka_unit_test(rows_ignore_the_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
