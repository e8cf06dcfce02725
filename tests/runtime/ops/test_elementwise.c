/* test_elementwise.c - norms, activations, rope, softcap, sums: values, gradients. */
#include "runtime/ops/activation.h"
#include "runtime/ops/add.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rope.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

/* N, C */
static const size_t sizes[][2] = {
    { 1, 1 }, { 1, 7 }, { 5, 3 }, { 9, 65 }, { 33, 130 }
};

/* Inputs, output and upstream gradient of one op: x, u (N,C)  w, b (C)  y, dy (N,C) */
typedef struct op_case {
    size_t N, C;
    double *x, *u, *w, *b, *y, *dy, *dx, *du, *dw, *db;
    double offset; /* of rmsnorm, or softcap's cap */
    lvlm_activation act;
    ops_scratch scratch;
} op_case;

static double *array(size_t n, uint64_t seed)
{
    double *x = test_calloc(n, sizeof *x);
    if (seed != 0) gradcheck_fill(x, n, seed);
    return x;
}

static op_case case_of(size_t k)
{
    const size_t N = sizes[k][0], C = sizes[k][1], n = N * C;
    op_case c = { .N = N,
                  .C = C,
                  .x = array(n, 1),
                  .u = array(n, 2),
                  .w = array(C, 3),
                  .b = array(C, 4),
                  .y = array(n, 5),
                  .dy = array(n, 6),
                  .dx = array(n, 0),
                  .du = array(n, 0),
                  .dw = array(C, 0),
                  .db = array(C, 0),
                  .scratch = { array(norm_scratch(N), 7), norm_scratch(N), 2 } };
    return c;
}

static void case_free(op_case *c)
{
    double *all[] = { c->x,  c->u,  c->w,  c->b,  c->y,           c->dy,
                      c->dx, c->du, c->dw, c->db, c->scratch.data };
    for (size_t i = 0; i < COUNT(all); i++) test_free(all[i]);
}

static const double eps = 1e-6;

static double layernorm_loss(void *context)
{
    const op_case *c = context;
    layernorm_forward(c->y, c->x, c->w, c->b, eps, c->N, c->C);
    return gradcheck_dot(c->y, c->dy, c->N * c->C);
}

static double rmsnorm_loss(void *context)
{
    const op_case *c = context;
    rmsnorm_forward(c->y, c->x, c->w, c->offset, eps, c->N, c->C);
    return gradcheck_dot(c->y, c->dy, c->N * c->C);
}

static void norms_equal_their_formulas(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT(sizes); k++) {
        op_case c = case_of(k);
        for (size_t n = 0; n < c.N; n++) {
            const double *x = c.x + n * c.C;
            double mean = 0, var = 0, square = 0;
            for (size_t i = 0; i < c.C; i++) mean += x[i] / (double)c.C;
            for (size_t i = 0; i < c.C; i++) {
                var += (x[i] - mean) * (x[i] - mean) / (double)c.C;
                square += x[i] * x[i] / (double)c.C;
            }
            layernorm_loss(&c);
            for (size_t i = 0; i < c.C; i++)
                ASSERT_CLOSE(c.y[n * c.C + i],
                             (x[i] - mean) / sqrt(var + eps) * c.w[i] + c.b[i], 1e-13);
            c.offset = (double)(k % 2);
            rmsnorm_loss(&c);
            for (size_t i = 0; i < c.C; i++)
                ASSERT_CLOSE(c.y[n * c.C + i],
                             x[i] / sqrt(square + eps) * (c.offset + c.w[i]), 1e-13);
        }
        rmsnorm_forward(c.x, c.x, c.w, c.offset, eps, c.N, c.C); /* in place */
        ASSERT_BYTES_EQUAL(c.x, c.y, c.N * c.C);
        layernorm_loss(&c);
        layernorm_forward(c.x, c.x, c.w, c.b, eps, c.N, c.C);
        ASSERT_BYTES_EQUAL(c.x, c.y, c.N * c.C);
        case_free(&c);
    }
}

static void layernorm_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t k = 2; k < COUNT(sizes); k++) {
        op_case c = case_of(k);
        layernorm_backward(c.dx, c.dw, c.db, c.dy, c.x, c.w, eps, c.N, c.C, &c.scratch);
        ASSERT_BELOW(gradcheck(layernorm_loss, &c, c.x, c.dx, c.N * c.C),
                     1e-7 /* observed 2.7e-10 */);
        ASSERT_BELOW(gradcheck(layernorm_loss, &c, c.w, c.dw, c.C),
                     1e-7 /* observed 2.6e-11 */);
        ASSERT_BELOW(gradcheck(layernorm_loss, &c, c.b, c.db, c.C),
                     1e-7 /* observed 7.8e-12 */);
        case_free(&c);
    }
}

static void rmsnorm_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t k = 1; k < COUNT(sizes); k++)
        for (int gemma = 0; gemma < 2; gemma++) {
            op_case c = case_of(k);
            c.offset = gemma;
            rmsnorm_backward(c.dx, c.dw, c.dy, c.x, c.w, c.offset, eps, c.N, c.C,
                             &c.scratch);
            ASSERT_BELOW(gradcheck(rmsnorm_loss, &c, c.x, c.dx, c.N * c.C),
                         1e-7 /* observed 2.5e-10 */);
            ASSERT_BELOW(gradcheck(rmsnorm_loss, &c, c.w, c.dw, c.C),
                         1e-7 /* observed 8.1e-11 */);
            case_free(&c);
        }
}

static double plain_activation(lvlm_activation act, double x)
{
    switch (act) {
    case LVLM_ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case LVLM_ACTIVATION_GELU: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case LVLM_ACTIVATION_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case LVLM_ACTIVATION_SILU: return x / (1 + exp(-x));
    case LVLM_ACTIVATION_RELU: return x > 0 ? x : 0;
    case LVLM_ACTIVATION_IDENTITY: return x;
    default: fail(); return 0;
    }
}

/* From both tails, where tanh is +-1, through 0. */
static void activations_equal_their_formulas(void **state)
{
    enum { N = 4001 };
    static double x[N], y[N], u[N], gated[N];
    (void)state;
    for (size_t i = 0; i < N; i++) x[i] = ((double)i - N / 2) * 0.02;
    x[0] = -1e4, x[N - 1] = 1e4;
    gradcheck_fill(u, N, 1);
    for (int act = 0; act < LVLM_N_ACTIVATIONS; act++) {
        activation_forward(y, x, NULL, (lvlm_activation)act, N);
        activation_forward(gated, x, u, (lvlm_activation)act, N);
        for (size_t i = 0; i < N; i++) {
            ASSERT_CLOSE(y[i], plain_activation((lvlm_activation)act, x[i]), 1e-15);
            assert_true(gated[i] == y[i] * u[i]);
        }
        activation_forward(u, x, u, (lvlm_activation)act, N);
        ASSERT_BYTES_EQUAL(u, gated, N);
        activation_forward(x, x, NULL, (lvlm_activation)act, N);
        ASSERT_BYTES_EQUAL(x, y, N);
        for (size_t i = 0; i < N; i++) x[i] = ((double)i - N / 2) * 0.02;
    }
}

static double activation_loss(void *context)
{
    const op_case *c = context;
    activation_forward(c->y, c->x, NULL, c->act, c->N * c->C);
    return gradcheck_dot(c->y, c->dy, c->N * c->C);
}

static double gated_loss(void *context)
{
    const op_case *c = context;
    activation_forward(c->y, c->x, c->u, c->act, c->N * c->C);
    return gradcheck_dot(c->y, c->dy, c->N * c->C);
}

static void activation_gradients_are_slopes(void **state)
{
    static const double scales[] = { 0.1, 1, 5, 40 }; /* 40: most values saturate */
    const size_t n_inputs = COUNT(sizes) * COUNT(scales);
    (void)state;
    for (size_t k = 0; k < n_inputs * LVLM_N_ACTIVATIONS; k++) {
        op_case c = case_of(k % n_inputs / COUNT(scales));
        const size_t n = c.N * c.C;
        const lvlm_activation act = c.act = (lvlm_activation)(k / n_inputs);
        for (size_t i = 0; i < n; i++) c.x[i] *= scales[k % COUNT(scales)];
        for (size_t i = 0; act == LVLM_ACTIVATION_RELU && i < n; i++)
            c.x[i] += c.x[i] < 0 ? -0.1 : 0.1; /* away from the kink */
        activation_backward(c.dx, NULL, c.dy, c.x, NULL, act, n);
        ASSERT_BELOW(gradcheck(activation_loss, &c, c.x, c.dx, n),
                     1e-7 /* observed 5.8e-11 */);
        memset(c.dx, 0, n * sizeof *c.dx);
        activation_backward(c.dx, c.du, c.dy, c.x, c.u, act, n);
        ASSERT_BELOW(gradcheck(gated_loss, &c, c.x, c.dx, n),
                     1e-7 /* observed 2.9e-10 */);
        ASSERT_BELOW(gradcheck(gated_loss, &c, c.u, c.du, n),
                     1e-7 /* observed 1.8e-11 */);
        case_free(&c);
    }
}

static void activation_slopes_stay_finite(void **state)
{
    const double x[] = { -1e30, -1e3, -40, 40, 1e3, 1e30 }, dy[] = { 1, 1, 1, 1, 1, 1 };
    const double expected[] = { 0, 0, 0, 1, 1, 1 };
    double dx[6] = { 0 };
    (void)state;
    activation_backward(dx, NULL, dy, x, NULL, LVLM_ACTIVATION_GELU_TANH, 6);
    for (size_t i = 1; i < 5; i++) ASSERT_CLOSE(dx[i], expected[i], 1e-15);
}

static void softcap_equals_its_formula(void **state)
{
    static const double caps[] = { 0.1, 0.7, 30 }; /* 0.1: most values saturate */
    (void)state;
    for (size_t k = 0; k < COUNT(sizes) * COUNT(caps); k++) {
        op_case c = case_of(k / COUNT(caps));
        const double cap = caps[k % COUNT(caps)];
        const size_t n = c.N * c.C;
        softcap_forward(c.y, c.x, cap, n);
        for (size_t i = 0; i < n; i++)
            ASSERT_CLOSE(c.y[i], cap * tanh(c.x[i] / cap), 1e-15);
        softcap_forward(c.x, c.x, cap, n);
        assert_memory_equal(c.x, c.y, n * sizeof *c.x);
        case_free(&c);
    }
}

/* The formula, without rounding to f32: at position 1000003 an angle in f32 would be
 * off by 0.03. */
static void rope_table_is_double(void **state)
{
    const int64_t positions[] = { 0, 1, 1000003 };
    double c[12], s[12], inv_freq[4];
    (void)state;
    rope_frequencies(inv_freq, 4, 10000);
    rope_table(c, s, positions, NULL, inv_freq, 3, 4);
    for (size_t j = 0; j < 4; j++) {
        const double inv = 1 / pow(10000, 0.25 * (double)j);
        assert_true(c[j] == 1 && s[j] == 0);
        for (size_t n = 0; n < 3; n++) {
            assert_true(c[n * 4 + j] == cos((double)positions[n] * inv));
            assert_true(s[n * 4 + j] == sin((double)positions[n] * inv));
        }
    }
}

/* Each pair uses the position of its axis. */
static void rope_table_rotates_pairs_by_their_axes(void **state)
{
    const int64_t positions[] = { 5, 6, 70, 80, 900, 1000 }; /* two rows, three axes */
    const unsigned char axis[4] = { 0, 1, 1, 2 };
    const double inv_freq[4] = { 1, 0.5, 0.25, 0.125 };
    double c[8], s[8];
    (void)state;
    rope_table(c, s, positions, axis, inv_freq, 2, 4);
    for (size_t n = 0; n < 2; n++)
        for (size_t j = 0; j < 4; j++) {
            const double angle = (double)positions[axis[j] * 2 + n] * inv_freq[j];
            assert_true(c[n * 4 + j] == cos(angle));
            assert_true(s[n * 4 + j] == sin(angle));
        }
}

/* Llama 3.1's own: 29 pairs kept, 6 blended, the others 8 times as slow. */
static void rope_scaling_equals_llama3s(void **state)
{
    double plain[64], scaled[64];
    (void)state;
    rope_frequencies(plain, 64, 500000);
    memcpy(scaled, plain, sizeof plain);
    rope_scale_llama3(scaled, 64, 8, 1, 4, 8192);
    for (size_t j = 0; j < 64; j++) {
        if (j < 29) assert_true(scaled[j] == plain[j]);
        if (j >= 29 && j < 35)
            assert_true(scaled[j] < plain[j] && scaled[j] > plain[j] / 8);
        if (j >= 35) assert_true(scaled[j] == plain[j] / 8);
    }
    ASSERT_CLOSE(scaled[28], 0.0032114459947525909, 1e-15);
    ASSERT_CLOSE(scaled[34], 0.00017850781276799641, 1e-15);
    ASSERT_CLOSE(scaled[63], 3.0689259889145111e-07, 1e-15);
}

typedef struct rope_case {
    double *x, *y, *dy, *c, *s;
} rope_case;

enum { ROPE_N = 5, ROPE_HEADS = 3, ROPE_D = 10, ROPE_X = ROPE_N * ROPE_HEADS * ROPE_D };

static double rope_loss(void *context)
{
    const rope_case *r = context;
    rope_forward(r->y, r->x, r->c, r->s, ROPE_N, ROPE_HEADS, ROPE_D);
    return gradcheck_dot(r->y, r->dy, ROPE_X);
}

static void rope_rotates_inverts_and_has_its_slope(void **state)
{
    static double c[ROPE_N * ROPE_D / 2], s[ROPE_N * ROPE_D / 2];
    static double dx[ROPE_X], in[ROPE_X];
    const int64_t positions[ROPE_N] = { 0, 1, 7, 100, 8191 };
    rope_case r = { array(ROPE_X, 1), array(ROPE_X, 2), array(ROPE_X, 3), c, s };
    (void)state;
    double inv_freq[ROPE_D / 2];
    rope_frequencies(inv_freq, ROPE_D / 2, 10000);
    rope_table(c, s, positions, NULL, inv_freq, ROPE_N, ROPE_D / 2);
    rope_loss(&r);
    for (size_t i = 0; i < ROPE_X; i++) {
        const size_t n = i / (ROPE_HEADS * ROPE_D), j = i % ROPE_D % 5;
        const double other = i % ROPE_D < 5 ? -r.x[i + 5] : r.x[i - 5];
        ASSERT_CLOSE(r.y[i], r.x[i] * c[n * 5 + j] + other * s[n * 5 + j], 1e-15);
    }
    memcpy(in, r.x, sizeof in);
    rope_forward(in, in, c, s, ROPE_N, ROPE_HEADS, ROPE_D);
    ASSERT_BYTES_EQUAL(in, r.y, ROPE_X);
    rope_backward(dx, r.dy, c, s, ROPE_N, ROPE_HEADS, ROPE_D);
    ASSERT_BELOW(gradcheck(rope_loss, &r, r.x, dx, ROPE_X),
                 1e-7 /* observed 1.2e-12 */);
    rope_backward(r.dy, r.dy, c, s, ROPE_N, ROPE_HEADS, ROPE_D);
    ASSERT_BYTES_EQUAL(r.dy, dx, ROPE_X);
    test_free(r.x), test_free(r.y), test_free(r.dy);
}

static void add_and_add_rows_equal_their_sums(void **state)
{
    enum { N = 6, R = 3, C = 5 };
    double y[N * C], x[N * C], old[N * C], table[R * C], dtable[R * C] = { 0 };
    (void)state;
    gradcheck_fill(y, N * C, 1), gradcheck_fill(x, N * C, 2);
    gradcheck_fill(table, R * C, 3);
    memcpy(old, y, sizeof y);
    add_forward(y, x, N * C);
    for (size_t i = 0; i < N * C; i++) assert_true(y[i] == old[i] + x[i]);
    memcpy(old, y, sizeof y);
    add_rows_forward(y, table, N, R, C);
    for (size_t i = 0; i < N * C; i++) assert_true(y[i] == old[i] + table[i % (R * C)]);
    add_rows_backward(dtable, x, N, R, C);
    for (size_t i = 0; i < R * C; i++) assert_true(dtable[i] == x[i] + x[i + R * C]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_equal_their_formulas),
        cmocka_unit_test(layernorm_gradients_are_slopes),
        cmocka_unit_test(rmsnorm_gradients_are_slopes),
        cmocka_unit_test(activations_equal_their_formulas),
        cmocka_unit_test(activation_gradients_are_slopes),
        cmocka_unit_test(activation_slopes_stay_finite),
        cmocka_unit_test(softcap_equals_its_formula),
        cmocka_unit_test(rope_table_is_double),
        cmocka_unit_test(rope_table_rotates_pairs_by_their_axes),
        cmocka_unit_test(rope_scaling_equals_llama3s),
        cmocka_unit_test(rope_rotates_inverts_and_has_its_slope),
        cmocka_unit_test(add_and_add_rows_equal_their_sums),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
