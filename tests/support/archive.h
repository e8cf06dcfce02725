/* archive.h - zip archives in memory, valid or with a corrupted field. */
#ifndef LVLM_TESTS_SUPPORT_ARCHIVE_H
#define LVLM_TESTS_SUPPORT_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARCHIVE_BYTES = 1 << 16, ARCHIVE_MEMBERS = 64 };

typedef struct archive {
    unsigned char bytes[ARCHIVE_BYTES];
    size_t n;
    size_t local[ARCHIVE_MEMBERS]; /* offset of each member's local header */
    size_t entry[ARCHIVE_MEMBERS]; /* and its entry in the directory */
    size_t n_members;
    size_t end; /* the end record */
    bool zip64; /* set before the first member: sizes and offsets in zip64 fields */
} archive;

/* Append a member; `deflate` compresses it. Fails the test if there is no room. */
void archive_add(archive *a, const char *name, const void *bytes, size_t n,
                 bool deflate);
/* Append the directory and the end records; nothing may be added after them. */
void archive_finish(archive *a);
/* The offset of the data of member `i`. */
size_t archive_data(const archive *a, size_t i);

#endif
