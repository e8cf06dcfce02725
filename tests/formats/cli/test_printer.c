/* test_printer.c - a description is printed as lines or as a document, never as
 * both. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/cli/printer.h"

static void describe(lvlm_printer *p)
{
    const lvlm_shape shape = { 2, { 3, 4 } };
    const lvlm_tensor tensor = { .name = "a", .dtype = LVLM_BF16, .shape = shape };
    lvlm_printer_text(p, "text", "x");
    lvlm_printer_count(p, "count", UINT64_C(9007199254740991));
    lvlm_printer_number(p, "number", 0.5);
    lvlm_printer_number(p, "infinite", INFINITY);
    lvlm_printer_flag(p, "flag", true);
    lvlm_printer_seconds(p, "seconds", 1.23456789);
    lvlm_printer_list(p, "list");
    lvlm_printer_text(p, NULL, "y");
    lvlm_printer_object(p, NULL);
    lvlm_printer_shape(p, "shape", &shape);
    lvlm_printer_end(p);
    lvlm_printer_tensor(p, &tensor);
    lvlm_printer_end(p);
    lvlm_printer_tree(p, "none", NULL);
    lvlm_printer_tree(p, "tree", p->at[0]);
}

static void members_keep_their_order_and_nesting(void **state)
{
    static const char inner[] =
        "\"schema\":1,\"text\":\"x\",\"count\":9007199254740991,\"number\":0.5,"
        "\"infinite\":null,\"flag\":true,\"seconds\":1.234568,\"list\":[\"y\","
        "{\"shape\":[3,4]},{\"name\":\"a\",\"dtype\":\"BF16\",\"shape\":[3,4]}]";
    char expected[512], *text;
    lvlm_printer p;
    (void)state;
    (void)snprintf(expected, sizeof expected, "{%s,\"tree\":{%s}}", inner, inner);
    lvlm_printer_open(&p, true, true);
    assert_false(p.text);
    lvlm_printer_line(&p, "not printed\n");
    describe(&p);
    assert_int_equal(lvlm_json_print(&text, p.at[0], NULL), 0);
    assert_string_equal(text, expected);
    lvlm_free(text);
    lvlm_printer_drop(&p);
}

static void without_json_nothing_is_kept(void **state)
{
    lvlm_printer p;
    (void)state;
    for (int quiet = 0; quiet < 2; quiet++) {
        lvlm_printer_open(&p, false, quiet == 0);
        assert_int_equal(p.text, quiet == 0);
        describe(&p);
        assert_null(p.at[0]);
        assert_int_equal(lvlm_printer_close(&p, NULL, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_keep_their_order_and_nesting),
        cmocka_unit_test(without_json_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
