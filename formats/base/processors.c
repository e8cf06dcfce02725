/* processors.c - affinity and the quotas of cgroups; see processors.h.
 *
 *   /proc/self/cgroup     0::/a/b              -> /sys/fs/cgroup/a/b/cpu.max
 *                         4:cpu,cpuacct:/a/b   -> /sys/fs/cgroup/cpu,cpuacct/a/b/
 *                                              cpu.cfs_quota_us, cpu.cfs_period_us
 *
 * and the folders above those. In a container a path may be one of the host, which is
 * not there; the topmost is the container's own. */
#include "formats/base/processors.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/infile.h"

enum { MAX_FILE = 8192, MAX_VALUE = 128 };

/* The numbers of a file: how many of the first two there are. */
static int read_numbers(double out[2], const char *folder, const char *name)
{
    char path[PATH_MAX], text[MAX_VALUE], *end;
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path || !lvlm_path_peek(text, sizeof text, path))
        return 0;
    out[0] = strtod(text, &end); /* "max": there is no limit */
    if (end == text) return 0;
    const char *const second = end;
    out[1] = strtod(second, &end);
    return end == second ? 1 : 2;
}

/* Processors that one folder allows, 0: any number. */
static double quota_of(const char *folder)
{
    double v[2], period[2];
    if (read_numbers(v, folder, "cpu.max") == 2) return v[1] > 0 ? v[0] / v[1] : 0;
    if (read_numbers(v, folder, "cpu.cfs_quota_us") == 1 && v[0] > 0 &&
        read_numbers(period, folder, "cpu.cfs_period_us") == 1 && period[0] > 0)
        return v[0] / period[0];
    return 0;
}

/* The least of a folder and those above it, down to the length of their mount. */
static double least_quota(char *folder, size_t mount)
{
    double least = 0;
    while (true) {
        const double quota = quota_of(folder);
        if (quota > 0 && (least <= 0 || quota < least)) least = quota;
        char *const slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < mount) return least;
        *slash = '\0';
    }
}

/* One line of /proc/self/cgroup: NUMBER:CONTROLLERS:PATH. */
static double quota_of_line(const char *root, const char *line)
{
    char folder[PATH_MAX];
    const char *const names = strchr(line, ':');
    const char *const path = names != NULL ? strchr(names + 1, ':') : NULL;
    if (path == NULL) return 0;
    const int n_names = (int)(path - names - 1);
    const bool second = n_names == 0;
    if (!second && memmem(names, (size_t)n_names + 1, "cpu", 3) == NULL) return 0;
    const int mount = snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s%.*s", root,
                               second ? "" : "/", n_names, names + 1);
    if (mount < 0 || (size_t)mount >= sizeof folder) return 0;
    const size_t left = sizeof folder - (size_t)mount;
    const int n = snprintf(folder + mount, left, "%s",
                           strcmp(path + 1, "/") == 0 ? "" : path + 1);
    return n >= 0 && (size_t)n < left ? least_quota(folder, (size_t)mount) : 0;
}

size_t lvlm_processor_quota(const char *root)
{
    char path[PATH_MAX], text[MAX_FILE], *rest = text;
    double least = 0;
    const int n = snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (n < 0 || (size_t)n >= sizeof path || !lvlm_path_peek(text, sizeof text, path))
        return 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        const double quota = quota_of_line(root, line);
        if (quota > 0 && (least <= 0 || quota < least)) least = quota;
    }
    if (least <= 0) return 0;
    if (least >= LVLM_MAX_THREADS) return LVLM_MAX_THREADS;
    return least < 1 ? 1 : (size_t)least;
}

/* More processors than a set of the usual size holds are more than we use. */
size_t lvlm_processors(void)
{
    const size_t quota = lvlm_processor_quota("");
    cpu_set_t set;
    size_t n = LVLM_MAX_THREADS;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = (size_t)CPU_COUNT(&set);
    if (quota > 0 && quota < n) n = quota;
    return n < 1 ? 1 : n > LVLM_MAX_THREADS ? LVLM_MAX_THREADS : n;
}
