/* unicode_newer.h - differences between the reference's version of Unicode and that of
 * our libraries.
 *
 * Words are split by Unicode 16 (the tokenizers library and tiktoken agree, character
 * by character); PCRE2 may have an older version. NFC is that of Unicode 9 in the
 * tokenizers library; utf8proc is newer. Results do not change with a newer PCRE2 or
 * utf8proc. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_UNICODE_NEWER_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_UNICODE_NEWER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <utf8proc.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* The first character of well-formed UTF-8; returns its length in bytes. */
static inline size_t unicode_next(uint32_t *c, const char *text, size_t n_bytes)
{
    utf8proc_int32_t next = (unsigned char)*text;
    utf8proc_ssize_t length = 1;
    if (next >= 0x80)
        length = utf8proc_iterate((const utf8proc_uint8_t *)text,
                                  (utf8proc_ssize_t)n_bytes, &next);
    assert(length > 0 && (size_t)length <= n_bytes);
    *c = (uint32_t)next;
    return (size_t)length;
}

/* A character of the same UTF-8 length that PCRE2 classifies as the reference
 * classifies `c`: mostly c itself. */
uint32_t unicode_newer_stand_in(uint32_t c);

/* Is `c` a mark that is newer than Unicode 9, so that it neither moves nor composes? */
bool unicode_newer_is_inert(uint32_t c);

LVLM_END_DECLS

#endif
