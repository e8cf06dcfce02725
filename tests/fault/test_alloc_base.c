/* test_alloc_base.c - fails the first, second, third ... allocation of the base layer:
 * LVLM_ENOMEM is returned, nothing leaks, no file is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/arena.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/options.h"
#include "formats/base/outfile.h"
#include "tests/support/alloc_failing.h"
#include "tests/support/scratch.h"

typedef int operation(scratch *s, lvlm_error *err);

/* Returns the number of allocations of the operation: 0 would test nothing. */
static long torture(operation *op)
{
    scratch s;
    scratch_make(&s);
    (void)scratch_write(&s, "there", "text", 4);
    const long before = alloc_live();
    long n = 0;
    for (;; n++) {
        lvlm_error err = { .text = "" };
        alloc_fail_at(n);
        const int rc = op(&s, &err);
        alloc_fail_at(-1);
        assert_int_equal(alloc_live(), before);
        if (rc == 0) break;
        if (rc != LVLM_ENOMEM || err.code != LVLM_ENOMEM ||
            strstr(err.text, "out of memory") == NULL)
            fail_msg("failing allocation %ld gives %d: %s", n, rc, err.text);
        assert_int_equal(scratch_count(&s, ""), 1);
    }
    scratch_remove(&s);
    return n;
}

static int parse_json(scratch *s, lvlm_error *err)
{
    static const char text[] =
        "{\"a\":[1,-2.5e3,{\"b\":\"t\\n\"}],\"c\":null,\"\":true}";
    cJSON *json = NULL;
    (void)s;
    const int rc = lvlm_json_parse(&json, text, sizeof text - 1, err);
    lvlm_json_free(json);
    return rc;
}

static int print_json(scratch *s, lvlm_error *err)
{
    cJSON array = { .type = cJSON_Array }, item[64];
    char *text = NULL;
    (void)s;
    for (size_t i = 0; i < 64; i++)
        item[i] = (cJSON){ .type = cJSON_Number,
                           .valuedouble = 0.1,
                           .next = i < 63 ? &item[i + 1] : NULL };
    array.child = item; // lint: allow child
    const int rc = lvlm_json_print_pretty(&text, &array, err);
    assert_true(rc == 0 || text == NULL);
    lvlm_free(text);
    return rc;
}

static int fill_arena(scratch *s, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    int rc = 0;
    (void)s;
    for (int i = 0; i < 100 && rc == 0; i++)
        if (lvlm_arena_alloc(&arena, 100, 8) == NULL ||
            lvlm_arena_printf(&arena, "%d", i) == NULL ||
            lvlm_arena_strndup(&arena, "text", 4) == NULL)
            rc = lvlm_fail_memory(err);
    lvlm_arena_free(&arena);
    return rc;
}

static int fill_strbuf(scratch *s, lvlm_error *err)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(1 << 20);
    (void)s;
    for (int i = 0; i < 1000; i++) lvlm_strbuf_printf(&buf, "%d ", i);
    const int rc = lvlm_strbuf_check(&buf, err);
    lvlm_strbuf_free(&buf);
    return rc;
}

static const lvlm_option no_options[] = { LVLM_OPTION_END };
static const lvlm_command command = { .name = "verb",
                                      .operands = "A",
                                      .min_operands = 1,
                                      .max_operands = 1,
                                      .summary = "does it",
                                      .options = no_options,
                                      .args_bytes = sizeof(lvlm_common_args) };

static int print_help(scratch *s, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
    (void)s;
    lvlm_options_help(&text, "program", &command);
    const int rc = lvlm_strbuf_check(&text, err);
    lvlm_strbuf_free(&text);
    return rc;
}

static int map_file(scratch *s, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    const int rc = lvlm_infile_open(&file, scratch_path(s, "there"), err);
    lvlm_infile_close(file);
    return rc;
}

static int list_files(scratch *s, lvlm_error *err)
{
    char **names = NULL;
    size_t n = 0;
    const int rc = lvlm_path_list(&names, &n, s->dir, err);
    assert_true(rc == 0 || names == NULL);
    lvlm_path_list_free(names, n);
    return rc;
}

/* Over an existing file, so that the directory's names do not change. */
static int save_file(scratch *s, lvlm_error *err)
{
    return lvlm_outfile_save(scratch_path(s, "there"), "new", 3, true, err);
}

/* Parsing a command line allocates nothing: its texts are argv's. */
static void options_parse_without_the_heap(void **state)
{
    char threads[] = "--threads=3", operand[] = "x";
    char *argv[] = { threads, operand };
    lvlm_common_args args = { .threads = 0 };
    lvlm_operands operands;
    (void)state;
    alloc_fail_at(0);
    const int rc =
        lvlm_options_parse(&args, &operands, "program", &command, 2, argv, NULL);
    alloc_fail_at(-1);
    assert_int_equal(rc, 0);
    assert_int_equal(args.threads, 3);
}

#define SURVIVES(operation, at_least)                                                  \
    static void operation##_survives_a_full_heap(void **state)                         \
    {                                                                                  \
        (void)state;                                                                   \
        assert_true(torture(operation) >= (at_least));                                 \
    }

SURVIVES(parse_json, 12)
SURVIVES(print_json, 2)
SURVIVES(fill_arena, 2)
SURVIVES(fill_strbuf, 2)
SURVIVES(print_help, 2)
SURVIVES(map_file, 2)
SURVIVES(list_files, 2)
SURVIVES(save_file, 2)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_json_survives_a_full_heap),
        cmocka_unit_test(print_json_survives_a_full_heap),
        cmocka_unit_test(fill_arena_survives_a_full_heap),
        cmocka_unit_test(fill_strbuf_survives_a_full_heap),
        cmocka_unit_test(print_help_survives_a_full_heap),
        cmocka_unit_test(map_file_survives_a_full_heap),
        cmocka_unit_test(list_files_survives_a_full_heap),
        cmocka_unit_test(save_file_survives_a_full_heap),
        cmocka_unit_test(options_parse_without_the_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
