/* outdir.c - temporary directory, rename; or in place where a directory is filled. */
#include "formats/base/outdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/outfile.h"

struct lvlm_outdir {
    char *path;
    char *temporary; /* NULL: in place */
    bool inside;     /* the temporary directory is in the target, not beside it */
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

/* Can a rename put another directory in the place of this empty one? Not of ".", of a
 * link, of a mount point, nor where its parent is not ours to write to. */
static bool is_replaceable(const char *path)
{
    const char *base = lvlm_path_base(path);
    char parent[PATH_MAX];
    struct stat st, above;
    const int n = snprintf(parent, sizeof parent, "%s/..", path);
    return strcmp(base, ".") != 0 && strcmp(base, "..") != 0 && n > 0 &&
           (size_t)n < sizeof parent && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           stat(parent, &above) == 0 &&
           faccessat(AT_FDCWD, parent, W_OK, AT_EACCESS) == 0 &&
           st.st_dev == above.st_dev &&
           st.st_ino != above.st_ino; /* the root is its own parent */
}

static int make_temporary(lvlm_outdir *dir, lvlm_error *err)
{
    const char *base = lvlm_path_base(dir->path);
    const size_t n = strlen(dir->path) + sizeof "/..tmp-XXXXXX";
    dir->temporary = lvlm_malloc(n);
    if (dir->temporary == NULL) return lvlm_fail_memory(err);
    dir->inside = lvlm_path_exists(dir->path) && !is_replaceable(dir->path);
    if (dir->inside)
        snprintf(dir->temporary, n, "%s/.tmp-XXXXXX", dir->path);
    else
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
    else if (dir->path[0] == '\0')
        rc = lvlm_fail(err, LVLM_EUSAGE, "the name of the output directory is empty");
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

/* Out of the temporary directory into the target above it. */
static int move_up(lvlm_outdir *dir, lvlm_error *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc;

    TRY(lvlm_path_list(&names, &n, dir->temporary, err));
    const int from = open(dir->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int to = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = from < 0 || to < 0 ? lvlm_fail_errno(err, "%s: cannot open", dir->path) : 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        if (renameat(from, names[i], to, names[i]) < 0)
            rc = lvlm_fail_errno(err, "%s/%s: cannot rename into place", dir->path,
                                 names[i]);
    if (rc == 0 && rmdir(dir->temporary) == 0) dir->exists = false;
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    lvlm_path_list_free(names, n);
    return rc;
}

int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err)
{
    if (dir->temporary == NULL) return 0;
    if (dir->inside) {
        TRY(move_up(dir, err));
    } else {
        if (rename(dir->temporary, dir->path) < 0)
            return lvlm_fail_errno(err, "%s: cannot rename into place", dir->path);
        dir->exists = false;
    }
    return lvlm_sync_parent(dir->temporary, err); /* it stood where the new names are */
}

/* Removes what was written so far: plain files, for nothing else is ever put there.
 * No allocation: this cleans up after one that failed, too. */
static void remove_temporary(const lvlm_outdir *dir)
{
    DIR *handle = opendir(dir->temporary);
    if (handle != NULL) {
        for (const struct dirent *entry; (entry = readdir(handle)) != NULL;)
            (void)unlinkat(dirfd(handle), entry->d_name, 0);
        closedir(handle);
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
