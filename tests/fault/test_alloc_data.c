/* test_alloc_data.c - fails the first, second, third ... allocation of training data:
 * LVLM_ENOMEM is returned even if bad lines may be skipped, and nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/tune/data/dataset.h"
#include "tests/fault/torture.h"

#define IMAGES LVLM_FIXTURES "/images"

/* ---- operations ----------------------------------------------------------------- */

static int open_encoder(scratch *s, lvlm_error *err)
{
    const lvlm_encoder_options o = {
        .images = IMAGES, .data = { NULL, LVLM_FIXTURES "/train/pairs.tar" }
    };
    lvlm_encoder *encoder = NULL;
    (void)s;
    const int rc =
        lvlm_encoder_open(&encoder, LVLM_FIXTURES "/prompts/qwen2_vl/model", &o, err);
    if (rc == 0) assert_int_equal(lvlm_encoder_reads_images(encoder, NULL), 0);
    lvlm_encoder_close(encoder);
    return rc;
}

/* The encoder shared by the operations below. */
static lvlm_encoder *encoder;

static const lvlm_dataset_options options = { .batch_size = 3,
                                              .shuffled = true,
                                              .skip_bad = true };

static int open_data(scratch *s, lvlm_error *err)
{
    lvlm_dataset data;
    const int rc =
        lvlm_dataset_open(&data, scratch_path(s, "data"), encoder, &options, err);
    assert_true(rc < 0 || data.counts.bad == 1);
    lvlm_dataset_close(&data);
    return rc;
}

/* One of the three cannot be read. */
static int make_batch(scratch *s, lvlm_error *err)
{
    lvlm_dataset data;
    lvlm_batch_source source = { 0 };
    lvlm_batch batch;
    int rc;
    if ((rc = lvlm_dataset_open(&data, scratch_path(s, "data"), encoder, &options,
                                err)) == 0 &&
        (rc = lvlm_dataset_source(&source, &data, 0, err)) == 0 &&
        (rc = source.next(source.self, &batch, err)) == 0)
        assert_int_equal(lvlm_checkpoint_find(batch.tensors, "labels")->shape.dims[0],
                         2);
    lvlm_batch_source_close(&source);
    lvlm_dataset_close(&data);
    return rc;
}

#define LINE(image)                                                                    \
    "{\"conversations\":[{\"from\":\"human\",\"value\":\"<image>a\"},"                 \
    "{\"from\":\"gpt\",\"value\":\"b\"}],\"image\":\"" image "\"}\n"

static void failing_allocations_are_reported(void **state)
{
    static const char text[] =
        LINE("png-one.png") "{}\n" LINE("expected.json") LINE("jpeg-444.jpg");
    static const torture_row encoding = { "open_encoder", open_encoder,
                                          .tolerates = true };
    static const torture_row operations[] = { { "open_data", open_data },
                                              { "make_batch", make_batch } };
    const lvlm_encoder_options o = { .images = IMAGES };
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    (void)scratch_write(&s, "data", text, sizeof text - 1);
    torture_all(&s, &encoding, 1);
    assert_int_equal(
        lvlm_encoder_open(&encoder, LVLM_FIXTURES "/prompts/qwen2_vl/model", &o, NULL),
        0);
    torture_all(&s, operations, sizeof operations / sizeof operations[0]);
    lvlm_encoder_close(encoder);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
