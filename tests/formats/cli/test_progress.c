/* test_progress.c - the progress line: its text, its width, and when it appears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/cli/amounts.h"
#include "formats/cli/progress.h"

static void durations_have_one_form(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = { { 60.2e-6, "60 us" },   { 999.6e-6, "1.0 ms" },
                  { 0.00126, "1.3 ms" },  { 0.126, "126 ms" },
                  { 0.9996, "1.0 s" },    { 3.14, "3.1 s" },
                  { 9.96, "10 s" },       { 89.4, "89 s" },
                  { 90, "2 min" },        { 4325, "73 min" },
                  { 7800, "2 h 10 min" }, { 1e300, "more than 1900 years" } };
    char text[LVLM_AMOUNT_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(lvlm_time_text(text, cases[i].seconds), cases[i].text);
}

static void a_pace_is_per_item_if_there_are_several(void **state)
{
    char text[LVLM_PACE_TEXT];
    (void)state;
    assert_string_equal(lvlm_pace_text(text, 1, "image", 0.0684), "1 image in 68 ms");
    assert_string_equal(lvlm_pace_text(text, 12, "token", 0.84),
                        "12 tokens in 840 ms (70 ms per token)");
}

static void sizes_share_the_unit_of_the_whole(void **state)
{
    char text[2 * LVLM_AMOUNT_TEXT];
    (void)state;
    assert_string_equal(lvlm_bytes_text(text, 999), "999 B");
    assert_string_equal(lvlm_bytes_text(text, 442.7e3), "442.7 kB");
    assert_string_equal(lvlm_bytes_of_text(text, 0.8e9, 1.3e9), "0.8 of 1.3 GB");
    assert_string_equal(lvlm_bytes_of_text(text, 7, 20), "7 of 20 B");
    assert_string_equal(lvlm_bytes_of_text(text, 5e15, 2e16), "5000.0 of 20000.0 TB");
}

static void lines_show_the_amount_done_and_its_unit(void **state)
{
    char text[128];
    lvlm_progress p;
    (void)state;
    lvlm_progress_init(&p, "converting", true);
    p.total = 1.3e9;
    lvlm_progress_text(text, sizeof text, &p, 0.8e9, 4);
    assert_string_equal(text, "converting 0.8 of 1.3 GB  200.0 MB/s  2.5 s left");
    p.total = 40;
    p.stages = true;
    lvlm_progress_text(text, sizeof text, &p, 12, 120);
    assert_string_equal(text, "converting  stage 12 of 40  5 min left");
    lvlm_progress_finish(&p);
}

static void lines_are_cut_to_the_terminal(void **state)
{
    static const char text[] = "step 12 of 40";
    char line[64];
    (void)state;
    lvlm_status_cut(line, sizeof line, text, 0);
    assert_string_equal(line, text);
    lvlm_status_cut(line, sizeof line, text, 14);
    assert_string_equal(line, text);
    lvlm_status_cut(line, sizeof line, text, 8);
    assert_string_equal(line, "step 12");
    lvlm_status_cut(line, sizeof line, text, 1);
    assert_string_equal(line, "s");
    lvlm_status_cut(line, 6, text, 0);
    assert_string_equal(line, "step ");
}

static void lines_are_rare_where_they_are_not_overwritten(void **state)
{
    lvlm_status s = { .enabled = true, .columns = 80, .started = 100 };
    (void)state;
    assert_false(lvlm_status_due(&s, 100.9));
    assert_true(lvlm_status_due(&s, 101.2));
    s.shown = 101.2;
    assert_false(lvlm_status_due(&s, 101.25));
    assert_true(lvlm_status_due(&s, 101.35));
    s = (lvlm_status){ .enabled = true, .columns = 0, .started = 100 };
    assert_false(lvlm_status_due(&s, 159));
    assert_true(lvlm_status_due(&s, 160));
    s.shown = 160;
    assert_false(lvlm_status_due(&s, 219));
    assert_true(lvlm_status_due(&s, 220));
    s.enabled = false;
    assert_false(lvlm_status_due(&s, 1e6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_one_form),
        cmocka_unit_test(a_pace_is_per_item_if_there_are_several),
        cmocka_unit_test(sizes_share_the_unit_of_the_whole),
        cmocka_unit_test(lines_show_the_amount_done_and_its_unit),
        cmocka_unit_test(lines_are_cut_to_the_terminal),
        cmocka_unit_test(lines_are_rare_where_they_are_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
