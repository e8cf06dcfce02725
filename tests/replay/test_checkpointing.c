/* test_checkpointing.c - activations made again block by block change nothing: not a
 * bit of any gradient, in any family, precision, or stage.
 *
 *   fixture -> backward, kept and made again -> the same loss, the same gradients */
#include <stdio.h>
#include <string.h>

#include "runtime/model.h"
#include "runtime/tune/stage.h"
#include "tests/replay/converted.h"
#include "tests/support/scratch.h"

static const struct {
    const char *fixture;
    const char *reference;
    const char *stage;
} cases[] = {
    { "paligemma-odd", NULL, "full" },
    { "paligemma-long", NULL, "connector" },
    { "paligemma2-bf16", NULL, "full" },
    { "paligemma2-bf16", NULL, "3" },
    { "qwen2_vl-odd", NULL, "full" },
    { "qwen2_vl-video", NULL, "1" },
    { "qwen2_5_vl-odd", NULL, "full" },
    { "qwen2_5_vl-video", NULL, "full" },
    { "qwen_vl-odd", NULL, "full" },
    { "qwen_vl-long", NULL, "full" }, /* longer than the length of training */
    { "mllama-odd", NULL, "full" },
    { "mllama-odd", NULL, "connector" },
    { "mllama-odd", "transformers-4.55.0", "1" },
    { "mllama-odd", "transformers-5.23.0", "full" },
    { "mllama-text", NULL, "full" },
    { "mllama-long", NULL, "full" },
};

typedef struct way_back {
    lvlm_model *model;
    lvlm_model_step found;
    uint64_t bytes; /* of activations */
} way_back;

static void go_back(way_back *w, const char *native, const lvlm_checkpoint *golden,
                    const lvlm_model_options *options)
{
    lvlm_error err;
    if (lvlm_model_open(&w->model, native, options, &err) < 0 ||
        lvlm_model_backward(w->model, &w->found, golden, "in.", 0, &err) < 0 ||
        lvlm_model_backward_bytes(w->model, &w->bytes, golden, "in.", &err) < 0)
        fail_msg("%s: %s", golden->path, err.text);
}

static void compare(const way_back *kept, const way_back *again, const char *fixture)
{
    const lvlm_manifest *const m = lvlm_model_manifest(kept->model);
    size_t n = 0;
    assert_memory_equal(&kept->found.loss, &again->found.loss, sizeof(double));
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor a, b;
        const char *const name = m->targets[i].name;
        if (!lvlm_model_gradient(kept->model, &a, name)) continue;
        assert_true(lvlm_model_gradient(again->model, &b, name));
        if (memcmp(a.data, b.data, (size_t)a.n_bytes) != 0)
            fail_msg("%s: %s", fixture, name);
        n++;
    }
    assert_true(n > 0);
}

static void activations_made_again_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const fixture = cases[i].fixture;
        scratch scratch_dir, *const s = &scratch_dir;
        char path[SCRATCH_PATH];
        lvlm_checkpoint *golden = NULL;
        lvlm_stage stage;
        scratch_make(s);
        const char *const native = scratch_path(s, "model.lvlm");
        (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/model", fixture);
        native_convert(path, native);
        (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/golden.safetensors",
                       fixture);
        assert_int_equal(lvlm_checkpoint_open(&golden, path, NULL, NULL), 0);
        assert_int_equal(lvlm_stage_parse(&stage, cases[i].stage, NULL), 0);
        for (int compute = LVLM_COMPUTE_F32; compute <= LVLM_COMPUTE_F64; compute++) {
            lvlm_model_options options = { .compute = (lvlm_compute)compute,
                                           .threads = 2,
                                           .reference = cases[i].reference,
                                           .trains = lvlm_stage_trains,
                                           .user = &stage };
            way_back kept, again;
            go_back(&kept, native, golden, &options);
            options.checkpointing = true;
            options.threads = 1;
            go_back(&again, native, golden, &options);
            compare(&kept, &again, fixture);
            assert_true(again.bytes < kept.bytes);
            lvlm_model_free(kept.model);
            lvlm_model_free(again.model);
        }
        lvlm_checkpoint_close(golden);
        scratch_remove(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_made_again_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
