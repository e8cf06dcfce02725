/* cgroups.c - the folders of a process in the trees of cgroups; see cgroups.h.
 *
 *   /proc/self/cgroup     0::/a/b              -> /sys/fs/cgroup/a/b
 *                         4:cpu,cpuacct:/a/b   -> /sys/fs/cgroup/cpu,cpuacct/a/b
 *
 * and the folders above those. In a container a path may be one of the host, which is
 * not there; the topmost is the container's own. */
#include "formats/base/cgroups.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/infile.h"

enum { MAX_FILE = 8192, MAX_VALUE = 128 };

int lvlm_cgroups_numbers(double out[2], const char *folder, const char *name)
{
    char text[MAX_VALUE], *end;
    if (!lvlm_path_peek(text, sizeof text, folder, name)) return 0;
    out[0] = strtod(text, &end); /* "max": there is no limit */
    if (end == text) return 0;
    const char *const second = end;
    out[1] = strtod(second, &end);
    return end == second ? 1 : 2;
}

typedef struct search {
    const char *root, *controller;
    void (*visit)(void *user, const char *folder);
    void *user;
} search;

/* `folder` and those above it, down to the length of their mount. */
static void visit_up(const search *s, char *folder, size_t mount)
{
    while (true) {
        s->visit(s->user, folder);
        char *const slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < mount) return;
        *slash = '\0';
    }
}

/* One line of /proc/self/cgroup: NUMBER:CONTROLLERS:PATH. */
static void visit_line(const search *s, const char *line)
{
    char folder[PATH_MAX];
    const char *const names = strchr(line, ':');
    const char *const path = names != NULL ? strchr(names + 1, ':') : NULL;
    if (path == NULL) return;
    const int n_names = (int)(path - names - 1);
    const bool second = n_names == 0;
    if (!second && memmem(names, (size_t)n_names + 1, s->controller,
                          strlen(s->controller)) == NULL)
        return;
    const int mount = snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s%.*s", s->root,
                               second ? "" : "/", n_names, names + 1);
    if (mount < 0 || (size_t)mount >= sizeof folder) return;
    const size_t left = sizeof folder - (size_t)mount;
    const int n = snprintf(folder + mount, left, "%s",
                           strcmp(path + 1, "/") == 0 ? "" : path + 1);
    if (n >= 0 && (size_t)n < left) visit_up(s, folder, (size_t)mount);
}

void lvlm_cgroups_visit(const char *root, const char *controller,
                        void (*visit)(void *user, const char *folder), void *user)
{
    assert(root != NULL && visit != NULL);
    const search s = { root, controller, visit, user };
    char text[MAX_FILE], *rest = text;
    if (!lvlm_path_peek(text, sizeof text, root, "proc/self/cgroup")) return;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) visit_line(&s, line);
}
