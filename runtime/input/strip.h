/* strip.h - a text without the white space at its ends, as Python's str.strip(). */
#ifndef LVLM_RUNTIME_INPUT_STRIP_H
#define LVLM_RUNTIME_INPUT_STRIP_H

#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Where the rest of `text`, UTF-8 of *n bytes, begins; *n becomes its length. */
const char *lvlm_strip(const char *text, size_t *n);
/* Bytes of white space that [text, text + n) begins with, or ends with. */
size_t lvlm_space_at_start(const char *text, size_t n);
size_t lvlm_space_at_end(const char *text, size_t n);

LVLM_END_DECLS

#endif
