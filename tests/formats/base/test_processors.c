/* test_processors.c - quotas of cgroups, in file trees like those of kernels and
 * containers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/processors.h"
#include "tests/support/scratch.h"

enum { MOST_FILES = 4 };

static const struct {
    const char *what;
    scratch_file files[MOST_FILES];
    size_t quota;
} machines[] = {
    { "no cgroups", { { NULL, NULL } }, 0 },
    { "version 2, no limit",
      { { "/proc/self/cgroup", "0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "max 100000\n" } },
      0 },
    { "version 2",
      { { "/proc/self/cgroup", "0::/a/b\n" },
        { "/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n" } },
      4 },
    { "the folder above has less",
      { { "/proc/self/cgroup", "0::/a/b\n" },
        { "/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n" },
        { "/sys/fs/cgroup/a/cpu.max", "250000 100000\n" } },
      2 },
    { "a container with a namespace",
      { { "/proc/self/cgroup", "0::/\n" },
        { "/sys/fs/cgroup/cpu.max", "300000 100000\n" } },
      3 },
    { "a container with the host's path",
      { { "/proc/self/cgroup", "0::/docker/0123\n" },
        { "/sys/fs/cgroup/cpu.max", "300000 100000\n" } },
      3 },
    { "less than one processor",
      { { "/proc/self/cgroup", "0::/\n" },
        { "/sys/fs/cgroup/cpu.max", "20000 100000\n" } },
      1 },
    { "version 1",
      { { "/proc/self/cgroup", "5:cpuset:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000\n" },
        { "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" } },
      2 },
    { "version 1, no limit",
      { { "/proc/self/cgroup", "4:cpu:/\n" },
        { "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n" },
        { "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n" } },
      0 },
    { "nonsense",
      { { "/proc/self/cgroup", "0::\n:\n\nx\n0::/a\n" },
        { "/sys/fs/cgroup/a/cpu.max", "lots 0\n" },
        { "/sys/fs/cgroup/cpu.max", "5 0\n" } },
      0 },
};

static void quota_is_the_smallest_of_all_ancestors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        scratch s;
        scratch_make(&s);
        scratch_tree(&s, machines[i].files, MOST_FILES);
        const size_t quota = lvlm_processor_quota(s.dir);
        if (quota != machines[i].quota) fail_msg("%s: %zu", machines[i].what, quota);
        scratch_remove(&s);
    }
}

static void this_machine_has_at_least_one_processor(void **state)
{
    (void)state;
    assert_in_range(lvlm_processors(), 1, LVLM_MAX_THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quota_is_the_smallest_of_all_ancestors),
        cmocka_unit_test(this_machine_has_at_least_one_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
