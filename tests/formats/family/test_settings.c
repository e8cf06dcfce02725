/* test_settings.c - kinds of settings, tables of them under a condition, and settings
 * that follow from config.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/family/family.h"

static const lvlm_word kinds[] = {
    { "full_attention", "full" },
    { "sliding_attention", "window" },
    { NULL },
};

static const lvlm_setting whole[] = {
    { "text.kind", LVLM_SETTING_WORD, "kind", "\"full\"", NULL, kinds },
    { "text.layers", LVLM_SETTING_WORDS, "layers", "[]", NULL, kinds },
    { "text.width", LVLM_SETTING_COUNT, "width", "7" },
    { "vision.select", LVLM_SETTING_SIGNED, "select", "-2" },
    { NULL },
};

static const lvlm_setting window[] = {
    { "text.window", LVLM_SETTING_COUNT, "window", "4" },
    { "text.width", LVLM_SETTING_CONSTANT, NULL, "9" },
    { NULL },
};

static const lvlm_setting_table tables[] = {
    { whole },
    { window, "text.kind window" },
    { NULL },
};

/* Reads a key of config.json that no setting reads. */
static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    uint64_t seen = 0;
    (void)!lvlm_json_u64(&seen, lvlm_json_get(hf_config, "unlisted"));
    cJSON_AddNumberToObject(cJSON_GetObjectItemCaseSensitive(config, "text"), "seen",
                            (double)seen);
    (void)err;
    return 0;
}

static const lvlm_family family = { .name = "x", .settings = tables, .derive = derive };

/* The canonical configuration of `hf`, or the error. */
static void expect(const char *hf, const char *expected)
{
    cJSON *json = NULL, *config = NULL;
    char *text = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(lvlm_json_parse(&json, hf, strlen(hf), &err), 0);
    if (lvlm_family_config(&config, &family, json, &err) == 0) {
        assert_int_equal(lvlm_json_print(&text, config, &err), 0);
        assert_string_equal(text, expected);
    } else if (strstr(err.text, expected) == NULL) {
        fail_msg("expected: %s\ngot: %s", expected, err.text);
    }
    lvlm_free(text);
    lvlm_json_free(config);
    lvlm_json_free(json);
}

static void tables_depend_on_words_and_the_last_setting_is_used(void **state)
{
    (void)state;
    expect("{}", "{\"text\":{\"kind\":\"full\",\"layers\":[],\"width\":7,\"seen\":0},"
                 "\"vision\":{\"select\":-2}}");
    expect("{\"kind\":\"sliding_attention\",\"width\":3,\"window\":5,\"unlisted\":6}",
           "{\"text\":{\"kind\":\"window\",\"layers\":[],\"width\":9,\"window\":5,"
           "\"seen\":6},\"vision\":{\"select\":-2}}");
}

static void signed_numbers_and_lists_of_words_are_read(void **state)
{
    (void)state;
    expect(
        "{\"select\":[-1,0,3],\"layers\":[\"full_attention\",\"sliding_attention\"]}",
        "{\"text\":{\"kind\":\"full\",\"layers\":[\"full\",\"window\"],\"width\":7,"
        "\"seen\":0},\"vision\":{\"select\":[-1,0,3]}}");
    expect("{\"select\":1.5}", "select: expected a whole number or a list of such");
    expect("{\"select\":[[1]]}", "select: expected a whole number or a list of such");
    expect("{\"select\":[]}", "select: expected a whole number or a list of such");
    expect("{\"select\":\"-2\"}", "select: expected a whole number or a list of such");
    expect("{\"layers\":\"full_attention\"}", "layers: expected a list of words");
    expect("{\"layers\":[\"full_attention\",\"other\"]}",
           "layers: expected one of full_attention sliding_attention, got \"other\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_depend_on_words_and_the_last_setting_is_used),
        cmocka_unit_test(signed_numbers_and_lists_of_words_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
