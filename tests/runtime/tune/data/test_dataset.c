/* test_dataset.c - files of training data as batches: what is in them, what is left
 * out, and that neither time nor place changes a byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/batch/inputs.h"
#include "runtime/tune/data/dataset.h"
#include "tests/support/scratch.h"

#define MODEL(family) LVLM_FIXTURES "/prompts/" family "/model"
#define IMAGES LVLM_FIXTURES "/images"

/* A file of data, open for a model; what it tells. */
typedef struct bench {
    scratch s;
    lvlm_encoder *encoder;
    lvlm_dataset data;
    char told[4096];
    size_t n_told;
} bench;

static void tell(void *user, const char *text)
{
    bench *const b = user;
    const size_t used = strlen(b->told);
    (void)snprintf(b->told + used, sizeof b->told - used, "%s\n", text);
    b->n_told++;
}

typedef struct wanted {
    const char *model, *text;
    size_t max_length, batch_size;
    bool shuffled, skip_bad;
} wanted;

static int open_bench(bench *b, const wanted *w, lvlm_error *err)
{
    const lvlm_encoder_options e = { .images = IMAGES, .max_length = w->max_length };
    const lvlm_dataset_options o = { .batch_size = w->batch_size,
                                     .shuffled = w->shuffled,
                                     .seed = 3,
                                     .skip_bad = w->skip_bad,
                                     .tell = tell,
                                     .user = b };
    memset(b, 0, sizeof *b);
    scratch_make(&b->s);
    if (lvlm_encoder_open(&b->encoder, w->model, &e, err) < 0)
        fail_msg("%s", err->text);
    const char *const path =
        scratch_write(&b->s, "data.jsonl", w->text, strlen(w->text));
    return lvlm_dataset_open(&b->data, path, b->encoder, &o, err);
}

static void close_bench(bench *b)
{
    lvlm_dataset_close(&b->data);
    lvlm_encoder_close(b->encoder);
    scratch_remove(&b->s);
}

static void open_well(bench *b, const wanted *w)
{
    lvlm_error err;
    if (open_bench(b, w, &err) < 0) fail_msg("%s", err.text);
}

/* Batch number i of the data itself. */
static lvlm_dataset_batch *make(bench *b, size_t i)
{
    lvlm_dataset_batch *batch = NULL;
    lvlm_error err;
    if (lvlm_dataset_make(&batch, &b->data, i, &err) < 0) fail_msg("%s", err.text);
    lvlm_dataset_note_batch(&b->data, batch);
    return batch;
}

static const lvlm_tensor *tensor(const lvlm_dataset_batch *b, const char *name)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(&b->encoded->batch, name);
    if (t == NULL) fail_msg("no %s", name);
    return t;
}

static int64_t cell(const lvlm_tensor *t, size_t row, size_t column)
{
    return ((const int64_t *)(const void *)t->data)[row * t->shape.dims[1] + column];
}

static void check_equal(const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_true(lvlm_shape_equal(&a->tensors[i].shape, &b->tensors[i].shape));
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data,
                            a->tensors[i].n_bytes);
    }
}

/* ---- what is in a batch --------------------------------------------------------- */

#define ASKED(question, answer)                                                        \
    "{\"prefix\":\"" question "\",\"suffix\":\"" answer                                \
    "\",\"image\":\"png-one.png\"}\n"
#define SAYS(who, words) "{\"from\":\"" who "\",\"value\":\"" words "\"}"
#define SAID(question, answer, image)                                                  \
    "{\"conversations\":[" SAYS("human", question) "," SAYS(                           \
        "gpt", answer) "],\"image\":" image "}\n"

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

/* Row `row` of a batch is what the example alone gives, padded or cut at T. */
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

#define SAYS_OF_QWEN(question, answer)                                                 \
    "{\"conversations\":[" SAYS("user", question) "," SAYS("assistant", answer) "]}\n"

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
                if (strstr(all.told, line) != NULL) continue;
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

/* ---- bad lines ------------------------------------------------------------------ */

#define GOOD SAID("<image>a", "b", "\"png-one.png\"")

/* Lines that opening finds, each behind a good one and an empty line. */
static const struct {
    const char *line, *said;
} unusable[] = {
    { "{\"conversations\":[}", "data.jsonl:3: not JSON" },
    { "{\"text\":\"a\"}", "data.jsonl:3: is in no known form" },
    { SAID("a", "b", "\"png-one.png\""), "data.jsonl:3: \"image\": 1 file, and the" },
    { ASKED("a", "b"), "data.jsonl:3: is in PaliGemma's form, and the file began in "
                       "LLaVA's" },
    { SAID("<image>a", "b", "\"nowhere.png\""),
      "data.jsonl:3: " IMAGES "/nowhere.png: there is no such image" },
    { SAID("<image>a", "b", "\"https://example.org/a.png\""),
      "data.jsonl:3: 'https://example.org/a.png': images are not fetched" },
};

static void dataset_names_the_line_that_cannot_be_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unusable / sizeof unusable[0]; i++) {
        char text[2048];
        bench b;
        lvlm_error err;
        (void)snprintf(text, sizeof text, "%s\n%s\n%s", GOOD, unusable[i].line, GOOD);
        wanted w = { .model = MODEL("qwen2_vl"), .text = text };
        assert_int_equal(open_bench(&b, &w, &err) < 0, true);
        if (strstr(err.text, unusable[i].said) == NULL)
            fail_msg("'%s' lacks '%s'", err.text, unusable[i].said);
        assert_int_equal(b.n_told, 0);
        close_bench(&b);
        w.skip_bad = true;
        open_well(&b, &w);
        assert_int_equal(b.data.counts.bad, 1);
        assert_int_equal(b.data.n, 2);
        assert_int_equal(b.n_told, 1);
        assert_non_null(strstr(b.told, unusable[i].said));
        close_bench(&b);
    }
}

static void dataset_without_a_line_to_use_is_refused(void **state)
{
    bench b;
    lvlm_error err;
    const wanted w = { .model = MODEL("qwen2_vl"),
                       .text = "{}\n{}\n",
                       .skip_bad = true };
    (void)state;
    assert_int_equal(open_bench(&b, &w, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "none of its 2 examples can be used"));
    assert_int_equal(b.n_told, 2);
    close_bench(&b);
}

/* Lines that only show when they are encoded, those with `cut` when so many of their
 * last tokens are cut. */
static const struct {
    const char *model, *line, *said;
    size_t cut;
} unencodable[] = {
    { MODEL("qwen2_vl"), SAID("<image>a", "b", "\"expected.json\""),
      "data.jsonl:2: " IMAGES "/expected.json", 0 },
    { MODEL("qwen2_vl"), SAID("a<|endoftext|>", "b", "[]"),
      "data.jsonl:2: the text holds <|endoftext|>, which", 0 },
    { MODEL("qwen2_vl"), SAID("<|image_pad|>", "b", "[]"),
      "data.jsonl:2: images: the text has 1 places", 0 },
    { MODEL("mllama"), SAID("Hello there", "b", "[]"),
      "data.jsonl:2: nothing is left to learn", 20 },
    { MODEL("mllama"),
      SAID("a", "b<|start_header_id|>user<|end_header_id|>\\n\\nc", "[]"),
      "data.jsonl:2: nothing of it is learnt", 0 },
    { MODEL("qwen2_vl"), SAID("Hello there, hello <image>", "b", "\"png-rgb.png\""),
      "data.jsonl:2: an image would be cut", 18 },
    { MODEL("qwen_vl"), SAYS_OF_QWEN("Hello <img>png-one.png</img>", "b"),
      "data.jsonl:2: an image would be cut", 20 },
    { MODEL("paligemma"), "{\"prefix\":\"a\",\"suffix\":\"b\"}\n",
      "data.jsonl:2: ", 0 },
};

/* Tokens of one example. */
static size_t length_of(const char *model, const char *line)
{
    bench b;
    open_well(&b, &(wanted){ .model = model, .text = line });
    lvlm_dataset_batch *const batch = make(&b, 0);
    const size_t length = (size_t)tensor(batch, "labels")->shape.dims[1];
    lvlm_dataset_batch_free(batch);
    close_bench(&b);
    return length;
}

static void dataset_finds_the_line_of_a_batch_that_is_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unencodable / sizeof unencodable[0]; i++) {
        const char *const m = unencodable[i].model;
        const char *const good = strstr(m, "paligemma") != NULL ? ASKED("a", "b")
                                 : strstr(m, "qwen_vl") != NULL ? SAYS_OF_QWEN("a", "b")
                                                                : GOOD;
        char text[2048];
        bench b;
        lvlm_error err;
        lvlm_dataset_batch *batch = NULL;
        (void)snprintf(text, sizeof text, "%s%s%s", good, unencodable[i].line, good);
        const size_t cut = unencodable[i].cut;
        wanted w = { .model = m, .text = text, .batch_size = 3 };
        if (cut > 0) w.max_length = length_of(m, unencodable[i].line) - cut;
        open_well(&b, &w);
        assert_int_equal(lvlm_dataset_make(&batch, &b.data, 0, &err) < 0, true);
        if (strstr(err.text, unencodable[i].said) == NULL)
            fail_msg("'%s' lacks '%s'", err.text, unencodable[i].said);
        close_bench(&b);
        w.skip_bad = true;
        open_well(&b, &w);
        for (int again = 0; again < 2; again++) {
            batch = make(&b, (size_t)again);
            assert_int_equal(tensor(batch, "labels")->shape.dims[0], 2);
            assert_non_null(strstr(batch->name, "data.jsonl lines 1, 3"));
            assert_int_equal(b.data.counts.bad, 1);
            assert_int_equal(b.n_told, 1);
            lvlm_dataset_batch_free(batch);
        }
        assert_non_null(strstr(b.told, unencodable[i].said));
        close_bench(&b);
    }
}

/* A batch is read as the model reads it: here a tag of an image on its own. */
static void dataset_leaves_out_what_the_model_refuses(void **state)
{
    static const char text[] =
        SAID("a", "b", "[]") SAID("a</img> b", "c", "[]") SAID("b", "c", "[]");
    bench b;
    const wanted w = {
        .model = MODEL("qwen_vl"), .text = text, .batch_size = 3, .skip_bad = true
    };
    (void)state;
    open_well(&b, &w);
    lvlm_dataset_batch *const batch = make(&b, 0);
    assert_non_null(strstr(batch->name, "data.jsonl lines 1, 3"));
    assert_non_null(strstr(b.told, "data.jsonl:2: input_ids[0, "));
    lvlm_dataset_batch_free(batch);
    close_bench(&b);
}

static void dataset_is_checked_as_a_whole(void **state)
{
    static const char bad[] = SAID("<image>a", "b", "\"expected.json\"");
    bench b;
    lvlm_error err;
    char text[2048];
    (void)state;
    (void)snprintf(text, sizeof text, "%s%s", GOOD, bad);
    wanted w = { .model = MODEL("qwen2_vl"), .text = text };
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "data.jsonl:2: " IMAGES "/expected.json"));
    close_bench(&b);
    w.skip_bad = true;
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), 0);
    assert_int_equal(b.data.counts.bad, 1);
    close_bench(&b);
    w.text = bad;
    open_well(&b, &w);
    assert_int_equal(lvlm_dataset_check(&b.data, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "none of its examples can be used"));
    close_bench(&b);
}

/* ---- as a source ---------------------------------------------------------------- */

#define BAD SAID("<image>a", "b", "\"expected.json\"")
#define MORE                                                                           \
    GOOD LINES SAID("Hello", "hello there", "[]")                                      \
        BAD GOOD LINES SAID("what is <image>", "a cat", "\"png-turned-6.png\"")

static void dataset_gives_the_same_batches_ahead_and_from_anywhere(void **state)
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
        assert_string_equal(strstr(a.told, ":6: "), strstr(b.told, ":6: "));
        lvlm_batch_source_close(&plain);
        lvlm_batch_source_close(&ahead);
        close_bench(&a);
        close_bench(&b);
    }
}

static void dataset_puts_the_next_batch_for_one_that_is_lost(void **state)
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

static void dataset_of_which_no_image_can_be_read_ends(void **state)
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

/* The state of a run knows its data: other lines, other batches, other ids. */
static void dataset_ids_tell_data_and_batches_apart(void **state)
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
        cmocka_unit_test(dataset_names_the_line_that_cannot_be_used),
        cmocka_unit_test(dataset_without_a_line_to_use_is_refused),
        cmocka_unit_test(dataset_finds_the_line_of_a_batch_that_is_bad),
        cmocka_unit_test(dataset_leaves_out_what_the_model_refuses),
        cmocka_unit_test(dataset_is_checked_as_a_whole),
        cmocka_unit_test(dataset_gives_the_same_batches_ahead_and_from_anywhere),
        cmocka_unit_test(dataset_puts_the_next_batch_for_one_that_is_lost),
        cmocka_unit_test(dataset_of_which_no_image_can_be_read_ends),
        cmocka_unit_test(dataset_ids_tell_data_and_batches_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
