/* test_order.c - every example once per epoch, similar lengths together, from any
 * start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/tune/order.h"

enum { N = 203, SIZE = 4, BATCHES = 51, EPOCHS = 3 };

static size_t lengths[N];

static void fill_lengths(void)
{
    for (size_t i = 0; i < N; i++) lengths[i] = 1 + (i * 7919) % 500;
}

static lvlm_order make(bool shuffled, uint64_t seed)
{
    lvlm_order o = { .n = N,
                     .batch_size = SIZE,
                     .lengths = lengths,
                     .shuffled = shuffled,
                     .seed = seed };
    fill_lengths();
    assert_int_equal(lvlm_order_init(&o, NULL), 0);
    assert_int_equal(o.n_batches, BATCHES);
    return o;
}

/* Batch number i; entries after its end are N. */
static void take(size_t batch[SIZE], lvlm_order *o, size_t i)
{
    const size_t *examples;
    size_t n;
    assert_int_equal(lvlm_order_batch(&examples, &n, o, i, NULL), 0);
    assert_true(n >= 1 && n <= SIZE);
    for (size_t k = 0; k < SIZE; k++) batch[k] = k < n ? examples[k] : N;
}

static void order_has_every_example_once_per_epoch(void **state)
{
    (void)state;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        lvlm_order o = make(shuffled, 5);
        for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
            size_t seen[N + 1] = { 0 }, batch[SIZE];
            for (size_t i = 0; i < BATCHES; i++) {
                take(batch, &o, epoch * BATCHES + i);
                for (size_t k = 0; k < SIZE; k++) seen[batch[k]]++;
            }
            for (size_t i = 0; i < N; i++) assert_int_equal(seen[i], 1);
            assert_int_equal(seen[N], BATCHES * SIZE - N);
        }
        lvlm_order_free(&o);
    }
}

static void order_is_that_of_the_file_without_a_shuffle(void **state)
{
    lvlm_order o = make(false, 5);
    size_t batch[SIZE];
    (void)state;
    for (size_t i = 0; i < 2 * BATCHES; i++) {
        take(batch, &o, i);
        for (size_t k = 0; k < SIZE && batch[k] < N; k++)
            assert_int_equal(batch[k], i % BATCHES * SIZE + k);
    }
    lvlm_order_free(&o);
}

static void order_can_start_at_any_batch(void **state)
{
    lvlm_order whole = make(true, 5);
    (void)state;
    for (size_t i = 0; i < EPOCHS * BATCHES; i++) {
        lvlm_order late = make(true, 5);
        size_t a[SIZE], b[SIZE];
        take(a, &whole, i);
        take(b, &late, i);
        assert_memory_equal(a, b, sizeof a);
        lvlm_order_free(&late);
    }
    lvlm_order_free(&whole);
}

/* How many batches of two orders are the same. */
static size_t n_equal(lvlm_order *x, lvlm_order *y, size_t shift)
{
    size_t n = 0;
    for (size_t i = 0; i < BATCHES; i++) {
        size_t a[SIZE], b[SIZE];
        take(a, x, i);
        take(b, y, i + shift);
        n += memcmp(a, b, sizeof a) == 0;
    }
    return n;
}

static void order_follows_the_seed_and_the_epoch(void **state)
{
    lvlm_order a = make(true, 5), b = make(true, 6), c = make(true, 5);
    (void)state;
    assert_true(n_equal(&a, &b, 0) < 3);       /* observed 0 of 51 */
    assert_true(n_equal(&a, &c, BATCHES) < 3); /* observed 0 */
    assert_int_equal(n_equal(&a, &c, 0), BATCHES);
    lvlm_order_free(&a);
    lvlm_order_free(&b);
    lvlm_order_free(&c);
}

/* Tokens of padding, if every batch is padded to its longest example. */
static size_t padding(lvlm_order *o)
{
    size_t sum = 0;
    for (size_t i = 0; i < BATCHES; i++) {
        size_t batch[SIZE], longest = 0;
        take(batch, o, i);
        for (size_t k = 0; k < SIZE && batch[k] < N; k++)
            if (lengths[batch[k]] > longest) longest = lengths[batch[k]];
        for (size_t k = 0; k < SIZE && batch[k] < N; k++)
            sum += longest - lengths[batch[k]];
    }
    return sum;
}

static void order_puts_similar_lengths_together(void **state)
{
    lvlm_order plain = make(false, 5), grouped = make(true, 5);
    (void)state;
    /* observed 33167 and 3585 beside 50460 tokens */
    assert_true(padding(&grouped) * 8 < padding(&plain));
    lvlm_order_free(&plain);
    lvlm_order_free(&grouped);
}

static void order_has_no_batch_larger_than_the_data(void **state)
{
    static const size_t two[] = { 3, 9 };
    lvlm_order o = { .n = 2, .batch_size = 8, .lengths = two, .shuffled = true };
    const size_t *examples;
    size_t n;
    (void)state;
    assert_int_equal(lvlm_order_init(&o, NULL), 0);
    assert_int_equal(o.n_batches, 1);
    assert_int_equal(lvlm_order_batch(&examples, &n, &o, 7, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(examples[0], 1); /* the longest first */
    lvlm_order_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_has_every_example_once_per_epoch),
        cmocka_unit_test(order_is_that_of_the_file_without_a_shuffle),
        cmocka_unit_test(order_can_start_at_any_batch),
        cmocka_unit_test(order_follows_the_seed_and_the_epoch),
        cmocka_unit_test(order_puts_similar_lengths_together),
        cmocka_unit_test(order_has_no_batch_larger_than_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
