/* test_json_result.c - a JSON result is complete or not printed: fails each allocation
 * of a command that builds one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "formats/container/tensor.h"
#include "tests/support/alloc_failing.h"

static const char expected[] = "{\n"
                               "  \"name\": \"a\",\n"
                               "  \"shape\": [\n"
                               "    2,\n"
                               "    3\n"
                               "  ],\n"
                               "  \"rows\": [\n"
                               "    {\n"
                               "      \"value\": 0.5\n"
                               "    }\n"
                               "  ]\n"
                               "}\n";

static long fail_at; /* index of the allocation that fails; -1: none */

/* Builds a result like the commands do, without checking for errors. */
static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const lvlm_shape shape = { 2, { 2, 3 } };
    (void)arguments, (void)operands, (void)notes;
    alloc_fail_at(fail_at);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", "a");
    cJSON *const dims = lvlm_shape_json(&shape);
    if (!cJSON_AddItemToObject(json, "shape", dims)) lvlm_json_free(dims);
    cJSON *rows = cJSON_AddArrayToObject(json, "rows");
    cJSON *row = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(rows, row)) {
        lvlm_json_free(row);
        row = NULL;
    }
    cJSON_AddNumberToObject(row, "value", 0.5);
    const int rc = lvlm_print_json(json, err);
    alloc_fail_at(-1);
    return rc;
}

static const lvlm_command commands[] = {
    { "make", "", 0, 0, "a result", "", (const lvlm_option[]){ LVLM_OPTION_END },
      sizeof(lvlm_common_args), run },
    { NULL },
};

/* The program's exit status, and what it wrote to stdout. */
static int run_program(char text[4096])
{
    static const lvlm_program program = { "test", "a program", commands };
    char name[] = "test", verb[] = "make", *argv[] = { name, verb, NULL };
    const int kept = dup(STDOUT_FILENO);
    int ends[2];
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
    close(ends[1]);
    const int status = lvlm_program_main(&program, 2, argv);
    fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    close(kept);
    const ssize_t n = read(ends[0], text, 4095);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    return status;
}

static void a_result_is_whole_or_not_printed(void **state)
{
    char text[4096];
    int status = 3;
    (void)state;
    fail_at = -1;
    assert_int_equal(run_program(text), 0);
    assert_string_equal(text, expected);
    for (fail_at = 0; status != 0; fail_at++) {
        assert_true(fail_at < 100);
        status = run_program(text);
        assert_true(status == 0 || status == 3);
        assert_string_equal(text, status == 0 ? expected : "");
    }
    assert_true(fail_at > 12); /* all nodes, keys and texts */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_whole_or_not_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
