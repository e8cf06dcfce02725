/* processors.c - affinity and the quotas of cgroups; see processors.h. */
#include "formats/base/processors.h"

#include <assert.h>
#include <sched.h>

#include "formats/base/cgroups.h"

/* The limit of one folder in processors; 0: none. */
static double quota_of(const char *folder)
{
    double v[2], period[2];
    if (lvlm_cgroups_numbers(v, folder, "cpu.max") == 2)
        return v[1] > 0 ? v[0] / v[1] : 0;
    if (lvlm_cgroups_numbers(v, folder, "cpu.cfs_quota_us") == 1 && v[0] > 0 &&
        lvlm_cgroups_numbers(period, folder, "cpu.cfs_period_us") == 1 && period[0] > 0)
        return v[0] / period[0];
    return 0;
}

static void keep_least(void *user, const char *folder)
{
    double *const least = user;
    const double quota = quota_of(folder);
    if (quota > 0 && (*least <= 0 || quota < *least)) *least = quota;
}

size_t lvlm_processor_quota(const char *root)
{
    assert(root != NULL);
    double least = 0;
    lvlm_cgroups_visit(root, "cpu", keep_least, &least);
    if (least <= 0) return 0;
    if (least >= LVLM_MAX_THREADS) return LVLM_MAX_THREADS;
    return least < 1 ? 1 : (size_t)least;
}

/* More processors than fit a cpu_set_t are more than are used. */
size_t lvlm_processors(void)
{
    const size_t quota = lvlm_processor_quota("");
    cpu_set_t set;
    size_t n = LVLM_MAX_THREADS;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = (size_t)CPU_COUNT(&set);
    if (quota > 0 && quota < n) n = quota;
    return n < 1 ? 1 : n > LVLM_MAX_THREADS ? LVLM_MAX_THREADS : n;
}
