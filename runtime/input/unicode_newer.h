/* unicode_newer.h - where the reference and the libraries that we use know different
 * versions of Unicode.
 *
 * Words are split by Unicode 16 (the tokenizers library and tiktoken agree, character
 * by character); PCRE2 may know less. NFC is that of Unicode 9 in the tokenizers
 * library; utf8proc knows more. A newer PCRE2 or utf8proc changes nothing. */
#ifndef LVLM_RUNTIME_INPUT_UNICODE_NEWER_H
#define LVLM_RUNTIME_INPUT_UNICODE_NEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* A character that PCRE2 puts where the reference puts `c`, as long in UTF-8: mostly c
 * itself. */
uint32_t unicode_newer_stand_in(uint32_t c);

/* Is `c` newer than Unicode 9, so that it neither moves nor composes? Only of those
 * that would. */
bool unicode_newer_is_inert(uint32_t c);

LVLM_END_DECLS

#endif
