/* test_header_memory.c - the heap memory that a large header needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/strbuf.h"
#include "formats/checkpoint/checkpoint.h"
#include "formats/container/safetensors.h"
#include "tests/support/alloc_failing.h"
#include "tests/support/scratch.h"

enum { TENSORS = 200000 };

/* TENSORS entries, as short as possible: the worst case. */
static void make_header(lvlm_strbuf *out, const char *end)
{
    lvlm_strbuf_puts(out, "{");
    for (int i = 0; i < TENSORS; i++)
        lvlm_strbuf_printf(
            out, "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
            i > 0 ? "," : "", (unsigned)i);
    lvlm_strbuf_puts(out, end);
}

static void a_header_costs_six_times_its_size_at_most(void **state)
{
    scratch s;
    lvlm_strbuf header = LVLM_STRBUF_INIT(64 << 20);
    lvlm_checkpoint *cp = NULL;
    (void)state;
    scratch_make(&s);
    make_header(&header, "}");
    const size_t n = header.length;
    const char *path =
        scratch_safetensors(&s, "many.safetensors", header.text, NULL, 0);
    lvlm_strbuf_free(&header);
    (void)alloc_peak();
    const size_t before = alloc_peak();
    assert_int_equal(lvlm_checkpoint_open(&cp, path, NULL, NULL), 0);
    assert_int_equal(cp->n_tensors, TENSORS);
    const size_t peak = alloc_peak() - before;
    lvlm_checkpoint_close(cp);
    scratch_remove(&s);
    /* observed: 3.8 times; under the address sanitizer, where each name is a separate
     * block, 5.3 */
    if (peak > 6 * n) fail_msg("%zu bytes for a header of %zu", peak, n);
}

/* A duplicate key is found, however far apart the two are. */
static void a_duplicate_among_many_is_named(void **state)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(64 << 20);
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_safetensors st;
    lvlm_error err;
    (void)state;
    lvlm_strbuf_append(&header, "\0\0\0\0\0\0\0", 8);
    make_header(&header,
                ",\"77\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    const uint64_t n = header.length - 8;
    memcpy(header.text, &n, sizeof n);
    const lvlm_infile file = { .bytes = (unsigned char *)header.text,
                               .n_bytes = header.length };
    assert_int_equal(lvlm_safetensors_read(&st, &file, false, &arena, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text, "header: duplicate key '77'");
    lvlm_arena_free(&arena);
    lvlm_strbuf_free(&header);
}

/* A list that is too long, and a tree that would be too large, are refused where they
 * exceed the limit. */
static void lists_are_refused_where_they_become_too_long(void **state)
{
    static const char *const starts[] = { "{\"a\":{\"dtype\":\"U8\",\"shape\":[0",
                                          "{\"__metadata__\":{\"a\":[0" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        lvlm_strbuf header = LVLM_STRBUF_INIT(64 << 20);
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_safetensors st;
        lvlm_error err;
        lvlm_strbuf_append(&header, "\0\0\0\0\0\0\0", 8);
        lvlm_strbuf_puts(&header, starts[i]);
        for (int k = 0; k < 2000000; k++) lvlm_strbuf_puts(&header, ",0");
        lvlm_strbuf_puts(&header, "]}}");
        const uint64_t n = header.length - 8;
        memcpy(header.text, &n, sizeof n);
        const lvlm_infile file = { .bytes = (unsigned char *)header.text,
                                   .n_bytes = header.length };
        (void)alloc_peak();
        const size_t before = alloc_peak();
        assert_int_equal(lvlm_safetensors_read(&st, &file, false, &arena, &err),
                         LVLM_EFORMAT);
        assert_non_null(strstr(err.text, i == 0 ? "shape: more than 8 dimensions"
                                                : "__metadata__: too many values"));
        assert_true(alloc_peak() - before < 16 << 20); /* observed: 10 MB */
        lvlm_arena_free(&arena);
        lvlm_strbuf_free(&header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_costs_six_times_its_size_at_most),
        cmocka_unit_test(a_duplicate_among_many_is_named),
        cmocka_unit_test(lists_are_refused_where_they_become_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
