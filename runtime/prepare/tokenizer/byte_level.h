/* byte_level.h - the alphabet in which byte-level vocabularies spell bytes: 256
 * printable characters, one per byte.
 *
 * Bytes that are printable in Latin-1 (33-126, 161-172, 174-255) are the character of
 * that number; the other 68 are, in order, U+0100 and on ("Ġ" is a space, "Ċ" a new
 * line). */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_BYTE_LEVEL_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_BYTE_LEVEL_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* The character of a byte. */
uint32_t byte_level_char(unsigned char byte);

/* The character of a byte in UTF-8; returns its length, 1 or 2. */
size_t byte_level_spell(char out[2], unsigned char byte);

/* The byte of a character, or -1. */
int byte_level_byte(uint32_t character);

LVLM_END_DECLS

#endif
