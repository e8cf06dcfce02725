/* unicode_newer.h - differences between the reference's version of Unicode and that of
 * our libraries.
 *
 * Words are split by Unicode 16 (the tokenizers library and tiktoken agree, character
 * by character); PCRE2 may have an older version. NFC is that of Unicode 9 in the
 * tokenizers library; utf8proc is newer. Results do not change with a newer PCRE2 or
 * utf8proc. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_UNICODE_NEWER_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_UNICODE_NEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* A character of the same UTF-8 length that PCRE2 classifies as the reference
 * classifies `c`: mostly c itself. */
uint32_t unicode_newer_stand_in(uint32_t c);

/* Is `c` a mark that is newer than Unicode 9, so that it neither moves nor composes? */
bool unicode_newer_is_inert(uint32_t c);

LVLM_END_DECLS

#endif
