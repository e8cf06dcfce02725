/* test_memory.c - the memory that is available, in file trees like those of kernels and
 * containers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/memory.h"
#include "tests/support/scratch.h"

enum { MOST_FILES = 6 };

#define MACHINE                                                                        \
    {                                                                                  \
        "/proc/meminfo", "MemTotal:       1000 kB\nMemFree:         100 kB\n"          \
                         "MemAvailable:    600 kB\nSwapTotal:       500 kB\n"          \
    }

static const struct {
    const char *what;
    scratch_file files[MOST_FILES];
    double free, total;
} machines[] = {
    { "no cgroups", { MACHINE }, 600 * 1024, 1500 * 1024 },
    { "version 2, no limit",
      { MACHINE,
        { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/memory.max", "max\n" },
        { "/sys/fs/cgroup/a/memory.current", "5000\n" } },
      600 * 1024,
      1500 * 1024 },
    { "version 2; pages of files can be dropped",
      { MACHINE,
        { "/proc/self/cgroup", "0::/a/b\n" },
        { "/sys/fs/cgroup/a/memory.max", "100000\n" },
        { "/sys/fs/cgroup/a/memory.current", "60000\n" },
        { "/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 20000\n" } },
      60000,
      100000 },
    { "a limit that is used up",
      { MACHINE,
        { "/proc/self/cgroup", "0::/\n" },
        { "/sys/fs/cgroup/memory.max", "1000\n" },
        { "/sys/fs/cgroup/memory.current", "1200\n" } },
      0,
      1000 },
    { "version 1",
      { MACHINE,
        { "/proc/self/cgroup", "6:memory:/a\n4:cpu:/\n" },
        { "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "100000\n" },
        { "/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "90000\n" },
        { "/sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 5000\n" } },
      15000,
      100000 },
    { "version 1, no limit",
      { MACHINE,
        { "/proc/self/cgroup", "6:memory:/\n" },
        { "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n" },
        { "/sys/fs/cgroup/memory/memory.usage_in_bytes", "90000\n" } },
      600 * 1024,
      1500 * 1024 },
};

static void limits_of_cgroups_apply(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        lvlm_memory memory;
        scratch s;
        scratch_make(&s);
        scratch_tree(&s, machines[i].files, MOST_FILES);
        assert_true(lvlm_memory_read(&memory, s.dir));
        if (memory.free != machines[i].free || memory.total != machines[i].total)
            fail_msg("%s: %.0f of %.0f", machines[i].what, memory.free, memory.total);
        scratch_remove(&s);
    }
}

static void missing_kernel_files_are_not_an_error(void **state)
{
    lvlm_memory memory;
    scratch s;
    (void)state;
    scratch_make(&s);
    assert_false(lvlm_memory_read(&memory, s.dir));
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_cgroups_apply),
        cmocka_unit_test(missing_kernel_files_are_not_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
