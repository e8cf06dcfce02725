/* infile.h - a file for reading: in memory, or mapped.
 *
 * Reading copies, so the bytes cannot change afterwards. Mapping is for weights, which
 * may be larger than memory. A mapping stays intact if the file is replaced by rename,
 * but shows later writes, and if the file is truncated the process gets SIGBUS
 * (lvlm_infile_watch is for programs that handle it). Links are followed (a model
 * directory in the hub's cache holds links to blobs). Distinct objects may be used from
 * distinct threads, and one object from many threads for reading. */
#ifndef LVLM_FORMATS_BASE_INFILE_H
#define LVLM_FORMATS_BASE_INFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Identity of a file and the time of its last modification. */
typedef struct lvlm_stamp {
    uint64_t device, inode, n_bytes;
    int64_t seconds, nanoseconds;
} lvlm_stamp;

typedef struct lvlm_infile {
    const unsigned char *bytes; /* NULL if the file is empty */
    uint64_t n_bytes;
    char *path;
    bool mapped;
    lvlm_stamp stamp; /* as of opening */
} lvlm_infile;

/* Read `path`, a regular file, into memory. On success *out must be closed with
 * lvlm_infile_close. LVLM_EIO: "PATH: cannot open: ..." and the like; a directory or a
 * device ("is not a regular file") and a file that is modified meanwhile are LVLM_EIO
 * too. */
LVLM_MUST_CHECK int lvlm_infile_open(lvlm_infile **out, const char *path,
                                     lvlm_error *err);
/* Map it instead. Only for files of weights. */
LVLM_MUST_CHECK int lvlm_infile_map(lvlm_infile **out, const char *path,
                                    lvlm_error *err);
void lvlm_infile_close(lvlm_infile *file);

/* LVLM_EIO if the file was modified since it was opened. A file that was replaced by
 * rename or removed counts as unmodified. A write within the resolution of the file
 * system's clock (some milliseconds) after opening is missed. */
LVLM_MUST_CHECK int lvlm_infile_unchanged(const lvlm_infile *file, lvlm_error *err);

/* From now on call `mapped` after a file is mapped and `unmapped` before it is
 * unmapped. For programs: call it once, before there are threads. */
void lvlm_infile_watch(void (*mapped)(const lvlm_infile *file),
                       void (*unmapped)(const lvlm_infile *file));

/* Advise the kernel that these bytes of a mapped file are no longer needed: their pages
 * leave the resident set but not the page cache. Never fails. */
void lvlm_infile_done_with(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes);

/* Read the beginning of a kernel file (/proc, /sys), which has no size, as text of at
 * most `size` - 1 bytes; false if there is no such file in `dir`. */
bool lvlm_path_peek(char *text, size_t size, const char *dir, const char *name);

/* Read the beginning of a regular file, at most *n bytes, and set *n to how many; false
 * if it cannot be read. Allocates nothing. */
bool lvlm_path_start(void *bytes, size_t *n, const char *path);

/* Does `path` exist (links followed)? */
bool lvlm_path_exists(const char *path);
bool lvlm_path_is_directory(const char *path);
/* The part after the last '/', borrowed from `path`. */
const char *lvlm_path_base(const char *path);

/* Is `name` in `dir` a link to a file outside of it? Blobs of the hub's cache do not
 * count as outside: its snapshots consist of links to blobs. */
bool lvlm_path_leads_out(const char *dir, const char *name);

/* The regular files (links followed) directly inside `dir`, names sorted bytewise.
 * *names_out is owned: free with lvlm_path_list_free. */
LVLM_MUST_CHECK int lvlm_path_list(char ***names_out, size_t *n_out, const char *dir,
                                   lvlm_error *err);
/* The other entries: folders and dangling links. Names that begin with a dot are not
 * listed. */
LVLM_MUST_CHECK int lvlm_path_list_others(char ***names_out, size_t *n_out,
                                          const char *dir, lvlm_error *err);
void lvlm_path_list_free(char **names, size_t n);

LVLM_END_DECLS

#endif
