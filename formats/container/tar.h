/* tar.h - the regular files of an uncompressed tar, where they are in it.
 *
 *   ustar, with pax headers (path, size) or GNU's long names; links, folders and
 *   devices are passed over
 *
 *     lvlm_tar tar = { .file = file };
 *     while ((rc = lvlm_tar_next(&member, &tar, &err)) > 0)
 *         ... file->bytes + member.offset ...
 *
 * Distinct objects may be used from distinct threads, and one index from many threads
 * for reading. */
#ifndef LVLM_FORMATS_CONTAINER_TAR_H
#define LVLM_FORMATS_CONTAINER_TAR_H

#include "formats/base/arena.h"
#include "formats/base/infile.h"

LVLM_BEGIN_DECLS

enum { LVLM_TAR_NAME = 4096 }; /* bytes of a name, at most */

/* Zero-initialise but for the file, which is borrowed. */
typedef struct lvlm_tar {
    const lvlm_infile *file;
    uint64_t at;                  /* the next header */
    char name[LVLM_TAR_NAME + 1]; /* of the last member */
    bool named, sized;            /* headers before its own say it of the next one */
    uint64_t n_bytes;             /* that size */
} lvlm_tar;

typedef struct lvlm_tar_member {
    const char *name; /* until the next one is read */
    uint64_t offset, n_bytes;
} lvlm_tar_member;

/* 1: *out is the next regular file; 0: there are no more. LVLM_EFORMAT: no tar, a
 * header that is damaged (its checksum), a file that is cut off, a sparse one. */
LVLM_MUST_CHECK int lvlm_tar_next(lvlm_tar_member *out, lvlm_tar *tar, lvlm_error *err);

/* Where the name of a member begins in "FOLDER/FILE.tar/MEMBER", if FOLDER/FILE.tar is
 * a file; NULL: it is the path of a file as it is. */
const char *lvlm_tar_inside(const char *path);
/* Map that tar and find the member. On success close *file with lvlm_infile_close.
 * LVLM_EFORMAT: the tar has no such member. Reads every header before it: an index is
 * for those who read many. */
LVLM_MUST_CHECK int lvlm_tar_open(lvlm_infile **file, lvlm_tar_member *member,
                                  const char *path, lvlm_error *err);

/* The members of a tar by name. */
typedef struct lvlm_tar_index {
    lvlm_infile *file;   /* mapped */
    lvlm_tar_member *at; /* (n) sorted by name, those of one name in order */
    size_t n, capacity;
    lvlm_arena names;
    /* borrowed: another tar, which is searched after this one; NULL: none */
    const struct lvlm_tar_index *next;
} lvlm_tar_index;

/* Map the tar at `path` and read all of its headers. Errors as lvlm_tar_next. Close
 * with lvlm_tar_index_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_tar_index_open(lvlm_tar_index *out, const char *path,
                                        lvlm_error *err);
void lvlm_tar_index_close(lvlm_tar_index *index);
/* The tar that "FILE.tar/MEMBER" leads into, as lvlm_tar_open finds the member; NULL:
 * it leads into none of these, which may be none (NULL). */
const lvlm_tar_index *lvlm_tar_index_find(lvlm_tar_member *member,
                                          const lvlm_tar_index *index,
                                          const char *path);

LVLM_END_DECLS

#endif
