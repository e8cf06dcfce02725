/* compose_canvas.c - see compose_canvas.h. */
#include "convert/compose/compose_canvas.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/utf8.h"

enum {
    EDGE = 15,   /* texts in a box are so far from its edge */
    NARROW = 40, /* characters of a line in a box */
};

/* Colours are written out and repeated for dark screens: not every viewer knows
 * variables. Texts have a contrast of at least 4.5 to what is behind them. */
const char compose_style[] =
    "<style>\n"
    "svg{color-scheme:light dark}\n"
    "text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\","
    "sans-serif;\nfont-size:13px;fill:#515c68}\n"
    ".title{font-size:26px;font-weight:600}.kind{font-size:21px;font-weight:600}\n"
    ".part{font-size:11px;font-weight:600;letter-spacing:1.4px}.how{font-weight:600}\n"
    ".name,.mono{font-family:ui-monospace,\"SF Mono\",Consolas,\"DejaVu Sans Mono\","
    "monospace}\n"
    ".name{font-weight:600}.mono{font-size:10.5px}\n"
    ".title,.kind,.name,.strong{fill:#1b2129}\n"
    ".page{fill:#ffffff}.card{fill:#f5f7fa;stroke:#d3dae2}\n"
    ".box{fill:#ffffff;stroke:#d3dae2}.cell{fill:#e3e8ee;stroke:#c3ccd6}\n"
    ".rule{stroke:#d3dae2}.arrow{stroke:#515c68;stroke-width:2}.head{fill:#515c68}\n"
    ".copied{fill:#1d4fb0}.made{fill:#a8410a}.tied{fill:#5f6b78}\n"
    ".taken{fill:#0d6b60;stroke:#0d6b60}.on{fill:#ffffff;font-weight:600}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text,.head{fill:#a3aeba}.title,.kind,.name,.strong{fill:#e9ecf0}\n"
    ".page{fill:#0f1318}.card{fill:#171d24;stroke:#303a45}\n"
    ".box{fill:#0f1318;stroke:#303a45}.cell{fill:#252e38;stroke:#3b4753}\n"
    ".rule{stroke:#303a45}.arrow{stroke:#a3aeba}\n"
    ".copied{fill:#8fb6ff}.made{fill:#ffa766}.tied{fill:#a3aeba}\n"
    ".taken{fill:#5fd0c0;stroke:#5fd0c0}.on{fill:#0f1318}}\n"
    "</style>\n";

/* ---- texts ---------------------------------------------------------------------- */

void compose_put_text(const compose_canvas *d, const char *text, size_t n_bytes)
{
    char shown[COMPOSE_TEXT], part[COMPOSE_TEXT];
    snprintf(part, sizeof part, "%.*s", (int)n_bytes, text);
    lvlm_strbuf_xml(d->out, lvlm_visible(shown, sizeof shown, part));
}

void compose_put_span(const compose_canvas *d, const char *style, int x, int y,
                      const char *text, size_t n_bytes)
{
    PUT("<text class=\"%s\" x=\"%d\" y=\"%d\">", style, x, y);
    compose_put_text(d, text, n_bytes);
    PUT("</text>\n");
}

void compose_put_line(compose_canvas *d, const char *style, int height,
                      const char *format, ...)
{
    char text[COMPOSE_TEXT];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    d->y += height;
    compose_put_span(d, style, d->x, d->y, text, strlen(text));
}

/* The words of a text in as many lines as they need. */
static void put_words(compose_canvas *d, const char *style, size_t columns,
                      const char *text)
{
    while (*text != '\0') {
        const size_t n = lvlm_utf8_line(text, columns);
        d->y += 16;
        compose_put_span(d, style, d->x, d->y, text, n);
        text += n;
        while (*text == ' ') text++;
    }
}

/* The end of a path that is too long for a line. */
void compose_put_path(compose_canvas *d, const char *path)
{
    enum { MOST = 42 };
    const size_t n = strlen(path);
    const char *at = n > MOST ? path + n - MOST : path;
    while (((unsigned char)*at & 0xc0) == 0x80) at++; /* not inside of a character */
    compose_put_line(d, "strong", 22, "%s%s", at > path ? "\u2026" : "", at);
}

/* "1 234 567": digits in groups. */
const char *compose_grouped(char text[32], uint64_t value)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRIu64, value);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) *to++ = ' ';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

/* ---- boxes ----------------------------------------------------------------------- */

static void put_how(compose_canvas *d, const char *style, const char *how)
{
    char both[32];
    snprintf(both, sizeof both, "%s how", style);
    compose_put_line(d, both, 18, "%s", how);
}

static void fill_box(compose_canvas *d, const compose_box *b)
{
    d->x += EDGE;
    compose_put_line(d, "name", 21, "%s", b->name);
    if (b->equation != NULL) put_words(d, "text", NARROW, b->equation);
    put_how(d, b->origin, b->how);
    if (b->more[0] != '\0') put_how(d, "made", b->more);
    d->y += 10;
    d->x -= EDGE;
}

void compose_put_box(compose_canvas *d, const compose_box *b)
{
    lvlm_strbuf nowhere = LVLM_STRBUF_INIT(COMPOSE_SVG);
    compose_canvas measured = *d;
    d->y += 12;
    measured.y = d->y;
    measured.out = &nowhere;
    fill_box(&measured, b);
    lvlm_strbuf_free(&nowhere);
    const int height = measured.y - d->y;
    PUT("<rect class=\"box\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"5\"/>\n",
        d->x, d->y, COMPOSE_INNER, height);
    PUT("<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"5\" height=\"%d\" rx=\"2\"/>\n",
        b->origin, d->x, d->y, height);
    fill_box(d, b);
}
