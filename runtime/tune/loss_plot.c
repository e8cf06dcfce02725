/* loss_plot.c - the losses and the learning rate of a run; see loss_plot.h.
 *
 *   title, legend
 *   loss |                    a thin line: the loss of every step
 *      4 |\___.               a thick line, in longer runs: the mean of the last few
 *      2 |----`.___.---o      dots: losses on other data
 *  1e-4 |----------___     the learning rate
 *        +--------------
 *        0    50   100  step
 *
 * A long run is drawn as the smallest and the largest loss of each column. */
#include "runtime/tune/loss_plot.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "formats/base/strbuf.h"
#include "formats/base/utf8.h"

/* In units of the view box. */
enum {
    WIDTH = 960,
    HEIGHT = 604,
    LEFT = 112,
    RIGHT = 28,
    LOSS_TOP = 112,
    LOSS_BOTTOM = 412,
    RATE_TOP = 468,
    RATE_BOTTOM = 528,
    COLUMNS = 900,     /* of a long run, at most */
    SMOOTH_FROM = 30,  /* steps: shorter runs have no mean */
    SMOOTH_PARTS = 25, /* the mean is over this part of the run */
    TICKS = 6,         /* about that many per axis */
    TEXT_BYTES = 256,
    MAX_SVG = 1 << 20,
};

/* Lines have a contrast of at least 3 to the page, texts of 4.5 (WCAG 1.4.11, 1.4.3).
 * On a phone the view box is shrunk by more than two, so texts are larger there, and
 * every other number of the axis is left out. */
static const char style[] =
    "<style>\n"
    "svg{color-scheme:light dark;--ink:#1b2129;--soft:#55606c;--line:#e2e6eb;\n"
    "--page:#ffffff;--mark:#1d4fb0;--thin:#6590e2;--other:#b4470b;\n"
    "background:var(--page);font:15px system-ui,-apple-system,\"Segoe UI\",Roboto,\n"
    "sans-serif}\n"
    "@media (prefers-color-scheme:dark){svg{--ink:#e7eaee;--soft:#9ba6b2;\n"
    "--line:#2e363f;--page:#13171c;--mark:#a9c8ff;--thin:#4f78c4;--other:#ffab66}}\n"
    ".page{fill:var(--page)}.grid{stroke:var(--line)}.axis{stroke:var(--soft)}\n"
    "text{fill:var(--soft)}.title{fill:var(--ink);font-size:20px}.name{fill:var(--ink)}"
    "\n"
    ".steps,.mean,.rate,.evals{fill:none;stroke-linejoin:round}\n"
    ".steps{stroke:var(--thin);stroke-width:1.5}.rate{stroke:var(--mark);"
    "stroke-width:2}\n"
    ".mean,.alone{stroke:var(--mark);stroke-width:2.5}.dot{fill:var(--mark)}\n"
    ".evals{stroke:var(--other);stroke-width:1.5;stroke-dasharray:5 4}\n"
    ".eval{fill:var(--other)}\n"
    "@media (max-width:640px){svg{font-size:28px}.title{font-size:32px}\n"
    ".odd,.side{display:none}.steps,.evals{stroke-width:3}.mean,.alone,.rate{stroke-"
    "width:4.5}}\n"
    "@media print{svg{--page:#fff;--ink:#000;--soft:#444;--line:#ccc;--mark:#1d4fb0;\n"
    "--thin:#6590e2;--other:#b4470b}}\n"
    "</style>\n";

/* Maps a range of values to a range of the picture. */
typedef struct axis {
    double low, high, tick;
    double from, to; /* where low and high are */
} axis;

typedef struct plot {
    const lvlm_loss_plot *what;
    lvlm_strbuf *out;
    axis x, loss, rate;
} plot;

#define PUT(...) lvlm_strbuf_printf(p->out, __VA_ARGS__)

/* ---- axes ----------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, so that `span` has about TICKS of them. */
static double tick_of(double span, double least)
{
    assert(span > 0);
    const double raw = span / TICKS, unit = pow(10, floor(log10(raw)));
    const double factor = raw > 5 * unit ? 10 : raw > 2 * unit ? 5 : raw > unit ? 2 : 1;
    return fmax(factor * unit, least);
}

static double place(const axis *a, double value)
{
    assert(a->high > a->low);
    return a->from + (a->to - a->from) * (value - a->low) / (a->high - a->low);
}

static void widen(axis *a, const lvlm_loss_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        a->low = fmin(a->low, list->at[i].loss);
        a->high = fmax(a->high, list->at[i].loss);
    }
}

static axis loss_axis(const lvlm_loss_plot *p)
{
    axis a = { .low = p->steps.at[0].loss, .from = LOSS_BOTTOM, .to = LOSS_TOP };
    a.high = a.low;
    widen(&a, &p->steps);
    widen(&a, &p->evaluations);
    if (a.high - a.low < 1e-6 * fmax(1, fabs(a.high)))
        a.high = a.low + fmax(1, fabs(a.low));
    a.tick = tick_of(a.high - a.low, 0);
    a.low = floor(a.low / a.tick) * a.tick;
    a.high = ceil(a.high / a.tick) * a.tick;
    return a;
}

static axis rate_axis(const lvlm_loss_plot *p)
{
    axis a = { .from = RATE_BOTTOM, .to = RATE_TOP };
    for (size_t i = 0; i < p->steps.n; i++) a.high = fmax(a.high, p->steps.at[i].lr);
    if (!(a.high > 0)) a.high = 1;
    a.tick = a.high;
    return a;
}

static axis step_axis(const lvlm_loss_plot *p)
{
    axis a = { .from = LEFT, .to = WIDTH - RIGHT };
    a.low = (double)p->steps.at[0].step;
    a.high = fmax((double)p->steps.at[p->steps.n - 1].step, a.low + 1);
    a.tick = tick_of(a.high - a.low, 1);
    return a;
}

/* Horizontal lines and their numbers. */
static void put_rows(const plot *p, const axis *a)
{
    const size_t rows = (size_t)((a->high - a->low) / a->tick + 0.5);
    for (size_t i = 0; i <= rows; i++) {
        const double value = a->low + (double)i * a->tick, y = place(a, value);
        PUT("<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
            LEFT, WIDTH - RIGHT, y, y);
        PUT("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" dy=\".35em\"%s>%.6g"
            "</text>\n",
            LEFT - 8, y, i % 2 == 1 && rows > 2 ? " class=\"odd\"" : "",
            fabs(value) < 1e-9 * a->tick ? 0 : value);
    }
}

static void put_steps_axis(const plot *p)
{
    const axis *const a = &p->x;
    size_t i = 0;
    for (double step = ceil(a->low / a->tick) * a->tick; step <= a->high;
         step += a->tick, i++) {
        const double x = place(a, step);
        PUT("<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", x,
            x, RATE_BOTTOM, RATE_BOTTOM + 6);
        PUT("<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\"%s>%.0f</text>\n", x,
            RATE_BOTTOM + 30, i % 2 == 1 ? " class=\"odd\"" : "", step);
    }
    PUT("<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT,
        WIDTH - RIGHT, RATE_BOTTOM, RATE_BOTTOM);
}

static void put_names(const plot *p)
{
    PUT("<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
        (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 14);
    PUT("<text class=\"name side\" transform=\"translate(26 %d) rotate(-90)\" "
        "text-anchor=\"middle\">loss</text>\n",
        (LOSS_TOP + LOSS_BOTTOM) / 2);
    PUT("<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"end\">learning rate"
        "</text>\n",
        WIDTH - RIGHT, RATE_TOP - 10);
}

/* ---- texts ---------------------------------------------------------------------- */

static void put_text(const plot *p, const char *text)
{
    char shown[TEXT_BYTES];
    lvlm_strbuf_xml(p->out, lvlm_visible(shown, sizeof shown, text));
}

static void put_line(const plot *p, const char *class, int y, const char *text)
{
    PUT("<text class=\"%s\" x=\"%d\" y=\"%d\">", class, LEFT, y);
    put_text(p, text);
    PUT("</text>\n");
}

/* "blue: loss of each step, thick: mean of 40; orange: eval.jsonl" */
static void put_legend(const plot *p, size_t window)
{
    PUT("<text x=\"%d\" y=\"98\">loss of each step", LEFT);
    if (window > 0) PUT(", thick: mean of %zu steps", window);
    if (p->what->evaluations.n > 0) {
        PUT("<tspan class=\"eval\">, dots: ");
        put_text(p, p->what->evaluated);
        PUT("</tspan>");
    }
    PUT("</text>\n");
}

/* ---- the loss ------------------------------------------------------------------- */

/* A line goes through the points that follow, up to end_line. */
static void begin_line(const plot *p, const char *class)
{
    PUT("<polyline class=\"%s\" points=\"", class);
}

static void put_point(const plot *p, const axis *y, size_t step, double value)
{
    PUT(" %.1f,%.1f", place(&p->x, (double)step), place(y, value));
}

static void end_line(const plot *p)
{
    PUT("\"/>\n");
}

static void put_dot(const plot *p, const char *class, const lvlm_loss_point *point)
{
    PUT("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", class,
        place(&p->x, (double)point->step), place(&p->loss, point->loss));
}

/* The smallest and the largest of points [first, end), in order. */
static void put_column(const plot *p, size_t first, size_t end)
{
    const lvlm_loss_point *const points = p->what->steps.at;
    size_t low = first, high = first;
    assert(first < end && end <= p->what->steps.n);
    for (size_t i = first; i < end; i++) {
        if (points[i].loss < points[low].loss) low = i;
        if (points[i].loss > points[high].loss) high = i;
    }
    const size_t a = low < high ? low : high, b = low < high ? high : low;
    put_point(p, &p->loss, points[a].step, points[a].loss);
    if (b != a) put_point(p, &p->loss, points[b].step, points[b].loss);
}

static void put_steps(const plot *p, bool alone)
{
    const size_t n = p->what->steps.n, n_columns = n < 2 * COLUMNS ? n : COLUMNS;
    begin_line(p, alone ? "steps alone" : "steps");
    for (size_t c = 0, first = 0; c < n_columns; c++) {
        const size_t end = (size_t)((uint64_t)n * (c + 1) / n_columns);
        put_column(p, first, end);
        first = end;
    }
    end_line(p);
    if (n == 1) put_dot(p, "dot", &p->what->steps.at[0]);
}

/* The mean of the last `window` steps, once there are as many. */
static void put_mean(const plot *p, size_t window)
{
    const lvlm_loss_point *const points = p->what->steps.at;
    const size_t n = p->what->steps.n, stride = n / COLUMNS + 1;
    double sum = 0;
    assert(window > 0);
    begin_line(p, "mean");
    for (size_t i = 0; i < n; i++) {
        sum += points[i].loss;
        if (i >= window) sum -= points[i - window].loss;
        if (i + 1 >= window && ((n - 1 - i) % stride == 0))
            put_point(p, &p->loss, points[i].step, sum / (double)window);
    }
    end_line(p);
}

static void put_evaluations(const plot *p)
{
    const lvlm_loss_point *const points = p->what->evaluations.at;
    const size_t n = p->what->evaluations.n, stride = n / COLUMNS + 1;
    if (n == 0) return;
    begin_line(p, "evals");
    for (size_t i = 0; i < n; i += stride)
        put_point(p, &p->loss, points[i].step, points[i].loss);
    end_line(p);
    for (size_t i = 0; i < n; i += stride) put_dot(p, "eval", &points[i]);
}

static void put_rate(const plot *p)
{
    const lvlm_loss_point *const points = p->what->steps.at;
    const size_t n = p->what->steps.n, stride = n / COLUMNS + 1;
    begin_line(p, "rate");
    for (size_t i = 0; i < n; i++)
        if (i % stride == 0 || i + 1 == n)
            put_point(p, &p->rate, points[i].step, points[i].lr);
    end_line(p);
}

/* ---- all of it ------------------------------------------------------------------ */

static size_t window_of(size_t n)
{
    if (n < SMOOTH_FROM) return 0;
    return n / SMOOTH_PARTS > 2 ? n / SMOOTH_PARTS : 2;
}

static void put_all(const plot *p)
{
    const lvlm_loss_plot *const what = p->what;
    const size_t window = window_of(what->steps.n);
    PUT("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
        "aria-label=\"loss of %zu steps, the last one %.6g\">\n<title>",
        WIDTH, HEIGHT, what->steps.n, what->steps.at[what->steps.n - 1].loss);
    put_text(p, what->title);
    PUT("</title>\n%s<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", style, WIDTH,
        HEIGHT);
    put_line(p, "title", 30, what->title);
    put_line(p, "how", 66, what->subtitle);
    put_legend(p, window);
    put_rows(p, &p->loss);
    put_rows(p, &p->rate);
    put_steps_axis(p);
    put_names(p);
    put_steps(p, window == 0);
    if (window > 0) put_mean(p, window);
    put_evaluations(p);
    put_rate(p);
    PUT("</svg>\n");
}

int lvlm_loss_plot_save(lvlm_outfile *file, const lvlm_loss_plot *what, lvlm_error *err)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(MAX_SVG);
    assert(what->steps.n > 0);
    const plot p = { .what = what,
                     .out = &out,
                     .x = step_axis(what),
                     .loss = loss_axis(what),
                     .rate = rate_axis(what) };
    put_all(&p);
    int rc = lvlm_strbuf_check(&out, err);
    lvlm_outfile_write(file, out.text, rc == 0 ? out.length : 0);
    if (rc == 0) rc = lvlm_outfile_commit(file, err);
    lvlm_strbuf_free(&out);
    return rc;
}
