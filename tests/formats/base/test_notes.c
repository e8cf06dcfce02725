/* test_notes.c - sentences are kept in order, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/notes.h"

static void each_sentence_is_kept_once_in_order(void **state)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    (void)state;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 40; i++)
            assert_int_equal(lvlm_notes_add(&notes, NULL, "key %d", i), 0);
    assert_int_equal(notes.n, 40);
    assert_string_equal(notes.at[0], "key 0");
    assert_string_equal(notes.at[39], "key 39");
    lvlm_notes_free(&notes);
    assert_int_equal(notes.n, 0);
}

static void after_200_notes_one_says_that_others_are_left_out(void **state)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(lvlm_notes_add(&notes, NULL, "key %d", i), 0);
    assert_int_equal(notes.n, 201);
    assert_string_equal(notes.at[199], "key 199");
    assert_string_equal(notes.at[200], "more than 200 notes: the others are left out");
    lvlm_notes_free(&notes);
}

static void a_null_list_ignores_notes(void **state)
{
    (void)state;
    assert_int_equal(lvlm_notes_add(NULL, NULL, "unheard"), 0);
}

static void a_long_sentence_is_cut(void **state)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    char text[5000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(lvlm_notes_add(&notes, NULL, "%s", text), 0);
    assert_int_equal(strlen(notes.at[0]), 1023);
    lvlm_notes_free(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sentence_is_kept_once_in_order),
        cmocka_unit_test(after_200_notes_one_says_that_others_are_left_out),
        cmocka_unit_test(a_null_list_ignores_notes),
        cmocka_unit_test(a_long_sentence_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
