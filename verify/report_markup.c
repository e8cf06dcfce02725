/* report_markup.c - text from files made safe for XML, HTML and SVG; numbers and
 * reasons in words. */
#include "verify/report_markup.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "formats/finite.h"

/* Bytes of the well-formed character at `at`; 0 when there is none. */
static size_t character_bytes(const char *at, const char *end)
{
    for (size_t n = 1; n <= 4 && n <= (size_t)(end - at); n++)
        if (lvlm_utf8_valid(at, n)) return n;
    return 0;
}

/* Controls, and what XML 1.0 has no place for: U+FFFE and U+FFFF. */
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

void lvlm_report_escape(lvlm_strbuf *out, const char *text)
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

const char *lvlm_report_error(char text[LVLM_ERROR_TEXT], double error)
{
    const char *const format = isnan(error) ? "nan" : error == 0 ? "0" : NULL;
    if (format != NULL)
        snprintf(text, LVLM_ERROR_TEXT, "%s", format);
    else
        snprintf(text, LVLM_ERROR_TEXT, "%.2e", error);
    return text;
}

const char *lvlm_report_band(char text[LVLM_ERROR_TEXT], double band)
{
    lvlm_report_error(text, band);
    char *exponent = strchr(text, 'e'), *end = exponent;
    if (exponent == NULL) return text;
    while (end[-1] == '0') end--;
    if (end[-1] == '.') end--;
    memmove(end, exponent, strlen(exponent) + 1);
    return text;
}

static void put_distance_reason(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    const bool inside = s->relative_l2 <= s->band;
    char error[LVLM_ERROR_TEXT], band[LVLM_ERROR_TEXT], place[LVLM_SHAPE_TEXT];
    if (s->n_not_finite > 0) {
        lvlm_strbuf_printf(out,
                           "%" PRIu64 " recorded values are not finite, the first at "
                           "%s",
                           s->n_not_finite,
                           lvlm_place_text(place, &s->shape, s->not_finite));
        return;
    }
    if (inside && s->verdict == LVLM_VERDICT_OUT && s->is_logits) {
        lvlm_strbuf_printf(out, "max KL %s is over the band %s",
                           lvlm_report_error(error, s->max_kl),
                           lvlm_report_band(band, s->band_kl));
        return;
    }
    lvlm_strbuf_printf(out, "relative L2 %s is %s the band %s",
                       lvlm_report_error(error, s->relative_l2),
                       inside ? "within" : "over", lvlm_report_band(band, s->band));
    if (s->distance.n_bad > 0)
        lvlm_strbuf_printf(out, "; %" PRIu64 " of %" PRIu64 " values are not finite",
                           s->distance.n_bad, s->distance.n);
}

void lvlm_report_reason(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char want[LVLM_SHAPE_TEXT], got[LVLM_SHAPE_TEXT];
    switch (s->verdict) {
    case LVLM_VERDICT_MISSING:
        lvlm_strbuf_puts(out, "recorded, and this model does not compute it");
        break;
    case LVLM_VERDICT_SHAPE:
        lvlm_strbuf_printf(out, "recorded in shape %s, computed in shape %s",
                           lvlm_shape_text(want, &s->shape),
                           lvlm_shape_text(got, &s->got));
        break;
    case LVLM_VERDICT_OK:
    case LVLM_VERDICT_OUT: put_distance_reason(out, s); break;
    }
}
