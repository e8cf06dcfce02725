/* test_rows.c - embedding, patches, dropped rows and cross entropy: formulas and
 * gradients. */
#include "formats/container/numeric.h"
#include "runtime/ops/embed.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/patchify.h"
#include "runtime/ops/rows.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

enum { N = 7, V = 5, C = 70 };
static const int64_t ids[N] = { 4, 0, 4, -1, 2, 4, 0 }; /* repeated, and one skipped */

typedef struct embed_case {
    double table[V * C], y[N * C], dy[N * C];
} embed_case;

static double embed_loss(void *context)
{
    embed_case *c = context;
    embed_forward(c->y, (lvlm_stored){ c->table, LVLM_F64 }, ids, 1.5, N, V, C);
    return gradcheck_dot(c->y, c->dy, N * C);
}

static void embed_equals_its_formula_and_slope(void **state)
{
    embed_case c;
    double dtable[V * C] = { 0 };
    (void)state;
    gradcheck_fill(c.table, V * C, 1), gradcheck_fill(c.dy, N * C, 2);
    embed_loss(&c);
    for (size_t i = 0; i < N * C; i++)
        assert_true(
            c.y[i] ==
            (ids[i / C] < 0 ? 0 : 1.5 * c.table[(size_t)ids[i / C] * C + i % C]));
    embed_backward(dtable, c.dy, ids, -1, 1.5, N, V, C);
    ASSERT_BELOW(gradcheck(embed_loss, &c, c.table, dtable, V * C),
                 1e-7 /* observed 6.7e-13 */);
}

/* torch's padding_idx: embedded like any other id, without a gradient. */
static void embed_gives_padding_no_gradient(void **state)
{
    double all[V * C] = { 0 }, but_one[V * C] = { 0 }, dy[N * C];
    const int64_t pad = ids[0];
    (void)state;
    gradcheck_fill(dy, N * C, 2);
    embed_backward(all, dy, ids, -1, 1.5, N, V, C);
    embed_backward(but_one, dy, ids, pad, 1.5, N, V, C);
    for (size_t i = 0; i < V * C; i++)
        assert_true(but_one[i] == (i / C == (size_t)pad ? 0 : all[i]));
    assert_true(all[(size_t)pad * C] != 0);
}

static void embed_widens_stored_tables(void **state)
{
    double table[V * C], y[N * C];
    uint16_t stored[V * C];
    (void)state;
    gradcheck_fill(table, V * C, 1);
    lvlm_convert_values(stored, LVLM_BF16, table, LVLM_F64, V * C);
    embed_forward(y, (lvlm_stored){ stored, LVLM_BF16 }, ids, 1, N, V, C);
    for (size_t i = 0; i < N * C; i++)
        if (ids[i / C] >= 0) {
            const size_t at = (size_t)ids[i / C] * C + i % C;
            assert_true(y[i] == (double)lvlm_f32_of_bf16(stored[at]));
        }
}

enum { CHANNELS = 3, SY = 7, SX = 11, SIDE = 3, PY = SY / SIDE, PX = SX / SIDE };
enum { IMAGE = CHANNELS * SY * SX, ROWS = PY * PX * CHANNELS * SIDE * SIDE };

static void patchify_cuts_rows_of_patches(void **state)
{
    double image[IMAGE], rows[ROWS];
    size_t i = 0;
    (void)state;
    gradcheck_fill(image, IMAGE, 1);
    patchify_forward(rows, image, CHANNELS, SY, SX, SIDE);
    for (size_t py = 0; py < PY; py++)
        for (size_t px = 0; px < PX; px++)
            for (size_t c = 0; c < CHANNELS; c++)
                for (size_t y = 0; y < SIDE; y++)
                    for (size_t x = 0; x < SIDE; x++) {
                        const size_t line = c * SY + py * SIDE + y;
                        assert_true(rows[i++] == image[line * SX + px * SIDE + x]);
                    }
}

/* In place, forward and backward, with and without the first and the last row. */
static void selected_rows_return_to_their_places(void **state)
{
    static const size_t some[] = { 1, 2, 5 }, ends[] = { 0, 3, N - 1 };
    static const size_t *const lists[] = { some, ends };
    double x[N * C], rows[N * C];
    (void)state;
    gradcheck_fill(x, N * C, 1);
    for (size_t l = 0; l < COUNT(lists); l++) {
        const size_t *const at = lists[l];
        memcpy(rows, x, sizeof rows);
        select_rows_forward(rows, at, 3, C);
        for (size_t n = 0; n < 3; n++)
            assert_memory_equal(rows + n * C, x + at[n] * C, C * sizeof *x);
        select_rows_backward(rows, at, 3, N, C);
        for (size_t n = 0; n < N; n++) {
            const bool is_in = n == at[0] || n == at[1] || n == at[2];
            for (size_t c = 0; c < C; c++)
                assert_true(rows[n * C + c] == (is_in ? x[n * C + c] : 0));
        }
    }
}

enum { LOGITS_N = 5, LOGITS_V = 1031 };
static const int64_t targets[LOGITS_N] = { 0, -100, 1030, 17, 512 };

typedef struct entropy_case {
    double x[LOGITS_N * LOGITS_V], logits[LOGITS_N * LOGITS_V], loss[LOGITS_N];
    double scale, cap;
} entropy_case;

static double entropy_loss(void *context)
{
    entropy_case *c = context;
    double sum = 0;
    memcpy(c->logits, c->x, sizeof c->x);
    if (c->cap > 0) softcap_forward(c->logits, c->x, c->cap, COUNT(c->x));
    cross_entropy_forward(c->loss, c->logits, targets, LOGITS_N, LOGITS_V);
    for (size_t n = 0; n < LOGITS_N; n++) sum += c->scale * c->loss[n];
    return sum;
}

static void check_gradient(entropy_case *c)
{
    double loss[LOGITS_N];
    entropy_loss(c);
    memcpy(loss, c->loss, sizeof loss);
    static double dx[LOGITS_N * LOGITS_V];
    memcpy(dx, c->logits, sizeof dx);
    cross_entropy_gradient(c->loss, dx, targets, c->scale, c->cap, LOGITS_N, LOGITS_V);
    assert_memory_equal(c->loss, loss, sizeof loss);
    ASSERT_BELOW(gradcheck(entropy_loss, c, c->x, dx, COUNT(dx)),
                 1e-7 /* observed 4.2e-11 */);
    for (size_t v = 0; v < LOGITS_V; v++) assert_true(dx[LOGITS_V + v] == 0);
}

static void cross_entropy_equals_its_formula_and_slope(void **state)
{
    static entropy_case c = { .scale = 0.3 };
    (void)state;
    gradcheck_fill(c.x, COUNT(c.x), 1);
    for (size_t i = 0; i < COUNT(c.x); i++) c.x[i] *= 8;
    entropy_loss(&c);
    for (size_t n = 0; n < LOGITS_N; n++) {
        const double *const x = c.x + n * LOGITS_V;
        double sum = 0;
        for (size_t v = 0; v < LOGITS_V; v++) sum += exp(x[v]);
        if (targets[n] < 0)
            assert_true(c.loss[n] == 0);
        else
            ASSERT_CLOSE(c.loss[n], log(sum) - x[(size_t)targets[n]], 1e-14);
    }
    check_gradient(&c);
    c.cap = 5;
    check_gradient(&c);
}

static void cross_entropy_is_stable(void **state)
{
    double logits[] = { 1e5, 0, -1e5, -1e5, 0, 1e5 };
    const int64_t target[] = { 0, 0 };
    double loss[2];
    (void)state;
    cross_entropy_gradient(loss, logits, target, 1, 0, 2, 3);
    ASSERT_CLOSE(loss[0], 0, 1e-15);
    ASSERT_CLOSE(loss[1], 2e5, 1e-15);
    ASSERT_CLOSE(logits[0], 0, 1e-15);
    ASSERT_CLOSE(logits[3], -1, 1e-15);
    ASSERT_CLOSE(logits[5], 1, 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_equals_its_formula_and_slope),
        cmocka_unit_test(embed_gives_padding_no_gradient),
        cmocka_unit_test(embed_widens_stored_tables),
        cmocka_unit_test(patchify_cuts_rows_of_patches),
        cmocka_unit_test(selected_rows_return_to_their_places),
        cmocka_unit_test(cross_entropy_equals_its_formula_and_slope),
        cmocka_unit_test(cross_entropy_is_stable),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
