/* utf8.c - table 3-7 of Unicode: which byte may stand where. */
#include "formats/base/utf8.h"

/* What the second byte may be, by the first one. */
static bool is_second(unsigned char first, unsigned char second)
{
    const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

lvlm_utf8_part lvlm_utf8_next(size_t *length, const char *bytes, size_t n_bytes)
{
    const unsigned char *const s = (const unsigned char *)bytes;
    *length = 1;
    if (s[0] < 0x80) return LVLM_UTF8_WHOLE;
    if (s[0] < 0xc2 || s[0] > 0xf4) return LVLM_UTF8_BROKEN;
    const size_t whole = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < whole; i++, (*length)++) {
        if (i == n_bytes) return LVLM_UTF8_BEGUN;
        if (i == 1 ? !is_second(s[0], s[1]) : (s[i] & 0xc0) != 0x80)
            return LVLM_UTF8_BROKEN;
    }
    return LVLM_UTF8_WHOLE;
}

size_t lvlm_utf8_invalid_at(const char *bytes, size_t n_bytes)
{
    size_t at = 0, length;
    while (at < n_bytes &&
           lvlm_utf8_next(&length, bytes + at, n_bytes - at) == LVLM_UTF8_WHOLE)
        at += length;
    return at;
}

bool lvlm_utf8_valid(const char *bytes, size_t n_bytes)
{
    return lvlm_utf8_invalid_at(bytes, n_bytes) == n_bytes;
}
