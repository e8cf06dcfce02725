/* test_decay.c - which weights decay, in every family: matrices do and vectors do not,
 * except those that expected.json names, from the reference's list: Trainer's
 * get_decay_parameter_names. */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/tune/decay.h"
#include "tests/support/fixture_model.h"
#include "tests/support/fixtures.h"

static bool has_any(const lvlm_manifest *m, const char *pattern)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (fnmatch(pattern, m->targets[i].name, 0) == 0) return true;
    return false;
}

static void check(const fixture *f)
{
    const cJSON *const vectors = lvlm_json_get(f->expected, "decaying_vectors"), *item;
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, f->name);
    for (size_t i = 0; i < m.manifest.n_targets; i++) {
        const lvlm_target *const t = &m.manifest.targets[i];
        const bool expected = fixture_lists(vectors, t->name) || t->shape.n > 1;
        if (lvlm_decays(&m.manifest, t) != expected)
            fail_msg("%s: %s", f->name, t->name);
    }
    LVLM_JSON_ITEMS (item, vectors)
        if (!has_any(&m.manifest, item->valuestring))
            fail_msg("%s: nothing is called %s", f->name, item->valuestring);
    fixture_model_close(&m);
}

static void decay_follows_the_rule_of_the_reference(void **state)
{
    fixtures all;
    (void)state;
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++)
        if (all.at[i].is_main) check(&all.at[i]);
    fixtures_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decay_follows_the_rule_of_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
