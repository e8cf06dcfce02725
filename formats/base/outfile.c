/* outfile.c - temporary file, sticky error, fsync, rename.
 *
 *   .NAME.tmp-XXXXXX  --fsync-->  rename  -->  NAME  --fsync of the directory
 *
 * "Must not exist" is atomic where the system can say so: RENAME_NOREPLACE or link(2),
 * which never replace. */
#include "formats/base/outfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"

/* Write-back of what has been written starts after this many bytes, so that the disk
 * works while we do. */
#define WRITE_BACK_BYTES ((uint64_t)32 << 20)

/* Appends shorter than this are collected. */
enum { BUFFER_BYTES = 1 << 16 };

enum { NAME_DIGITS = 8, NAME_ATTEMPTS = 100 };

struct lvlm_outfile {
    int fd; /* -1 once committed or closed */
    char *path;
    char *temporary;
    bool overwrite;
    bool exists;  /* the temporary file is there and ours */
    uint64_t end; /* of what lvlm_outfile_write appended, the buffer left out */
    size_t n_buffered;
    atomic_ullong since_write_back;
    pthread_mutex_t lock; /* guards error */
    atomic_bool failed;
    lvlm_error error;
    unsigned char buffer[BUFFER_BYTES];
};

/* ---- opening -------------------------------------------------------------------- */

/* ".NAME.tmp-" beside `path`, with room for NAME_DIGITS. */
static char *temporary_name(const char *path)
{
    const char *base = strrchr(path, '/');
    const size_t dir = base != NULL ? (size_t)(base - path) + 1 : 0;
    const size_t n = strlen(path) + sizeof "..tmp-" + NAME_DIGITS;
    char *name = lvlm_malloc(n);
    if (name != NULL) snprintf(name, n, "%.*s.%s.tmp-", (int)dir, path, path + dir);
    return name;
}

/* Not mkostemp: its files are for the owner alone, and to learn the umask for a chmod
 * one has to change it, under the feet of other threads. */
static int create_unique(char *name)
{
    char *digits = name + strlen(name);
    uint32_t bits;
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        if (getentropy(&bits, sizeof bits) < 0) return -1;
        snprintf(digits, NAME_DIGITS + 1, "%0*" PRIx32, NAME_DIGITS, bits);
        const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* What a rename at the end would refuse, or destroy, is refused at the beginning. */
static int check_target(const char *path, bool overwrite, lvlm_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0) return 0;
    FAIL_IF(S_ISDIR(st.st_mode), err, LVLM_EUSAGE, "%s: is a directory", path);
    FAIL_IF(!overwrite, err, LVLM_EUSAGE, "%s: exists; --force overwrites", path);
    FAIL_IF(!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode), err, LVLM_EUSAGE,
            "%s: is not a regular file", path);
    return 0;
}

int lvlm_outfile_open(lvlm_outfile **out, const char *path, bool overwrite,
                      lvlm_error *err)
{
    TRY(check_target(path, overwrite, err));
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
    file->fd = create_unique(file->temporary);
    if (file->fd < 0) {
        const int rc = lvlm_fail_errno(err, "%s: cannot create", path);
        lvlm_outfile_close(file);
        return rc;
    }
    file->exists = true;
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
    if (digest != NULL && lvlm_digest_update(digest, bytes, n_bytes, &error) < 0) {
        lvlm_prefix(&error, "%s: ", file->path);
        stick(file, &error);
    }
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

static void append(lvlm_outfile *file, const void *bytes, size_t n_bytes)
{
    lvlm_outfile_write_at(file, file->end, bytes, n_bytes, NULL);
    file->end += n_bytes;
}

static void flush_buffer(lvlm_outfile *file)
{
    append(file, file->buffer, file->n_buffered);
    file->n_buffered = 0;
}

void lvlm_outfile_write(lvlm_outfile *file, const void *bytes, size_t n_bytes)
{
    if (n_bytes > BUFFER_BYTES - file->n_buffered) flush_buffer(file);
    if (n_bytes >= BUFFER_BYTES) {
        append(file, bytes, n_bytes);
    } else if (n_bytes > 0) {
        memcpy(file->buffer + file->n_buffered, bytes, n_bytes);
        file->n_buffered += n_bytes;
    }
}

int lvlm_outfile_check(lvlm_outfile *file, lvlm_error *err)
{
    if (!file->failed) return 0;
    pthread_mutex_lock(&file->lock);
    const lvlm_error error = file->error;
    pthread_mutex_unlock(&file->lock);
    if (err != NULL) *err = error;
    return error.code;
}

/* ---- making it real ------------------------------------------------------------- */

/* No allocation: behind a rename nothing may fail for want of memory. */
int lvlm_sync_parent(const char *path, lvlm_error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof dir) return 0; /* no directory has such a name */
    memcpy(dir, path, n);
    dir[n] = '\0';
    const int fd = open(n > 0 ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* some file systems cannot sync a directory; the file itself is safe by then */
    if (fd < 0) return 0;
    const int rc = fsync(fd) < 0 && errno == EIO
                       ? lvlm_fail_errno(err, "%s: cannot sync its directory", path)
                       : 0;
    close(fd);
    return rc;
}

/* -1 and EEXIST when `to` is there. */
static int rename_to_new(const char *from, const char *to)
{
    struct stat st;
#ifdef RENAME_NOREPLACE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno == EEXIST) return -1;
#endif
    if (link(from, to) == 0) {
        (void)unlink(from);
        return 0;
    }
    if (errno == EEXIST) return -1;
    /* a file system with neither: look before the leap is the best that is left */
    if (lstat(to, &st) < 0) return rename(from, to);
    errno = EEXIST;
    return -1;
}

static int move_into_place(lvlm_outfile *file, lvlm_error *err)
{
    const int moved = file->overwrite ? rename(file->temporary, file->path)
                                      : rename_to_new(file->temporary, file->path);
    FAIL_IF(moved < 0 && !file->overwrite && errno == EEXIST, err, LVLM_EUSAGE,
            "%s: exists; --force overwrites", file->path);
    if (moved < 0)
        return lvlm_fail_errno(err, "%s: cannot rename into place", file->path);
    file->exists = false;
    return lvlm_sync_parent(file->path, err);
}

int lvlm_outfile_commit(lvlm_outfile *file, lvlm_error *err)
{
    assert(file->fd >= 0);
    flush_buffer(file);
    TRY(lvlm_outfile_check(file, err));
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
