/* outdir.c - temporary directory, then rename, or move file by file in an order that
 * never shows a mixture; see outdir.h. */
#include "formats/base/outdir.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/arena.h"
#include "formats/base/infile.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"
#include "formats/base/text.h"

#define INSIDE ".lvlm-tmp"
#define MOVING ".lvlm-moving" /* its name while files are moved up */

struct lvlm_outdir {
    lvlm_arena arena; /* of names */
    const char *path, *temporary, *moving;
    const lvlm_outdir_set *set; /* or NULL */
    int lock;                   /* the temporary directory, open; -1: none */
    bool inside;                /* it is inside the target, not next to it */
};

/* ---- opening -------------------------------------------------------------------- */

/* Leftovers of an interrupted run do not count. */
static bool is_empty(const char *path)
{
    DIR *handle = opendir(path);
    size_t n = 0;
    if (handle == NULL) return false;
    for (const struct dirent *entry; (entry = readdir(handle)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
             strcmp(entry->d_name, INSIDE) != 0;
    closedir(handle);
    return n == 0;
}

/* `path` without trailing slashes, which would hide its last part. */
static const char *trimmed(const char *path, lvlm_arena *arena)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    return lvlm_arena_strndup(arena, path, n);
}

/* Can rename replace this empty directory? Not ".", a link, a mount point, or a
 * directory whose parent is not writable. */
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

static int create(lvlm_outdir *dir, lvlm_error *err)
{
    struct stat st;
    const bool exists = stat(dir->path, &st) == 0;
    const char *const inside = lvlm_arena_printf(&dir->arena, "%s/" INSIDE, dir->path);
    const char *const beside = lvlm_temporary_name(dir->path, &dir->arena);
    dir->moving = lvlm_arena_printf(&dir->arena, "%s/" MOVING, dir->path);
    if (inside == NULL || beside == NULL || dir->moving == NULL)
        return lvlm_fail_memory(err);
    dir->inside = exists && (!is_empty(dir->path) || !is_replaceable(dir->path) ||
                             lvlm_path_exists(inside));
    dir->temporary = dir->inside ? inside : beside;
    /* left by a run that was killed when the target was absent or empty */
    if (dir->inside && is_replaceable(dir->path))
        TRY(lvlm_temporary_sweep(beside, dir->path, err));
    /* and by one that was killed while it moved files */
    if (dir->inside) TRY(lvlm_temporary_sweep(dir->moving, dir->path, err));
    TRY(lvlm_temporary_create(&dir->lock, dir->temporary, 0777, true, dir->path, err));
    if (exists && !dir->inside) /* of the directory that it replaces */
        (void)fchmod(dir->lock, st.st_mode & 0777);
    return 0;
}

int lvlm_outdir_open(lvlm_outdir **out, const char *path, bool overwrite,
                     const lvlm_outdir_set *set, lvlm_error *err)
{
    assert(path != NULL);
    lvlm_outdir *dir = lvlm_calloc(1, sizeof *dir);
    int rc = 0;
    if (dir != NULL) *dir = (lvlm_outdir){ .lock = -1, .set = set };
    if (dir == NULL || (dir->path = trimmed(path, &dir->arena)) == NULL)
        rc = lvlm_fail_memory(err);
    else if (lvlm_path_exists(dir->path) && !lvlm_path_is_directory(dir->path))
        rc = lvlm_fail(err, LVLM_EUSAGE, "%s: exists and is not a directory", path);
    else if (dir->path[0] == '\0')
        rc = lvlm_fail(err, LVLM_EUSAGE, "the name of the output directory is empty");
    else if (!overwrite && lvlm_path_exists(dir->path) && !is_empty(dir->path))
        rc = lvlm_fail(err, LVLM_EUSAGE, "%s: is not empty; --force overwrites", path);
    else
        rc = create(dir, err);
    if (rc < 0) {
        lvlm_outdir_close(dir);
        return rc;
    }
    *out = dir;
    return 0;
}

const char *lvlm_outdir_path(const lvlm_outdir *dir)
{
    return dir->temporary;
}

bool lvlm_outdir_removes(const lvlm_outdir *dir, const char *name)
{
    return dir->set != NULL && lvlm_matches(dir->set->parts, name);
}

/* ---- moving up ------------------------------------------------------------------ */

typedef struct move {
    lvlm_outdir *dir;
    int from, to; /* descriptors */
    char **made;  /* names of the new files */
    size_t n_made;
    char **there; /* names of the files in the target */
    size_t n_there;
} move;

static int fail(const move *m, const char *name, const char *what, lvlm_error *err)
{
    return lvlm_fail_errno(err, "%s/%s: %s", m->dir->path, name, what);
}

/* Before anything is changed: check for errors that would stop half way, and copy the
 * modes of replaced files. New names get the intersection of the old parts' modes. */
static int prepare(const move *m, lvlm_error *err)
{
    mode_t parts = 0777;
    struct stat st;
    for (size_t i = 0; i < m->n_there; i++)
        if (lvlm_outdir_removes(m->dir, m->there[i]) &&
            fstatat(m->to, m->there[i], &st, 0) == 0)
            parts &= st.st_mode;
    for (size_t i = 0; i < m->n_made; i++) {
        const char *const name = m->made[i];
        const bool exists = fstatat(m->to, name, &st, 0) == 0;
        FAIL_IF(exists && S_ISDIR(st.st_mode), err, LVLM_EUSAGE,
                "%s/%s: is a directory", m->dir->path, name);
        /* ignored on file systems without modes */
        if (exists)
            (void)!fchmodat(m->from, name, st.st_mode & 0777, 0);
        else if (lvlm_outdir_removes(m->dir, name) &&
                 fstatat(m->from, name, &st, 0) == 0)
            (void)!fchmodat(m->from, name, st.st_mode & parts, 0);
    }
    return 0;
}

/* Remove the parts of the old set, pattern by pattern. */
static int remove_old(const move *m, lvlm_error *err)
{
    if (m->dir->set == NULL) return 0;
    for (const char *const *part = m->dir->set->parts; *part != NULL; part++)
        for (size_t i = 0; i < m->n_there; i++)
            if (fnmatch(*part, m->there[i], 0) == 0 &&
                unlinkat(m->to, m->there[i], 0) < 0 && errno != ENOENT)
                return fail(m, m->there[i], "cannot remove", err);
    (void)fsync(m->to); /* durably removed before a new one appears */
    return 0;
}

/* Move the new files that match `pattern`; NULL: those that match none of `last`. */
static int move_matching(const move *m, const char *pattern, lvlm_error *err)
{
    static const char *const none[] = { NULL };
    const char *const *const last = m->dir->set != NULL ? m->dir->set->last : none;
    for (size_t i = 0; i < m->n_made; i++) {
        const char *const name = m->made[i];
        if (pattern != NULL ? fnmatch(pattern, name, 0) != 0 : lvlm_matches(last, name))
            continue;
        if (renameat(m->from, name, m->to, name) == 0 || errno == ENOENT)
            continue; /* already moved by an earlier pattern */
        return fail(m, name, "cannot rename into place", err);
    }
    return 0;
}

static int move_new(const move *m, lvlm_error *err)
{
    int rc = move_matching(m, NULL, err);
    if (rc == 0) (void)fsync(m->to);
    for (const char *const *last = m->dir->set != NULL ? m->dir->set->last : NULL;
         rc == 0 && last != NULL && *last != NULL; last++)
        rc = move_matching(m, *last, err);
    return rc;
}

/* Keep the new set if it could not be moved. */
static int keep_the_rest(lvlm_outdir *dir, lvlm_error *why, lvlm_error *err)
{
    close(dir->lock);
    dir->lock = -1;
    return lvlm_fail(err, why->code, "%s; what is not in place yet is in %s", why->text,
                     dir->temporary);
}

/* From here on the new set may be the only one. Under this name the signal handler,
 * which removes temporaries, does not find it. */
static int rename_temporary(lvlm_outdir *dir, lvlm_error *err)
{
    if (rename(dir->temporary, dir->moving) < 0)
        return lvlm_fail_errno(err, "%s: cannot rename the new files", dir->path);
    dir->temporary = dir->moving;
    return 0;
}

static int replace(const move *m, lvlm_error *err)
{
    lvlm_error why;
    TRY(prepare(m, err));
    TRY(rename_temporary(m->dir, err));
    if (remove_old(m, &why) < 0 || move_new(m, &why) < 0)
        return keep_the_rest(m->dir, &why, err);
    (void)rmdir(m->dir->temporary);
    return 0;
}

/* Move files from the temporary directory to the target above it. */
static int move_up(lvlm_outdir *dir, lvlm_error *err)
{
    assert(dir->inside && dir->lock >= 0);
    move m = { .dir = dir, .from = dir->lock, .to = -1 };
    int rc = lvlm_path_list(&m.made, &m.n_made, dir->temporary, err);
    if (rc == 0) rc = lvlm_path_list(&m.there, &m.n_there, dir->path, err);
    if (rc == 0) {
        m.to = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = m.to < 0 ? lvlm_fail_errno(err, "%s: cannot open", dir->path)
                      : replace(&m, err);
    }
    if (m.to >= 0) close(m.to);
    lvlm_path_list_free(m.made, m.n_made);
    lvlm_path_list_free(m.there, m.n_there);
    return rc;
}

/* ---- the end -------------------------------------------------------------------- */

int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err)
{
    assert(dir->lock >= 0); /* once */
    if (dir->inside)
        TRY(move_up(dir, err));
    else if (rename(dir->temporary, dir->path) < 0)
        return lvlm_fail_errno(err, "%s: cannot rename into place", dir->path);
    close(dir->lock);
    dir->lock = -1;
    /* in the same directory as the new names */
    return lvlm_sync_parent(dir->temporary, err);
}

void lvlm_outdir_close(lvlm_outdir *dir)
{
    if (dir == NULL) return;
    if (dir->lock >= 0) {
        lvlm_temporary_remove(dir->temporary, dir->lock);
        close(dir->lock);
    }
    lvlm_arena_free(&dir->arena);
    lvlm_free(dir);
}
