/* test_history.c - which steps a native file may list in its history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "formats/base/json.h"
#include "formats/native/history.h"

#define DIGEST "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define STEP "\"did\":\"trained\",\"version\":\"lvlm 0\",\"base\":" DIGEST

/* Check a history; "" if it is one, else what is wrong. */
static const char *check(lvlm_error *err, const char *text)
{
    cJSON *json = NULL;
    err->text[0] = '\0';
    assert_int_equal(lvlm_json_parse(&json, text, strlen(text), err), 0);
    const int rc = lvlm_history_check(json, err);
    assert_true(rc == 0 || rc == LVLM_EFORMAT);
    assert_true((rc == 0) == (err->text[0] == '\0'));
    lvlm_json_free(json);
    return err->text;
}

static void steps_have_known_members_of_the_right_kinds(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "[{" STEP "}]", "" },
        { "[{" STEP "},{" STEP ",\"steps\":3,\"settings\":{\"lr\":0.5,\"x\":[1]},"
          "\"trained\":{\"text\":2},\"frozen\":{},\"data\":" DIGEST
          ",\"data_file\":" DIGEST ",\"batches\":\"2\",\"adapted\":{\"vision\":1},"
          "\"adapter\":" DIGEST ",\"adapter_config\":" DIGEST "}]",
          "" },
        { "{}", "is not a list of steps" },
        { "[]", "is not a list of steps" },
        { "[3]", "step 1: is not an object" },
        { "[{" STEP "},{\"did\":\"x\"}]", "step 2: 'version' is missing" },
        { "[{" STEP ",\"by\":\"me\"}]", "step 1: unknown member 'by'" },
        { "[{" STEP ",\"data\":\"abc\"}]", "step 1: 'data' is not a digest" },
        { "[{" STEP ",\"steps\":1.5}]", "step 1: 'steps' is not a count" },
        { "[{" STEP ",\"settings\":[]}]", "step 1: 'settings' is not an object" },
        { "[{" STEP ",\"batches\":2}]", "step 1: 'batches' is not text" },
        { "[{" STEP ",\"frozen\":{\"text\":-1}}]",
          "step 1: 'frozen' is not an object of counts" },
        { "[{" STEP ",\"frozen\":3}]", "step 1: 'frozen' is not an object of counts" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvlm_error err;
        assert_string_equal(check(&err, cases[i].text), cases[i].message);
    }
}

static void steps_are_appended(void **state)
{
    cJSON *provenance = cJSON_CreateObject(), *step = NULL;
    lvlm_error err;
    (void)state;
    assert_int_equal(lvlm_json_parse(&step, "{" STEP "}", strlen("{" STEP "}"), &err),
                     0);
    for (size_t n = 1; n <= 3; n++) {
        assert_int_equal(lvlm_history_add(provenance, step, &err), 0);
        const cJSON *const history = lvlm_json_get(provenance, LVLM_PROVENANCE_HISTORY);
        assert_int_equal(lvlm_json_count(history), n);
        assert_int_equal(lvlm_history_check(history, &err), 0);
    }
    lvlm_json_free(step);
    lvlm_json_free(provenance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_have_known_members_of_the_right_kinds),
        cmocka_unit_test(steps_are_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
