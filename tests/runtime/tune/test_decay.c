/* test_decay.c - which weights decay, in every family: where that is not what "matrices
 * do, vectors do not" says, by name. The lists are those of the reference: Trainer's
 * get_decay_parameter_names. */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/tune/decay.h"

#define MODEL(fixture) LVLM_FIXTURES "/" fixture "/model"

/* Vectors that decay: globs over native names, and how many they are. */
static const struct {
    const char *model;
    const char *vectors[6];
    size_t n;
} families[] = {
    { MODEL("paligemma-odd"), { NULL }, 0 },
    { MODEL("paligemma2-odd"), { NULL }, 0 },
    { MODEL("qwen2_vl-odd"), { NULL }, 0 },
    { MODEL("qwen2_5_vl-odd"),
      { "vision.blocks.*.norm[12].weight", "connector.norm.weight" },
      9 },
    { MODEL("qwen_vl-odd"),
      { "text.blocks.*.norm[12].weight", "text.norm.weight" },
      3 },
    { MODEL("mllama-odd"),
      { "vision.class", "vision.positions.gate", "vision.p*_tile.gate",
        "vision.global_blocks.*_gate", "text.blocks.*_gate" },
      12 },
};

static bool is_listed(const char *const globs[6], const char *name)
{
    for (size_t i = 0; i < 6 && globs[i] != NULL; i++)
        if (fnmatch(globs[i], name, 0) == 0) return true;
    return false;
}

static void decay_is_the_rule_of_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        lvlm_checkpoint *checkpoint = NULL;
        lvlm_manifest m;
        lvlm_error err;
        size_t n = 0;
        if (lvlm_checkpoint_open(&checkpoint, families[i].model, NULL, &err) < 0 ||
            lvlm_manifest_build(&m, checkpoint, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t t = 0; t < m.n_targets; t++) {
            const lvlm_target *const target = &m.targets[t];
            const bool listed = is_listed(families[i].vectors, target->name);
            if (lvlm_decays(&m, target) != (listed || target->shape.n > 1))
                fail_msg("%s: %s", families[i].model, target->name);
            n += listed;
        }
        assert_int_equal(n, families[i].n);
        lvlm_manifest_free(&m);
        lvlm_checkpoint_close(checkpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decay_is_the_rule_of_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
