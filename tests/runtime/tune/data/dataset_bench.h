/* dataset_bench.h - opens datasets from text and collects what they report. */
#ifndef LVLM_TESTS_RUNTIME_TUNE_DATA_DATASET_BENCH_H
#define LVLM_TESTS_RUNTIME_TUNE_DATA_DATASET_BENCH_H

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

#ifndef LVLM_FIXTURES /* set by the build */
#define LVLM_FIXTURES "fixtures"
#endif

#define MODEL(family) LVLM_FIXTURES "/prompts/" family "/model"
#define IMAGES LVLM_FIXTURES "/images"

/* A file of data, open for a model, and what it reported. */
typedef struct bench {
    scratch s;
    lvlm_encoder *encoder;
    lvlm_dataset data;
    char reported[4096];
    size_t n_told;
} bench;

static inline void collect(void *user, const char *text)
{
    bench *const b = user;
    const size_t used = strlen(b->reported);
    (void)snprintf(b->reported + used, sizeof b->reported - used, "%s\n", text);
    b->n_told++;
}

typedef struct wanted {
    const char *model, *text;
    size_t max_length, batch_size;
    bool shuffled, skip_bad;
} wanted;

static inline int open_bench(bench *b, const wanted *w, lvlm_error *err)
{
    const lvlm_encoder_options e = { .images = IMAGES, .max_length = w->max_length };
    const lvlm_dataset_options o = { .batch_size = w->batch_size,
                                     .shuffled = w->shuffled,
                                     .seed = 3,
                                     .skip_bad = w->skip_bad,
                                     .tell = collect,
                                     .user = b };
    memset(b, 0, sizeof *b);
    scratch_make(&b->s);
    if (lvlm_encoder_open(&b->encoder, w->model, &e, err) < 0)
        fail_msg("%s", err->text);
    const char *const path =
        scratch_write(&b->s, "data.jsonl", w->text, strlen(w->text));
    return lvlm_dataset_open(&b->data, path, b->encoder, &o, err);
}

static inline void close_bench(bench *b)
{
    lvlm_dataset_close(&b->data);
    lvlm_encoder_close(b->encoder);
    scratch_remove(&b->s);
}

static inline void open_well(bench *b, const wanted *w)
{
    lvlm_error err;
    if (open_bench(b, w, &err) < 0) fail_msg("%s", err.text);
}

/* Batch number i of the data itself. */
static inline lvlm_dataset_batch *make(bench *b, size_t i)
{
    lvlm_dataset_batch *batch = NULL;
    lvlm_error err;
    if (lvlm_dataset_make(&batch, &b->data, i, 1, &err) < 0) fail_msg("%s", err.text);
    lvlm_dataset_note_batch(&b->data, batch);
    return batch;
}

static inline const lvlm_tensor *tensor(const lvlm_dataset_batch *b, const char *name)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(&b->encoded->batch, name);
    if (t == NULL) fail_msg("no %s", name);
    return t;
}

static inline int64_t cell(const lvlm_tensor *t, size_t row, size_t column)
{
    return ((const int64_t *)(const void *)t->data)[row * t->shape.dims[1] + column];
}

static inline void check_equal(const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_true(lvlm_shape_equal(&a->tensors[i].shape, &b->tensors[i].shape));
        assert_memory_equal(a->tensors[i].data, b->tensors[i].data,
                            a->tensors[i].n_bytes);
    }
}

#define ASKED(question, answer)                                                        \
    "{\"prefix\":\"" question "\",\"suffix\":\"" answer                                \
    "\",\"image\":\"png-one.png\"}\n"
#define SAYS(who, words) "{\"from\":\"" who "\",\"value\":\"" words "\"}"
#define SAID(question, answer, image)                                                  \
    "{\"conversations\":[" SAYS("human", question) "," SAYS(                           \
        "gpt", answer) "],\"image\":" image "}\n"
#define SAYS_OF_QWEN(question, answer)                                                 \
    "{\"conversations\":[" SAYS("user", question) "," SAYS("assistant", answer) "]}\n"
#define GOOD SAID("<image>a", "b", "\"png-one.png\"")

#endif
