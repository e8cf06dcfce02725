/* outputs.c - identifies outputs and the files that they would replace; see
 * outputs.h. */
#include "formats/cli/outputs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/cli/cleanup.h"

/* Folders that are inputs are searched this deep. */
enum { MOST_LEVELS = 8 };

/* ---- identity ------------------------------------------------------------------- */

/* The last part of `path`, `*n` characters long, without trailing slashes. */
static const char *name_of(const char *path, size_t *n)
{
    const char *end = path + strlen(path), *start;
    while (end > path && end[-1] == '/') end--;
    for (start = end; start > path && start[-1] != '/';) start--;
    *n = (size_t)(end - start);
    return start;
}

/* Stat the folder that contains `path`. */
static int stat_folder(struct stat *out, const char *path)
{
    char folder[PATH_MAX];
    size_t n_name;
    const size_t n = (size_t)(name_of(path, &n_name) - path);
    if (n >= sizeof folder) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(folder, path, n);
    folder[n] = '\0';
    return stat(n > 0 ? folder : ".", out);
}

static lvlm_output describe(const char *path)
{
    lvlm_output out = { .path = path, .cleanup = -1 };
    struct stat st;
    if (stat_folder(&st, path) == 0) {
        out.folder_dev = st.st_dev;
        out.folder_ino = st.st_ino;
    }
    if (stat(path, &st) == 0) {
        out.exists = true;
        out.dev = st.st_dev;
        out.ino = st.st_ino;
    }
    return out;
}

static bool same_name(const lvlm_output *a, const lvlm_output *b)
{
    size_t n, m;
    const char *const x = name_of(a->path, &n), *const y = name_of(b->path, &m);
    return a->folder_dev == b->folder_dev && a->folder_ino == b->folder_ino && n == m &&
           memcmp(x, y, n) == 0;
}

static bool is_it(const lvlm_output *output, const struct stat *st)
{
    return output->exists && output->dev == st->st_dev && output->ino == st->st_ino;
}

static int claim(lvlm_outputs *outputs, const char *path, lvlm_error *err)
{
    const lvlm_output new = describe(path);
    size_t n;
    FAIL_IF(*path == '\0', err, LVLM_EUSAGE, "'': the name of an output is empty");
    FAIL_IF(strcmp(path, "-") == 0, err, LVLM_EUSAGE,
            "-: an output is a file, not standard output; ./- is one of that name");
    const size_t length = (size_t)(name_of(path, &n) - path);
    FAIL_IF(new.folder_ino == 0 && errno == ENOENT, err, LVLM_EIO,
            "%s: the folder %.*s is not there", path,
            (int)(length > 1 ? length - 1 : 1), path);
    assert(outputs->n < LVLM_MAX_OUTPUTS);
    for (size_t i = 0; i < outputs->n; i++)
        FAIL_IF(same_name(&outputs->at[i], &new) ||
                    (new.exists && outputs->at[i].exists &&
                     outputs->at[i].dev == new.dev && outputs->at[i].ino == new.ino),
                err, LVLM_EUSAGE, "%s: two outputs cannot have the same name", path);
    outputs->at[outputs->n++] = new;
    return 0;
}

/* ---- opening -------------------------------------------------------------------- */

int lvlm_outputs_file(lvlm_outputs *outputs, lvlm_outfile **out, const char *path,
                      lvlm_error *err)
{
    *out = NULL;
    if (path == NULL) return 0;
    TRY(claim(outputs, path, err));
    lvlm_output *const output = &outputs->at[outputs->n - 1];
    lvlm_cleanup_hold();
    const int rc = lvlm_outfile_open(out, path, outputs->force, err);
    if (rc == 0) output->cleanup = lvlm_cleanup_add(lvlm_outfile_temporary(*out));
    lvlm_cleanup_release();
    output->file = *out;
    return rc;
}

int lvlm_outputs_dir(lvlm_outputs *outputs, lvlm_outdir **out, const char *path,
                     const lvlm_outdir_set *set, lvlm_error *err)
{
    *out = NULL;
    if (path == NULL) return 0;
    TRY(claim(outputs, path, err));
    lvlm_output *const output = &outputs->at[outputs->n - 1];
    lvlm_cleanup_hold();
    const int rc = lvlm_outdir_open(out, path, outputs->force, set, err);
    if (rc == 0) output->cleanup = lvlm_cleanup_add(lvlm_outdir_path(*out));
    lvlm_cleanup_release();
    output->dir = *out;
    return rc;
}

int lvlm_outputs_name(lvlm_outputs *outputs, const char *path, lvlm_error *err)
{
    return path != NULL ? claim(outputs, path, err) : 0;
}

void lvlm_outputs_close(lvlm_outputs *outputs)
{
    for (size_t i = 0; i < outputs->n; i++) {
        lvlm_outfile_close(outputs->at[i].file);
        lvlm_outdir_close(outputs->at[i].dir);
        lvlm_cleanup_drop(outputs->at[i].cleanup);
    }
    outputs->n = 0;
}

/* ---- inputs --------------------------------------------------------------------- */

/* Check an input: its identity, its name and its folder. */
static int spare(const lvlm_outputs *outputs, const struct stat *file, const char *name,
                 const struct stat *folder, lvlm_error *err)
{
    assert(strchr(name, '/') == NULL && S_ISDIR(folder->st_mode));
    for (size_t i = 0; i < outputs->n; i++) {
        const lvlm_output *const o = &outputs->at[i];
        FAIL_IF(is_it(o, file), err, LVLM_EUSAGE,
                "%s: is an input of this command and cannot be its output", o->path);
        FAIL_IF(o->dir != NULL && is_it(o, folder) && lvlm_outdir_removes(o->dir, name),
                err, LVLM_EUSAGE,
                "%s/%s: is an input of this command, and its output would replace it",
                o->path, name);
    }
    return 0;
}

int lvlm_outputs_spare(const lvlm_outputs *outputs, const char *const *inputs, size_t n,
                       lvlm_error *err)
{
    struct stat file, folder;
    for (size_t i = 0; i < n; i++)
        if (inputs[i] != NULL && stat(inputs[i], &file) == 0 &&
            stat_folder(&folder, inputs[i]) == 0)
            TRY(spare(outputs, &file, lvlm_path_base(inputs[i]), &folder, err));
    return 0; /* a missing file is reported when it is opened */
}

static bool matches(const char *const *patterns, const char *name)
{
    for (; *patterns != NULL; patterns++)
        if (fnmatch(*patterns, name, FNM_CASEFOLD) == 0) return true;
    return false;
}

/* Closes `folder`. */
static int spare_below(const lvlm_outputs *outputs, int folder,
                       const char *const *patterns, int levels, lvlm_error *err)
{
    struct stat file, here;
    int rc = 0;
    DIR *const handle = fdopendir(folder);
    if (handle == NULL || fstat(folder, &here) < 0) {
        rc = lvlm_fail_errno(err, "cannot read a folder of inputs");
        handle != NULL ? closedir(handle) : close(folder);
        return rc;
    }
    for (const struct dirent *e; rc == 0 && (e = readdir(handle)) != NULL;) {
        if (e->d_name[0] == '.' || fstatat(folder, e->d_name, &file, 0) < 0) continue;
        if (!S_ISDIR(file.st_mode)) {
            if (matches(patterns, e->d_name))
                rc = spare(outputs, &file, e->d_name, &here, err);
            continue;
        }
        const int below = levels > 0
                              ? openat(folder, e->d_name,
                                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                              : -1;
        if (below >= 0) rc = spare_below(outputs, below, patterns, levels - 1, err);
    }
    closedir(handle);
    return rc;
}

int lvlm_outputs_spare_folder(const lvlm_outputs *outputs, const char *folder,
                              const char *const *patterns, lvlm_error *err)
{
    bool replaces = false;
    assert(patterns != NULL);
    for (size_t i = 0; i < outputs->n; i++) replaces |= outputs->at[i].exists;
    if (folder == NULL || !replaces) return 0;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    return spare_below(outputs, fd, patterns, MOST_LEVELS, err);
}
