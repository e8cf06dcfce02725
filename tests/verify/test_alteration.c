/* test_alteration.c - kinds of changes of a tensor, planted and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "formats/base/random.h"
#include "formats/container/numeric.h"
#include "verify/compare/alteration.h"

enum { ROWS = 700, COLUMNS = 620, MOST = ROWS * COLUMNS };

static float a[MOST], b[MOST];
static uint16_t half_a[MOST], half_b[MOST];

static void draw(float *to, size_t n, const char *name)
{
    const uint64_t stream = lvlm_random_stream(7, name);
    for (size_t i = 0; i < n; i++)
        to[i] = (float)(2 * lvlm_random_uniform(stream, i) - 1);
}

static lvlm_tensor tensor_of(const void *data, lvlm_dtype dtype, uint64_t rows,
                             uint64_t columns)
{
    lvlm_tensor t = {
        .name = "t", .dtype = dtype, .shape = { 2, { rows, columns } }, .data = data
    };
    assert_true(lvlm_shape_bytes(&t.n_bytes, &t.shape, dtype));
    return t;
}

/* Both as doubles. */
static double p[MOST], q[MOST];

/* In blocks of another size than the rows. */
static lvlm_alteration alteration_of(const lvlm_tensor *x, const lvlm_tensor *y)
{
    enum { BLOCK = 1000 };
    const lvlm_values vx = lvlm_values_stored(x), vy = lvlm_values_stored(y);
    const uint64_t numel = lvlm_values_count(&vx);
    lvlm_distance distance = { 0 };
    lvlm_values_widen(p, x->data, x->dtype, numel);
    lvlm_values_widen(q, y->data, y->dtype, numel);
    lvlm_distance_add(&distance, p, q, numel);
    lvlm_altering *const c = lvlm_altering_begin(&vx, &vy, &distance);
    assert_non_null(c);
    for (uint64_t at = 0; at < numel; at += BLOCK) {
        const size_t n = numel - at < BLOCK ? (size_t)(numel - at) : BLOCK;
        lvlm_altering_add(c, p + at, q + at, at, n);
    }
    const lvlm_alteration out = lvlm_altering_end(c, &distance);
    lvlm_altering_free(c);
    return out;
}

static lvlm_alteration floats(uint64_t rows, uint64_t columns)
{
    const lvlm_tensor x = tensor_of(a, LVLM_F32, rows, columns);
    const lvlm_tensor y = tensor_of(b, LVLM_F32, rows, columns);
    return alteration_of(&x, &y);
}

/* ---- order ---------------------------------------------------------------------- */

static void rows_and_columns_in_another_order(void **state)
{
    enum { R = 40, C = 24 };
    (void)state;
    draw(a, R * C, "order");
    for (size_t i = 0; i < R; i++) /* two halves, interleaved */
        memcpy(b + i * C, a + (i % 2 * (R / 2) + i / 2) * C, C * sizeof *b);
    lvlm_alteration found = floats(R, C);
    assert_int_equal(found.kind, LVLM_ALTERED_ROWS);
    assert_int_equal(found.moved, R - 2);
    memcpy(b, a, sizeof *b * R * C);
    for (size_t i = 0; i < R; i++) {
        b[i * C + 3] = a[i * C + 9];
        b[i * C + 9] = a[i * C + 3];
    }
    found = floats(R, C);
    assert_int_equal(found.kind, LVLM_ALTERED_COLUMNS);
    assert_int_equal(found.moved, 2);
    b[5] += 1; /* not the same columns any more */
    assert_int_not_equal(floats(R, C).kind, LVLM_ALTERED_COLUMNS);
}

static void a_transposed_matrix(void **state)
{
    enum { R = 30, C = 50 };
    (void)state;
    draw(a, R * C, "transposed");
    for (size_t i = 0; i < R; i++)
        for (size_t k = 0; k < C; k++) b[k * R + i] = a[i * C + k];
    const lvlm_tensor x = tensor_of(a, LVLM_F32, R, C);
    const lvlm_tensor y = tensor_of(b, LVLM_F32, C, R);
    assert_int_equal(alteration_of(&x, &y).kind, LVLM_ALTERED_TRANSPOSED);
}

/* ---- arithmetic ----------------------------------------------------------------- */

static void scaled_and_shifted(void **state)
{
    enum { N = 64 };
    (void)state;
    draw(a, N * N, "scaled");
    for (size_t i = 0; i < N * N; i++) b[i] = a[i] * 1.3F;
    lvlm_alteration found = floats(N, N);
    assert_int_equal(found.kind, LVLM_ALTERED_SCALED);
    assert_true(found.by > 1.2999 && found.by < 1.3001);
    for (size_t i = 0; i < N * N; i++) b[i] = a[i] + 1;
    found = floats(1, N * N);
    assert_int_equal(found.kind, LVLM_ALTERED_SHIFTED);
    assert_true(found.by > 0.9999 && found.by < 1.0001);
    memcpy(b, a, sizeof *b * N * N);
    b[7] *= 1.0000002F; /* the last bit of one value */
    found = floats(1, N * N);
    assert_int_equal(found.kind, LVLM_ALTERED_OTHER);
}

static void rounded_to_another_type(void **state)
{
    enum { N = 50 };
    (void)state;
    draw(a, N * N, "rounded");
    for (size_t i = 0; i < N * N; i++) half_b[i] = lvlm_bf16_of_f32(a[i]);
    const lvlm_tensor x = tensor_of(a, LVLM_F32, N, N);
    const lvlm_tensor y = tensor_of(half_b, LVLM_BF16, N, N);
    assert_int_equal(alteration_of(&x, &y).kind, LVLM_ALTERED_ROUNDED);
    half_b[9] ^= 1;
    assert_int_not_equal(alteration_of(&x, &y).kind, LVLM_ALTERED_ROUNDED);
}

/* ---- rank ----------------------------------------------------------------------- */

/* a + size P Q of rank r, in float32 and as bfloat16. */
static void add_product(size_t rows, size_t columns, size_t r, float size)
{
    static float left[ROWS * 64], right[64 * COLUMNS];
    assert_true(r <= 64 && rows <= ROWS && columns <= COLUMNS);
    draw(a, rows * columns, "base");
    draw(left, rows * r, "left");
    draw(right, r * columns, "right");
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++) {
            double sum = 0;
            for (size_t j = 0; j < r; j++)
                sum += (double)left[i * r + j] * right[j * columns + k];
            const size_t at = i * columns + k;
            b[at] = (float)(a[at] + size * sum);
            half_a[at] = lvlm_bf16_of_f32(a[at]);
            half_b[at] =
                lvlm_bf16_of_f32(lvlm_f32_of_bf16(half_a[at]) + (float)(size * sum));
        }
}

static void changes_of_low_rank(void **state)
{
    static const struct {
        size_t rows, columns, rank;
    } cases[] = {
        { 20, 36, 4 },         { 64, 48, 1 },         { 300, 200, 16 },
        { ROWS, COLUMNS, 16 }, { ROWS, COLUMNS, 64 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t rows = cases[i].rows, columns = cases[i].columns;
        add_product(rows, columns, cases[i].rank, 0.01F);
        lvlm_alteration found = floats(rows, columns);
        assert_int_equal(found.kind, LVLM_ALTERED_LOW_RANK);
        assert_int_equal(found.rank, cases[i].rank);
        const lvlm_tensor x = tensor_of(half_a, LVLM_BF16, rows, columns);
        const lvlm_tensor y = tensor_of(half_b, LVLM_BF16, rows, columns);
        found = alteration_of(&x, &y);
        assert_int_equal(found.kind, LVLM_ALTERED_LOW_RANK);
        assert_int_equal(found.rank, cases[i].rank);
    }
}

static void a_change_of_every_direction_has_no_low_rank(void **state)
{
    (void)state;
    draw(a, MOST, "base");
    draw(b, MOST, "other");
    for (size_t i = 0; i < MOST; i++) b[i] = a[i] + 0.01F * b[i];
    assert_int_equal(floats(ROWS, COLUMNS).kind, LVLM_ALTERED_OTHER);
    assert_int_equal(floats(30, 20).kind, LVLM_ALTERED_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_columns_in_another_order),
        cmocka_unit_test(a_transposed_matrix),
        cmocka_unit_test(scaled_and_shifted),
        cmocka_unit_test(rounded_to_another_type),
        cmocka_unit_test(changes_of_low_rank),
        cmocka_unit_test(a_change_of_every_direction_has_no_low_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
