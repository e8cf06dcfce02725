/* test_config_keys.c - stock configurations give no note; keys that could change a
 * result, and rotary settings that are not followed, are noted or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/family/config_keys.h"

/* The configuration in fixtures/FOLDER. Free with lvlm_json_free. */
static cJSON *read_config(const char *folder)
{
    char path[256];
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    lvlm_error err;
    (void)snprintf(path, sizeof path, "%s/%s/config.json", LVLM_FIXTURES, folder);
    if (lvlm_infile_open(&file, path, &err) < 0 ||
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, &err) <
            0)
        fail_msg("%s", err.text);
    lvlm_infile_close(file);
    return json;
}

/* The only note on `config`, the message of a refusal, or "". */
static const char *said(const cJSON *config, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_family *family = NULL;
    cJSON *canonical = NULL;
    if (lvlm_family_detect(&family, config, err) < 0 ||
        lvlm_config_check(family, config, notes, err) < 0 ||
        lvlm_family_config(&canonical, family, config, err) < 0)
        return err->text;
    lvlm_json_free(canonical);
    return notes->n > 0 ? notes->at[0] : "";
}

static void stock_configurations_give_no_note(void **state)
{
    static const char *const folders[] = {
        "real_sizes/Qwen2-VL-2B",      "real_sizes/Qwen-VL",
        "real_sizes/paligemma-3b-448", "real_sizes/Llama-3.2-11B-Vision",
        "paligemma-odd/model",         "paligemma2-window/model",
        "paligemma-layouts/hub",       "mllama-odd/model",
        "mllama-layouts/hub",          "mllama-layouts/saved",
        "qwen2_vl-odd/model",          "qwen2_vl-layouts/hub",
        "qwen2_vl-layouts/bare",       "qwen2_5_vl-odd/model",
        "qwen2_5_vl-layouts/saved",    "qwen_vl-odd/model",
        "qwen_vl-layouts/hub",         "prompts/paligemma2/model",
        "prompts/qwen2_vl/model",      "prompts/mllama/model",
    };
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_error err;
        cJSON *const config = read_config(folders[i]);
        const char *const got = said(config, &notes, &err);
        if (*got != '\0') fail_msg("%s: %s", folders[i], got);
        lvlm_notes_free(&notes);
        lvlm_json_free(config);
    }
}

#define SECTION " \"mrope_section\": [2, 1, 3]"
#define OTHER                                                                          \
    "rope_type 'yarn' is not supported: it computes other positions than the model "   \
    "was trained with; without it the model runs, within its own length"

static void keys_and_rotary_settings_are_noted_or_refused(void **state)
{
    static const struct {
        const char *section, *key, *value, *begins;
    } cases[] = {
        // clang-format off
        { "text_config", "rope_scaling", "{\"type\": \"yarn\", \"rope_type\": \"yarn\", \"factor\": 4.0," SECTION "}", "config.json: text_config.rope_scaling: " OTHER },
        { "text_config", "rope_scaling", "{\"rope_type\": \"default\", \"type\": \"yarn\"}", "config.json: text_config.rope_scaling: " OTHER },
        { "text_config", "rope_parameters", "{\"rope_type\": \"yarn\", \"rope_theta\": 1000000.0," SECTION "}", "config.json: text_config.rope_parameters: " OTHER },
        { "text_config", "rope_scaling", "{\"type\": \"mrope\", \"mrope_section\": [1, 2, 3]}", "config.json: text_config.rope_scaling and rope_parameters do not agree on 'mrope_section'" },
        { "text_config", "rope_scaling", "{\"type\": \"mrope\"}", "config.json: text_config.rope_scaling and rope_parameters do not agree on 'mrope_section'" },
        { "text_config", "rope_scaling", "{\"type\": \"mrope\", \"rope_theta\": 5," SECTION "}", "config.json: text_config.rope_scaling and rope_parameters do not agree on 'rope_theta'" },
        { "text_config", "rope_scaling", "{\"type\": \"mrope\", \"rope_type\": \"default\", \"rope_theta\": 10000.0," SECTION "}", "" },
        { "text_config", "rope_scaling", "null", "" },
        { "text_config", "rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1000000.0, \"factor\": 4," SECTION "}", "config.json: text_config.rope_parameters: 'factor' is not followed: changes nothing for this rope_type" },
        { "text_config", "rope_parameters", "{\"rope_type\": \"default\", \"mrope_interleaved\": true," SECTION "}", "config.json: text_config.rope_parameters: 'mrope_interleaved' is not supported" },
        { "text_config", "rope_parameters", "{\"rope_type\": \"default\", \"rope_tehta\": 5," SECTION "}", "config.json: text_config.rope_parameters: 'rope_tehta' is not known and not followed; did you mean 'rope_theta'?" },
        { "text_config", "layer_types", "[\"sliding_attention\", \"full_attention\"]", "config.json: text_config.layer_types[0]: got 'sliding_attention', expected 'full_attention'" },
        { "text_config", "use_bidirectional_attention", "false", "" },
        { "text_config", "use_bidirectional_attention", "true", "config.json: text_config.use_bidirectional_attention true is not followed: every text is causal" },
        { "text_config", "num_layers", "3", "config.json: text_config: 'num_layers' is not known and not followed" },
        { "vision_config", "deepstack_visual_indexes", "[1]", "config.json: vision_config: 'deepstack_visual_indexes' is not known and not followed" },
        { "vision_config", "rope_parameters", "{\"rope_type\": \"yarn\"}", "config.json: vision_config.rope_parameters: " OTHER },
        { "text_config", "attention_dropout", "0.1", "" },
        { "text_config", "rms_norm_eps", "null", "config.json: 'text_config.rms_norm_eps' is null: counts as its default, 1e-5; the reference may take it for another" },
        { "text_config", "hidden_act", "null", "" },
        { "text_config", "use_sliding_window", "null", "" },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_error err;
        cJSON *const config = read_config("qwen2_vl-odd/model"), *value = NULL;
        cJSON *const section =
            cJSON_GetObjectItemCaseSensitive(config, cases[i].section);
        assert_int_equal(
            lvlm_json_parse(&value, cases[i].value, strlen(cases[i].value), &err), 0);
        cJSON_DeleteItemFromObjectCaseSensitive(section, cases[i].key);
        assert_true(cJSON_AddItemToObject(section, cases[i].key, value));
        const char *const got = said(config, &notes, &err);
        if (strncmp(got, cases[i].begins, strlen(cases[i].begins)) != 0 ||
            (*cases[i].begins == '\0' && *got != '\0'))
            fail_msg("case %zu: %s", i, got);
        lvlm_notes_free(&notes);
        lvlm_json_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_configurations_give_no_note),
        cmocka_unit_test(keys_and_rotary_settings_are_noted_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
