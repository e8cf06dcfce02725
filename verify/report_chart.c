/* report_chart.c - one point a stage; x is the order of computation, y is log10
 * error.
 *
 *   +--------------------------------------+  10^TOP     beyond: drawn on the edge
 *   |              o  x                    |
 *   |- - - - - - - - - - - - - - - band - -|
 *   |  o  o  o  o        o  o              |
 *   +--------------------------------------+  10^BOTTOM   and so is an error of zero
 *     vision        connector   text
 * */
#include "verify/report_chart.h"

#include <math.h>
#include <string.h>

enum {
    WIDTH = 960,
    HEIGHT = 340,
    LEFT = 64,
    RIGHT = 20,
    TOP_EDGE = 18,
    BOTTOM_EDGE = 52,
    LOG_TOP = 0,
    LOG_BOTTOM = -10,
};

void lvlm_report_escape(lvlm_strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<': lvlm_strbuf_puts(out, "&lt;"); break;
        case '>': lvlm_strbuf_puts(out, "&gt;"); break;
        case '&': lvlm_strbuf_puts(out, "&amp;"); break;
        case '"': lvlm_strbuf_puts(out, "&quot;"); break;
        default: lvlm_strbuf_append(out, text, 1);
        }
    }
}

static double x_of(size_t i, size_t n)
{
    const double room = WIDTH - LEFT - RIGHT;
    return LEFT + room * ((double)i + 0.5) / (double)n;
}

/* The edges take what is beyond them: zero, infinite, not a number. */
static double y_of(double error)
{
    double power = error > 0 ? log10(error) : LOG_BOTTOM;
    if (!(power <= LOG_TOP)) power = LOG_TOP;
    if (power < LOG_BOTTOM) power = LOG_BOTTOM;
    const double room = HEIGHT - TOP_EDGE - BOTTOM_EDGE;
    return TOP_EDGE + room * (LOG_TOP - power) / (LOG_TOP - LOG_BOTTOM);
}

static void put_grid(lvlm_strbuf *out)
{
    for (int power = LOG_TOP; power >= LOG_BOTTOM; power -= 2) {
        const double y = y_of(pow(10, power));
        lvlm_strbuf_printf(out,
                           "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" "
                           "y2=\"%.1f\"/>",
                           LEFT, WIDTH - RIGHT, y, y);
        lvlm_strbuf_printf(out,
                           "<text class=\"axis\" x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">10<tspan dy=\"-4\" font-size=\"9\">%d"
                           "</tspan></text>",
                           LEFT - 8, y + 4, power);
    }
}

/* "vision", "connector", "text"; the head counts as text. */
static size_t part_length(const char *name)
{
    return strcspn(name, ".");
}

static bool same_part(const char *a, const char *b)
{
    const size_t n = part_length(a), m = part_length(b);
    const bool head_a = a[n] == '\0', head_b = b[m] == '\0';
    if (head_a || head_b) return head_a && head_b;
    return n == m && memcmp(a, b, n) == 0;
}

static void put_part(lvlm_strbuf *out, const lvlm_replay *r, size_t first, size_t end)
{
    const char *name = r->stages[first].name;
    const size_t n = part_length(name);
    const double half = 0.5 * (x_of(1, r->n_stages) - x_of(0, r->n_stages));
    const double from = x_of(first, r->n_stages) - half;
    const double to = x_of(end - 1, r->n_stages) + half;
    lvlm_strbuf_printf(out,
                       "<line class=\"part\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" "
                       "y2=\"%d\"/><text class=\"label\" x=\"%.1f\" y=\"%d\" "
                       "text-anchor=\"middle\">",
                       from + 3, to - 3, HEIGHT - BOTTOM_EDGE + 12,
                       HEIGHT - BOTTOM_EDGE + 12, (from + to) / 2,
                       HEIGHT - BOTTOM_EDGE + 30);
    if (name[n] == '\0')
        lvlm_strbuf_puts(out, "head");
    else
        lvlm_strbuf_append(out, name, n);
    lvlm_strbuf_puts(out, "</text>");
}

static void put_parts(lvlm_strbuf *out, const lvlm_replay *r)
{
    for (size_t first = 0, end; first < r->n_stages; first = end) {
        for (end = first + 1; end < r->n_stages; end++)
            if (!same_part(r->stages[first].name, r->stages[end].name)) break;
        put_part(out, r, first, end);
    }
}

/* A step for each change of the band. */
static void put_band(lvlm_strbuf *out, const lvlm_replay *r)
{
    const double half = 0.5 * (x_of(1, r->n_stages) - x_of(0, r->n_stages));
    lvlm_strbuf_puts(out, "<polyline class=\"band\" points=\"");
    for (size_t i = 0; i < r->n_stages; i++) {
        const double x = x_of(i, r->n_stages), y = y_of(r->stages[i].band);
        lvlm_strbuf_printf(out, "%.1f,%.1f %.1f,%.1f ", x - half, y, x + half, y);
    }
    lvlm_strbuf_printf(out,
                       "\"/><text class=\"axis band-label\" x=\"%d\" y=\"%.1f\" "
                       "text-anchor=\"end\">band</text>",
                       WIDTH - RIGHT, y_of(r->stages[r->n_stages - 1].band) - 6);
}

/* A dot for what is within its band, a cross for what is not: not by colour alone. */
static void put_point(lvlm_strbuf *out, const lvlm_replay *r, size_t i)
{
    const lvlm_replay_stage *s = &r->stages[i];
    const double x = x_of(i, r->n_stages), y = y_of(s->relative_l2);
    const bool ok = s->verdict == LVLM_VERDICT_OK;
    lvlm_strbuf_printf(out, "<g class=\"point %s\"><title>", ok ? "ok" : "bad");
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_printf(out, ": relative L2 %.2e, band %.1e, %s</title>", s->relative_l2,
                       s->band, lvlm_verdict_name(s->verdict));
    if (ok)
        lvlm_strbuf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", x, y);
    else
        lvlm_strbuf_printf(out,
                           "<path d=\"M%.1f %.1fl10 10m0 -10l-10 10\"/>"
                           "<rect x=\"%.1f\" y=\"%.1f\" width=\"16\" height=\"16\" "
                           "fill=\"transparent\"/>",
                           x - 5, y - 5, x - 8, y - 8);
    lvlm_strbuf_puts(out, "</g>");
}

void lvlm_report_chart(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_printf(
        out,
        "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"relative L2 "
        "error of each stage in order of computation\">\n",
        WIDTH, HEIGHT);
    put_grid(out);
    put_parts(out, r);
    put_band(out, r);
    lvlm_strbuf_puts(out, "<polyline class=\"trace\" points=\"");
    for (size_t i = 0; i < r->n_stages; i++)
        lvlm_strbuf_printf(out, "%.1f,%.1f ", x_of(i, r->n_stages),
                           y_of(r->stages[i].relative_l2));
    lvlm_strbuf_puts(out, "\"/>\n");
    for (size_t i = 0; i < r->n_stages; i++) put_point(out, r, i);
    lvlm_strbuf_puts(out, "\n</svg>\n");
}
