/* temporary.c - names, locks and removes temporaries; see temporary.h. */
#include "formats/base/temporary.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/base/text.h"

#define SUFFIX ".lvlm-tmp"

/* Longer names are truncated and made distinct by a hash, so that the suffix always
 * fits. */
enum { LONGEST_BASE = 120, CUT_BASE = 96 };

/* Retries when concurrent runs create and remove the same name. */
enum { ATTEMPTS = 100 };

/* ---- the name ------------------------------------------------------------------- */

char *lvlm_temporary_name(const char *path, lvlm_arena *arena)
{
    assert(path != NULL);
    const char *const base = lvlm_path_base(path);
    const int dir = (int)(base - path);
    if (strlen(base) <= LONGEST_BASE)
        return lvlm_arena_printf(arena, "%.*s.%s" SUFFIX, dir, path, base);
    return lvlm_arena_printf(arena, "%.*s.%.*s-%016" PRIx64 SUFFIX, dir, path, CUT_BASE,
                             base, lvlm_hash_text(base));
}

bool lvlm_temporary_is(const char *path)
{
    const char *const base = lvlm_path_base(path);
    return base[0] == '.' &&
           (lvlm_ends_with(base, SUFFIX) || strcmp(base, SUFFIX) == 0);
}

/* ---- the lock ------------------------------------------------------------------- */

int lvlm_lock(int fd, const char *target, lvlm_error *err)
{
    assert(fd >= 0 && target != NULL);
    int got;
    do got = flock(fd, LOCK_EX | LOCK_NB);
    while (got < 0 && errno == EINTR);
    FAIL_IF(got < 0 && errno == EWOULDBLOCK, err, LVLM_EIO,
            "%s: is being written by another run", target);
    return 0; /* otherwise: a file system without locks */
}

/* Does that name still refer to the file open as `fd`? */
static bool is_named(int fd, const char *name)
{
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 && lstat(name, &named) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

int lvlm_temporary_sweep(const char *name, const char *target, lvlm_error *err)
{
    const int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return 0;
    if (fd < 0) return lvlm_fail_errno(err, "%s: cannot open %s", target, name);
    const int rc = lvlm_lock(fd, target, err);
    if (rc == 0 && is_named(fd, name)) lvlm_temporary_remove(name, fd);
    close(fd);
    return rc;
}

/* ---- creating ------------------------------------------------------------------- */

/* -1 and EEXIST if the name exists. */
static int create(const char *name, mode_t mode, bool folder)
{
    if (!folder) return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (mkdir(name, mode) < 0) return -1;
    const int fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int error = errno;
    if (fd < 0) (void)rmdir(name);
    errno = error;
    return fd;
}

int lvlm_temporary_create(int *out, const char *name, mode_t mode, bool folder,
                          const char *target, lvlm_error *err)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        const int fd = create(name, mode, folder);
        if (fd < 0 && errno != EEXIST)
            return lvlm_fail_errno(err, "%s: cannot create", target);
        if (fd < 0) {
            TRY(lvlm_temporary_sweep(name, target, err));
            continue;
        }
        /* another run may have removed it before it was locked */
        const int rc = lvlm_lock(fd, target, err);
        if (rc == 0 && is_named(fd, name)) {
            *out = fd;
            return 0;
        }
        close(fd);
        if (rc < 0) return rc;
    }
    return lvlm_fail(err, LVLM_EIO, "%s: cannot create: %s cannot be removed", target,
                     name);
}

/* ---- removing ------------------------------------------------------------------- */

/* opendir allocates, and a signal handler may not. */
static void remove_files(int folder)
{
    _Alignas(struct dirent64) char entries[4096];
    (void)lseek(folder, 0, SEEK_SET);
    for (ssize_t n; (n = getdents64(folder, entries, sizeof entries)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *const entry = (const void *)(entries + at);
            (void)unlinkat(folder, entry->d_name, 0);
            at += entry->d_reclen;
        }
}

void lvlm_temporary_remove(const char *name, int fd)
{
    if (unlink(name) == 0 || (errno != EISDIR && errno != EPERM)) return;
    const int folder =
        fd >= 0 ? fd : open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder >= 0) remove_files(folder);
    if (folder >= 0 && fd < 0) close(folder);
    (void)rmdir(name);
}
