/* test_checkpointing.c - recomputing activations block by block changes no bit of any
 * gradient, in any fixture, precision or stage.
 *
 *   fixture -> backward, activations kept and recomputed -> equal losses, gradients */
#include <stdio.h>
#include <string.h>

#include "runtime/model.h"
#include "runtime/tune/stage.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

typedef struct pass {
    lvlm_model *model;
    lvlm_model_step found;
    uint64_t bytes; /* of activations */
} pass;

static void run(pass *p, const char *native, const lvlm_checkpoint *golden,
                const lvlm_model_options *options)
{
    lvlm_error err;
    if (lvlm_model_open(&p->model, native, options, &err) < 0 ||
        lvlm_model_backward(p->model, &p->found, golden, "in.", 0, &err) < 0 ||
        lvlm_model_backward_bytes(p->model, &p->bytes, golden, "in.", &err) < 0)
        fail_msg("%s: %s", golden->path, err.text);
}

static void compare(const pass *kept, const pass *again, const char *name)
{
    const lvlm_manifest *const m = lvlm_model_manifest(kept->model);
    size_t n = 0;
    assert_memory_equal(&kept->found.loss, &again->found.loss, sizeof(double));
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor a, b;
        if (!lvlm_model_gradient(kept->model, &a, m->targets[i].name)) continue;
        assert_true(lvlm_model_gradient(again->model, &b, m->targets[i].name));
        if (memcmp(a.data, b.data, (size_t)a.n_bytes) != 0)
            fail_msg("%s: %s", name, m->targets[i].name);
        n++;
    }
    assert_true(n > 0);
}

static void check(const char *native, const fixture *f, const lvlm_checkpoint *golden,
                  lvlm_model_options options)
{
    const lvlm_stage *const stage = options.user;
    pass kept, again;
    options.threads = 2;
    run(&kept, native, golden, &options);
    options.checkpointing = true;
    options.threads = 1;
    run(&again, native, golden, &options);
    compare(&kept, &again, f->name);
    if (*stage == LVLM_STAGE_FULL) assert_true(again.bytes < kept.bytes);
    lvlm_model_free(kept.model);
    lvlm_model_free(again.model);
}

/* Every stage of training with every reference, in both precisions. */
static void check_stages(const char *native, const fixture *f)
{
    lvlm_checkpoint *golden = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&golden, f->golden, NULL, &err) < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < LVLM_N_STAGES; i++) {
        lvlm_stage stage = (lvlm_stage)i;
        lvlm_model_options options = { .reference =
                                           f->references[(size_t)i % f->n_references],
                                       .trains = lvlm_stage_trains,
                                       .user = &stage };
        options.compute = LVLM_COMPUTE_F32;
        check(native, f, golden, options);
        options.compute = LVLM_COMPUTE_F64;
        check(native, f, golden, options);
    }
    lvlm_checkpoint_close(golden);
}

static void recomputed_activations_give_the_same_bits(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    fixtures all;
    (void)state;
    scratch_make(s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        const char *const native = scratch_path(s, "model.lvlm");
        native_convert(all.at[i].model, native);
        check_stages(native, &all.at[i]);
    }
    fixtures_close(&all);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputed_activations_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
