/* strip.h - removes white space at both ends of a text, like Python's str.strip(). */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_STRIP_H
#define LVLM_RUNTIME_PREPARE_PROMPT_STRIP_H

#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* The start of the stripped `text`, UTF-8 of *n bytes; *n becomes its length. */
const char *lvlm_strip(const char *text, size_t *n);
/* The length of the white space at the start, or at the end, of [text, text + n). */
size_t lvlm_space_at_start(const char *text, size_t n);
size_t lvlm_space_at_end(const char *text, size_t n);

LVLM_END_DECLS

#endif
