/* utf8.h - validates UTF-8 (RFC 3629: no surrogates, no overlong forms). Every function
 * may be called from several threads at once. */
#ifndef LVLM_FORMATS_BASE_UTF8_H
#define LVLM_FORMATS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Are the bytes well-formed? */
bool lvlm_utf8_valid(const char *bytes, size_t n_bytes);

/* The offset of the first invalid byte; n_bytes if there is none. */
size_t lvlm_utf8_invalid_at(const char *bytes, size_t n_bytes);

typedef enum lvlm_utf8_part {
    LVLM_UTF8_WHOLE, /* a character */
    LVLM_UTF8_BEGUN, /* the start of one, cut off by the end of the bytes */
    /* not a character whatever follows: the longest possible start of one, or one
     * byte */
    LVLM_UTF8_BROKEN,
} lvlm_utf8_part;

/* Classify the start of n_bytes > 0 bytes, and return its length. */
lvlm_utf8_part lvlm_utf8_next(size_t *length, const char *bytes, size_t n_bytes);

/* Make text safe for one line of a terminal: control characters and invalid UTF-8
 * become \xNN, byte by byte. Returns `from` if nothing changes, else `text`, truncated
 * to `size` bytes including the NUL. Allocates nothing and is async-signal-safe. */
const char *lvlm_visible(char *text, size_t size, const char *from);

/* How many bytes of `text` are the whole words of a next line of so many characters; a
 * word that is longer than that is whole, too. */
size_t lvlm_utf8_line(const char *text, size_t columns);

LVLM_END_DECLS

#endif
