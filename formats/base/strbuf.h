/* strbuf.h - a growing byte string with a fixed maximum.
 *
 * The first failure (no memory, beyond the maximum) sticks: later appends do
 * nothing, and lvlm_strbuf_check reports it once at the end. Distinct objects may be
 * used from distinct threads. */
#ifndef LVLM_FORMATS_BASE_STRBUF_H
#define LVLM_FORMATS_BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_strbuf {
    char *text; /* NUL-terminated; NULL if nothing was appended */
    size_t length;
    size_t capacity;
    size_t max;
    bool failed;
} lvlm_strbuf;

// clang-format off
#define LVLM_STRBUF_INIT(max_bytes) { NULL, 0, 0, (max_bytes), false }
// clang-format on

void lvlm_strbuf_append(lvlm_strbuf *buf, const void *bytes, size_t n_bytes);
void lvlm_strbuf_puts(lvlm_strbuf *buf, const char *text);
void lvlm_strbuf_printf(lvlm_strbuf *buf, const char *fmt, ...) LVLM_PRINTF(2, 3);
/* A printable text (lvlm_visible) as the content of an XML element: & < > escaped. */
void lvlm_strbuf_xml(lvlm_strbuf *buf, const char *text);
/* LVLM_ENOMEM when any append failed. */
LVLM_MUST_CHECK int lvlm_strbuf_check(const lvlm_strbuf *buf, lvlm_error *err);
void lvlm_strbuf_free(lvlm_strbuf *buf);

LVLM_END_DECLS

#endif
