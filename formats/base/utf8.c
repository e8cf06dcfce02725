/* utf8.c - validates by table 3-7 of Unicode; escapes text for a terminal. */
#include "formats/base/utf8.h"

#include <assert.h>
#include <string.h>

/* The permitted second bytes, by first byte. */
static bool is_second(unsigned char first, unsigned char second)
{
    const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

lvlm_utf8_part lvlm_utf8_next(size_t *length, const char *bytes, size_t n_bytes)
{
    assert(n_bytes > 0);
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

/* ---- for a terminal ------------------------------------------------------------- */

/* C0, DEL and C1, which has two bytes; `length` bytes at `s` are one character. */
static bool is_control(const char *s, size_t length)
{
    const unsigned char first = (unsigned char)s[0], second = (unsigned char)s[1];
    if (length == 1) return first < 0x20 || first == 0x7f;
    return length == 2 && first == 0xc2 && second < 0xa0;
}

/* The length of the character at `s`; `shown`: it can be shown as is. */
static size_t next_shown(bool *shown, const char *s, size_t n)
{
    size_t length;
    const bool whole = lvlm_utf8_next(&length, s, n) == LVLM_UTF8_WHOLE;
    *shown = whole && !is_control(s, length);
    return length;
}

static void put_byte(char *to, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    to[0] = '\\';
    to[1] = 'x';
    to[2] = digits[byte >> 4];
    to[3] = digits[byte & 15];
}

const char *lvlm_visible(char *text, size_t size, const char *from)
{
    assert(size > 0);
    const size_t n = strlen(from);
    bool shown = true;
    size_t out = 0, length;
    for (size_t i = 0; i < n && shown; i += length)
        length = next_shown(&shown, from + i, n - i);
    if (shown) return from;
    for (size_t at = 0; at < n; at += length) {
        length = next_shown(&shown, from + at, n - at);
        const size_t bytes = shown ? length : 4 * length;
        if (out + bytes >= size) break;
        if (shown) memcpy(text + out, from + at, length);
        for (size_t i = 0; i < length && !shown; i++)
            put_byte(text + out + 4 * i, (unsigned char)from[at + i]);
        out += bytes;
    }
    text[out] = '\0';
    return text;
}

/* How many bytes of a text are its next `columns` characters, or fewer. */
static size_t cut(const char *text, size_t columns)
{
    const size_t n = strlen(text);
    size_t at = 0, length;
    for (; at < n && columns > 0; columns--) {
        (void)lvlm_utf8_next(&length, text + at, n - at);
        at += length;
    }
    return at;
}

size_t lvlm_utf8_line(const char *text, size_t columns)
{
    size_t n = cut(text, columns);
    if (text[n] == '\0') return n;
    while (n > 0 && text[n] != ' ') n--;
    return n > 0 ? n : strcspn(text, " ");
}
