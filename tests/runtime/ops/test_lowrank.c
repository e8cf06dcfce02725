/* test_lowrank.c - a low-rank pair compared with plain loops, gradients, dropout. */
#include "runtime/ops/lowrank.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

/* N, I, O, r: one, odd, and more than one tile each way */
static const size_t sizes[][4] = {
    { 1, 1, 1, 1 },    { 3, 17, 5, 2 },  { 70, 31, 300, 3 },
    { 20, 270, 9, 7 }, { 530, 9, 4, 2 },
};

typedef struct pair {
    double *x, *a, *b, *y, *dy;
    size_t N, I, O;
    lowrank w;
    ops_scratch scratch;
} pair;

static double *array(size_t n, uint64_t seed)
{
    double *x = test_calloc(n, sizeof *x);
    gradcheck_fill(x, n, seed);
    return x;
}

static pair make(const size_t size[4], const lowrank_noise *noise)
{
    const size_t N = size[0], I = size[1], O = size[2], r = size[3];
    pair p = { .N = N, .I = I, .O = O };
    p.x = array(N * I, 1);
    p.a = array(r * I, 2);
    p.b = array(O * r, 3);
    p.y = array(N * O, 4);
    p.dy = array(N * O, 5);
    p.w = (lowrank){ .a = p.a, .b = p.b, .r = r, .scale = 0.7, .noise = noise };
    p.scratch.numel = lowrank_scratch(I, r, 2);
    p.scratch.data = array(p.scratch.numel, 6); /* arbitrary contents */
    p.scratch.n_threads = 2;
    return p;
}

static void unmake(pair *p)
{
    test_free(p->x), test_free(p->a), test_free(p->b), test_free(p->y);
    test_free(p->dy), test_free(p->scratch.data);
}

/* A row's bits do not depend on the few beside it. */
static void few_rows_are_as_one(void **state)
{
    static const size_t size[] = { 8, 270, 300, 7 };
    (void)state;
    pair p = make(size, NULL);
    double *one = array(p.N * p.O, 4);
    lowrank_forward(p.y, p.x, &p.w, p.N, p.I, p.O, &p.scratch);
    for (size_t n = 0; n < p.N; n++)
        lowrank_forward(one + n * p.O, p.x + n * p.I, &p.w, 1, p.I, p.O, &p.scratch);
    assert_memory_equal(p.y, one, p.N * p.O * sizeof *one);
    test_free(one);
    unmake(&p);
}

static void forward_equals_two_products(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT(sizes); k++) {
        pair p = make(sizes[k], NULL);
        double *before = array(p.N * p.O, 4);
        lowrank_forward(p.y, p.x, &p.w, p.N, p.I, p.O, &p.scratch);
        for (size_t n = 0; n < p.N; n++)
            for (size_t o = 0; o < p.O; o++) {
                double sum = 0;
                for (size_t j = 0; j < p.w.r; j++) {
                    double h = 0;
                    for (size_t i = 0; i < p.I; i++)
                        h += p.x[n * p.I + i] * p.a[j * p.I + i];
                    sum += h * p.b[o * p.w.r + j];
                }
                ASSERT_CLOSE(p.y[n * p.O + o], before[n * p.O + o] + 0.7 * sum,
                             1e-13 /* observed 2e-14 */);
            }
        test_free(before);
        unmake(&p);
    }
}

static double loss(void *context)
{
    const pair *p = context;
    memset(p->y, 0, p->N * p->O * sizeof *p->y);
    lowrank_forward(p->y, p->x, &p->w, p->N, p->I, p->O, &p->scratch);
    return gradcheck_dot(p->y, p->dy, p->N * p->O);
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    const lowrank_noise noise = { true, 0.3, 99 };
    for (size_t k = 0; k < 2 * COUNT(sizes); k++) {
        pair p = make(sizes[k / 2], k % 2 == 0 ? NULL : &noise);
        const size_t r = p.w.r;
        double *dx = test_calloc(p.N * p.I, 8), *da = test_calloc(r * p.I, 8);
        double *db = test_calloc(p.O * r, 8);
        p.w.da = da;
        p.w.db = db;
        lowrank_backward(dx, p.dy, p.x, &p.w, p.N, p.I, p.O, &p.scratch);
        ASSERT_BELOW(gradcheck(loss, &p, p.x, dx, p.N * p.I),
                     1e-7 /* observed 1.1e-11 */);
        ASSERT_BELOW(gradcheck(loss, &p, p.a, da, r * p.I),
                     1e-7 /* observed 9.4e-12 */);
        ASSERT_BELOW(gradcheck(loss, &p, p.b, db, p.O * r),
                     1e-7 /* observed 2.5e-10 */);
        test_free(dx), test_free(da), test_free(db);
        unmake(&p);
    }
}

static void backward_accumulates_only_requested_gradients(void **state)
{
    (void)state;
    pair p = make(sizes[1], NULL);
    const size_t r = p.w.r;
    double *once = test_calloc(r * p.I, 8), *twice = test_calloc(r * p.I, 8);
    p.w.da = once;
    lowrank_backward(NULL, p.dy, p.x, &p.w, p.N, p.I, p.O, &p.scratch);
    p.w.da = twice;
    for (int i = 0; i < 2; i++)
        lowrank_backward(NULL, p.dy, p.x, &p.w, p.N, p.I, p.O, &p.scratch);
    for (size_t i = 0; i < r * p.I; i++) ASSERT_CLOSE(twice[i], 2 * once[i], 1e-15);
    test_free(once), test_free(twice);
    unmake(&p);
}

/* With identity A and B, y is x after dropout. */
static void drop_of_ones(double *y, const lowrank_noise *noise, uint64_t stream)
{
    enum { N = 300, I = 40 };
    static double ones[N * I], eye[I * I];
    for (size_t i = 0; i < (size_t)N * I; i++) ones[i] = 1;
    for (size_t i = 0; i < I; i++) eye[i * I + i] = 1;
    const lowrank w = {
        .a = eye, .b = eye, .r = I, .scale = 1, .noise = noise, .stream = stream
    };
    ops_scratch scratch = { .numel = lowrank_scratch(I, I, 2), .n_threads = 2 };
    scratch.data = test_calloc(scratch.numel, sizeof(double));
    memset(y, 0, (size_t)N * I * sizeof *y);
    lowrank_forward(y, ones, &w, N, I, I, &scratch);
    test_free(scratch.data);
}

static void dropout_keeps_the_mean(void **state)
{
    enum { n = 300 * 40 };
    static double y[n], same[n], other[n], stream[n];
    (void)state;
    for (int tenths = 1; tenths < 10; tenths += 4) {
        const double rate = tenths / 10.0;
        const lowrank_noise noise = { true, rate, 7 }, next = { true, rate, 8 };
        size_t n_zero = 0, n_same = 0, n_stream = 0;
        drop_of_ones(y, &noise, 1);
        drop_of_ones(same, &noise, 1);
        drop_of_ones(other, &next, 1);
        drop_of_ones(stream, &noise, 2);
        ASSERT_BYTES_EQUAL(y, same, n);
        for (size_t i = 0; i < n; i++) {
            n_zero += y[i] == 0;
            n_same += (y[i] == 0) == (other[i] == 0);
            n_stream += (y[i] == 0) == (stream[i] == 0);
            if (y[i] != 0) ASSERT_CLOSE(y[i], 1 / (1 - rate), 1e-15);
        }
        /* four standard deviations of a fair draw */
        const double spread = 4 * sqrt(rate * (1 - rate) / n);
        const double agree = rate * rate + (1 - rate) * (1 - rate);
        ASSERT_BELOW(fabs((double)n_zero / n - rate), spread);
        ASSERT_BELOW(fabs((double)n_same / n - agree), 4 * sqrt(0.25 / n));
        ASSERT_BELOW(fabs((double)n_stream / n - agree), 4 * sqrt(0.25 / n));
    }
}

static void no_dropout_outside_of_training(void **state)
{
    enum { n = 300 * 40 };
    static double y[n];
    const lowrank_noise off = { false, 0.5, 7 }, none = { true, 0, 7 };
    (void)state;
    drop_of_ones(y, &off, 1);
    for (size_t i = 0; i < n; i++) assert_true(y[i] == 1);
    drop_of_ones(y, &none, 1);
    for (size_t i = 0; i < n; i++) assert_true(y[i] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_equals_two_products),
        cmocka_unit_test(few_rows_are_as_one),
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(backward_accumulates_only_requested_gradients),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(no_dropout_outside_of_training),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
