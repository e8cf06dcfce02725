/* loss_plot.c - the loss of a run as a picture; see loss_plot.h.
 *
 *   loss |                    a thin line: the loss of every step
 *      4 |\___.               a thick one, in longer runs: the mean of the last few
 *      2 |----`.___.----
 *        +--------------
 *        0    50   100  step
 *
 * A long run is drawn by the least and the largest loss of each column. */
#include "runtime/tune/loss_plot.h"

#include <math.h>
#include <stdint.h>

#include "formats/base/strbuf.h"

/* In units of the view box. */
enum {
    WIDTH = 960,
    HEIGHT = 400,
    LEFT = 76,
    RIGHT = 24,
    TOP_MARGIN = 34,
    BOTTOM_MARGIN = 56,
    COLUMNS = 900,     /* most columns that a long run is drawn in */
    SMOOTH_FROM = 30,  /* steps: shorter runs have no mean */
    SMOOTH_PARTS = 25, /* the mean is over the run's length by this */
    TICKS = 6,         /* about as many on either axis */
    MAX_SVG = 1 << 20,
};

static const char style[] =
    "<style>\n"
    "svg{--ink:#1b2129;--soft:#5b6672;--line:#e2e6eb;--page:#fff;--mark:#2a66d1;\n"
    "--thin:#9dbaf0;font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "@media (prefers-color-scheme:dark){svg{--ink:#e7eaee;--soft:#9ba6b2;\n"
    "--line:#2e363f;--page:#13171c;--mark:#7fabff;--thin:#3d5f9e}}\n"
    ".page{fill:var(--page)}.grid{stroke:var(--line)}.axis{stroke:var(--soft)}\n"
    "text{fill:var(--soft)}.title{fill:var(--ink)}\n"
    ".steps,.mean{fill:none;stroke-linejoin:round}\n"
    ".steps{stroke:var(--thin);stroke-width:1.2}\n"
    ".mean,.alone{stroke:var(--mark);stroke-width:2}.dot{fill:var(--mark)}\n"
    "</style>\n";

typedef struct plot {
    const lvlm_loss_point *points;
    size_t n;
    double x0, x1, dx; /* steps: ends of the axis, and from tick to tick */
    double y0, y1, dy; /* loss: the same */
} plot;

/* ---- axes ----------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, so that `span` has about TICKS of them. */
static double tick_of(double span, double least)
{
    const double raw = span / TICKS, unit = pow(10, floor(log10(raw)));
    const double factor = raw > 5 * unit ? 10 : raw > 2 * unit ? 5 : raw > unit ? 2 : 1;
    return fmax(factor * unit, least);
}

static plot make_plot(const lvlm_loss_point *points, size_t n)
{
    plot p = { .points = points, .n = n };
    double low = points[0].loss, high = low;
    for (size_t i = 1; i < n; i++) {
        low = fmin(low, points[i].loss);
        high = fmax(high, points[i].loss);
    }
    if (high - low < 1e-6 * fmax(1, fabs(high))) high = low + fmax(1, fabs(low));
    p.dy = tick_of(high - low, 0);
    p.y0 = floor(low / p.dy) * p.dy;
    p.y1 = ceil(high / p.dy) * p.dy;
    p.x0 = (double)points[0].step;
    p.x1 = fmax((double)points[n - 1].step, p.x0 + 1);
    p.dx = tick_of(p.x1 - p.x0, 1);
    return p;
}

static double x_of(const plot *p, double step)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (step - p->x0) / (p->x1 - p->x0);
}

static double y_of(const plot *p, double loss)
{
    const double height = HEIGHT - TOP_MARGIN - BOTTOM_MARGIN;
    return TOP_MARGIN + height * (p->y1 - loss) / (p->y1 - p->y0);
}

static void put_axes(lvlm_strbuf *out, const plot *p)
{
    const double bottom = HEIGHT - BOTTOM_MARGIN;
    const size_t rows = (size_t)((p->y1 - p->y0) / p->dy + 0.5);
    for (size_t i = 0; i <= rows; i++) {
        const double loss = p->y0 + (double)i * p->dy, y = y_of(p, loss);
        lvlm_strbuf_printf(out,
                           "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" "
                           "y2=\"%.1f\"/>\n<text x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">%.6g</text>\n",
                           LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4.5,
                           fabs(loss) < 1e-9 * p->dy ? 0 : loss);
    }
    for (double step = ceil(p->x0 / p->dx) * p->dx; step <= p->x1; step += p->dx)
        lvlm_strbuf_printf(out,
                           "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
                           "y2=\"%.1f\"/>\n<text x=\"%.1f\" y=\"%.1f\" "
                           "text-anchor=\"middle\">%.0f</text>\n",
                           x_of(p, step), x_of(p, step), bottom, bottom + 5,
                           x_of(p, step), bottom + 20, step);
    lvlm_strbuf_printf(out,
                       "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" "
                       "y2=\"%.1f\"/>\n",
                       LEFT, WIDTH - RIGHT, bottom, bottom);
    lvlm_strbuf_printf(out,
                       "<text class=\"title\" x=\"%d\" y=\"%d\" "
                       "text-anchor=\"middle\">step</text>\n"
                       "<text class=\"title\" transform=\"translate(20 %d) "
                       "rotate(-90)\" text-anchor=\"middle\">loss</text>\n",
                       (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 10,
                       (HEIGHT + TOP_MARGIN - BOTTOM_MARGIN) / 2);
}

/* ---- the loss ------------------------------------------------------------------- */

static void put_point(lvlm_strbuf *out, const plot *p, double step, double loss)
{
    lvlm_strbuf_printf(out, " %.1f,%.1f", x_of(p, step), y_of(p, loss));
}

/* The least and the largest of points [first, end), in order. */
static void put_column(lvlm_strbuf *out, const plot *p, size_t first, size_t end)
{
    size_t low = first, high = first;
    for (size_t i = first; i < end; i++) {
        if (p->points[i].loss < p->points[low].loss) low = i;
        if (p->points[i].loss > p->points[high].loss) high = i;
    }
    const size_t a = low < high ? low : high, b = low < high ? high : low;
    put_point(out, p, (double)p->points[a].step, p->points[a].loss);
    if (b != a) put_point(out, p, (double)p->points[b].step, p->points[b].loss);
}

static size_t column_end(const plot *p, size_t column, size_t n_columns)
{
    return (size_t)((uint64_t)p->n * (column + 1) / n_columns);
}

static void put_steps(lvlm_strbuf *out, const plot *p, bool alone)
{
    const size_t n_columns = p->n < 2 * COLUMNS ? p->n : COLUMNS;
    lvlm_strbuf_printf(out, "<polyline class=\"steps%s\" points=\"",
                       alone ? " alone" : "");
    for (size_t c = 0, first = 0; c < n_columns; c++) {
        const size_t end = column_end(p, c, n_columns);
        put_column(out, p, first, end);
        first = end;
    }
    lvlm_strbuf_puts(out, "\"/>\n");
    if (p->n == 1)
        lvlm_strbuf_printf(
            out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
            x_of(p, (double)p->points[0].step), y_of(p, p->points[0].loss));
}

/* The mean of the last `window` steps, once there are as many. */
static void put_mean(lvlm_strbuf *out, const plot *p, size_t window)
{
    const size_t stride = p->n / COLUMNS + 1;
    double sum = 0;
    lvlm_strbuf_puts(out, "<polyline class=\"mean\" points=\"");
    for (size_t i = 0; i < p->n; i++) {
        sum += p->points[i].loss;
        if (i >= window) sum -= p->points[i - window].loss;
        if (i + 1 >= window && ((p->n - 1 - i) % stride == 0))
            put_point(out, p, (double)p->points[i].step, sum / (double)window);
    }
    lvlm_strbuf_puts(out, "\"/>\n");
    lvlm_strbuf_printf(out,
                       "<text x=\"%d\" y=\"20\" text-anchor=\"end\">thick: mean of %zu "
                       "steps</text>\n",
                       WIDTH - RIGHT, window);
}

int lvlm_loss_plot_save(lvlm_outfile *file, const lvlm_loss_point *points, size_t n,
                        lvlm_error *err)
{
    const plot p = make_plot(points, n);
    const bool smooth = n >= SMOOTH_FROM;
    lvlm_strbuf out = LVLM_STRBUF_INIT(MAX_SVG);
    lvlm_strbuf_printf(
        &out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
        "role=\"img\" aria-label=\"loss of %zu steps, the last one "
        "%.6g\">\n",
        WIDTH, HEIGHT, n, points[n - 1].loss);
    lvlm_strbuf_puts(&out, style);
    lvlm_strbuf_printf(&out, "<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n",
                       WIDTH, HEIGHT);
    put_axes(&out, &p);
    put_steps(&out, &p, !smooth);
    if (smooth) put_mean(&out, &p, n / SMOOTH_PARTS > 2 ? n / SMOOTH_PARTS : 2);
    lvlm_strbuf_puts(&out, "</svg>\n");
    int rc = lvlm_strbuf_check(&out, err);
    lvlm_outfile_write(file, out.text, rc == 0 ? out.length : 0);
    if (rc == 0) rc = lvlm_outfile_commit(file, err);
    lvlm_strbuf_free(&out);
    return rc;
}
