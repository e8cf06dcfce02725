/* test_zero_gradients.c - where nothing can be learned, gradients are exactly zero, and
 * the cause is named.
 *
 *   fixture, some tensors set to 0 -> backward -> which gradients are zero, and why */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/tune/stage.h"
#include "runtime/tune/zero_gradients.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

static void set_to_zero(unsigned char *bytes, const lvlm_tensor *tensor)
{
    memset(bytes, 0, (size_t)tensor->n_bytes);
}

/* The causes in a fixture whose tensors that match `glob` are zero (NULL: none are). */
typedef struct finding {
    scratch s;
    lvlm_model *model;
    lvlm_zero_gradients zeros;
} finding;

static void find(finding *f, const char *name, const char *glob)
{
    lvlm_stage stage = LVLM_STAGE_FULL;
    const lvlm_model_options options = { .threads = 2,
                                         .trains = lvlm_stage_trains,
                                         .user = &stage };
    char path[SCRATCH_PATH];
    lvlm_checkpoint *golden = NULL;
    lvlm_model_step step;
    lvlm_error err;
    *f = (finding){ .model = NULL };
    scratch_make(&f->s);
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/model", name);
    native_convert(path, scratch_path(&f->s, "model.lvlm"));
    if (glob != NULL)
        native_change(scratch_path(&f->s, "model.lvlm"), glob, set_to_zero,
                      scratch_path(&f->s, "planted.lvlm"));
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/golden.safetensors", name);
    if (lvlm_model_open(
            &f->model,
            scratch_path(&f->s, glob != NULL ? "planted.lvlm" : "model.lvlm"), &options,
            &err) < 0 ||
        lvlm_checkpoint_open(&golden, path, NULL, &err) < 0 ||
        lvlm_model_backward(f->model, &step, golden, "in.", 0, &err) < 0 ||
        lvlm_zero_gradients_find(&f->zeros, f->model, &step, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    lvlm_checkpoint_close(golden);
}

static void finding_free(finding *f)
{
    lvlm_zero_gradients_free(&f->zeros);
    lvlm_model_free(f->model);
    scratch_remove(&f->s);
}

/* The cause that is named for a tensor, or NULL: it has a gradient. */
static const char *cause_of(const finding *f, const char *name)
{
    for (size_t i = 0; i < f->zeros.n_groups; i++)
        for (size_t k = 0; k < f->zeros.groups[i].n; k++)
            if (strcmp(f->zeros.groups[i].names[k], name) == 0)
                return f->zeros.groups[i].cause;
    return NULL;
}

/* Every trained tensor that `glob` matches has this cause (NULL: a gradient); returns
 * how many there are. */
static size_t expect(const finding *f, const char *glob, const char *cause)
{
    const lvlm_manifest *const m = lvlm_model_manifest(f->model);
    size_t n = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = m->targets[i].name, *const found = cause_of(f, name);
        lvlm_tensor g;
        if (fnmatch(glob, name, 0) != 0 || !lvlm_model_gradient(f->model, &g, name))
            continue;
        if ((found == NULL) != (cause == NULL) ||
            (cause != NULL && strcmp(found, cause) != 0))
            fail_msg("%s: '%s', expected '%s'", name, found != NULL ? found : "(none)",
                     cause != NULL ? cause : "(none)");
        n++;
    }
    assert_true(n > 0);
    return n;
}

static void random_weights_all_have_gradients(void **state)
{
    fixtures all;
    (void)state;
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        finding f;
        if (!all.at[i].is_main) continue;
        find(&f, all.at[i].name, NULL);
        expect(&f, "*", NULL);
        finding_free(&f);
    }
    fixtures_close(&all);
}

static void a_zero_projector_hides_the_tower(void **state)
{
    finding f;
    (void)state;
    find(&f, "paligemma-odd", "connector.proj.*");
    expect(&f, "vision.*",
           "connector.proj.weight is zero: nothing of an image reaches "
           "the text");
    expect(&f, "connector.proj.*", NULL);
    expect(&f, "text.*", NULL);
    assert_int_equal(f.zeros.n_groups, 1);
    assert_int_equal(f.zeros.groups[0].n, f.zeros.groups[0].n_trained);
    finding_free(&f);
}

static void a_zero_layer_of_the_merger_hides_what_is_before_it(void **state)
{
    static const char cause[] =
        "connector.fc2.weight is zero: nothing of an image reaches the text";
    finding f;
    (void)state;
    find(&f, "qwen2_vl-odd", "connector.fc2.*");
    expect(&f, "vision.*", cause);
    expect(&f, "connector.norm.*", cause);
    expect(&f, "connector.fc1.*", cause);
    expect(&f, "connector.fc2.*", NULL);
    finding_free(&f);
}

static void closed_gates_leave_gradients_only_to_the_gates(void **state)
{
    finding f;
    (void)state;
    find(&f, "mllama-odd", "text.blocks.*_gate");
    expect(&f, "vision.*", "every gate of cross-attention is closed (0)");
    expect(&f, "connector.*", "every gate of cross-attention is closed (0)");
    for (size_t i = 1; i <= 4; i += 3) { /* the cross-attention layers */
        static const char *const rows[][2] = { { "cross.*", "attn_gate is closed (0)" },
                                               { "norm1.*", "attn_gate is closed (0)" },
                                               { "mlp.*", "mlp_gate is closed (0)" },
                                               { "norm2.*", "mlp_gate is closed (0)" },
                                               { "*_gate", NULL } };
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            char glob[64];
            (void)snprintf(glob, sizeof glob, "text.blocks.%zu.%s", i, rows[k][0]);
            expect(&f, glob, rows[k][1]);
        }
    }
    expect(&f, "text.blocks.[023].*", NULL);
    expect(&f, "text.embed.*", NULL);
    finding_free(&f);
}

/* One layer's gate open is enough for the tower. */
static void an_open_gate_lets_the_tower_learn(void **state)
{
    finding f;
    (void)state;
    find(&f, "mllama-odd", "text.blocks.1.*_gate");
    expect(&f, "vision.*", NULL);
    expect(&f, "text.blocks.1.cross.*", "attn_gate is closed (0)");
    expect(&f, "text.blocks.4.*", NULL);
    finding_free(&f);
}

static void gates_of_the_tower_hide_only_their_own_weights(void **state)
{
    finding f;
    (void)state;
    find(&f, "mllama-odd", "vision.*gate");
    expect(&f, "vision.positions.tiles", "positions.gate is closed (0)");
    expect(&f, "vision.positions.weight", NULL);
    expect(&f, "vision.pre_tile.weight", "pre_tile.gate is closed (0)");
    expect(&f, "vision.post_tile.weight", "post_tile.gate is closed (0)");
    expect(&f, "vision.global_blocks.*.attn.*", "attn_gate is closed (0)");
    expect(&f, "vision.global_blocks.*.norm2.*", "mlp_gate is closed (0)");
    expect(&f, "vision.*gate", NULL);
    expect(&f, "vision.blocks.*", NULL);
    finding_free(&f);
}

static void text_without_images_trains_no_tower(void **state)
{
    finding f;
    (void)state;
    find(&f, "mllama-text", NULL);
    expect(&f, "vision.*", "the batch holds no image");
    expect(&f, "connector.*", "the batch holds no image");
    expect(&f, "text.blocks.[15].*", "the batch holds no image");
    expect(&f, "text.blocks.[0234678].*", NULL);
    finding_free(&f);
    find(&f, "qwen2_vl-text", NULL);
    expect(&f, "vision.*", "the batch holds no image");
    expect(&f, "connector.*", "the batch holds no image");
    expect(&f, "text.*", NULL);
    finding_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_weights_all_have_gradients),
        cmocka_unit_test(a_zero_projector_hides_the_tower),
        cmocka_unit_test(a_zero_layer_of_the_merger_hides_what_is_before_it),
        cmocka_unit_test(closed_gates_leave_gradients_only_to_the_gates),
        cmocka_unit_test(an_open_gate_lets_the_tower_learn),
        cmocka_unit_test(gates_of_the_tower_hide_only_their_own_weights),
        cmocka_unit_test(text_without_images_trains_no_tower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
