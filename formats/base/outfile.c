/* outfile.c - temporary file, sticky error, fsync, rename.
 *
 *   .NAME.tmp-XXXXXX  --fsync-->  rename or link  -->  NAME  --fsync of the directory
 *
 * link(2) instead of rename makes "must not exist" atomic: it never replaces. */
#include "formats/base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"

/* Write-back of what has been written starts after this many bytes, so that the disk
 * works while we do. */
#define WRITE_BACK_BYTES ((uint64_t)32 << 20)

struct lvlm_outfile {
    int fd; /* -1 once committed or closed */
    char *path;
    char *temporary;
    bool overwrite;
    bool exists;  /* the temporary file is there and ours */
    uint64_t end; /* of what lvlm_outfile_write appended */
    atomic_ullong since_write_back;
    pthread_mutex_t lock; /* guards error */
    atomic_bool failed;
    lvlm_error error;
};

/* ---- opening -------------------------------------------------------------------- */

static char *temporary_name(const char *path)
{
    const char *base = strrchr(path, '/');
    const size_t dir = base != NULL ? (size_t)(base - path) + 1 : 0;
    const size_t n = strlen(path) + sizeof "..tmp-XXXXXX";
    char *name = lvlm_malloc(n);
    if (name != NULL)
        snprintf(name, n, "%.*s.%s.tmp-XXXXXX", (int)dir, path, path + dir);
    return name;
}

/* mkostemp makes files for the owner alone; ours get what the umask leaves. */
static void widen_mode(int fd)
{
    const mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
}

int lvlm_outfile_open(lvlm_outfile **out, const char *path, bool overwrite,
                      lvlm_error *err)
{
    struct stat st;
    FAIL_IF(!overwrite && lstat(path, &st) == 0, err, LVLM_EUSAGE,
            "%s: exists; --force overwrites", path);
    lvlm_outfile *file = lvlm_calloc(1, sizeof *file);
    if (file == NULL) return lvlm_fail_memory(err);
    file->fd = -1;
    file->overwrite = overwrite;
    file->path = lvlm_strdup(path);
    file->temporary = temporary_name(path);
    pthread_mutex_init(&file->lock, NULL);
    if (file->path == NULL || file->temporary == NULL) {
        lvlm_outfile_close(file);
        return lvlm_fail_memory(err);
    }
    file->fd = mkostemp(file->temporary, O_CLOEXEC);
    if (file->fd < 0) {
        const int rc = lvlm_fail_errno(err, "%s: cannot create", path);
        lvlm_outfile_close(file);
        return rc;
    }
    file->exists = true;
    widen_mode(file->fd);
    *out = file;
    return 0;
}

/* ---- writing -------------------------------------------------------------------- */

/* Keep the first error; later ones are its consequences. */
static void stick(lvlm_outfile *file, const lvlm_error *error)
{
    pthread_mutex_lock(&file->lock);
    if (!file->failed) file->error = *error;
    file->failed = true;
    pthread_mutex_unlock(&file->lock);
}

static void write_back(lvlm_outfile *file, size_t n_bytes)
{
    const uint64_t since = atomic_fetch_add(&file->since_write_back, n_bytes) + n_bytes;
    if (since < WRITE_BACK_BYTES) return;
    atomic_store(&file->since_write_back, 0);
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#endif
}

void lvlm_outfile_write_at(lvlm_outfile *file, uint64_t offset, const void *bytes,
                           size_t n_bytes, lvlm_digest *digest)
{
    const unsigned char *at = bytes;
    size_t left = n_bytes;
    lvlm_error error;
    if (file->failed) return;
    if (digest != NULL && lvlm_digest_update(digest, bytes, n_bytes, &error) < 0)
        stick(file, &error);
    while (left > 0 && !file->failed) {
        const ssize_t n = pwrite(file->fd, at, left, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            lvlm_fail_errno(&error, "%s: cannot write", file->path);
            stick(file, &error);
            return;
        }
        at += n;
        offset += (uint64_t)n;
        left -= (size_t)n;
    }
    write_back(file, n_bytes);
}

void lvlm_outfile_write(lvlm_outfile *file, const void *bytes, size_t n_bytes)
{
    lvlm_outfile_write_at(file, file->end, bytes, n_bytes, NULL);
    file->end += n_bytes;
}

/* ---- making it real ------------------------------------------------------------- */

/* A rename is durable once its directory is. */
static int sync_directory(const char *path, lvlm_error *err)
{
    char *dir = lvlm_strdup(path);
    if (dir == NULL) return lvlm_fail_memory(err);
    char *slash = strrchr(dir, '/');
    if (slash != NULL) slash[slash == dir] = '\0';
    const int fd = open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    lvlm_free(dir);
    /* some file systems cannot sync a directory; the file itself is safe by then */
    if (fd < 0) return 0;
    const int rc = fsync(fd) < 0 && errno == EIO
                       ? lvlm_fail_errno(err, "%s: cannot sync its directory", path)
                       : 0;
    close(fd);
    return rc;
}

static int move_into_place(lvlm_outfile *file, lvlm_error *err)
{
    if (!file->overwrite && link(file->temporary, file->path) == 0) {
        (void)unlink(file->temporary);
    } else if (!file->overwrite && errno == EEXIST) {
        return lvlm_fail(err, LVLM_EUSAGE, "%s: exists; --force overwrites",
                         file->path);
    } else if (rename(file->temporary, file->path) < 0) { /* or no hard links here */
        return lvlm_fail_errno(err, "%s: cannot rename into place", file->path);
    }
    file->exists = false;
    return sync_directory(file->path, err);
}

int lvlm_outfile_commit(lvlm_outfile *file, lvlm_error *err)
{
    if (file->failed) {
        if (err != NULL) *err = file->error;
        return file->error.code;
    }
    if (fsync(file->fd) < 0)
        return lvlm_fail_errno(err, "%s: cannot flush to disk", file->path);
    const int fd = file->fd;
    file->fd = -1;
    if (close(fd) < 0) return lvlm_fail_errno(err, "%s: cannot close", file->path);
    return move_into_place(file, err);
}

void lvlm_outfile_close(lvlm_outfile *file)
{
    if (file == NULL) return;
    if (file->fd >= 0) close(file->fd);
    if (file->exists) (void)unlink(file->temporary);
    pthread_mutex_destroy(&file->lock);
    lvlm_free(file->path);
    lvlm_free(file->temporary);
    lvlm_free(file);
}

int lvlm_outfile_save(const char *path, const void *bytes, size_t n_bytes,
                      bool overwrite, lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    TRY(lvlm_outfile_open(&file, path, overwrite, err));
    lvlm_outfile_write(file, bytes, n_bytes);
    const int rc = lvlm_outfile_commit(file, err);
    lvlm_outfile_close(file);
    return rc;
}
