/* utf8.h - is it UTF-8, and where not (RFC 3629: no surrogates, no overlong forms). */
#ifndef LVLM_FORMATS_BASE_UTF8_H
#define LVLM_FORMATS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* True when the bytes are well-formed. */
bool lvlm_utf8_valid(const char *bytes, size_t n_bytes);

/* Where they first are not; n_bytes: nowhere. */
size_t lvlm_utf8_invalid_at(const char *bytes, size_t n_bytes);

typedef enum lvlm_utf8_part {
    LVLM_UTF8_WHOLE,  /* a character */
    LVLM_UTF8_BEGUN,  /* the beginning of one, up to the end of the bytes */
    LVLM_UTF8_BROKEN, /* what can be no character, however it goes on: as much as could
                         be the beginning of one, or one byte */
} lvlm_utf8_part;

/* What stands at the first of n_bytes > 0 bytes, and how many of them it takes. */
lvlm_utf8_part lvlm_utf8_next(size_t *length, const char *bytes, size_t n_bytes);

/* Text as a terminal may be given it, on one line: control characters and what is not
 * UTF-8 become \xNN, byte by byte. Returns `from` where nothing is to be changed, else
 * `text`, cut where `size` bytes, the final zero included, do not hold it. Allocates
 * nothing and is async-signal-safe. */
const char *lvlm_visible(char *text, size_t size, const char *from);

/* How many bytes of `text` are the whole words of a next line of so many characters; a
 * word that is longer than that is whole, too. */
size_t lvlm_utf8_line(const char *text, size_t columns);

LVLM_END_DECLS

#endif
