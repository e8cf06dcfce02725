/* test_ledger.c - one row per rule of the ledger; numbers are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/native/ledger.h"

#define TENSOR                                                                         \
    "{\"name\":\"t\",\"file\":0,\"offset\":8,\"dtype\":\"F32\",\"shape\":[6],"         \
    "\"use\":\"used\",\"targets\":[\"a\"]}"
#define DETACHED(offset, detached)                                                     \
    "{\"name\":\"d\",\"file\":0,\"offset\":" offset                                    \
    ",\"dtype\":\"F32\",\"shape\":[6],\"use\":\"used\",\"detached\":" detached         \
    ",\"targets\":[\"a\"]}"
#define ENTRY(shape, file, offset, use, more)                                          \
    "{\"name\":\"t\",\"file\":" file ",\"offset\":" offset                             \
    ",\"dtype\":\"F32\",\"shape\":" shape ",\"use\":\"" use "\"," more "}"
#define LEDGER(tensors)                                                                \
    "{\"files\":[{\"name\":\"m.safetensors\",\"bytes\":32}],\"tensors\":[" tensors "]" \
    "}"

static int read_ledger(const char *text, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_ledger ledger;
    const int rc = lvlm_ledger_read(&ledger, text, strlen(text), &arena, err);
    lvlm_arena_free(&arena);
    return rc;
}

static const struct {
    const char *text, *message;
} bad[] = {
    { "[]", "not an object" },
    { "{\"files\":{\"a\":1}}", "files: not a list" }, /* an object for a list */
    { "{\"tensors\":{\"a\":{}}}", "tensors: not a list" },
    { "{\"made\":{}}", "made: not a list" },
    { "{\"made\":[{\"target\":\"a\"}]}", "made: number 0 has no target" },
    { "{\"maid\":[]}", "maid: unknown member 'maid'" },
    { "{\"a_very_long_member\":[]}", "unknown member 'a_very_long_member'" },
    { "{\"files\":[{\"name\":\"../m\",\"bytes\":1}]}", "is not a plain file name" },
    { "{\"files\":[{\"name\":\".m\",\"bytes\":1}]}", "is not a plain file name" },
    { "{\"files\":[{\"name\":\"m\"}]}", "file 'm' has no size" },
    { "{\"files\":[{\"bytes\":1}]}", "file 0 has no name" },
    { "{\"files\":[{\"name\":\"m\",\"bytes\":1},{\"name\":\"m\",\"bytes\":1}]}",
      "'m' is listed twice" },
    { "{\"files\":[{\"name\":\"m\",\"bytes\":1,\"compressed\":false}]}",
      "compressed: not true" },
    { LEDGER("{}"), "tensor 0: has no name" },
    { LEDGER("{\"name\":\"t\",\"dtype\":\"F9\"}"),
      "tensor 't': dtype: unknown dtype 'F9'" },
    { LEDGER(ENTRY("[6]", "1", "8", "used", "\"targets\":[\"a\"]")),
      "tensor 't': file is not an index" },
    { LEDGER(ENTRY("[6]", "0", "9", "used", "\"targets\":[\"a\"]")),
      "tensor 't': is outside of its file" },
    { LEDGER(ENTRY("[6]", "0", "18446744073709551615", "used", "\"targets\":[\"a\"]")),
      "tensor 't': is outside of its file" },
    { LEDGER(ENTRY("{\"x\":6}", "0", "8", "used", "\"targets\":[\"a\"]")),
      "tensor 't': shape: not a list" },
    { LEDGER(ENTRY("[1,1,1,1,1,1,1,1,6]", "0", "8", "used", "\"targets\":[\"a\"]")),
      "tensor 't': shape: more than 8 dimensions" },
    { LEDGER(TENSOR "," TENSOR), "tensor 't': overlaps or precedes 't'" },
    { LEDGER(TENSOR "," DETACHED("33", "true")), "'d': is outside of its file" },
    { LEDGER(TENSOR "," DETACHED("8", "false")), "'d': detached: not true" },
    { LEDGER(DETACHED("8", "true") "," TENSOR), "'t': overlaps or precedes 'd'" },
    { LEDGER(DETACHED("8", "true") "," DETACHED("8", "true")), "'d' is listed twice" },
    { LEDGER(ENTRY("[6]", "0", "8", "lost", "\"targets\":[\"a\"]")),
      "use: unknown use 'lost'" },
    { LEDGER(ENTRY("[6]", "0", "8", "used", "\"targets\":[\"a\"],\"grown\":true")),
      "only a table that is used as it is can have grown" },
    { LEDGER(ENTRY("[6]", "0", "8", "used", "\"targets\":[\"a\"],\"grown\":false")),
      "grown: not true" },
    { LEDGER(ENTRY("[6]", "0", "8", "unused", "\"targets\":[\"a\"]")),
      "a rule is required if unused, and only then" },
    { LEDGER(ENTRY("[6]", "0", "8", "used", "\"targets\":[\"a\",\"b\"]")),
      "has 2 targets, expected 1" },
    { LEDGER(ENTRY("[6]", "0", "8", "used", "\"targets\":{\"a\":\"b\"}")),
      "targets: not a list" },
    { LEDGER(ENTRY("[6]", "0", "8", "used", "\"targets\":[]")), "has no targets" },
    { LEDGER(ENTRY("[0,5]", "0", "8", "used",
                   "\"targets\":[],\"transform\":{\"axes\":[0,5],\"select\":1,"
                   "\"order\":[1]}")),
      "has no targets" },
    { LEDGER(ENTRY("[6]", "0", "8", "used",
                   "\"targets\":[\"a\"],\"transform\":{\"axes\":[],\"select\":0,"
                   "\"order\":[]}")),
      "transform: select is not an axis" },
    { LEDGER(ENTRY("[6]", "0", "8", "used",
                   "\"targets\":[\"a\"],\"transform\":{\"axes\":[2,3],\"select\":3,"
                   "\"order\":[1,0]}")),
      "transform: select is not an axis" },
    { LEDGER(ENTRY("[6]", "0", "8", "used",
                   "\"targets\":[\"a\"],\"transform\":{\"axes\":[2,3],\"select\":0,"
                   "\"order\":[0,0]}")),
      "order is not a permutation" },
    { LEDGER(ENTRY("[6]", "0", "8", "used",
                   "\"targets\":[\"a\"],\"transform\":{\"axes\":[2,4],\"select\":0,"
                   "\"order\":[1,0]}")),
      "axes make 8 elements, the tensor has 6" },
    { LEDGER(ENTRY("[6]", "0", "8", "used",
                   "\"targets\":[\"a\"],\"transform\":{\"axes\":[2,3],\"select\":1,"
                   "\"order\":[1]}")),
      "has 1 targets, not one for each index" },
};

static void ledgers_are_checked_field_by_field(void **state)
{
    lvlm_error err;
    (void)state;
    assert_int_equal(read_ledger(LEDGER(TENSOR), &err), 0);
    assert_int_equal(read_ledger(LEDGER(TENSOR "," DETACHED("32", "true")), &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_ledger(bad[i].text, &err), LVLM_EFORMAT);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
    }
}

static void numbers_over_two_to_the_53_are_exact(void **state)
{
    static const char text[] =
        "{\"files\":[{\"name\":\"m\",\"bytes\":18446744073709551615}],\"tensors\":[{"
        "\"name\":\"t\",\"file\":0,\"offset\":9007199254740993,\"dtype\":\"F32\","
        "\"shape\":[0,18446744073709551615],\"use\":\"used\",\"targets\":[\"a\"]}],"
        "\"made\":[]}";
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_strbuf printed = LVLM_STRBUF_INIT(4096);
    lvlm_ledger ledger;
    (void)state;
    assert_int_equal(lvlm_ledger_read(&ledger, text, strlen(text), &arena, NULL), 0);
    assert_true(ledger.entries[0].source.offset == 9007199254740993u);
    lvlm_ledger_print(&printed, &ledger);
    assert_string_equal(printed.text, text);
    lvlm_strbuf_free(&printed);
    lvlm_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ledgers_are_checked_field_by_field),
        cmocka_unit_test(numbers_over_two_to_the_53_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
