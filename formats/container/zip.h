/* zip.h - reads and checks the members of a zip archive: .bin of torch, .npz of numpy.
 *
 *   local header, name, extra | data [| data descriptor] for each member
 *   central directory                                        one entry for each
 *   [zip64 end record, zip64 locator] end record [comment]   the file ends here
 *
 * The central directory decides; local headers are checked against it. Reading never
 * copies: a stored member's bytes are borrowed from the mapped file, a deflated one is
 * inflated into a caller's buffer. Not here: writing, what the members mean. */
#ifndef LVLM_FORMATS_CONTAINER_ZIP_H
#define LVLM_FORMATS_CONTAINER_ZIP_H

#include "formats/base/arena.h"
#include "formats/base/infile.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_zip_method {
    LVLM_ZIP_STORED = 0,
    LVLM_ZIP_DEFLATED = 8,
} lvlm_zip_method;

typedef struct lvlm_zip_member {
    const char *name; /* UTF-8, as stored: may hold '/', is not checked as a path */
    lvlm_zip_method method;
    /* of the inflated data; checked only by lvlm_zip_inflate and lvlm_zip_check */
    uint32_t crc32;
    uint64_t offset;       /* first byte of its data in the file */
    uint64_t stored_bytes; /* in the file */
    uint64_t n_bytes;      /* inflated; STORED: the same as stored_bytes */
} lvlm_zip_member;

typedef struct lvlm_zip {
    lvlm_zip_member *members; /* in order of offset */
    size_t n_members;
    const lvlm_zip_member **by_name; /* the same, sorted by name */
} lvlm_zip;

/* Does the file begin like a zip archive: with a local header or, if empty, with the
 * end record? */
bool lvlm_zip_is(const lvlm_infile *file);

/* Read and validate the directory of `file`. Everything is in `arena`; the file must be
 * whole. LVLM_EFORMAT names the first broken rule; the rules are listed at
 * lvlm_zip_read in zip.c. */
LVLM_MUST_CHECK int lvlm_zip_read(lvlm_zip *out, const lvlm_infile *file,
                                  lvlm_arena *arena, lvlm_error *err);

/* By exact name, O(log n); NULL if there is none. */
const lvlm_zip_member *lvlm_zip_find(const lvlm_zip *zip, const char *name);

/* Inflate (or copy, if stored) the data of `member` to `to`, which has room for
 * n_bytes. LVLM_EFORMAT if it does not inflate to exactly n_bytes bytes or its CRC-32
 * differs; the contents of `to` are then undefined. Distinct members may be inflated
 * from distinct threads. */
LVLM_MUST_CHECK int lvlm_zip_inflate(void *to, const lvlm_zip_member *member,
                                     const lvlm_infile *file, lvlm_error *err);

/* LVLM_EFORMAT unless the data of a stored member has its CRC-32. Reads all of it, in
 * place. */
LVLM_MUST_CHECK int lvlm_zip_check(const lvlm_zip_member *member,
                                   const lvlm_infile *file, lvlm_error *err);

/* Copy the first `n` <= n_bytes bytes of the inflated data to `to`, for headers. The
 * CRC-32 is not checked. */
LVLM_MUST_CHECK int lvlm_zip_inflate_start(void *to, size_t n,
                                           const lvlm_zip_member *member,
                                           const lvlm_infile *file, lvlm_error *err);

LVLM_END_DECLS

#endif
