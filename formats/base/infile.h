/* infile.h - a file for reading: in memory, or mapped.
 *
 * Reading copies: nobody can change what has been read. Mapping is for weights, which
 * are larger than memory. A mapping is of the file as it was opened: replacing the file
 * by rename leaves it intact, writing to it shows through, and where it becomes shorter
 * the process gets SIGBUS (lvlm_infile_watch is for programs that handle it).
 * Links are followed (a model directory in the hub's cache holds links to blobs).
 * Distinct objects may be used from distinct threads, and one object from many threads
 * for reading. */
#ifndef LVLM_FORMATS_BASE_INFILE_H
#define LVLM_FORMATS_BASE_INFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Which file it was and when it was last written to. */
typedef struct lvlm_stamp {
    uint64_t device, inode, n_bytes;
    int64_t seconds, nanoseconds;
} lvlm_stamp;

typedef struct lvlm_infile {
    const unsigned char *bytes; /* NULL when the file is empty */
    uint64_t n_bytes;
    char *path;
    bool mapped;
    lvlm_stamp stamp; /* when it was opened */
} lvlm_infile;

/* Read `path`, a regular file, into memory. On success *out must be closed with
 * lvlm_infile_close. LVLM_EIO: "PATH: cannot open: ..." and the like; a directory or
 * a device ("is not a regular file"), and a file that is written to meanwhile, are
 * LVLM_EIO too. */
LVLM_MUST_CHECK int lvlm_infile_open(lvlm_infile **out, const char *path,
                                     lvlm_error *err);
/* Map it instead. For files of weights only. */
LVLM_MUST_CHECK int lvlm_infile_map(lvlm_infile **out, const char *path,
                                    lvlm_error *err);
void lvlm_infile_close(lvlm_infile *file);

/* LVLM_EIO when the file has been written to since it was opened. One that has been
 * replaced by another of the same name, or removed, is as it was. A write within the
 * resolution of the file system's clock, some milliseconds, after opening is missed. */
LVLM_MUST_CHECK int lvlm_infile_unchanged(const lvlm_infile *file, lvlm_error *err);

/* From now on `mapped` is called after each file that is mapped, and `unmapped` before
 * its mapping goes. For programs: called once, before there are threads. */
void lvlm_infile_watch(void (*mapped)(const lvlm_infile *file),
                       void (*unmapped)(const lvlm_infile *file));

/* Tell the kernel that these bytes of a mapped file are needed soon, or no more (they
 * leave the resident set, not the page cache). Advice only: never fails. */
void lvlm_infile_will_need(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes);
void lvlm_infile_done_with(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes);

/* The beginning of a file of the kernel's (/proc, /sys), which has no size, as a text
 * of at most `size` - 1 bytes; false where there is none. */
bool lvlm_path_peek(char *text, size_t size, const char *path);

/* True when `path` names something that exists (links followed). */
bool lvlm_path_exists(const char *path);
bool lvlm_path_is_directory(const char *path);
/* "https://..." and the like. */
bool lvlm_path_is_url(const char *path);
/* Part after the last '/', borrowed from `path`. */
const char *lvlm_path_base(const char *path);

/* True when `name` in `dir` is a link to a file outside of it. Files of the hub's cache
 * are not outside: its snapshots are links to its blobs. */
bool lvlm_path_leads_out(const char *dir, const char *name);

/* The regular files (links followed) directly inside `dir`, names sorted bytewise.
 * *names_out is owned: free with lvlm_path_list_free. */
LVLM_MUST_CHECK int lvlm_path_list(char ***names_out, size_t *n_out, const char *dir,
                                   lvlm_error *err);
/* The same of what is not a regular file: folders, links that lead nowhere. Names that
 * begin with a dot are not listed. */
LVLM_MUST_CHECK int lvlm_path_list_others(char ***names_out, size_t *n_out,
                                          const char *dir, lvlm_error *err);
void lvlm_path_list_free(char **names, size_t n);

LVLM_END_DECLS

#endif
