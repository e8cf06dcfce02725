/* test_adapter.c - PEFT directories: modules, configuration, tensors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/json.h"
#include "formats/container/safetensors.h"
#include "tests/support/fixture_model.h"
#include "tests/support/scratch.h"

#define LORA LVLM_FIXTURES "/lora/"
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- modules -------------------------------------------------------------------- */

/* Names of the library's modules; counts from its list of nn.Linear. */
static void modules_are_those_of_the_library(void **state)
{
    static const struct {
        const char *fixture;
        size_t n_linear;
        const char *linear, *part, *other;
    } cases[] = {
        { "paligemma-odd", 15, "model.vision_tower.encoder.layers.0.mlp.fc1",
          "vision.blocks.0.mlp.fc1.weight",
          "model.vision_tower.embeddings.patch_embedding" },
        { "qwen2_vl-odd", 25, "model.visual.merger.mlp.2", "connector.fc2.weight",
          "model.visual.patch_embed.proj" },
        { "mllama-odd", 73, "model.multi_modal_projector", "connector.proj.weight",
          "model.vision_model.pre_tile_positional_embedding.embedding" },
        { "qwen_vl-odd", 15, "transformer.visual.attn_pool.kv_proj",
          "connector.kv.weight", "transformer.visual.attn_pool.attn.out_proj" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        fixture_model m;
        fixture_model_open(&m, LVLM_FIXTURES, cases[i].fixture);
        lvlm_modules list;
        size_t n_linear = 0, n_found = 0, n_other = 0;
        assert_int_equal(lvlm_modules_list(&list, &m.manifest, NULL), 0);
        for (size_t j = 0; j < list.n; j++) {
            const lvlm_module *const x = &list.at[j];
            n_linear += x->linear;
            n_found += strcmp(x->name, cases[i].linear) == 0 && x->linear &&
                       strcmp(x->parts[0]->name, cases[i].part) == 0;
            n_other += strcmp(x->name, cases[i].other) == 0 && !x->linear;
        }
        assert_int_equal(n_linear, cases[i].n_linear);
        assert_int_equal(n_found, 1);
        assert_int_equal(n_other, 1);
        lvlm_modules_free(&list);
        fixture_model_close(&m);
    }
}

static void a_fused_module_has_its_parts_in_order(void **state)
{
    static const char *const words[] = { "q", "k", "v" };
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, "qwen_vl-odd");
    lvlm_modules list;
    (void)state;
    assert_int_equal(lvlm_modules_list(&list, &m.manifest, NULL), 0);
    const lvlm_module *const x =
        lvlm_modules_find(&list, "vision.transformer.resblocks.1.attn.in_proj.weight");
    assert_non_null(x);
    assert_int_equal(x->n_parts, 3);
    assert_int_equal(x->out, 54);
    assert_int_equal(x->in, 18);
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        float rows[54 * 2], part[18 * 2];
        (void)snprintf(name, sizeof name, "vision.blocks.1.attn.%s.weight", words[i]);
        assert_string_equal(x->parts[i]->name, name);
        /* rows of a (54, 2) matrix: 3 heads, of each 6 of q, of k, of v */
        for (size_t j = 0; j < COUNT(rows); j++) rows[j] = (float)j;
        const lvlm_transform t = lvlm_module_rows(x, i, 2);
        const lvlm_elements all = { rows, COUNT(rows), sizeof *rows };
        assert_true(lvlm_transform_gather(part, 0, COUNT(part), &t, all));
        for (size_t j = 0; j < COUNT(part); j++) {
            const size_t row = j / 2, at = row / 6 * 18 + i * 6 + row % 6;
            assert_true(part[j] == (float)(at * 2 + j % 2));
        }
    }
    lvlm_modules_free(&list);
    fixture_model_close(&m);
}

static void names_match_as_peft_matches_them(void **state)
{
    (void)state;
    assert_true(lvlm_module_named("a.b.q_proj", "q_proj"));
    assert_true(lvlm_module_named("a.b.q_proj", "b.q_proj"));
    assert_true(lvlm_module_named("q_proj", "q_proj"));
    assert_false(lvlm_module_named("a.bq_proj", "q_proj"));
    assert_false(lvlm_module_named("a.q_proj.x", "q_proj"));
    assert_false(lvlm_module_named("proj", "q_proj"));
}

/* ---- configuration -------------------------------------------------------------- */

static const struct {
    const char *text, *why; /* NULL: accepted */
} settings[] = {
    { "{\"peft_type\": \"LORA\"}", NULL },
    { "{\"peft_type\": \"LORA\", \"use_dora\": false, \"new_thing\": null}", NULL },
    { "{\"peft_type\": \"LORA\", \"init_lora_weights\": \"gaussian\"}", NULL },
    { "{\"peft_type\": \"LORA\", \"bias\": \"none\", \"loftq_config\": {}}", NULL },
    { "[]", "is not an object" },
    { "{}", "peft_type is '(none)'" },
    { "{\"peft_type\": \"LOHA\"}", "peft_type is 'LOHA'" },
    { "{\"peft_type\": \"LORA\", \"use_dora\": true}", "use_dora is set" },
    { "{\"peft_type\": \"LORA\", \"fan_in_fan_out\": true}", "fan_in_fan_out is" },
    { "{\"peft_type\": \"LORA\", \"lora_bias\": true}", "lora_bias is set" },
    { "{\"peft_type\": \"LORA\", \"bias\": \"all\"}", "bias is not 'none'" },
    { "{\"peft_type\": \"LORA\", \"bias\": 7}", "bias is not 'none'" },
    { "{\"peft_type\": \"LORA\", \"modules_to_save\": [\"lm_head\"]}", NULL },
    { "{\"peft_type\": \"LORA\", \"modules_to_save\": \"lm_head\"}",
      "modules_to_save is not a list" },
    { "{\"peft_type\": \"LORA\", \"modules_to_save\": [\"\"]}",
      "modules_to_save has an entry that is not a name" },
    { "{\"peft_type\": \"LORA\", \"modules_to_save\": [7]}",
      "modules_to_save has an entry that is not a name" },
    { "{\"peft_type\": \"LORA\", \"layer_replication\": [[0, 4]]}",
      "layer_replication is set" },
    { "{\"peft_type\": \"LORA\", \"use_tomorrow\": true}", "use_tomorrow is set" },
    { "{\"peft_type\": \"LORA\", \"init_lora_weights\": \"pissa_niter_4\"}",
      "init_lora_weights is 'pissa_niter_4'" },
    { "{\"peft_type\": \"LORA\", \"r\": 0}", "r is not a whole number" },
    { "{\"peft_type\": \"LORA\", \"r\": 1.5}", "r is not a whole number" },
    { "{\"peft_type\": \"LORA\", \"r\": 99999999999}", "r is not a whole number" },
    { "{\"peft_type\": \"LORA\", \"lora_alpha\": \"8\"}",
      "lora_alpha is not a number" },
    { "{\"peft_type\": \"LORA\", \"lora_dropout\": 1}", "lora_dropout is no" },
    { "{\"peft_type\": \"LORA\", \"rank_pattern\": 3}",
      "rank_pattern is not an object" },
    { "{\"peft_type\": \"LORA\", \"rank_pattern\": {\"q\": 0}}",
      "rank_pattern: 'q' has no valid number" },
    { "{\"peft_type\": \"LORA\", \"alpha_pattern\": {\".*q\": 3}}",
      "alpha_pattern: '.*q' is a regular expression" },
};

static void every_rule_of_the_configuration_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(settings); i++) {
        lvlm_adapter_config config;
        lvlm_error err = { .text = "" };
        cJSON *json = NULL;
        assert_int_equal(
            lvlm_json_parse(&json, settings[i].text, strlen(settings[i].text), NULL),
            0);
        const int rc = lvlm_adapter_config_read(&config, json, &err);
        if (settings[i].why == NULL && rc < 0) fail_msg("%s", err.text);
        if (settings[i].why != NULL) {
            assert_int_equal(rc, LVLM_EFORMAT);
            if (strstr(err.text, settings[i].why) == NULL)
                fail_msg("'%s' is not in: %s", settings[i].why, err.text);
        }
        lvlm_json_free(json);
    }
}

static void ranks_and_scales_follow_the_configuration(void **state)
{
    fixture_model m, q;
    fixture_model_open(&m, LVLM_FIXTURES, "mllama-odd");
    fixture_model_open(&q, LVLM_FIXTURES, "qwen2_vl-odd");
    lvlm_adapter x;
    lvlm_error err;
    (void)state;
    if (lvlm_adapter_open(&x, LORA "mllama/end", &m.manifest, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(x.n, 29);
    for (size_t i = 0; i < x.n; i++) {
        const char *const name = x.at[i].module->name;
        const size_t r = strstr(name, "cross_attn.q_proj") != NULL ? 3 : 4;
        const double alpha = strstr(name, "fc1") != NULL ? 5 : 6;
        assert_int_equal(x.at[i].r, r);
        assert_true(x.at[i].scale == alpha / (double)r);
    }
    lvlm_adapter_free(&x);
    if (lvlm_adapter_open(&x, LORA "qwen2_vl/end", &q.manifest, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(x.config.rslora);
    assert_true(x.at[0].scale == 6 / sqrt(5)); /* rsLoRA */
    lvlm_adapter_free(&x);
    fixture_model_close(&m);
    fixture_model_close(&q);
}

/* ---- tensors -------------------------------------------------------------------- */

static const char config[] = "adapter_config.json";
static const char weights[] = "adapter_model.safetensors";

/* An adapter is refused if in this file `from` is `to`, which is padded with spaces to
 * the same length. */
typedef struct rule {
    const char *file, *from, *to, *why;
} rule;

static void check_rule(scratch *s, const fixture_model *m, const char *adapter,
                       const rule *r)
{
    lvlm_adapter x;
    lvlm_error err = { .text = "" };
    char name[64], path[128], to[128];
    (void)snprintf(name, sizeof name, "a%zu", scratch_count(s, ""));
    (void)snprintf(path, sizeof path, "%s/%s", name, r->file);
    (void)snprintf(to, sizeof to, "%-*s", (int)strlen(r->from), r->to);
    scratch_copy(s, adapter, name);
    file_replace(scratch_path(s, path), r->from, to);
    const int rc = lvlm_adapter_open(&x, scratch_path(s, name), &m->manifest, &err);
    lvlm_adapter_free(&x);
    assert_int_equal(rc, LVLM_EFORMAT);
    if (strstr(err.text, r->why) == NULL)
        fail_msg("'%s' is not in: %s", r->why, err.text);
    if (r->file == weights && strstr(err.text, path) == NULL)
        fail_msg("no file in: %s", err.text);
}

static void every_rule_of_the_tensors_is_checked(void **state)
{
    static const rule rules[] = {
        { weights, "q_proj.lora_A.weight", "q_proj.lora_C.weight",
          "neither lora_A nor lora_B" },
        { weights, "q_proj.lora_A.weight", "q_proj.lora_A.weighs", "is not a weight" },
        { weights, "q_proj.lora_A.weight", "q_proj.Lora_A.weight",
          "not part of a low-rank pair" },
        { weights, "model.language_model.layers.0.self_attn.q_proj.lora_A",
          "language_model.model.layers.0.self_attn.v_proj.lora_A", "' is there as '" },
        { weights, "q_proj.lora_A.weight", "u_proj.lora_A.weight",
          "names no linear map of" },
        { weights, "q_proj.lora_A.weight", "k_proj.lora_A.weight", "has no lora_" },
        { weights, "self_attn.q_proj.lora_A.weight", "qqqqqq.lora_embedding_A.weight",
          "adapts a table of vectors" },
        { weights, "[4,40]", "[40,4]", "shape [40, 4], expected [4, 40]" },
        { weights, "\"F32\"", "\"I32\"", "dtype I32" },
    };
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-odd");
    for (size_t i = 0; i < COUNT(rules); i++)
        check_rule(*state, &m, LORA "paligemma/end", &rules[i]);
    fixture_model_close(&m);
}

static void a_pattern_that_names_nothing_is_refused(void **state)
{
    static const rule fcx = { config, "\"fc1\": 5", "\"fcx\": 5",
                              "the pattern 'fcx' names no module" };
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, "mllama-odd");
    check_rule(*state, &m, LORA "mllama/end", &fcx);
    fixture_model_close(&m);
}

/* ---- modules saved whole -------------------------------------------------------- */

static void saved_modules_are_those_of_peft(void **state)
{
    static const char *const names[] = {
        "model.visual.patch_embed.proj.weight",
        "model.visual.blocks.0.attn.qkv.weight",
        "model.visual.blocks.0.attn.qkv.bias",
        "model.visual.blocks.0.attn.proj.weight",
        "model.visual.blocks.0.attn.proj.bias",
        "model.language_model.embed_tokens.weight",
        "lm_head.weight",
    };
    fixture_model m;
    lvlm_adapter x;
    lvlm_error err;
    (void)state;
    fixture_model_open(&m, LVLM_FIXTURES, "qwen2_vl-odd");
    if (lvlm_adapter_open(&x, LORA "qwen2_vl-saved/end", &m.manifest, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(x.n_saved, COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++) {
        const bool fused = strstr(names[i], "qkv") != NULL;
        assert_string_equal(x.saved[i].name, names[i]);
        assert_int_equal(x.saved[i].n_parts, fused ? 3 : 1);
        assert_true(lvlm_adapter_saves(&x, x.saved[i].parts[0]));
    }
    lvlm_adapter_free(&x);
    fixture_model_close(&m);
}

/* The tensors of `from` under the names that they have in memory. */
static void write_wrapped(const char *from, const char *to)
{
    lvlm_checkpoint *cp = NULL;
    char names[16][128];
    lvlm_tensor tensors[16];
    assert_int_equal(lvlm_checkpoint_open(&cp, from, NULL, NULL), 0);
    assert_true(cp->n_tensors <= COUNT(tensors));
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const char *const name = cp->tensors[i].name;
        const bool pair = strstr(name, ".lora_") != NULL;
        const int end = (int)(strrchr(name, '.') - name);
        (void)snprintf(names[i], sizeof names[i], "%.*s%s.default%s", end, name,
                       pair ? "" : ".modules_to_save", name + end);
        tensors[i] = cp->tensors[i];
        tensors[i].name = names[i];
    }
    assert_int_equal(
        lvlm_safetensors_save(to, tensors, cp->n_tensors, NULL, true, NULL), 0);
    lvlm_checkpoint_close(cp);
}

static void names_in_memory_are_read(void **state)
{
    static const char file[] = "/adapter_model.safetensors";
    char from[SCRATCH_PATH];
    scratch *s = *state;
    fixture_model m;
    lvlm_adapter x;
    lvlm_error err;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-untied");
    scratch_copy(s, LORA "paligemma-saved/end", "a");
    (void)snprintf(from, sizeof from, LORA "paligemma-saved/end%s", file);
    write_wrapped(from, scratch_path(s, "a/adapter_model.safetensors"));
    if (lvlm_adapter_open(&x, scratch_path(s, "a"), &m.manifest, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(x.n_saved, 4);
    lvlm_adapter_free(&x);
    fixture_model_close(&m);
}

static void what_is_not_saved_whole_is_refused(void **state)
{
    static const char end[] = "\"multi_modal_projector\"\n  ],\n  "
                              "\"monteclora_config\": null,";
    static const rule rules[] = {
        { config, "\"lm_head\"", "\"lm_heat\"", "'lm_heat' names no module of" },
        { config, "\"lm_head\",", "",
          "'base_model.model.lm_head.weight' is not part of a low-rank pair" },
        { config, end, "\"multi_modal_projector\",\"layer_norm1\"],",
          "layer_norm1.weight, and the values that it was trained to are not there" },
        { config, end, "\"multi_modal_projector\",\"language_model\"],",
          "modules inside of each other" },
        { config, end, "\"multi_modal_projector\",\"self_attn\"],",
          "adapts a module that modules_to_save names" },
        { weights, "[80,24]", "[24,80]", "shape [24, 80], expected [80, 24]" },
        { weights, "linear.bias", "linear.bios", "nor a tensor of PaliGemma in a" },
        { weights, "\"F32\"", "\"I32\"", "dtype I32" },
    };
    fixture_model m;
    fixture_model_open(&m, LVLM_FIXTURES, "paligemma-untied");
    for (size_t i = 0; i < COUNT(rules); i++)
        check_rule(*state, &m, LORA "paligemma-saved/end", &rules[i]);
    fixture_model_close(&m);
}

/* A tied head that was trained apart has no place in a tied model. */
static void tied_modules_are_equal(void **state)
{
    scratch *s = *state;
    fixture_model m;
    lvlm_adapter x;
    lvlm_error err = { .text = "" };
    fixture_model_open(&m, LVLM_FIXTURES, "qwen2_vl-odd");
    scratch_copy(s, LORA "qwen2_vl-saved/end", "a");
    const char *const path = scratch_path(s, "a/adapter_model.safetensors");
    lvlm_checkpoint *cp = NULL;
    assert_int_equal(lvlm_checkpoint_open(&cp, path, NULL, NULL), 0);
    const uint64_t at =
        lvlm_checkpoint_find(cp, "base_model.model.lm_head.weight")->offset;
    lvlm_checkpoint_close(cp);
    FILE *const f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(1, f), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(lvlm_adapter_open(&x, scratch_path(s, "a"), &m.manifest, &err),
                     LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "lm_head.weight and "
                                     "model.language_model.embed_tokens.weight were "
                                     "trained apart"));
    lvlm_adapter_free(&x);
    fixture_model_close(&m);
}

int main(void)
{
#define CASE(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        CASE(modules_are_those_of_the_library),
        CASE(a_fused_module_has_its_parts_in_order),
        CASE(names_match_as_peft_matches_them),
        CASE(every_rule_of_the_configuration_is_checked),
        CASE(ranks_and_scales_follow_the_configuration),
        CASE(every_rule_of_the_tensors_is_checked),
        CASE(a_pattern_that_names_nothing_is_refused),
        CASE(saved_modules_are_those_of_peft),
        CASE(names_in_memory_are_read),
        CASE(what_is_not_saved_whole_is_refused),
        CASE(tied_modules_are_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
