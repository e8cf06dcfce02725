/* outdir.c - temporary directory, rename; or in place where a directory is filled. */
#include "formats/base/outdir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"

struct lvlm_outdir {
    char *path;
    char *temporary; /* NULL: in place */
    bool exists;     /* the temporary directory is there and ours */
};

static bool is_empty(const char *path)
{
    DIR *handle = opendir(path);
    size_t n = 0;
    if (handle == NULL) return false;
    for (const struct dirent *entry; (entry = readdir(handle)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(handle);
    return n == 0;
}

/* `path` without trailing slashes, which would hide its last part. */
static char *trimmed(const char *path)
{
    char *copy = lvlm_strdup(path);
    size_t n = copy != NULL ? strlen(copy) : 0;
    while (n > 1 && copy[n - 1] == '/') copy[--n] = '\0';
    return copy;
}

static int make_temporary(lvlm_outdir *dir, lvlm_error *err)
{
    const char *base = lvlm_path_base(dir->path);
    const size_t n = strlen(dir->path) + sizeof "..tmp-XXXXXX";
    dir->temporary = lvlm_malloc(n);
    if (dir->temporary == NULL) return lvlm_fail_memory(err);
    snprintf(dir->temporary, n, "%.*s.%s.tmp-XXXXXX", (int)(base - dir->path),
             dir->path, base);
    if (mkdtemp(dir->temporary) == NULL)
        return lvlm_fail_errno(err, "%s: cannot create", dir->path);
    dir->exists = true;
    const mode_t mask = umask(0);
    umask(mask);
    (void)chmod(dir->temporary, 0777 & ~mask);
    return 0;
}

int lvlm_outdir_open(lvlm_outdir **out, const char *path, bool overwrite,
                     lvlm_error *err)
{
    lvlm_outdir *dir = lvlm_calloc(1, sizeof *dir);
    int rc = 0;
    if (dir == NULL || (dir->path = trimmed(path)) == NULL)
        rc = lvlm_fail_memory(err);
    else if (lvlm_path_exists(dir->path) && !lvlm_path_is_directory(dir->path))
        rc = lvlm_fail(err, LVLM_EUSAGE, "%s: exists and is no directory", path);
    else if (!lvlm_path_exists(dir->path) || is_empty(dir->path))
        rc = make_temporary(dir, err);
    else if (!overwrite)
        rc = lvlm_fail(err, LVLM_EUSAGE, "%s: is not empty; --force overwrites", path);
    if (rc < 0) {
        lvlm_outdir_close(dir);
        return rc;
    }
    *out = dir;
    return 0;
}

const char *lvlm_outdir_path(const lvlm_outdir *dir)
{
    return dir->temporary != NULL ? dir->temporary : dir->path;
}

int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err)
{
    if (dir->temporary == NULL) return 0;
    if (rename(dir->temporary, dir->path) < 0)
        return lvlm_fail_errno(err, "%s: cannot rename into place", dir->path);
    dir->exists = false;
    return 0;
}

/* Removes what was written so far: plain files, for nothing else is ever put there. */
static void remove_temporary(const lvlm_outdir *dir)
{
    char **names;
    size_t n;
    if (lvlm_path_list(&names, &n, dir->temporary, NULL) == 0) {
        for (size_t i = 0; i < n; i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", dir->temporary, names[i]);
            (void)unlink(path);
        }
        lvlm_path_list_free(names, n);
    }
    (void)rmdir(dir->temporary);
}

void lvlm_outdir_close(lvlm_outdir *dir)
{
    if (dir == NULL) return;
    if (dir->exists) remove_temporary(dir);
    lvlm_free(dir->path);
    lvlm_free(dir->temporary);
    lvlm_free(dir);
}
