/* test_key_terms_f32.c - where operands are rounded, those of the maps to keys and
 * values have two terms if query heads share these, and as many as others if not. */
#undef LVLM_REAL_BITS
#define LVLM_REAL_BITS 32

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/block/transformer.h"
#include "runtime/ops/linear.h"
#include "tests/support/gradcheck.h"

enum { N = LINEAR_ALIKE + 1, C = 24, D = 8, F = 16, SCRATCH = 1 << 21 };

static real *array(size_t n, uint64_t seed)
{
    double *const x = calloc(n, sizeof *x);
    real *const out = malloc(n * sizeof *out);
    assert_true(x != NULL && out != NULL);
    gradcheck_fill(x, n, seed);
    for (size_t i = 0; i < n; i++) out[i] = (real)x[i];
    free(x);
    return out;
}

/* One block and one pass of it. */
typedef struct bench {
    transformer_config config;
    transformer_block block;
    transformer_tape tape;
    workspace memory;
    real *x, *scratch;
    size_t lo[N], hi[N];
} bench;

static weight_matrix matrix(size_t O, size_t I, uint64_t seed)
{
    return (weight_matrix){ { array(O * I, seed), LVLM_F32 }, NULL, NULL };
}

static void free_matrix(const weight_matrix *w)
{
    free((void *)(uintptr_t)w->w.data);
}

static void make(bench *b, size_t heads, size_t kv_heads)
{
    const norm_layer norm = { .rms = true, .eps = 1e-5 };
    const size_t Q = heads * D, K = kv_heads * D;
    const transformer_tape_options options = {
        .N = N, .S = N, .keep = TAPE_ALL, .narrows = 1, .M = N
    };
    *b = (bench){ .config = { .hidden = C,
                              .heads = heads,
                              .kv_heads = kv_heads,
                              .head_dim = D,
                              .mlp = F,
                              .norm = norm,
                              .query_scalar = D,
                              .activation = LVLM_ACTIVATION_SILU } };
    b->block.norm1 = b->block.norm2 = norm;
    b->block.norm1.w.v = b->block.norm2.w.v = array(C, 1);
    b->block.q_w = matrix(Q, C, 2);
    b->block.k_w = matrix(K, C, 3);
    b->block.v_w = matrix(K, C, 4);
    b->block.out_w = matrix(C, Q, 5);
    b->block.gate_w = matrix(F, C, 6);
    b->block.down_w = matrix(C, F, 7);
    b->x = array((size_t)N * C, 8);
    b->scratch = malloc(SCRATCH * sizeof *b->scratch);
    assert_non_null(b->scratch);
    for (size_t n = 0; n < N; n++) b->lo[n] = 0, b->hi[n] = n + 1;
    assert_int_equal(transformer_tape_make(&b->tape, &b->memory, &b->config, &b->block,
                                           1, &options, NULL),
                     0);
}

static void drop(bench *b)
{
    const weight_matrix *const all[] = { &b->block.q_w,    &b->block.k_w,
                                         &b->block.v_w,    &b->block.out_w,
                                         &b->block.gate_w, &b->block.down_w };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free_matrix(all[i]);
    free((void *)(uintptr_t)b->block.norm1.w.v);
    workspace_free(&b->memory);
    free(b->x);
    free(b->scratch);
}

/* Is `y` what the map makes of the block's normed rows with so many terms? */
static bool has_terms(bench *b, const real *y, const weight_matrix *w, size_t O,
                      unsigned terms)
{
    const ops_scratch scratch = { b->scratch, SCRATCH, 1, terms };
    const size_t bytes = N * O * sizeof *y;
    real *const expected = malloc(bytes), *const normed = array((size_t)N * C, 8);
    assert_non_null(expected);
    norm_forward(normed, normed, &b->block.norm1, N, C);
    linear_forward(expected, normed, w->w, NULL, N, C, O, &scratch);
    const bool same = memcmp(y, expected, bytes) == 0;
    free(expected);
    free(normed);
    return same;
}

static void check(size_t heads, size_t kv_heads, unsigned terms, unsigned key_terms)
{
    bench b;
    make(&b, heads, kv_heads);
    const ops_scratch scratch = { b.scratch, SCRATCH, 1, terms };
    const transformer_view view = { .N = N, .lo = b.lo, .hi = b.hi };
    (void)transformer_tape_forward(&b.tape, 0, b.x, &view, &scratch);
    const transformer_acts *const a = &b.tape.kept[0];
    for (unsigned t = 0; t <= 2; t++) {
        assert_int_equal(has_terms(&b, a->q, &b.block.q_w, heads * D, t), t == terms);
        assert_int_equal(has_terms(&b, a->k, &b.block.k_w, kv_heads * D, t),
                         t == key_terms);
        assert_int_equal(has_terms(&b, a->v, &b.block.v_w, kv_heads * D, t),
                         t == key_terms);
    }
    drop(&b);
}

static void test_shared_keys_have_two_terms(void **state)
{
    (void)state;
    check(3, 1, 1, 2);
    check(3, 1, 2, 2);
    check(3, 1, 0, 0);
}

static void test_keys_of_each_head_are_like_queries(void **state)
{
    (void)state;
    check(3, 3, 1, 1);
    check(3, 3, 2, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_keys_have_two_terms),
        cmocka_unit_test(test_keys_of_each_head_are_like_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
