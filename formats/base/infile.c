/* infile.c - input files, read or mapped, and queries about paths. */
#include "formats/base/infile.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/list.h"
#include "formats/base/size.h"
#include "formats/base/text.h"

/* ---- opening -------------------------------------------------------------------- */

static void (*watch_mapped)(const lvlm_infile *file);
static void (*watch_unmapped)(const lvlm_infile *file);

void lvlm_infile_watch(void (*mapped)(const lvlm_infile *file),
                       void (*unmapped)(const lvlm_infile *file))
{
    assert((mapped == NULL) == (unmapped == NULL));
    watch_mapped = mapped;
    watch_unmapped = unmapped;
}

static lvlm_stamp stamp_of(const struct stat *st)
{
    return (lvlm_stamp){ (uint64_t)st->st_dev, (uint64_t)st->st_ino,
                         (uint64_t)st->st_size, (int64_t)st->st_mtim.tv_sec,
                         (int64_t)st->st_mtim.tv_nsec };
}

static bool same_file(const lvlm_stamp *a, const lvlm_stamp *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static bool same_content(const lvlm_stamp *a, const lvlm_stamp *b)
{
    return a->n_bytes == b->n_bytes && a->seconds == b->seconds &&
           a->nanoseconds == b->nanoseconds;
}

static int map_bytes(lvlm_infile *file, int fd, lvlm_error *err)
{
    assert(file->n_bytes > 0);
    void *at = mmap(NULL, (size_t)file->n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) return lvlm_fail_errno(err, "%s: cannot map", file->path);
#ifdef MADV_HUGEPAGE
    /* what is not cached yet comes in large pages, where the file system has them */
    (void)madvise(at, (size_t)file->n_bytes, MADV_HUGEPAGE);
#endif
    file->bytes = at;
    file->mapped = true;
    if (watch_mapped != NULL) watch_mapped(file);
    return 0;
}

static int read_bytes(lvlm_infile *file, int fd, lvlm_error *err)
{
    assert(file->n_bytes > 0);
    const size_t n_bytes = (size_t)file->n_bytes;
    unsigned char *const bytes = lvlm_malloc(n_bytes);
    struct stat st;
    size_t n = 0;

    if (bytes == NULL)
        return lvlm_within(lvlm_fail_memory(err), err, "%s: ", file->path);
    file->bytes = bytes;
    while (n < n_bytes) {
        const ssize_t more = read(fd, bytes + n, n_bytes - n);
        if (more < 0 && errno == EINTR) continue;
        if (more < 0) return lvlm_fail_errno(err, "%s: cannot read", file->path);
        if (more == 0) break; /* shorter than before */
        n += (size_t)more;
    }
    if (fstat(fd, &st) < 0) return lvlm_fail_errno(err, "%s: cannot stat", file->path);
    const lvlm_stamp now = stamp_of(&st);
    FAIL_IF(n < n_bytes || !same_content(&now, &file->stamp), err, LVLM_EIO,
            "%s: was written to while it was read; try again when it is complete",
            file->path);
    return 0;
}

static int open_bytes(lvlm_infile *file, int fd, bool map, lvlm_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return lvlm_fail_errno(err, "%s: cannot stat", file->path);
    FAIL_IF(S_ISDIR(st.st_mode), err, LVLM_EIO, "%s: is a directory", file->path);
    FAIL_IF(!S_ISREG(st.st_mode), err, LVLM_EIO, "%s: is not a regular file",
            file->path);
    file->stamp = stamp_of(&st);
    file->n_bytes = (uint64_t)st.st_size;
    FAIL_IF(file->n_bytes > SIZE_MAX, err, LVLM_EIO, "%s: too large to %s", file->path,
            map ? "map" : "read");
    if (file->n_bytes == 0) return 0;
    return map ? map_bytes(file, fd, err) : read_bytes(file, fd, err);
}

/* "https://..." and the like. */
static bool is_url(const char *path)
{
    const size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n > 1 && strncmp(path + n, "://", 3) == 0;
}

/* Report why `path` cannot be opened. */
static int fail_open(const char *path, lvlm_error *err)
{
    const int number = errno;
    FAIL_IF(*path == '\0', err, LVLM_EUSAGE, "'': the name of a file is empty");
    FAIL_IF(is_url(path), err, LVLM_EIO,
            "%s: is a URL; nothing is downloaded, name a file", path);
    FAIL_IF(strcmp(path, "-") == 0, err, LVLM_EIO,
            "-: standard input is not read here, name a file");
    errno = number;
    return lvlm_fail_errno(err, "%s: cannot open", path);
}

static int open_file(lvlm_infile **out, const char *path, bool map, lvlm_error *err)
{
    assert(path != NULL);
    lvlm_infile *file = lvlm_calloc(1, sizeof *file);
    int fd = -1;
    int rc;

    if (file == NULL || (file->path = lvlm_strdup(path)) == NULL) {
        rc = lvlm_fail_memory(err);
        goto done;
    }
    /* non-blocking, so that a FIFO is refused instead of waited for */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        rc = fail_open(path, err);
        goto done;
    }
    if ((rc = open_bytes(file, fd, map, err)) < 0) goto done;
    *out = file;
    file = NULL;
done:
    if (fd >= 0) close(fd);
    lvlm_infile_close(file);
    return rc;
}

int lvlm_infile_open(lvlm_infile **out, const char *path, lvlm_error *err)
{
    return open_file(out, path, false, err);
}

int lvlm_infile_map(lvlm_infile **out, const char *path, lvlm_error *err)
{
    return open_file(out, path, true, err);
}

/* munmap, madvise and free take pointers to writable memory, which this never is. */
static void *unconst(const void *pointer)
{
    return (void *)(uintptr_t)pointer;
}

void lvlm_infile_close(lvlm_infile *file)
{
    if (file == NULL) return;
    if (file->mapped && watch_unmapped != NULL) watch_unmapped(file);
    if (file->mapped)
        munmap(unconst(file->bytes), (size_t)file->n_bytes);
    else
        lvlm_free(unconst(file->bytes));
    lvlm_free(file->path);
    lvlm_free(file);
}

int lvlm_infile_unchanged(const lvlm_infile *file, lvlm_error *err)
{
    struct stat st;
    if (stat(file->path, &st) < 0) return 0;
    const lvlm_stamp now = stamp_of(&st);
    FAIL_IF(same_file(&now, &file->stamp) && !same_content(&now, &file->stamp), err,
            LVLM_EIO,
            "%s: was written to while it was in use; try again when it is complete",
            file->path);
    return 0;
}

/* ---- advice --------------------------------------------------------------------- */

void lvlm_infile_done_with(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t begin = lvlm_round_up(offset, page); /* of whole pages inside */
    const uint64_t end = (offset + n_bytes) / page * page;
    assert(offset <= file->n_bytes && n_bytes <= file->n_bytes - offset);
    if (file->mapped && begin < end)
        (void)madvise(unconst(file->bytes + begin), (size_t)(end - begin),
                      MADV_DONTNEED);
}

/* ---- paths ---------------------------------------------------------------------- */

/* "DIR/NAME"; false: it is too long. */
static bool join(char path[PATH_MAX], const char *dir, const char *name)
{
    const int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return n >= 0 && n < PATH_MAX;
}

bool lvlm_path_peek(char *text, size_t size, const char *dir, const char *name)
{
    assert(size > 0);
    char path[PATH_MAX];
    const int fd = join(path, dir, name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return false;
    const ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

bool lvlm_path_start(void *bytes, size_t *n, const char *path)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    const ssize_t got =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, bytes, *n) : -1;
    close(fd);
    *n = got > 0 ? (size_t)got : 0;
    return got >= 0;
}

bool lvlm_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool lvlm_path_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *lvlm_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

bool lvlm_path_leads_out(const char *dir, const char *name)
{
    char path[PATH_MAX], to[PATH_MAX], from[PATH_MAX];
    struct stat st;
    if (!join(path, dir, name) || lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) ||
        realpath(path, to) == NULL || realpath(dir, from) == NULL)
        return false;
    const size_t length = strlen(from);
    const bool inside = strncmp(to, from, length) == 0 && to[length] == '/';
    return !inside && fnmatch("*/blobs/*", to, 0) != 0;
}

static bool is_regular_in(int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static int add_name(char ***names, size_t *n, size_t *capacity, const char *name,
                    lvlm_error *err)
{
    TRY(lvlm_list_room(names, capacity, *n, sizeof **names, err));
    char *const copy = (*names)[*n] = lvlm_strdup(name);
    if (copy == NULL) return lvlm_fail_memory(err);
    ++*n;
    return 0;
}

/* Names of regular files, or of all other entries that are not hidden. */
static int list_names(char ***names_out, size_t *n_out, const char *dir, bool regular,
                      lvlm_error *err)
{
    DIR *handle = opendir(dir);
    char **names = NULL;
    size_t n = 0, capacity = 0;
    int rc = 0;

    if (handle == NULL) return lvlm_fail_errno(err, "%s: cannot list", dir);
    while (rc == 0) {
        errno = 0; /* NULL is the end or an error; a truncated list must not pass */
        const struct dirent *entry = readdir(handle);
        if (entry == NULL && errno != 0)
            rc = lvlm_fail_errno(err, "%s: cannot list", dir);
        if (entry == NULL) break;
        if (is_regular_in(dirfd(handle), entry->d_name) == regular &&
            (regular || entry->d_name[0] != '.'))
            rc = add_name(&names, &n, &capacity, entry->d_name, err);
    }
    closedir(handle);
    if (rc < 0) {
        lvlm_path_list_free(names, n);
        return rc;
    }
    if (n > 0) qsort(names, n, sizeof *names, lvlm_by_text);
    *names_out = names;
    *n_out = n;
    return 0;
}

int lvlm_path_list(char ***names_out, size_t *n_out, const char *dir, lvlm_error *err)
{
    return list_names(names_out, n_out, dir, true, err);
}

int lvlm_path_list_others(char ***names_out, size_t *n_out, const char *dir,
                          lvlm_error *err)
{
    return list_names(names_out, n_out, dir, false, err);
}

void lvlm_path_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) lvlm_free(names[i]);
    lvlm_free(names);
}
