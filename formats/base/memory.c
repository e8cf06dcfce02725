/* memory.c - /proc/meminfo and the limits of cgroups; see memory.h. */
#include "formats/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/cgroups.h"
#include "formats/base/infile.h"

enum { MAX_FILE = 8192 };

/* The number after `key` at the start of a line of the file. */
static bool read_member(double *out, const char *folder, const char *name,
                        const char *key)
{
    char text[MAX_FILE], *rest = text, *end;
    const size_t n_key = strlen(key);
    if (!lvlm_path_peek(text, sizeof text, folder, name)) return false;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, key, n_key) != 0) continue;
        *out = strtod(line + n_key, &end);
        return end != line + n_key;
    }
    return false;
}

static bool read_one(double *out, const char *folder, const char *name)
{
    double v[2];
    if (lvlm_cgroups_numbers(v, folder, name) == 0) return false;
    *out = v[0];
    return true;
}

/* What one folder allows. */
static void narrow(void *user, const char *folder)
{
    lvlm_memory *const m = user;
    double limit, used, files = 0;
    if (read_one(&limit, folder, "memory.max")) {
        if (!read_one(&used, folder, "memory.current")) return;
        (void)read_member(&files, folder, "memory.stat", "inactive_file ");
    } else {
        if (!read_one(&limit, folder, "memory.limit_in_bytes") ||
            !read_one(&used, folder, "memory.usage_in_bytes"))
            return;
        (void)read_member(&files, folder, "memory.stat", "total_inactive_file ");
    }
    m->total = fmin(m->total, limit);
    m->free = fmin(m->free, fmax(0, limit - used + files));
}

bool lvlm_memory_read(lvlm_memory *out, const char *root)
{
    double swap = 0;
    if (!read_member(&out->free, root, "proc/meminfo", "MemAvailable:") ||
        !read_member(&out->total, root, "proc/meminfo", "MemTotal:"))
        return false;
    (void)read_member(&swap, root, "proc/meminfo", "SwapTotal:");
    out->free *= 1024; /* it says kB and means KiB */
    out->total = 1024 * (out->total + swap);
    lvlm_cgroups_visit(root, "memory", narrow, out);
    return true;
}
