/* byte_level.c - the byte alphabet, by arithmetic. */
#include "runtime/prepare/tokenizer/byte_level.h"

#include <stdbool.h>

/* Non-printable bytes are numbered from here. */
enum { SHIFTED = 256, N_SHIFTED = 68 };

static bool is_printable(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte != 173);
}

/* Non-printable bytes: 0-32 are the first 33, 127-160 the next 34, 173 the last. */
uint32_t byte_level_char(unsigned char byte)
{
    if (is_printable(byte)) return byte;
    return byte <= 32   ? SHIFTED + (uint32_t)byte
           : byte < 173 ? SHIFTED + 33 + (uint32_t)(byte - 127)
                        : SHIFTED + N_SHIFTED - 1;
}

size_t byte_level_spell(char out[2], unsigned char byte)
{
    const uint32_t c = byte_level_char(byte);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

int byte_level_byte(uint32_t c)
{
    if (c < SHIFTED) return is_printable(c) ? (int)c : -1;
    if (c >= SHIFTED + N_SHIFTED) return -1;
    const int n = (int)c - SHIFTED;
    return n <= 32 ? n : n < N_SHIFTED - 1 ? n - 33 + 127 : 173;
}
