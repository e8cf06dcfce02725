/* strbuf.c - growing storage under a fixed maximum. */
#include "formats/base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/list.h"

/* Make room for `extra` more bytes and the NUL; on failure sets `failed`. */
static bool reserve(lvlm_strbuf *buf, size_t extra)
{
    assert(buf->length <= buf->max && buf->max < SIZE_MAX / 2);
    buf->failed =
        buf->failed || extra > buf->max - buf->length ||
        lvlm_list_room(&buf->text, &buf->capacity, buf->length + extra, 1, NULL) < 0;
    return !buf->failed;
}

void lvlm_strbuf_append(lvlm_strbuf *buf, const void *bytes, size_t n_bytes)
{
    assert(bytes != NULL || n_bytes == 0);
    if (!reserve(buf, n_bytes)) return;
    if (n_bytes > 0) memcpy(buf->text + buf->length, bytes, n_bytes);
    buf->length += n_bytes;
    buf->text[buf->length] = '\0';
}

void lvlm_strbuf_puts(lvlm_strbuf *buf, const char *text)
{
    assert(text != NULL);
    lvlm_strbuf_append(buf, text, strlen(text));
}

void lvlm_strbuf_printf(lvlm_strbuf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)n)) {
        vsnprintf(buf->text + buf->length, (size_t)n + 1, fmt, again);
        buf->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void lvlm_strbuf_xml(lvlm_strbuf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': lvlm_strbuf_puts(buf, "&amp;"); break;
        case '<': lvlm_strbuf_puts(buf, "&lt;"); break;
        case '>': lvlm_strbuf_puts(buf, "&gt;"); break; /* "]]>" is not allowed */
        default: lvlm_strbuf_append(buf, text, 1);
        }
    }
}

int lvlm_strbuf_check(const lvlm_strbuf *buf, lvlm_error *err)
{
    assert(buf->failed || buf->length <= buf->max);
    FAIL_IF(buf->failed, err, LVLM_ENOMEM,
            "text of more than %zu bytes: out of memory or over its limit of %zu",
            buf->length, buf->max);
    return 0;
}

void lvlm_strbuf_free(lvlm_strbuf *buf)
{
    const size_t max = buf->max;
    lvlm_free(buf->text);
    *buf = (lvlm_strbuf)LVLM_STRBUF_INIT(max);
}
