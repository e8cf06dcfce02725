/* outfile.c - temporary file, sticky error, fsync, rename.
 *
 *   .NAME.lvlm-tmp  --fsync-->  rename  -->  NAME  --fsync of the directory
 *
 * "Must not exist" is atomic where the system supports it: RENAME_NOREPLACE or link(2)
 * never replace a file. */
#include "formats/base/outfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/temporary.h"

/* Write-back starts after each run of this many bytes, to overlap with the caller's
 * work. */
#define WRITE_BACK_BYTES ((uint64_t)32 << 20)

/* Shorter appends are buffered. */
enum { BUFFER_BYTES = 1 << 16 };

struct lvlm_outfile {
    int fd;           /* -1 once committed or closed */
    lvlm_arena arena; /* of names */
    const char *path, *temporary;
    bool overwrite;
    bool exists;  /* the temporary file exists and is ours */
    uint64_t end; /* of the data appended by lvlm_outfile_write, without the buffer */
    size_t n_buffered;
    atomic_ullong since_write_back;
    pthread_mutex_t lock;    /* guards error */
    pthread_mutex_t writing; /* one writer at a time: see lvlm_outfile_write_at */
    atomic_bool failed;
    lvlm_error error;
    unsigned char buffer[BUFFER_BYTES];
};

/* ---- opening -------------------------------------------------------------------- */

/* Refuse at open what the final rename would refuse or destroy. `mode`: of the file
 * that is replaced, 0 if there is none. */
static int check_target(const char *path, bool overwrite, mode_t *mode, lvlm_error *err)
{
    struct stat st;
    *mode = 0;
    if (lstat(path, &st) < 0) return 0;
    FAIL_IF(S_ISDIR(st.st_mode), err, LVLM_EUSAGE, "%s: is a directory", path);
    FAIL_IF(!overwrite, err, LVLM_EUSAGE, "%s: exists; --force overwrites", path);
    if (stat(path, &st) < 0) return 0; /* a dangling link */
    FAIL_IF(!S_ISREG(st.st_mode), err, LVLM_EUSAGE, "%s: is not a regular file", path);
    *mode = st.st_mode & 0777;
    return 0;
}

static int create_temporary(lvlm_outfile *file, mode_t mode, lvlm_error *err)
{
    TRY(lvlm_temporary_create(&file->fd, file->temporary, mode > 0 ? 0600 : 0666, false,
                              file->path, err));
    file->exists = true;
    if (mode > 0) (void)fchmod(file->fd, mode); /* some file systems have no modes */
    return 0;
}

int lvlm_outfile_open(lvlm_outfile **out, const char *path, bool overwrite,
                      lvlm_error *err)
{
    assert(path != NULL);
    mode_t mode;
    TRY(check_target(path, overwrite, &mode, err));
    lvlm_outfile *file = lvlm_calloc(1, sizeof *file);
    if (file == NULL) return lvlm_fail_memory(err);
    file->fd = -1;
    file->overwrite = overwrite;
    file->path = lvlm_arena_strndup(&file->arena, path, strlen(path));
    file->temporary = lvlm_temporary_name(path, &file->arena);
    pthread_mutex_init(&file->lock, NULL);
    pthread_mutex_init(&file->writing, NULL);
    const int rc = file->path != NULL && file->temporary != NULL
                       ? create_temporary(file, mode, err)
                       : lvlm_fail_memory(err);
    if (rc < 0)
        lvlm_outfile_close(file);
    else
        *out = file;
    return rc;
}

const char *lvlm_outfile_path(const lvlm_outfile *file)
{
    return file->path;
}

const char *lvlm_outfile_temporary(const lvlm_outfile *file)
{
    return file->temporary;
}

/* ---- writing -------------------------------------------------------------------- */

/* Keep the first error; later ones are consequences. */
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

static void put_at(lvlm_outfile *file, uint64_t offset, const unsigned char *bytes,
                   size_t n_bytes)
{
    lvlm_error error;
    while (n_bytes > 0 && !file->failed) {
        const ssize_t n = pwrite(file->fd, bytes, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            lvlm_fail_errno(&error, "%s: cannot write", file->path);
            stick(file, &error);
            return;
        }
        bytes += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
}

/* The kernel admits one writer to a file and lets others spin; a thread that sleeps
 * leaves its core to a thread that hashes, or to write-back. */
void lvlm_outfile_write_at(lvlm_outfile *file, uint64_t offset, const void *bytes,
                           size_t n_bytes, lvlm_digest *digest)
{
    assert(file->fd >= 0);
    assert(n_bytes <= UINT64_MAX - offset);
    if (file->failed) return;
    if (digest != NULL) lvlm_digest_update(digest, bytes, n_bytes);
    pthread_mutex_lock(&file->writing);
    put_at(file, offset, bytes, n_bytes);
    pthread_mutex_unlock(&file->writing);
    if (!file->failed) write_back(file, n_bytes);
}

static void append(lvlm_outfile *file, const void *bytes, size_t n_bytes)
{
    lvlm_outfile_write_at(file, file->end, bytes, n_bytes, NULL);
    file->end += n_bytes;
}

static void flush_buffer(lvlm_outfile *file)
{
    assert(file->n_buffered <= BUFFER_BYTES);
    append(file, file->buffer, file->n_buffered);
    file->n_buffered = 0;
}

void lvlm_outfile_write(lvlm_outfile *file, const void *bytes, size_t n_bytes)
{
    assert(file->fd >= 0); /* not committed yet */
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

int lvlm_folder_make(const char *path, lvlm_error *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return lvlm_fail_errno(err, "%s: cannot make the folder", path);
    return 0;
}

/* No allocation: nothing after the rename may fail. */
int lvlm_sync_parent(const char *path, lvlm_error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof dir) return 0; /* too long for a directory */
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
    /* a file system with neither: all that is left is to check first */
    if (lstat(to, &st) < 0) return rename(from, to);
    errno = EEXIST;
    return -1;
}

static int move_into_place(lvlm_outfile *file, lvlm_error *err)
{
    assert(file->exists);
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
    /* it stays open, and so locked, until it is renamed */
    TRY(move_into_place(file, err));
    close(file->fd);
    file->fd = -1;
    return 0;
}

void lvlm_outfile_close(lvlm_outfile *file)
{
    if (file == NULL) return;
    if (file->exists) (void)unlink(file->temporary); /* while still locked */
    if (file->fd >= 0) close(file->fd);
    pthread_mutex_destroy(&file->lock);
    pthread_mutex_destroy(&file->writing);
    lvlm_arena_free(&file->arena);
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
