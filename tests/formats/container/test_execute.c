/* test_execute.c - a plan reads mapped inputs without keeping their pages. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/outfile.h"
#include "formats/container/execute.h"
#include "tests/support/scratch.h"

#define MIB ((uint64_t)1 << 20)
#define FILE_BYTES (64 * MIB)

/* Bytes of the mapping that are in the resident set, by the kernel's page map. */
static uint64_t resident(const lvlm_infile *file)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t first = (uint64_t)(uintptr_t)file->bytes / page;
    const int fd = open("/proc/self/pagemap", O_RDONLY);
    uint64_t n = 0, entry = 0;
    if (fd < 0) skip();
    for (uint64_t i = 0; i < file->n_bytes / page; i++) {
        const off_t at = (off_t)((first + i) * sizeof entry);
        assert_int_equal(pread(fd, &entry, sizeof entry, at), sizeof entry);
        n += entry >> 63; /* present */
    }
    close(fd);
    return n * page;
}

/* A sparse file of zeros. */
static lvlm_infile *map_zeros(scratch *s)
{
    lvlm_infile *file = NULL;
    const char *const path = scratch_write(s, "in", "", 0);
    assert_int_equal(truncate(path, (off_t)FILE_BYTES), 0);
    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    return file;
}

static void execute(scratch *s, lvlm_plan *plan)
{
    const lvlm_run run = { .threads = 2 };
    lvlm_outfile *out = NULL;
    assert_int_equal(lvlm_outfile_open(&out, scratch_path(s, "out"), false, NULL), 0);
    assert_int_equal(lvlm_execute(plan, out, 0, &run, NULL), 0);
    assert_int_equal(lvlm_outfile_commit(out, NULL), 0);
    lvlm_outfile_close(out);
}

/* Of one copied tensor and one that is read in another order, no page is left. */
static void pages_of_inputs_are_released(void **state)
{
    scratch s;
    lvlm_arena arena = { 0 };
    lvlm_plan plan = { .arena = &arena };
    (void)state;
    scratch_make(&s);
    lvlm_infile *const file = map_zeros(&s);
    const uint64_t half = FILE_BYTES / 2, stride[] = { 1, 4096 };
    const lvlm_tensor in_order = { .name = "a",
                                   .dtype = LVLM_U8,
                                   .shape = { 2, { half / 4096, 4096 } },
                                   .data = file->bytes,
                                   .map = file,
                                   .n_bytes = half };
    lvlm_tensor turned = in_order;
    turned.name = "b";
    turned.data += half;
    turned.shape = (lvlm_shape){ 2, { 4096, half / 4096 } };
    turned.stride = stride;
    assert_int_equal(lvlm_plan_copy(NULL, &plan, &in_order, &in_order, NULL), 0);
    assert_int_equal(lvlm_plan_copy(NULL, &plan, &turned, &turned, NULL), 0);
    assert_int_equal(file->bytes[0] + file->bytes[half], 0);
    assert_true(resident(file) > 0);
    execute(&s, &plan);
    assert_int_equal(resident(file), 0);
    lvlm_infile_close(file);
    lvlm_arena_free(&arena);
    scratch_remove(&s);
}

/* An expanded tensor has more values than bytes: nothing past its file is touched. */
static void what_is_shorter_in_the_file_is_released(void **state)
{
    static const uint64_t stride[] = { 0, 1 };
    scratch s;
    (void)state;
    scratch_make(&s);
    lvlm_infile *const file = map_zeros(&s);
    const lvlm_tensor expanded = { .name = "e",
                                   .dtype = LVLM_U8,
                                   .shape = { 2, { 4096, MIB } },
                                   .data = file->bytes + FILE_BYTES - MIB,
                                   .map = file,
                                   .n_bytes = 4096 * MIB,
                                   .stride = stride };
    assert_int_equal(expanded.data[0], 0);
    lvlm_tensor_done_with(&expanded, 0, expanded.n_bytes);
    assert_int_equal(resident(file), 0);
    lvlm_infile_close(file);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_inputs_are_released),
        cmocka_unit_test(what_is_shorter_in_the_file_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
