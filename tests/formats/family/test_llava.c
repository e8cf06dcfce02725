/* test_llava.c - towers, language models and states of LLaVA's config.json; which
 * tensors are after the selected states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"

#define SIGLIP "\"vision_config\":{\"model_type\":\"siglip_vision_model\"}"
#define SMALL                                                                          \
    "\"vision_config\":{\"num_hidden_layers\":4},\"text_config\":{\"num_hidden_"       \
    "layers\":1}"

/* The canonical configuration, or the error. Free with lvlm_json_free. */
static cJSON *configure(const char *members, lvlm_error *err)
{
    char text[1024];
    const lvlm_family *family = NULL;
    cJSON *hf = NULL, *config = NULL;
    (void)snprintf(text, sizeof text, "{\"model_type\":\"llava\"%s%s}",
                   *members != '\0' ? "," : "", members);
    if (lvlm_json_parse(&hf, text, strlen(text), err) < 0 ||
        lvlm_family_detect(&family, hf, err) < 0)
        fail_msg("%s", err->text);
    assert_string_equal(family->name, "llava");
    if (lvlm_family_config(&config, family, hf, err) < 0) config = NULL;
    lvlm_json_free(hf);
    return config;
}

static void wrong_configurations_are_named(void **state)
{
    static const struct {
        const char *members, *message;
    } cases[] = {
        { "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\"",
          "mm_vision_tower: this is the layout of LLaVA's makers" },
        { "\"vision_config\":{\"model_type\":\"pixtral\"}",
          "vision_config.model_type: expected one of clip_vision_model "
          "siglip_vision_model, got \"pixtral\"" },
        { "\"text_config\":{\"model_type\":\"mistral\"}",
          "text_config.model_type: expected one of llama qwen2 gemma gemma2, got "
          "\"mistral\"" },
        { SIGLIP, "'default' drops a class row, which a SigLIP tower does not have" },
        { "\"vision_feature_layer\":-26",
          "layer -26: the states of a tower of 24 blocks are -25 to 24" },
        { "\"vision_feature_layer\":[-2,25]",
          "vision_feature_layer 25: the states of a tower of 24 blocks are -25 to 24" },
        { "\"vision_feature_layer\":\"-2\"",
          "vision_feature_layer: expected a whole number or a list of such" },
        { "\"lvlm_connector\":{\"kind\":\"deep_mlp\",\"layers\":9}",
          "lvlm_connector.layers: expected 2 to 8, got 9" },
        { "\"lvlm_connector\":{\"kind\":\"deep_mlp\",\"layers\":1}",
          "lvlm_connector.layers: expected 2 to 8, got 1" },
        { "\"projector_hidden_act\":\"tanh\"",
          "projector_hidden_act: expected one of" },
        { "\"text_config\":{\"attention_bias\":true}", "attention_bias is true" },
        { "\"text_config\":{\"mlp_bias\":true}", "mlp_bias is true" },
        { "\"text_config\":{\"model_type\":\"qwen2\",\"use_sliding_window\":true}",
          "use_sliding_window is true" },
        { "\"text_config\":{\"num_attention_heads\":3}",
          "text_config.hidden_size 4096 is not a multiple of "
          "text_config.num_attention_heads 3" },
        { "\"text_config\":{\"rope_scaling\":{\"rope_type\":\"llama3\"}}",
          "rope type llama3 needs factor" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_error err = { .text = "" };
        assert_null(configure(cases[i].members, &err));
        if (strstr(err.text, cases[i].message) == NULL)
            fail_msg("expected: %s\ngot: %s", cases[i].message, err.text);
    }
}

static void expect(const char *members, const char *setting, const char *expected)
{
    lvlm_error err;
    char *text = NULL;
    cJSON *const config = configure(members, &err);
    if (config == NULL) fail_msg("%s: %s", members, err.text);
    assert_int_equal(lvlm_json_print(&text, lvlm_json_path(config, setting), &err), 0);
    assert_string_equal(text, expected);
    lvlm_free(text);
    lvlm_json_free(config);
}

static void states_are_numbered_from_the_first(void **state)
{
    (void)state;
    expect("", "vision.select", "[23]");
    expect("", "vision.layers", "23");
    expect("\"vision_feature_layer\":-1", "vision.layers", "24");
    expect("\"vision_feature_layer\":[-25,-3,2]", "vision.select", "[0,22,2]");
    expect("\"vision_feature_layer\":[-25,-3,2]", "vision.layers", "22");
    expect("\"vision_feature_layer\":[-25,-3,2]", "vision.out", "3072");
    expect("\"vision_feature_layer\":0", "vision.layers", "1"); /* at least one */
}

static void parts_have_their_own_defaults(void **state)
{
    (void)state;
    expect("", "vision.patch", "14");
    expect("\"vision_config\":{}", "vision.patch", "32");
    expect("\"vision_feature_select_strategy\":\"full\"," SIGLIP, "vision.patch", "16");
    expect("\"text_config\":{\"num_attention_heads\":16}", "text.kv_heads", "16");
    expect("\"text_config\":{\"num_attention_heads\":16}", "text.head_dim", "256");
    expect("\"text_config\":{\"model_type\":\"qwen2\"}", "text.vocab", "151936");
    expect("\"text_config\":{\"model_type\":\"gemma\"}", "text.head_dim", "256");
    expect("\"text_config\":{\"model_type\":\"gemma2\"}", "text.query_scalar", "256");
    expect("\"text_config\":{\"model_type\":\"gemma2\"}", "tokens.pad", "0");
    expect("", "tokens.pad", "null");
}

/* Kept by a rule, or NULL: the model has no such tensor. */
static const char *rule_for(const char *name)
{
    static const char json[] = "{\"model_type\":\"llava\"," SMALL "}";
    lvlm_error err;
    cJSON *hf = NULL;
    lvlm_tensor tensor = { .name = name, .dtype = LVLM_F32 };
    const lvlm_tensor *by_name[] = { &tensor };
    lvlm_manifest m;
    assert_int_equal(lvlm_json_parse(&hf, json, strlen(json), &err), 0);
    const lvlm_checkpoint cp = { .kind = LVLM_CHECKPOINT_HF,
                                 .path = "llava",
                                 .config = hf,
                                 .tensors = &tensor,
                                 .by_name = by_name,
                                 .n_tensors = 1 };
    if (lvlm_manifest_build(&m, &cp, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(m.n_extras, 1);
    const char *const rule = m.extras[0].rule != NULL ? m.extras[0].rule->name : NULL;
    lvlm_manifest_free(&m);
    lvlm_json_free(hf);
    return rule;
}

/* Of four blocks three are used. */
static void only_what_is_after_the_features_is_unused(void **state)
{
    static const struct {
        const char *name;
        bool unused;
    } cases[] = {
        { "vision_tower.vision_model.encoder.layers.3.mlp.fc1.bias", true },
        { "model.vision_tower.encoder.layers.12.any.thing", true },
        { "vision_tower.vision_model.encoder.layers.2.mlp.fc1.more", false },
        { "vision_tower.vision_model.encoder.layers.03.mlp", true },
        { "vision_tower.vision_model.encoder.layers.x.mlp", false },
        { "vision_tower.vision_model.encoder.layers.3", false },
        { "vision_tower.vision_model.post_layernorm.weight", true },
        { "text_model.encoder.layers.3.mlp.fc1.bias", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const rule = rule_for(cases[i].name);
        if ((rule != NULL) != cases[i].unused)
            fail_msg("%s: %s", cases[i].name, rule != NULL ? rule : "no rule");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_configurations_are_named),
        cmocka_unit_test(states_are_numbered_from_the_first),
        cmocka_unit_test(parts_have_their_own_defaults),
        cmocka_unit_test(only_what_is_after_the_features_is_unused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
