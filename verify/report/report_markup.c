/* report_markup.c - escapes text from files; see report_parts.h. */
#include "verify/report/report_parts.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "formats/base/utf8.h"

/* Bytes of the well-formed character at `at`, or 0. */
static size_t character_bytes(const char *at, const char *end)
{
    for (size_t n = 1; n <= 4 && n <= (size_t)(end - at); n++)
        if (lvlm_utf8_valid(at, n)) return n;
    return 0;
}

/* Controls, and characters that XML 1.0 forbids: U+FFFE and U+FFFF. */
static bool is_forbidden(const char *at, size_t n)
{
    const unsigned char c = (unsigned char)at[0];
    if (n == 1) return c < 0x20 || c == 0x7f;
    if (n == 2) return c == 0xc2 && (unsigned char)at[1] < 0xa0;
    return n == 3 &&
           (memcmp(at, "\xef\xbf\xbe", 3) == 0 || memcmp(at, "\xef\xbf\xbf", 3) == 0);
}

/* One character; returns where the next one begins. */
static const char *escape_character(lvlm_strbuf *out, const char *at, const char *end)
{
    const size_t n = character_bytes(at, end);
    switch (*at) {
    case '<': lvlm_strbuf_puts(out, "&lt;"); break;
    case '>': lvlm_strbuf_puts(out, "&gt;"); break;
    case '&': lvlm_strbuf_puts(out, "&amp;"); break;
    case '"': lvlm_strbuf_puts(out, "&quot;"); break;
    case '\'': lvlm_strbuf_puts(out, "&#39;"); break;
    case '\t':
    case '\n':
    case '\r': lvlm_strbuf_printf(out, "&#%d;", *at); break;
    default:
        if (n == 0 || is_forbidden(at, n))
            lvlm_strbuf_puts(out, "\xef\xbf\xbd");
        else
            lvlm_strbuf_append(out, at, n);
    }
    return at + (n > 0 ? n : 1);
}

static void escape(lvlm_strbuf *out, const char *text)
{
    const char *const end = text + strlen(text);
    while (text < end) text = escape_character(out, text, end);
}

void lvlm_report_escape_cut(lvlm_strbuf *out, const char *text, size_t n_bytes,
                            size_t most)
{
    const char *const end = text + n_bytes;
    for (; text < end && most > 0; most--) text = escape_character(out, text, end);
    if (text < end) lvlm_strbuf_puts(out, "…");
}

void lvlm_report_put(lvlm_strbuf *out, const char *markup, ...)
{
    va_list args;
    va_start(args, markup);
    for (const char *next; (next = strchr(markup, '%')) != NULL; markup = next + 2) {
        assert(next[1] == 's');
        lvlm_strbuf_append(out, markup, (size_t)(next - markup));
        escape(out, va_arg(args, const char *));
    }
    va_end(args);
    lvlm_strbuf_puts(out, markup);
}
