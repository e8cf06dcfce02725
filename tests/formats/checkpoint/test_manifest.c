/* test_manifest.c - family tables, names, configuration and manifests of checkpoints.
 *
 * Broken checkpoints are copies of fixtures/paligemma-layouts/hub with one change of
 * the header that keeps its length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "tests/support/scratch.h"

#define LAYOUTS LVLM_FIXTURES "/paligemma-layouts/"

typedef struct account {
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
    size_t n_problems;
    char first[LVLM_ERROR_BYTES];
} account;

static void note(void *user, const char *text)
{
    account *a = user;
    if (a->first[0] == '\0') (void)snprintf(a->first, sizeof a->first, "%s", text);
}

static void open_account(account *a, const char *dir)
{
    lvlm_error err;
    *a = (account){ .n_problems = 0 };
    if (lvlm_checkpoint_open(&a->checkpoint, dir, NULL, &err) < 0 ||
        lvlm_manifest_build(&a->manifest, a->checkpoint, &err) < 0)
        fail_msg("%s", err.text);
    a->n_problems = lvlm_manifest_problems(&a->manifest, note, a);
}

static void close_account(account *a)
{
    lvlm_manifest_free(&a->manifest);
    lvlm_checkpoint_close(a->checkpoint);
}

static void manifest_accounts_for_every_layout(void **state)
{
    static const char *const layouts[] = { "hub",   "modules", "flat", "saved",
                                           "mixed", "bare",    "peft", "tied-copy" };
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        char dir[SCRATCH_PATH];
        account a;
        (void)snprintf(dir, sizeof dir, LAYOUTS "%s", layouts[i]);
        open_account(&a, dir);
        if (a.n_problems != 0) fail_msg("%s: %s", layouts[i], a.first);
        assert_int_equal(a.manifest.n_extras, 0);
        const lvlm_target *head = lvlm_manifest_find(&a.manifest, "text.head.weight");
        assert_int_equal(head->state, LVLM_TARGET_TIED);
        assert_true((head->here.tensor != NULL) ==
                    (strcmp(layouts[i], "tied-copy") == 0));
        close_account(&a);
    }
}

static void manifest_keeps_an_untied_head_and_unused_tensors(void **state)
{
    account a;
    (void)state;
    open_account(&a, LVLM_FIXTURES "/paligemma-untied/model");
    assert_int_equal(a.n_problems, 0);
    assert_int_equal(lvlm_manifest_find(&a.manifest, "text.head.weight")->state,
                     LVLM_TARGET_FOUND);
    assert_int_equal(a.manifest.n_extras, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(a.manifest.extras[i].kind, LVLM_EXTRA_UNUSED);
        assert_non_null(a.manifest.extras[i].rule);
    }
    close_account(&a);
}

/* The head of a checkpoint that stores the embedding's bytes for it, with one change to
 * the text of config.json; "": none. */
static lvlm_target_state state_of_copied_head(const char *family, const char *from,
                                              const char *to)
{
    char dir[SCRATCH_PATH];
    scratch s;
    account a;
    scratch_make(&s);
    (void)snprintf(dir, sizeof dir, LVLM_FIXTURES "/%s-layouts/tied-copy", family);
    scratch_copy(&s, dir, "m");
    for (size_t i = 0; i < 2 && from[0] != '\0'; i++) /* top level and text_config */
        if (i == 0 || strcmp(family, "paligemma") == 0)
            file_replace(scratch_path(&s, "m/config.json"), from, to);
    open_account(&a, scratch_path(&s, "m"));
    const lvlm_target_state state =
        lvlm_manifest_find(&a.manifest, "text.head.weight")->state;
    close_account(&a);
    scratch_remove(&s);
    return state;
}

static void manifest_follows_config_json_on_ties(void **state)
{
    static const char said[] = "\"tie_word_embeddings\": true";
    (void)state;
    assert_int_equal(state_of_copied_head("paligemma", "", ""), LVLM_TARGET_TIED);
    assert_int_equal(state_of_copied_head("qwen2_vl", "", ""), LVLM_TARGET_TIED);
    static const char untied[] = "\"tie_word_embeddings\":false";
    assert_int_equal(state_of_copied_head("paligemma", said, untied),
                     LVLM_TARGET_FOUND);
    assert_int_equal(state_of_copied_head("qwen2_vl", said, untied), LVLM_TARGET_FOUND);
    /* absent: each family's class default */
    static const char silent[] = "\"tie_word_embeddingz\": true";
    assert_int_equal(state_of_copied_head("paligemma", said, silent), LVLM_TARGET_TIED);
    assert_int_equal(state_of_copied_head("qwen2_vl", said, silent), LVLM_TARGET_FOUND);
}

static void ties_are_read_where_each_version_reads_them(void **state)
{
    static const struct {
        const char *family, *config;
        bool tied, top, text;
    } cases[] = {
        { "paligemma", "{}", true, true, true },
        { "qwen2_vl", "{}", false, false, false },
        { "qwen2_vl", "{\"tie_word_embeddings\":true}", true, true, true },
        { "qwen2_vl", "{\"tie_word_embeddings\":true,\"text_config\":{}}", true, true,
          false },
        { "paligemma", "{\"tie_word_embeddings\":false,\"text_config\":{}}", false,
          false, true },
        { "paligemma", "{\"text_config\":{\"tie_word_embeddings\":false}}", false, true,
          false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *config = NULL;
        assert_int_equal(
            lvlm_json_parse(&config, cases[i].config, strlen(cases[i].config), NULL),
            0);
        const lvlm_ties ties =
            lvlm_family_ties(lvlm_family_by_name(cases[i].family), config);
        assert_int_equal(ties.tied, cases[i].tied);
        assert_int_equal(ties.top, cases[i].top);
        assert_int_equal(ties.text, cases[i].text);
        lvlm_json_free(config);
    }
}

static void manifest_takes_the_vocabulary_from_the_table(void **state)
{
    scratch s;
    account a;
    uint64_t rows = 0;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LAYOUTS "hub", "m");
    file_replace(scratch_path(&s, "m/config.json"), "\"vocab_size\": 40",
                 "\"vocab_size\": 99");
    open_account(&a, scratch_path(&s, "m"));
    assert_int_equal(a.n_problems, 0);
    (void)lvlm_json_u64(&rows, lvlm_json_path(a.manifest.config, "text.vocab"));
    assert_int_equal(rows, 40);
    close_account(&a);
    scratch_remove(&s);
}

/* One change of the hub's header, and the first problem reported. */
static void expect_problem(const char *from, const char *to, size_t n_problems,
                           const char *message)
{
    scratch s;
    account a;
    scratch_make(&s);
    scratch_copy(&s, LAYOUTS "hub", "m");
    file_replace(scratch_path(&s, "m/model.safetensors"), from, to);
    open_account(&a, scratch_path(&s, "m"));
    if (a.n_problems != n_problems || strstr(a.first, message) == NULL)
        fail_msg("%zu problems, first: %s", a.n_problems, a.first);
    close_account(&a);
    scratch_remove(&s);
}

static void manifest_names_a_misshapen_tensor(void **state)
{
    (void)state;
    expect_problem("self_attn.k_proj.weight\":{\"dtype\":\"F32\",\"shape\":[6,12]",
                   "self_attn.k_proj.weight\":{\"dtype\":\"F32\",\"shape\":[12,6]", 1,
                   "self_attn.k_proj.weight': expected "
                   "[text_config.num_key_value_heads*text_config.head_dim, "
                   "text_config.hidden_size] "
                   "= [6, 12], got [12, 6], for text.blocks.0.attn.k.weight");
}

static void manifest_names_missing_and_unknown_with_the_nearest(void **state)
{
    (void)state;
    expect_problem("multi_modal_projector.linear.bias",
                   "multi_modal_projector.linear.bia_", 2,
                   "tensor 'multi_modal_projector.linear.bias' is missing: expected "
                   "[text_config.hidden_size] = [12], for connector.proj.bias");
    expect_problem("language_model.model.norm.weight",
                   "language_model.model.nxrm.weight", 2,
                   "tensor 'language_model.model.norm.weight' is missing");
}

static void manifest_refuses_integer_weights(void **state)
{
    (void)state;
    expect_problem("language_model.model.norm.weight\":{\"dtype\":\"F32\"",
                   "language_model.model.norm.weight\":{\"dtype\":\"I32\"", 1,
                   "expected dtype F32, BF16, F16 or F64, got I32");
}

static void manifest_bounds_hostile_layer_counts(void **state)
{
    scratch s;
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    scratch_copy(&s, LAYOUTS "hub", "m");
    static const char config[] = "{\"model_type\":\"paligemma\",\"text_config\":{"
                                 "\"num_hidden_layers\":999999999999}}";
    (void)scratch_write(&s, "m/config.json", config, sizeof config - 1);
    assert_int_equal(lvlm_checkpoint_open(&cp, scratch_path(&s, "m"), NULL, &err), 0);
    assert_int_equal(lvlm_manifest_build(&m, cp, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "over the limit of 10000"));
    lvlm_checkpoint_close(cp);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_accounts_for_every_layout),
        cmocka_unit_test(manifest_keeps_an_untied_head_and_unused_tensors),
        cmocka_unit_test(manifest_follows_config_json_on_ties),
        cmocka_unit_test(ties_are_read_where_each_version_reads_them),
        cmocka_unit_test(manifest_takes_the_vocabulary_from_the_table),
        cmocka_unit_test(manifest_names_a_misshapen_tensor),
        cmocka_unit_test(manifest_names_missing_and_unknown_with_the_nearest),
        cmocka_unit_test(manifest_refuses_integer_weights),
        cmocka_unit_test(manifest_bounds_hostile_layer_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
