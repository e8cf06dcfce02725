/* test_family.c - the tables of families: names of every generation, configurations. */
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

/* ---- tables --------------------------------------------------------------------- */

static void check_part(const lvlm_model_part *part)
{
    for (const lvlm_section *s = part->sections; s->native != NULL; s++) {
        assert_true((strstr(s->native, "{i}") != NULL) == (s->count != NULL));
        for (const lvlm_row *row = s->rows; row->native != NULL; row++)
            assert_non_null(row->shape);
    }
}

static void families_have_complete_tables(void **state)
{
    (void)state;
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++) {
        assert_ptr_equal(lvlm_family_by_name((*f)->name), *f);
        assert_non_null((*f)->title);
        assert_non_null((*f)->row_counts);
        for (const lvlm_root *r = (*f)->roots; r->native != NULL; r++)
            for (const lvlm_model_part *p = r->parts; p->sections != NULL; p++)
                check_part(p);
        for (const lvlm_projection *p = (*f)->projections; p->role != NULL; p++)
            assert_true(p->equation != NULL && p->what != NULL && p->missing != NULL);
    }
    assert_null(lvlm_family_by_name("paligemma9"));
}

/* "| family | name | versions | stage | what |" of each one is a line of the page. */
static void differences_are_documented(void **state)
{
    lvlm_infile *page = NULL;
    lvlm_error err;
    size_t n_rows = 0, n_lines = 0;
    (void)state;
    assert_int_equal(
        lvlm_infile_open(&page, LVLM_FIXTURES "/../formats/family/DIFFERENCES.md",
                         &err),
        0);
    char *text = lvlm_calloc(1, (size_t)page->n_bytes + 1);
    memcpy(text, page->bytes, (size_t)page->n_bytes);
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++)
        for (const lvlm_difference *d = (*f)->differences;
             d->behaviour != LVLM_AS_TRAINED; d++) {
            char row[1024];
            const bool always = d->since == NULL && d->until == NULL;
            (void)snprintf(row, sizeof row, "| `%s` | `%s` |%s%s%s%s%s | `%s` | %s |\n",
                           (*f)->name, lvlm_difference_name(d), always ? " all" : "",
                           d->since != NULL ? " from " : "",
                           d->since != NULL ? d->since : "",
                           d->until != NULL ? " before " : "",
                           d->until != NULL ? d->until : "", d->stage, d->what);
            if (strstr(text, row) == NULL) print_error("not on the page: %s", row);
            assert_non_null(strstr(text, row));
            n_rows++;
        }
    for (const char *at = text; (at = strstr(at, "\n| `")) != NULL; at++) n_lines++;
    assert_int_equal(n_lines, n_rows); /* and nothing else */
    lvlm_free(text);
    lvlm_infile_close(page);
}

/* ---- names ---------------------------------------------------------------------- */

static void names_of_every_generation_map_to_the_same_tensor(void **state)
{
    static const struct {
        const char *source, *canonical;
    } names[] = {
        { "vision_tower.vision_model.post_layernorm.bias",
          "vision.post_layernorm.bias" },
        { "vision_tower.post_layernorm.bias", "vision.post_layernorm.bias" },
        { "model.vision_tower.vision_model.post_layernorm.bias",
          "vision.post_layernorm.bias" },
        { "model.vision_tower.post_layernorm.bias", "vision.post_layernorm.bias" },
        { "base_model.model.vision_tower.post_layernorm.bias",
          "vision.post_layernorm.bias" },
        { "base_model.model.model.vision_tower.post_layernorm.bias",
          "vision.post_layernorm.bias" },
        { "module.language_model.model.norm.weight", "text.norm.weight" },
        { "_orig_mod.language_model.model.norm.weight", "text.norm.weight" },
        { "module._orig_mod.model.language_model.norm.weight", "text.norm.weight" },
        { "_forward_module.base_model.model.lm_head.weight", "text.head.weight" },
        { "_fsdp_wrapped_module.lm_head.weight", "text.head.weight" },
        { "language_model.norm.weight", "text.norm.weight" },
        { "model.language_model.norm.weight", "text.norm.weight" },
        { "model.language_model.model.norm.weight", "text.norm.weight" },
        { "multi_modal_projector.linear.bias", "connector.linear.bias" },
        { "model.multi_modal_projector.linear.bias", "connector.linear.bias" },
        { "lm_head.weight", "text.head.weight" },
        { "language_model.lm_head.weight", "text.head.weight" },
    };
    const lvlm_family *family = lvlm_family_by_name("paligemma");
    lvlm_arena arena = LVLM_ARENA_INIT;
    bool known;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *got = lvlm_names_canonical(family, names[i].source, &known, &arena);
        assert_true(known);
        assert_string_equal(got, names[i].canonical);
    }
    (void)lvlm_names_canonical(family, "classifier.weight", &known, &arena);
    assert_false(known);
    assert_string_equal(lvlm_names_source(family, "vision.post_layernorm.bias",
                                          LVLM_LAYOUT_HUB, &arena),
                        "vision_tower.vision_model.post_layernorm.bias");
    assert_string_equal(lvlm_names_source(family, "vision.post_layernorm.bias",
                                          LVLM_LAYOUT_CURRENT, &arena),
                        "vision_tower.post_layernorm.bias");
    assert_string_equal(
        lvlm_names_source(family, "text.head.weight", LVLM_LAYOUT_HUB, &arena),
        "language_model.lm_head.weight");
    lvlm_arena_free(&arena);
}

/* ---- configuration -------------------------------------------------------------- */

static int read_config(cJSON **out, const char *text, lvlm_error *err)
{
    const lvlm_family *family;
    cJSON *hf = NULL;
    assert_int_equal(lvlm_json_parse(&hf, text, strlen(text), err), 0);
    int rc = lvlm_family_detect(&family, hf, err);
    if (rc == 0) rc = lvlm_family_config(out, family, hf, err);
    lvlm_json_free(hf);
    return rc;
}

static double number(const cJSON *config, const char *path)
{
    double value = -1;
    (void)lvlm_json_double(&value, lvlm_json_path(config, path));
    return value;
}

/* Defaults of the reference's classes: SiglipVisionConfig, GemmaConfig, Gemma2Config,
 * and PaliGemmaConfig if a section is absent. */
static void config_fills_in_the_class_defaults(void **state)
{
    cJSON *c = NULL;
    (void)state;
    assert_int_equal(read_config(&c, "{\"model_type\":\"paligemma\"}", NULL), 0);
    assert_true(number(c, "vision.mlp") == 4096 && number(c, "vision.hidden") == 1152);
    assert_true(number(c, "vision.grid") == 16 && number(c, "text.hidden") == 2048);
    assert_true(number(c, "text.query_scalar") == 256);
    assert_true(number(c, "tokens.image") == 256000);
    lvlm_json_free(c);
    assert_int_equal(read_config(&c,
                                 "{\"model_type\":\"paligemma\",\"vision_config\":{},"
                                 "\"text_config\":{\"model_type\":\"gemma2\"}}",
                                 NULL),
                     0);
    assert_true(number(c, "vision.hidden") == 768 && number(c, "vision.patch") == 16);
    assert_true(number(c, "text.hidden") == 2304 && number(c, "text.layers") == 26);
    assert_true(number(c, "text.attn_softcap") == 50);
    assert_true(number(c, "text.final_softcap") == 30);
    assert_true(number(c, "text.sliding_window") == 4096);
    assert_true(number(c, "text.rope_theta") == 10000);
    lvlm_json_free(c);
}

static void config_takes_null_as_none_where_it_is_a_value(void **state)
{
    cJSON *c = NULL;
    (void)state;
    assert_int_equal(
        read_config(&c,
                    "{\"model_type\":\"paligemma\",\"text_config\":{"
                    "\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,"
                    "\"hidden_activation\":null,"
                    "\"rope_parameters\":{\"rope_theta\":5000.0}}}",
                    NULL),
        0);
    assert_true(cJSON_IsNull(lvlm_json_path(c, "text.attn_softcap")));
    assert_string_equal(lvlm_json_string(lvlm_json_path(c, "text.activation")),
                        "gelu_tanh");
    assert_true(number(c, "text.rope_theta") == 5000);
    lvlm_json_free(c);
}

#define VISUAL                                                                         \
    "\"width\":1664,\"layers\":48,\"heads\":16,\"patch_size\":14,\"image_size\":448,"

/* Products and sums of a file's numbers neither wrap nor are rounded. */
static void config_refuses_sizes_that_overflow(void **state)
{
    // clang-format off
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "{\"model_type\":\"qwen2_vl\",\"rope_scaling\":{\"mrope_section\":[16,24,24]},"
          "\"vision_config\":{\"mlp_ratio\":1e300}}",
          "mlp_ratio 1e+300 times the width 1280 is not a width" },
        { "{\"model_type\":\"qwen2_vl\",\"rope_scaling\":{\"mrope_section\":[16,24,24]},"
          "\"vision_config\":{\"mlp_ratio\":1e-300}}",
          "is not a width" },
        { "{\"model_type\":\"qwen\",\"visual\":{" VISUAL
          "\"mlp_ratio\":1e300},\"seq_length\":2048}",
          "is not a width" },
        { "{\"model_type\":\"qwen\",\"visual\":{" VISUAL
          "\"mlp_ratio\":4.9,\"output_dim\":4096},\"seq_length\":2048,\"hidden_size\":"
          "4096,\"kv_channels\":4503599627370496,\"num_attention_heads\":4503599627370496}",
          "kv_channels x num_attention_heads is too large" },
        { "{\"model_type\":\"mllama\",\"vision_config\":{\"image_size\":"
          "9007199254740992,\"patch_size\":1}}",
          "image_size / patch_size is too large" },
        { "{\"model_type\":\"mllama\",\"vision_config\":{\"image_size\":134217728,"
          "\"patch_size\":1}}",
          "vision.rows would be 18014398509481985, which is too large" },
        { "{\"model_type\":\"mllama\",\"vision_config\":{\"hidden_size\":"
          "9007199254740992,\"attention_heads\":16,\"intermediate_layers_indices\":["
          "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
          "]}}",
          "vision_output_dim 7680 is not hidden_size" },
        { "{\"model_type\":\"qwen2_5_vl\",\"vision_config\":{\"patch_size\":"
          "4503599627370496,\"spatial_merge_size\":4503599627370496,\"hidden_size\":1280},"
          "\"text_config\":{\"hidden_size\":3584,\"num_attention_heads\":28,"
          "\"num_key_value_heads\":4,\"rope_scaling\":{\"mrope_section\":[16,24,24]}}}",
          "patch_size x spatial_merge_size is too large" },
        { "{\"model_type\":\"qwen2_vl\",\"text_config\":{\"hidden_size\":3584,"
          "\"num_attention_heads\":28,\"num_key_value_heads\":4,\"rope_scaling\":{"
          "\"mrope_section\":[9007199254740992,9007199254740992,9007199254740992]}}}",
          "mrope_section must be three numbers" },
    };
    // clang-format on
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *c = NULL;
        lvlm_error err = { .text = "" };
        if (read_config(&c, bad[i].text, &err) != LVLM_EFORMAT ||
            strstr(err.text, bad[i].message) == NULL)
            fail_msg("row %zu: %s", i, err.text);
        lvlm_json_free(c);
    }
}

static void config_reads_the_padding_id_that_has_no_gradient(void **state)
{
    static const struct {
        const char *text;
        double pad; /* -1: none */
    } given[] = { { "{}", 0 },
                  { "{\"pad_token_id\":7}", 7 },
                  { "{\"pad_token_id\":null}", -1 },
                  { "{\"pad_token_id\":-1}", -1 } };
    (void)state;
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        char config[128];
        cJSON *c = NULL;
        (void)snprintf(config, sizeof config,
                       "{\"model_type\":\"paligemma\",\"text_config\":%s}",
                       given[i].text);
        assert_int_equal(read_config(&c, config, NULL), 0);
        assert_true(number(c, "tokens.pad") == given[i].pad);
        lvlm_json_free(c);
    }
}

/* Every tower uses the activation that its config.json names, like the reference. */
static void config_accepts_any_activation_of_the_reference(void **state)
{
    static const struct {
        const char *config, *path, *is;
    } good[] = {
        { "{\"model_type\":\"paligemma\",\"vision_config\":{\"hidden_act\":\"gelu\"}}",
          "vision.activation", "gelu" },
        { "{\"model_type\":\"paligemma\",\"text_config\":{\"hidden_act\":\"gelu\"}}",
          "text.activation", "gelu_tanh" },
        { "{\"model_type\":\"mllama\",\"vision_config\":{\"hidden_act\":"
          "\"gelu_fast\"}}",
          "vision.activation", "gelu_tanh" },
        { "{\"model_type\":\"mllama\",\"text_config\":{\"hidden_act\":\"swish\"}}",
          "text.activation", "silu" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cJSON *c = NULL;
        assert_int_equal(read_config(&c, good[i].config, NULL), 0);
        assert_string_equal(lvlm_json_string(lvlm_json_path(c, good[i].path)),
                            good[i].is);
        lvlm_json_free(c);
    }
}

static void config_errors_name_key_expected_and_got(void **state)
{
    static const struct {
        const char *config, *message;
    } bad[] = {
        { "{\"model_type\":\"llava_next\",\"vision_config\":{}}",
          "model_type 'llava_next' is not a known family" },
        { "{\"model_type\":\"qwen\",\"audio\":{}}",
          "model_type 'qwen', without a section about vision, is not a known family" },
        { "{}", "model_type '(none)'" },
        { "{\"model_type\":\"paligemma\",\"vision_config\":{\"hidden_size\":0}}",
          "vision_config.hidden_size: expected a positive whole number, got 0" },
        { "{\"model_type\":\"paligemma\",\"vision_config\":{\"hidden_size\":\"big\"}}",
          "expected a positive whole number, got \"big\"" },
        { "{\"model_type\":\"paligemma\",\"vision_config\":{\"hidden_act\":\"relu\"}}",
          "vision_config.hidden_act: expected one of silu swish gelu gelu_python "
          "gelu_pytorch_tanh gelu_python_tanh gelu_new gelu_fast gelu_accurate "
          "quick_gelu, got \"relu\"" },
        { "{\"model_type\":\"paligemma\",\"text_config\":{\"rope_parameters\":{"
          "\"rope_type\":\"yarn\"}}}",
          "rope_type: expected one of default, got \"yarn\"" },
        { "{\"model_type\":\"paligemma\",\"text_config\":{\"attention_bias\":true}}",
          "attention_bias is true" },
        { "{\"model_type\":\"paligemma\",\"text_config\":{\"num_attention_heads\":3,"
          "\"num_key_value_heads\":2}}",
          "text_config.num_attention_heads 3 is not a multiple of "
          "text_config.num_key_value_heads 2" },
        { "{\"model_type\":\"paligemma\",\"vision_config\":{\"image_size\":7}}",
          "vision_config.image_size 7 is below vision_config.patch_size 16" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lvlm_error err = { .text = "" };
        cJSON *c = NULL;
        assert_int_equal(read_config(&c, bad[i].config, &err), LVLM_EFORMAT);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
    }
}

static void references_apply_by_version(void **state)
{
    const lvlm_family *f = lvlm_family_by_name("paligemma2");
    (void)state;
    assert_true(lvlm_reference_applies(f, LVLM_FINAL_SOFTCAP, "transformers-4.51.3"));
    assert_false(lvlm_reference_applies(f, LVLM_FINAL_SOFTCAP, "transformers-4.52.0"));
    assert_false(lvlm_reference_applies(f, LVLM_FINAL_SOFTCAP, "transformers-5.22.2"));
    assert_true(lvlm_reference_applies(f, LVLM_FINAL_SOFTCAP, "transformers-5.23"));
    assert_false(lvlm_reference_applies(f, LVLM_FINAL_SOFTCAP, "trained"));
    assert_false(lvlm_reference_applies(f, LVLM_SLIDING_WINDOW, "transformers-4.57.6"));
    assert_true(lvlm_reference_applies(f, LVLM_SLIDING_WINDOW, "transformers-5.0.0"));
    assert_int_equal(lvlm_reference_check("trained", NULL), 0);
    assert_int_equal(lvlm_reference_check("transformers-4.51", NULL), 0);
    assert_int_equal(lvlm_reference_check("transformers-5.24.0.dev0", NULL), 0);
    assert_int_equal(lvlm_reference_check("transformers-5.0.0rc1", NULL), 0);
    assert_int_equal(lvlm_reference_check("transformers-5", NULL), LVLM_EUSAGE);
    assert_int_equal(lvlm_reference_check("transformers-5.x", NULL), LVLM_EUSAGE);
    assert_int_equal(lvlm_reference_check("jax", NULL), LVLM_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_have_complete_tables),
        cmocka_unit_test(differences_are_documented),
        cmocka_unit_test(names_of_every_generation_map_to_the_same_tensor),
        cmocka_unit_test(config_fills_in_the_class_defaults),
        cmocka_unit_test(config_takes_null_as_none_where_it_is_a_value),
        cmocka_unit_test(config_refuses_sizes_that_overflow),
        cmocka_unit_test(config_reads_the_padding_id_that_has_no_gradient),
        cmocka_unit_test(config_accepts_any_activation_of_the_reference),
        cmocka_unit_test(config_errors_name_key_expected_and_got),
        cmocka_unit_test(references_apply_by_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
