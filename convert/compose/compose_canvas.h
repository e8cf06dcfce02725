/* compose_canvas.h - texts and boxes of the picture of a composed model, one below
 * another. Private to compose_draw.c. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_CANVAS_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_CANVAS_H

#include "convert/compose/compose.h"
#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

/* In units of the view box. */
enum {
    COMPOSE_INNER = 304, /* the width inside of a card */
    COMPOSE_TEXT = 512,  /* bytes of the longest text */
    COMPOSE_SVG = 1 << 20,
};

typedef struct compose_canvas {
    lvlm_strbuf *out;
    const lvlm_compose *c;
    const lvlm_manifest *m;
    const lvlm_ledger *ledger;
    int x, y; /* where the next thing of a card is */
} compose_canvas;

#define PUT(...) lvlm_strbuf_printf(d->out, __VA_ARGS__)

extern const char compose_style[];

/* Any text, or that many bytes of it, as XML can hold it. */
void compose_put_text(const compose_canvas *d, const char *text, size_t n_bytes);
/* The same at a place. */
void compose_put_span(const compose_canvas *d, const char *style, int x, int y,
                      const char *text, size_t n_bytes);
/* The next line of a card, `height` below the one before. */
void compose_put_line(compose_canvas *d, const char *style, int height,
                      const char *format, ...) LVLM_PRINTF(4, 5);
/* The end of a path that is too long for a line. */
void compose_put_path(compose_canvas *d, const char *path);
/* "1 234 567": digits in groups. */
const char *compose_grouped(char text[32], uint64_t value);

/* A tensor or several: a coloured edge says how they came to be, and so do words. */
typedef struct compose_box {
    char name[128];
    const char *equation; /* NULL: none */
    const char *origin;   /* "copied", "made", "tied" */
    char how[112];
    char more[64]; /* what of it is made; may be empty */
} compose_box;
void compose_put_box(compose_canvas *d, const compose_box *box);

LVLM_END_DECLS

#endif
