/* test_keys.c - keys that are followed or inert are accepted silently; all others are
 * noted or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"

static const lvlm_key keys[] = {
    { "top_k" },
    { "stop_strings" },
    { "_from_*", LVLM_KEY_INERT, "says where the file came from" },
    { "num_beams", LVLM_KEY_NOTED, "one text is searched", "1|\"one\"" },
    { "bias", LVLM_KEY_REFUSED, "biases are not adapted", "false|\"none\"" },
    { NULL },
};

/* Checks `json`. Returns the only note, "" if there is none, or the message of a
 * refusal. */
static const char *check(const char *json, lvlm_notes *notes, lvlm_error *err)
{
    cJSON *object = NULL;
    assert_int_equal(lvlm_json_parse(&object, json, strlen(json), err), 0);
    const int rc = lvlm_keys_check(object, "file.json", keys, notes, err);
    lvlm_json_free(object);
    if (rc < 0) return err->text;
    assert_true(notes->n <= 1);
    return notes->n == 1 ? notes->at[0] : "";
}

static void keys_are_accepted_noted_or_refused(void **state)
{
    static const struct {
        const char *json, *said;
    } cases[] = {
        { "{}", "" },
        { "[1]", "" },
        { "{\"top_k\":5,\"_from_model_config\":true}", "" },
        { "{\"num_beams\":1,\"bias\":false}", "" },
        { "{\"num_beams\":1.0,\"bias\":\"none\"}", "" },
        { "{\"num_beams\":\"one\"}", "" },
        { "{\"num_beams\":null,\"bias\":null,\"what\":null}", "" },
        { "{\"num_beams\":4}",
          "file.json: 'num_beams' is not followed: one text is searched" },
        { "{\"bias\":\"all\"}",
          "file.json: 'bias' is not supported: biases are not adapted" },
        { "{\"top_kk\":5}",
          "file.json: 'top_kk' is not known and not followed; did you mean 'top_k'?" },
        { "{\"Top_k\":5}",
          "file.json: 'Top_k' is not known and not followed; did you mean 'top_k'?" },
        { "{\"elsewhere\":5}", "file.json: 'elsewhere' is not known and not followed" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_error err;
        assert_string_equal(check(cases[i].json, &notes, &err), cases[i].said);
        lvlm_notes_free(&notes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_accepted_noted_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
