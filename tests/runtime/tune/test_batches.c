/* test_batches.c - the order in which a run takes ready batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "runtime/tune/batches.h"
#include "tests/support/scratch.h"

enum { N = 7 };

/* A folder of N batches whose only tensor says which one it is; number 3 is longer. */
static void make_folder(scratch *s)
{
    scratch_make(s);
    for (int64_t i = 0; i < N; i++) {
        const int64_t values[2] = { i, i };
        char name[64], header[128];
        const int n = i == 3 ? 2 : 1;
        (void)snprintf(name, sizeof name, "batch-%03d.safetensors", (int)i);
        (void)snprintf(header, sizeof header,
                       "{\"i\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":"
                       "[0,%d]}}",
                       n, 8 * n);
        (void)scratch_safetensors(s, name, header, values, 8 * (size_t)n);
    }
    (void)scratch_write(s, "notes.txt", "x", 1);
}

static size_t next(lvlm_batch_source *source)
{
    lvlm_batch batch;
    lvlm_error err;
    if (source->next(source->self, &batch, &err) < 0) fail_msg("%s", err.text);
    const lvlm_tensor *const t = lvlm_checkpoint_find(batch.tensors, "i");
    assert_non_null(t);
    assert_string_equal(strrchr(batch.name, '.'), ".safetensors");
    return t->data[0];
}

static void open_folder(lvlm_batch_source *out, scratch *s, bool shuffled,
                        uint64_t seed)
{
    lvlm_error err;
    if (lvlm_batches_open(out, s->dir, shuffled, seed, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out->n, N);
}

static void batches_repeat_in_order(void **state)
{
    scratch s;
    lvlm_batch_source source;
    (void)state;
    make_folder(&s);
    open_folder(&source, &s, false, 0);
    assert_int_equal(source.largest, 3);
    for (size_t i = 0; i < 2 * N; i++) assert_int_equal(next(&source), i % N);
    assert_int_equal(source.seek(source.self, 3 * N + 5, NULL), 0);
    assert_int_equal(next(&source), 5);
    lvlm_batch_source_close(&source);
    scratch_remove(&s);
}

static void shuffled_epochs_hold_every_batch_once(void **state)
{
    enum { EPOCHS = 3 };
    size_t taken[EPOCHS * N];
    scratch s;
    lvlm_batch_source source;
    (void)state;
    make_folder(&s);
    open_folder(&source, &s, true, 5);
    for (size_t i = 0; i < EPOCHS * N; i++) taken[i] = next(&source);
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        unsigned seen = 0;
        for (size_t i = 0; i < N; i++) seen |= 1u << taken[epoch * N + i];
        assert_int_equal(seen, (1u << N) - 1);
    }
    assert_memory_not_equal(taken, taken + N, N * sizeof *taken);
    assert_int_equal(taken[source.largest], 3);
    /* the same from any start */
    for (size_t i = EPOCHS * N; i-- > 0;) {
        assert_int_equal(source.seek(source.self, i, NULL), 0);
        assert_int_equal(next(&source), taken[i]);
    }
    lvlm_batch_source_close(&source);
    scratch_remove(&s);
}

static void ids_differ_by_order_and_folder(void **state)
{
    scratch s;
    lvlm_batch_source plain, shuffled, other, again;
    (void)state;
    make_folder(&s);
    open_folder(&plain, &s, false, 0);
    open_folder(&shuffled, &s, true, 0);
    open_folder(&other, &s, true, 1);
    open_folder(&again, &s, true, 1);
    assert_string_not_equal(plain.id, shuffled.id);
    assert_string_not_equal(shuffled.id, other.id);
    assert_string_equal(other.id, again.id);
    lvlm_batch_source_close(&again);
    lvlm_batch_source_close(&other);
    lvlm_batch_source_close(&shuffled);
    (void)scratch_write(&s, "batch-007.safetensors", "x", 1);
    assert_int_equal(lvlm_batches_open(&again, s.dir, false, 0, NULL), 0);
    assert_string_not_equal(plain.id, again.id);
    lvlm_batch_source_close(&again);
    lvlm_batch_source_close(&plain);
    scratch_remove(&s);
}

static void an_empty_folder_is_refused(void **state)
{
    scratch s;
    lvlm_batch_source source;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    assert_int_equal(lvlm_batches_open(&source, s.dir, false, 0, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "holds no batch-NNN.safetensors"));
    lvlm_batch_source_close(&source);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_repeat_in_order),
        cmocka_unit_test(shuffled_epochs_hold_every_batch_once),
        cmocka_unit_test(ids_differ_by_order_and_folder),
        cmocka_unit_test(an_empty_folder_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
