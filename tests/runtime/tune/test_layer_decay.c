/* test_layer_decay.c - learning rates by depth in the tower, for towers with one
 * sequence of blocks and with two. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/tune/layer_decay.h"
#include "tests/support/fixture_model.h"
#include "tests/support/fixtures.h"

/* The factor of a weight is 1/2 to this power. */
static void check(const fixture_model *m, const char *name, size_t power)
{
    const lvlm_target *const t = lvlm_manifest_find(&m->manifest, name);
    if (t == NULL) fail_msg("nothing is called %s", name);
    const double factor = lvlm_layer_factor(&m->manifest, t, 0.5);
    if (factor != pow(0.5, (double)power)) fail_msg("%s: %g", name, factor);
}

/* CLIP: its last block is after the features and does not count as a layer. */
static void rates_grow_with_depth(void **state)
{
    fixture_model m;
    (void)state;
    fixture_model_open(&m, LVLM_FIXTURES, "llava-odd");
    uint64_t L;
    assert_true(lvlm_json_u64(&L, lvlm_json_path(m.manifest.config, "vision.layers")));
    assert_true(L >= 2);
    const size_t n = (size_t)L;
    check(&m, "vision.class", n + 1);
    check(&m, "vision.patch.weight", n + 1);
    check(&m, "vision.positions.weight", n + 1);
    check(&m, "vision.norm_pre.bias", n + 1);
    check(&m, "vision.blocks.0.attn.v.bias", n);
    check(&m, "vision.blocks.1.norm1.weight", n - 1);
    check(&m, "connector.fc1.weight", 0);
    check(&m, "text.blocks.0.attn.k.weight", 0);
    fixture_model_close(&m);
}

static void the_norm_after_the_blocks_has_the_rate_of_the_tower(void **state)
{
    fixture_model m;
    (void)state;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-odd");
    check(&m, "vision.norm.weight", 0);
    check(&m, "vision.norm.bias", 0);
    fixture_model_close(&m);
}

static void global_blocks_come_after_local_ones(void **state)
{
    fixture_model m;
    uint64_t local, global;
    (void)state;
    fixture_model_open(&m, LVLM_FIXTURES, "mllama-odd");
    const cJSON *const config = m.manifest.config;
    assert_true(lvlm_json_u64(&local, lvlm_json_path(config, "vision.layers")));
    assert_true(lvlm_json_u64(&global, lvlm_json_path(config, "vision.global_layers")));
    const size_t n = (size_t)(local + global);
    check(&m, "vision.class", n + 1);
    check(&m, "vision.blocks.0.mlp.fc1.weight", n);
    check(&m, "vision.norm_post.weight", (size_t)global); /* between the two */
    check(&m, "vision.global_blocks.0.attn_gate", (size_t)global);
    fixture_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_grow_with_depth),
        cmocka_unit_test(the_norm_after_the_blocks_has_the_rate_of_the_tower),
        cmocka_unit_test(global_blocks_come_after_local_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
