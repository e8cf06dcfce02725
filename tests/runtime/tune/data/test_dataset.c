/* test_dataset.c - files of training data as batches: what is in them, what is left
 * out, and that they are the same bytes from any start. */
#include "tests/runtime/tune/data/dataset_bench.h"

/* ---- what is in a batch --------------------------------------------------------- */

static void dataset_batches_are_padded_on_the_right(void **state)
{
    static const wanted two = { .model = MODEL("paligemma"),
                                .text = ASKED("caption en", "a cat") ASKED("a", "b"),
                                .batch_size = 2 };
    bench b;
    (void)state;
    open_well(&b, &two);
    lvlm_dataset_batch *const batch = make(&b, 0);
    const lvlm_tensor *const ids = tensor(batch, "input_ids"),
                             *mask = tensor(batch, "attention_mask"),
                             *types = tensor(batch, "token_type_ids"),
                             *labels = tensor(batch, "labels");
    const size_t T = (size_t)ids->shape.dims[1];
    assert_int_equal(ids->shape.dims[0], 2);
    assert_int_equal(tensor(batch, "pixel_values")->shape.dims[0], 2);
    for (size_t row = 0, n; row < 2; row++) {
        for (n = 0; n < T && cell(mask, row, n) == 1;) n++;
        assert_true(row == 0 ? n == T : n < T);
        for (size_t t = 0; t < T; t++) {
            const bool learnt = cell(labels, row, t) != LVLM_IGNORE_LABEL;
            assert_int_equal(cell(mask, row, t), t < n);
            assert_int_equal(learnt, cell(types, row, t) == 1);
            if (learnt) assert_int_equal(cell(labels, row, t), cell(ids, row, t));
            if (t >= n) assert_false(learnt);
        }
        assert_int_equal(cell(labels, row, n - 1), 1); /* eos */
    }
    lvlm_dataset_batch_free(batch);
    close_bench(&b);
}

/* Row `row` of a batch is what the example gives by itself, padded or cut at T. */
static void check_row(const lvlm_dataset_batch *batch, size_t row,
                      const lvlm_dataset_batch *alone)
{
    static const char *const names[] = { "input_ids", "attention_mask", "labels" };
    static const int64_t padding[] = { -1, 0, LVLM_IGNORE_LABEL };
    for (size_t i = 0; i < 3; i++) {
        const lvlm_tensor *const a = tensor(batch, names[i]), *const b = tensor(
                                                                  alone, names[i]);
        for (size_t t = 0; t < a->shape.dims[1]; t++)
            if (t < b->shape.dims[1])
                assert_int_equal(cell(a, row, t), cell(b, 0, t));
            else if (i > 0)
                assert_int_equal(cell(a, row, t), padding[i]);
    }
}

#define LINES                                                                          \
    SAID("Hello there <image>", "Hello world", "\"jpeg-444.jpg\"")                     \
    SAID("a", "b", "[]")                                                               \
    SAID("<image>a<image>", "what is it", "[\"png-one.png\",\"jpeg-440.jpg\"]")

static void dataset_rows_are_those_of_each_example(void **state)
{
    static const char *const models[] = { MODEL("qwen2_vl"), MODEL("mllama") };
    static const size_t lengths[] = { 0, 60, 75 };
    (void)state;
    for (size_t m = 0; m < 2; m++)
        for (size_t k = 0; k < 3; k++) {
            bench all, single;
            open_well(&all, &(wanted){ .model = models[m],
                                       .text = LINES,
                                       .max_length = lengths[k],
                                       .batch_size = 3,
                                       .skip_bad = true });
            open_well(&single, &(wanted){ .model = models[m], .text = LINES });
            lvlm_dataset_batch *const batch = make(&all, 0);
            const size_t T = (size_t)tensor(batch, "labels")->shape.dims[1];
            assert_true(lengths[k] == 0 || T <= lengths[k]);
            assert_true(lengths[k] == 0 ||
                        all.data.counts.cut + all.data.counts.bad > 0);
            for (size_t i = 0, row = 0; i < 3; i++) {
                char line[32];
                (void)snprintf(line, sizeof line, "data.jsonl:%zu: ", i + 1);
                if (strstr(all.reported, line) != NULL) continue;
                lvlm_dataset_batch *const alone = make(&single, i);
                check_row(batch, row++, alone);
                lvlm_dataset_batch_free(alone);
                assert_int_equal(tensor(batch, "labels")->shape.dims[0],
                                 3 - all.data.counts.bad);
            }
            lvlm_dataset_batch_free(batch);
            close_bench(&all);
            close_bench(&single);
        }
}

/* Llama 3.2's masks have a cell for every token as well. */
static void dataset_cuts_every_tensor_of_tokens(void **state)
{
    bench whole, cut;
    (void)state;
    wanted w = { .model = MODEL("mllama"), .text = LINES, .batch_size = 3 };
    open_well(&whole, &w);
    lvlm_dataset_batch *const a = make(&whole, 0);
    const lvlm_tensor *const x = tensor(a, "cross_attention_mask");
    const size_t old = (size_t)x->shape.dims[1], now = w.max_length = old - 2;
    open_well(&cut, &w);
    lvlm_dataset_batch *const b = make(&cut, 0);
    const lvlm_tensor *const y = tensor(b, "cross_attention_mask");
    const size_t row = (size_t)(x->shape.dims[2] * x->shape.dims[3]) * sizeof(int64_t);
    assert_int_equal(y->shape.dims[1], now);
    assert_int_equal(y->n_bytes, 3 * now * row);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(x->data + i * old * row, y->data + i * now * row,
                            now * row);
    assert_int_equal(cut.data.counts.cut,
                     1); /* the text with its long system message */
    lvlm_dataset_batch *const again = make(&cut, 1);
    assert_int_equal(cut.data.counts.cut, 1); /* counted once */
    lvlm_dataset_batch_free(again);
    lvlm_dataset_batch_free(a);
    lvlm_dataset_batch_free(b);
    close_bench(&whole);
    close_bench(&cut);
}

/* ---- as a source ---------------------------------------------------------------- */

#define BAD SAID("<image>a", "b", "\"expected.json\"")
#define MORE                                                                           \
    GOOD LINES SAID("Hello", "hello there", "[]")                                      \
        BAD GOOD LINES SAID("what is <image>", "a cat", "\"png-turned-6.png\"")

static void dataset_gives_the_same_batches_from_any_start(void **state)
{
    static const wanted w = { .model = MODEL("qwen2_vl"),
                              .text = MORE,
                              .batch_size = 2,
                              .shuffled = true,
                              .skip_bad = true };
    (void)state;
    for (size_t depth = 0; depth < 4; depth += 3) {
        bench a, b;
        lvlm_batch_source plain, ahead;
        open_well(&a, &w);
        open_well(&b, &w);
        assert_int_equal(lvlm_dataset_source(&plain, &a.data, 0, NULL), 0);
        assert_int_equal(lvlm_dataset_source(&ahead, &b.data, depth, NULL), 0);
        assert_int_equal(plain.n, 6);
        assert_string_equal(plain.id, ahead.id);
        for (size_t first = 0; first < 13; first += 4) {
            assert_int_equal(plain.seek(plain.self, first, NULL), 0);
            for (size_t i = first; i < 15; i++) {
                lvlm_batch x, y;
                assert_int_equal(ahead.seek(ahead.self, i, NULL), 0);
                assert_int_equal(plain.next(plain.self, &x, NULL), 0);
                assert_int_equal(ahead.next(ahead.self, &y, NULL), 0);
                assert_string_equal(strrchr(x.name, '/') + 1, strrchr(y.name, '/') + 1);
                check_equal(x.tensors, y.tensors);
            }
        }
        assert_int_equal(a.data.counts.bad, 1);
        assert_string_equal(strstr(a.reported, ":6: "), strstr(b.reported, ":6: "));
        lvlm_batch_source_close(&plain);
        lvlm_batch_source_close(&ahead);
        close_bench(&a);
        close_bench(&b);
    }
}

static void dataset_replaces_a_lost_batch_by_the_next(void **state)
{
    static const wanted w = { .model = MODEL("qwen2_vl"),
                              .text = GOOD BAD BAD SAID("Hello", "there", "[]"),
                              .skip_bad = true };
    static const size_t lines[] = { 1, 4, 4, 4, 1 };
    bench b;
    lvlm_batch_source source;
    (void)state;
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_source(&source, &b.data, 2, NULL), 0);
    for (size_t i = 0; i < 5; i++) {
        lvlm_batch batch;
        char name[32];
        (void)snprintf(name, sizeof name, "data.jsonl line %zu", lines[i]);
        assert_int_equal(source.next(source.self, &batch, NULL), 0);
        assert_string_equal(strrchr(batch.name, '/') + 1, name);
    }
    assert_int_equal(b.data.counts.bad, 2);
    lvlm_batch_source_close(&source);
    close_bench(&b);
}

static void dataset_without_a_usable_example_is_an_error(void **state)
{
    bench b;
    lvlm_batch_source source;
    lvlm_batch batch;
    lvlm_error err;
    (void)state;
    open_well(
        &b, &(wanted){ .model = MODEL("qwen2_vl"), .text = BAD BAD, .skip_bad = true });
    assert_int_equal(lvlm_dataset_source(&source, &b.data, 2, NULL), 0);
    assert_int_equal(source.next(source.self, &batch, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "none of its examples can be used"));
    lvlm_batch_source_close(&source);
    close_bench(&b);
}

/* The state of a run records the id of its data: other lines or batches, another id. */
static void dataset_ids_differ_by_data_and_batches(void **state)
{
    static const wanted all[] = {
        { .model = MODEL("qwen2_vl"), .text = GOOD GOOD },
        { .model = MODEL("qwen2_vl"), .text = GOOD GOOD GOOD },
        { .model = MODEL("qwen2_vl"), .text = GOOD GOOD, .batch_size = 2 },
        { .model = MODEL("qwen2_vl"), .text = GOOD GOOD, .shuffled = true },
    };
    char ids[4][LVLM_DIGEST_HEX + 1];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        bench b;
        open_well(&b, &all[i]);
        memcpy(ids[i], b.data.id, sizeof ids[i]);
        close_bench(&b);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(ids[i], ids[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataset_batches_are_padded_on_the_right),
        cmocka_unit_test(dataset_rows_are_those_of_each_example),
        cmocka_unit_test(dataset_cuts_every_tensor_of_tokens),
        cmocka_unit_test(dataset_gives_the_same_batches_from_any_start),
        cmocka_unit_test(dataset_replaces_a_lost_batch_by_the_next),
        cmocka_unit_test(dataset_without_a_usable_example_is_an_error),
        cmocka_unit_test(dataset_ids_differ_by_data_and_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
