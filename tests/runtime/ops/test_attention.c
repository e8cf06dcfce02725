/* test_attention.c - attention compared with plain loops, gradients, ranges. */
#include "runtime/ops/attention.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

typedef enum range_kind { FULL, CAUSAL, PREFIX, WINDOW, PACKED, EMPTY_ROWS } range_kind;

typedef struct attention_row {
    size_t Tq, Tk, heads, kv_heads, D;
    double softcap;
    range_kind kind;
} attention_row;

static const attention_row rows[] = {
    { 1, 1, 1, 1, 1, 0, FULL },
    { 5, 5, 2, 2, 3, 0, CAUSAL },
    { 7, 9, 4, 2, 5, 0, PREFIX },
    { 9, 9, 6, 1, 4, 0, WINDOW },
    { 7, 9, 4, 2, 5, 2, EMPTY_ROWS },
    { 70, 70, 2, 1, 8, 0.5, PACKED },
    { 67, 150, 4, 2, 7, 0, CAUSAL },
    { 130, 140, 2, 2, 5, 3, WINDOW },
    { 130, 135, 3, 1, 4, 1, PREFIX },
    { 66, 131, 2, 1, 3, 0, EMPTY_ROWS },
    { 1, 40, 8, 2, 16, 0, FULL },
    /* several tiles of keys; the last two: also in parts */
    { 140, 2300, 4, 1, 3, 0, CAUSAL },
    { 1, 9000, 8, 2, 4, 0, FULL },
    { 5, 8500, 6, 2, 4, 1, EMPTY_ROWS },
};

enum { GRADCHECK_KEYS = 200 }; /* finite differences of longer texts take minutes */

typedef struct attention_case {
    attention_dims dims;
    size_t *lo, *hi;
    uint64_t *rows; /* their numbers, of dropout */
    double *q, *k, *v, *out, *dout;
    ops_scratch scratch;
} attention_case;

static double *array(size_t n, uint64_t seed)
{
    double *x = test_calloc(n, sizeof *x);
    gradcheck_fill(x, n, seed);
    return x;
}

static void fill_range(size_t *lo, size_t *hi, const attention_row *r, size_t t)
{
    const size_t causal = t + 1 + r->Tk - r->Tq; /* queries are the last rows */
    *lo = 0, *hi = r->Tk;
    switch (r->kind) {
    case FULL: break;
    case CAUSAL: *hi = causal; break;
    case PREFIX: *hi = causal > r->Tk / 2 ? causal : r->Tk / 2; break;
    case WINDOW: *hi = causal, *lo = causal > 4 ? causal - 4 : 0; break;
    case PACKED: *lo = t / 23 * 23, *hi = t + 1; break;
    case EMPTY_ROWS:
        *hi = causal;
        if (t % 3 == 1 || t >= 64) *lo = 2, *hi = t % 2;
        break;
    }
}

static attention_case case_of(const attention_row *r, size_t n_threads)
{
    const size_t nq = r->Tq * r->heads * r->D, nk = r->Tk * r->kv_heads * r->D;
    const attention_dims sizes = {
        .Tq = r->Tq, .Tk = r->Tk, .heads = r->heads, .kv_heads = r->kv_heads, .D = r->D
    };
    const size_t numel = attention_scratch(&sizes, n_threads);
    attention_case c = {
        .lo = test_calloc(r->Tq, sizeof(size_t)),
        .hi = test_calloc(r->Tq, sizeof(size_t)),
        .rows = test_calloc(r->Tq, sizeof(uint64_t)),
        .q = array(nq, 1),
        .k = array(nk, 2),
        .v = array(nk, 3),
        .out = array(nq, 4),
        .dout = array(nq, 5),
        .scratch = { test_calloc(numel, sizeof(real)), numel, n_threads },
    };
    for (size_t t = 0; t < r->Tq; t++) {
        fill_range(&c.lo[t], &c.hi[t], r, t);
        c.rows[t] = 5 * t;
    }
    c.dims = (attention_dims){ r->Tq, r->Tk,      r->heads, r->kv_heads, r->D,
                               0.7,   r->softcap, c.lo,     c.hi };
    return c;
}

/* Every row without dropout and with it. */
static attention_case case_number(size_t k)
{
    attention_case c = case_of(&rows[k / 2], 2);
    if (k % 2 != 0) c.dims.drop = (dropout){ 0.3, 7, c.rows };
    return c;
}

static void case_free(attention_case *c)
{
    test_free(c->lo), test_free(c->hi), test_free(c->rows), test_free(c->q),
        test_free(c->k);
    test_free(c->v), test_free(c->out), test_free(c->dout), test_free(c->scratch.data);
}

/* What dropout multiplies the probability of key j with, of query t and head h. */
static double kept(const attention_case *c, size_t t, size_t h, size_t j)
{
    const dropout *const drop = &c->dims.drop;
    double one = 1;
    if (drop->rate > 0)
        dropout_values(&one, &one, drop->rate, dropout_stream(drop, t, h),
                       j - c->dims.lo[t], 1, false);
    return one;
}

/* out (heads*D) of query t, by the formula */
static void plain_row(double *out, const attention_case *c, size_t t)
{
    const attention_dims *d = &c->dims;
    for (size_t h = 0; h < d->heads; h++) {
        const size_t g = h / (d->heads / d->kv_heads);
        double sum = 0;
        memset(out + h * d->D, 0, d->D * sizeof *out);
        for (size_t j = d->lo[t]; j < d->hi[t]; j++) {
            const double *k = c->k + (j * d->kv_heads + g) * d->D;
            const double *v = c->v + (j * d->kv_heads + g) * d->D;
            const double *q = c->q + (t * d->heads + h) * d->D;
            double s = d->scale * gradcheck_dot(q, k, d->D);
            if (d->softcap > 0) s = d->softcap * tanh(s / d->softcap);
            sum += exp(s);
            const double p = exp(s) * kept(c, t, h, j);
            for (size_t i = 0; i < d->D; i++) out[h * d->D + i] += p * v[i];
        }
        for (size_t i = 0; sum > 0 && i < d->D; i++) out[h * d->D + i] /= sum;
    }
}

static void attention_forward_equals_the_formula(void **state)
{
    double expected[128];
    (void)state;
    for (size_t k = 0; k < 2 * COUNT(rows); k++) {
        const size_t r = k / 2;
        attention_case c = case_number(k);
        const size_t width = rows[r].heads * rows[r].D;
        attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
        for (size_t t = 0; t < rows[r].Tq; t++) {
            plain_row(expected, &c, t);
            for (size_t i = 0; i < width; i++)
                ASSERT_CLOSE(c.out[t * width + i], expected[i],
                             1e-14 /* observed 9e-16 */);
        }
        case_free(&c);
    }
}

static void attention_forward_works_in_place(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT(rows); r++) {
        attention_case c = case_of(&rows[r], 2);
        attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
        attention_forward(c.q, c.q, c.k, c.v, &c.dims, &c.scratch);
        ASSERT_BYTES_EQUAL(c.q, c.out, rows[r].Tq * rows[r].heads * rows[r].D);
        case_free(&c);
    }
}

/* Keys and values in bf16 are those numbers. */
static void attention_reads_keys_as_they_are_stored(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2 * COUNT(rows); k++) {
        const size_t r = k / 2, n = rows[r].Tk * rows[r].kv_heads * rows[r].D;
        const size_t width = rows[r].Tq * rows[r].heads * rows[r].D;
        attention_case c = case_number(k);
        uint16_t *const keys = test_calloc(n, sizeof *keys);
        uint16_t *const values = test_calloc(n, sizeof *values);
        double *const stored = test_calloc(width, sizeof *stored);
        const lvlm_stored kept = { keys, LVLM_BF16 }, weighed = { values, LVLM_BF16 };
        stored_write(keys, LVLM_BF16, 0, c.k, n / 2);
        stored_write(keys, LVLM_BF16, n / 2, c.k + n / 2, n - n / 2);
        stored_write(values, LVLM_BF16, 0, c.v, n);
        for (size_t i = 0; i < n; i++) {
            const double before = c.k[i];
            stored_widen(&c.k[i], kept, i, 1);
            assert_true(fabs(c.k[i] - before) <= fabs(before) / 256);
        }
        stored_widen(c.v, weighed, 0, n);
        attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
        attention_forward_stored(stored, c.q, kept, weighed, &c.dims, &c.scratch);
        for (size_t i = 0; i < width; i++)
            ASSERT_CLOSE(stored[i], c.out[i], 1e-14 /* observed 0 */);
        test_free(keys), test_free(values), test_free(stored);
        case_free(&c);
    }
}

static void attention_never_reads_keys_outside_the_span(void **state)
{
    const attention_row row = { 4, 12, 2, 1, 3, 0, FULL };
    attention_case c = case_of(&row, 1);
    double dk[12 * 3] = { 0 }, dv[12 * 3] = { 0 }, dq[4 * 6] = { 0 };
    (void)state;
    for (size_t t = 0; t < 4; t++) c.lo[t] = 3 + t, c.hi[t] = 6 + t;
    for (size_t j = 0; j < 12; j++)
        for (size_t i = 0; i < 3; i++)
            if (j < 3 || j >= 9) c.k[j * 3 + i] = c.v[j * 3 + i] = (double)NAN;
    attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
    attention_backward(dq, dk, dv, c.dout, c.q, c.k, c.v, &c.dims, &c.scratch);
    for (size_t i = 0; i < 4 * 6; i++) assert_false(isnan(c.out[i]) || isnan(dq[i]));
    for (size_t i = 0; i < 12 * 3; i++) {
        assert_false(isnan(dk[i]) || isnan(dv[i]));
        if (i < 9 || i >= 27) assert_true(dk[i] == 0 && dv[i] == 0);
    }
    case_free(&c);
}

/* Two texts or frames: values of one never affect the other. */
static void attention_keeps_a_nan_in_its_range(void **state)
{
    enum { ROWS = 150, FIRST = 41, WIDTH = 6, KEYS = 3 };
    const attention_row row = { ROWS, ROWS, 2, 1, 3, 0, FULL };
    attention_case c = case_of(&row, 2);
    double dk[ROWS * KEYS] = { 0 }, dv[ROWS * KEYS] = { 0 }, dq[ROWS * WIDTH] = { 0 };
    (void)state;
    for (size_t t = 0; t < ROWS; t++) {
        c.lo[t] = t < FIRST ? 0 : FIRST;
        c.hi[t] = t < FIRST ? FIRST : t + 1;
    }
    const size_t nan_row = FIRST + 2; /* and all after it */
    for (size_t i = 0; i < KEYS; i++) {
        c.q[nan_row * WIDTH + i] = c.dout[nan_row * WIDTH + i] = (double)NAN;
        c.k[nan_row * KEYS + i] = c.v[nan_row * KEYS + i] = (double)NAN;
    }
    attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
    attention_backward(dq, dk, dv, c.dout, c.q, c.k, c.v, &c.dims, &c.scratch);
    for (size_t i = 0; i < FIRST * WIDTH; i++)
        assert_false(isnan(c.out[i]) || isnan(dq[i]));
    for (size_t i = 0; i < FIRST * KEYS; i++)
        assert_false(isnan(dk[i]) || isnan(dv[i]));
    assert_true(isnan(c.out[nan_row * WIDTH]) && isnan(dv[nan_row * KEYS]));
    case_free(&c);
}

/* For any length of a text; if a text is continued, it is a hundredth of the keys. */
static void attention_scratch_is_bounded(void **state)
{
    const attention_dims texts[] = {
        { .Tq = 3000, .Tk = 10000, .heads = 8, .kv_heads = 2, .D = 64 },
        { .Tq = 3000, .Tk = 300000, .heads = 8, .kv_heads = 2, .D = 64 },
    };
    const attention_dims row = {
        .Tq = 1, .Tk = 1024, .heads = 8, .kv_heads = 2, .D = 64
    };
    attention_dims longer = row;
    (void)state;
    longer.Tk = 1 << 20;
    assert_true(attention_scratch(&texts[0], 4) == attention_scratch(&texts[1], 4));
    assert_true(attention_scratch(&longer, 4) - attention_scratch(&row, 4) <
                longer.Tk * longer.kv_heads * longer.D / 100);
}

/* A text without an image has no keys in cross attention, and no array of them. */
static void attention_without_keys_is_zero(void **state)
{
    const size_t none[2] = { 0, 0 };
    const attention_dims dims = { 2, 0, 2, 1, 3, 1, 0, none, none };
    double out[12], dq[12] = { 0 };
    double *const q = array(12, 1);
    const size_t numel = attention_scratch(&dims, 1);
    const ops_scratch s = { test_calloc(numel, sizeof(real)), numel, 1 };
    (void)state;
    for (size_t i = 0; i < 12; i++) out[i] = NAN;
    attention_forward(out, q, NULL, NULL, &dims, &s);
    attention_backward(dq, NULL, NULL, out, q, NULL, NULL, &dims, &s);
    for (size_t i = 0; i < 12; i++) assert_true(out[i] == 0 && dq[i] == 0);
    test_free(q), test_free(s.data);
}

static void attention_survives_large_scores(void **state)
{
    const attention_row row = { 6, 6, 1, 1, 4, 0, CAUSAL };
    attention_case c = case_of(&row, 1);
    (void)state;
    for (size_t i = 0; i < 24; i++) c.q[i] *= 1e4, c.k[i] *= 1e4;
    attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
    for (size_t i = 0; i < 24; i++) assert_true(fabs(c.out[i]) <= 1);
    case_free(&c);
}

static double attention_loss(void *context)
{
    const attention_case *c = context;
    attention_forward(c->out, c->q, c->k, c->v, &c->dims, &c->scratch);
    return gradcheck_dot(c->out, c->dout, c->dims.Tq * c->dims.heads * c->dims.D);
}

static void attention_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2 * COUNT(rows); k++) {
        const size_t r = k / 2;
        if (rows[r].Tk > GRADCHECK_KEYS) continue;
        attention_case c = case_number(k);
        const size_t nq = rows[r].Tq * rows[r].heads * rows[r].D;
        const size_t nk = rows[r].Tk * rows[r].kv_heads * rows[r].D;
        double *dq = test_calloc(nq, 8), *dk = test_calloc(nk, 8);
        double *dv = test_calloc(nk, 8);
        attention_backward(dq, dk, dv, c.dout, c.q, c.k, c.v, &c.dims, &c.scratch);
        ASSERT_BELOW(gradcheck(attention_loss, &c, c.q, dq, nq),
                     1e-7 /* observed 1.4e-10 */);
        ASSERT_BELOW(gradcheck(attention_loss, &c, c.k, dk, nk),
                     1e-7 /* observed 3.3e-11 */);
        ASSERT_BELOW(gradcheck(attention_loss, &c, c.v, dv, nk),
                     1e-7 /* observed 3.2e-11 */);
        test_free(dq), test_free(dk), test_free(dv);
        case_free(&c);
    }
}

/* dq, dk, dv of query t and head h, by the formula */
static void plain_backward(double *dq, double *dk, double *dv, const attention_case *c,
                           size_t t, size_t h)
{
    const attention_dims *const d = &c->dims;
    const size_t g = h / (d->heads / d->kv_heads), n = d->kv_heads * d->D;
    const size_t at = (t * d->heads + h) * d->D;
    double sum = 0, delta = 0;
    for (int pass = 0; pass < 3; pass++)
        for (size_t j = d->lo[t]; j < d->hi[t]; j++) {
            const size_t of = j * n + g * d->D;
            double s = d->scale * gradcheck_dot(c->q + at, c->k + of, d->D), slope = 1;
            if (d->softcap > 0) {
                s = d->softcap * tanh(s / d->softcap);
                slope = 1 - s / d->softcap * s / d->softcap;
            }
            const double m = kept(c, t, h, j);
            const double dp = m * gradcheck_dot(c->dout + at, c->v + of, d->D);
            if (pass == 0) sum += exp(s);
            if (pass == 1) delta += exp(s) / sum * dp;
            const double ds = exp(s) / sum * (dp - delta) * slope * d->scale;
            for (size_t i = 0; pass == 2 && i < d->D; i++) {
                dq[at + i] += ds * c->k[of + i];
                dk[of + i] += ds * c->q[at + i];
                dv[of + i] += m * exp(s) / sum * c->dout[at + i];
            }
        }
}

static void attention_backward_equals_the_formula(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2 * COUNT(rows); k++) {
        const size_t r = k / 2;
        attention_case c = case_number(k);
        const size_t nq = rows[r].Tq * rows[r].heads * rows[r].D;
        const size_t nk = rows[r].Tk * rows[r].kv_heads * rows[r].D;
        double *const got = test_calloc(nq + 2 * nk, sizeof(double));
        double *const expected = test_calloc(nq + 2 * nk, sizeof(double));
        attention_backward(got, got + nq, got + nq + nk, c.dout, c.q, c.k, c.v, &c.dims,
                           &c.scratch);
        for (size_t i = 0; i < rows[r].Tq * rows[r].heads; i++)
            plain_backward(expected, expected + nq, expected + nq + nk, &c,
                           i / rows[r].heads, i % rows[r].heads);
        for (size_t i = 0; i < nq + 2 * nk; i++)
            ASSERT_CLOSE(got[i], expected[i], 1e-13 /* observed 2e-15 */);
        test_free(got), test_free(expected);
        case_free(&c);
    }
}

static void attention_backward_skips_and_accumulates(void **state)
{
    const attention_row row = { 67, 150, 4, 2, 7, 1, CAUSAL };
    attention_case c = case_of(&row, 2);
    const size_t nq = 67 * 28, nk = 150 * 14;
    double *all[3], *one[3];
    (void)state;
    for (size_t g = 0; g < 3; g++) {
        all[g] = array(g == 0 ? nq : nk, 9 + g);
        one[g] = array(g == 0 ? nq : nk, 9 + g);
    }
    attention_backward(all[0], all[1], all[2], c.dout, c.q, c.k, c.v, &c.dims,
                       &c.scratch);
    for (size_t g = 0; g < 3; g++)
        attention_backward(g == 0 ? one[0] : NULL, g == 1 ? one[1] : NULL,
                           g == 2 ? one[2] : NULL, c.dout, c.q, c.k, c.v, &c.dims,
                           &c.scratch);
    for (size_t g = 0; g < 3; g++) {
        ASSERT_BYTES_EQUAL(one[g], all[g], g == 0 ? nq : nk);
        test_free(all[g]), test_free(one[g]);
    }
    case_free(&c);
}

/* Many draws together are attention without dropout, and a single one is not. */
static void attention_keeps_its_mean_under_dropout(void **state)
{
    enum { DRAWS = 4000, WIDTH = 20 };
    const attention_row row = { 5, 9, 4, 2, 5, 0, PREFIX };
    attention_case c = case_of(&row, 2);
    double plain[5 * WIDTH], sum[5 * WIDTH] = { 0 }, most = 0;
    (void)state;
    attention_forward(plain, c.q, c.k, c.v, &c.dims, &c.scratch);
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        c.dims.drop = (dropout){ 0.25, draw << 32, c.rows };
        attention_forward(c.out, c.q, c.k, c.v, &c.dims, &c.scratch);
        for (size_t i = 0; i < 5 * WIDTH; i++) {
            sum[i] += c.out[i] / DRAWS;
            most = fmax(most, fabs(c.out[i] - plain[i]));
        }
    }
    for (size_t i = 0; i < 5 * WIDTH; i++)
        ASSERT_CLOSE(sum[i], plain[i], 0.03 /* five deviations; observed 0.009 */);
    assert_true(most > 0.1);
    case_free(&c);
}

/* A text loses the same wherever it is among others. */
static void attention_drops_by_numbers_of_rows(void **state)
{
    enum { ROWS = 40, MORE = 130, WIDTH = 6, KEYS = 3 };
    const attention_row alone = { ROWS, ROWS, 2, 1, 3, 0, CAUSAL };
    const attention_row both = { MORE, MORE, 2, 1, 3, 0, CAUSAL };
    attention_case a = case_of(&alone, 1), b = case_of(&both, 2);
    const size_t at = MORE - ROWS;
    (void)state;
    a.dims.drop = (dropout){ 0.3, 7, a.rows };
    b.dims.drop = (dropout){ 0.3, 7, b.rows };
    memcpy(b.q + at * WIDTH, a.q, ROWS * WIDTH * sizeof *a.q);
    memcpy(b.k + at * KEYS, a.k, ROWS * KEYS * sizeof *a.k);
    memcpy(b.v + at * KEYS, a.v, ROWS * KEYS * sizeof *a.v);
    for (size_t t = 0; t < ROWS; t++) {
        b.lo[at + t] = at;
        b.rows[at + t] = a.rows[t];
    }
    attention_forward(a.out, a.q, a.k, a.v, &a.dims, &a.scratch);
    attention_forward(b.out, b.q, b.k, b.v, &b.dims, &b.scratch);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        ASSERT_CLOSE(b.out[at * WIDTH + i], a.out[i], 1e-14 /* observed 5e-16 */);
    case_free(&a), case_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_forward_equals_the_formula),
        cmocka_unit_test(attention_forward_works_in_place),
        cmocka_unit_test(attention_reads_keys_as_they_are_stored),
        cmocka_unit_test(attention_never_reads_keys_outside_the_span),
        cmocka_unit_test(attention_keeps_a_nan_in_its_range),
        cmocka_unit_test(attention_scratch_is_bounded),
        cmocka_unit_test(attention_without_keys_is_zero),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(attention_gradients_are_slopes),
        cmocka_unit_test(attention_backward_equals_the_formula),
        cmocka_unit_test(attention_backward_skips_and_accumulates),
        cmocka_unit_test(attention_keeps_its_mean_under_dropout),
        cmocka_unit_test(attention_drops_by_numbers_of_rows),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
