/* report_chart.c - one mark per stage; x is the order of computation, y is log10 of the
 * error. Values without a logarithm have a lane of their own, drawn only if needed.
 *
 *   inf   |  .  .  .  .  .  x  .  .  .  .     infinite, not a number, not compared
 *   10^-4 |--------------------------------
 *         | - - - - - - - - - - - - - band     above it: crosses; triangles: own error
 *   10^-6 |--------------------------------        or by rounding: rings
 *         |     o  o  o  o     o  o  o  o      within its band: dots
 *   0     |  <>  .  .  .  .  .  .  .  .  .     equal in every value: diamonds
 *            patches  0  1     0  1            last part of the name, block numbers
 *            vision            text            parts of the model
 *
 * It is drawn twice, for wide and for narrow screens; the style sheet shows one. */
#include "verify/report/report_parts.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "verify/report/report_plot.h"
#include "verify/report/report_words.h"

/* In units of the view box. */
enum {
    WIDE = 960,
    NARROW = 380,
    HEIGHT = 318, /* without the names below */
    RIGHT = 14,
    TOP_MARGIN = 20,
    TICKS = 26,        /* height of the names of stages ... */
    TURNED_TICKS = 58, /* ... of upright ones */
    IN_LANE = 24,      /* its middle line, from the logarithmic axis */
    MIN_DECADES = 4,   /* shown of the axis */
    HEADROOM = 3,      /* shown above a band, so many times the band */
    MAX_LINES = 9,     /* of the grid, across */
    MAX_POWER = 12,    /* errors beyond these are drawn on the edge */
    MIN_POWER = -20,
};

/* ---- axes ----------------------------------------------------------------------- */

/* The error that is drawn; infinite if nothing could be compared. */
static double drawn_error(const lvlm_replay_stage *s)
{
    return lvlm_verdict_compared(s->verdict) ? s->error : (double)INFINITY;
}

/* Widen the axis so that it shows `value`. */
static void include(lvlm_plot *p, double value)
{
    if (!isfinite(value)) {
        p->has_none = true;
    } else if (value <= 0) {
        p->has_zero = true;
    } else {
        const double power = fmin(fmax(log10(value), MIN_POWER), MAX_POWER);
        if (floor(power) < p->low) p->low = (int)floor(power);
        if (ceil(power) > p->high) p->high = (int)ceil(power);
    }
}

static int round_down(int value, int step)
{
    assert(step > 0);
    return (int)floor((double)value / step) * step;
}

static void find_axis(lvlm_plot *p)
{
    const lvlm_replay *const r = p->replay;
    for (size_t i = 0; i < r->n_stages; i++) {
        include(p, drawn_error(&r->stages[i]));
        if (r->stages[i].share.known) include(p, r->stages[i].share.own);
        if (r->is_measure) continue;
        include(p, r->stages[i].band);
        include(p, fmin(HEADROOM * r->stages[i].band, DBL_MAX));
    }
    if (p->high < p->low) p->high = p->low = 0;
    if (p->low > p->high - MIN_DECADES) p->low = p->high - MIN_DECADES;
    while ((p->high - p->low) / p->step + 1 > MAX_LINES) p->step++;
    p->low = round_down(p->low, p->step);
    p->high = -round_down(-p->high, p->step);
}

static double y_of_power(const lvlm_plot *p, double power)
{
    assert(p->low < p->high && p->top < p->bottom);
    power = fmin(fmax(power, p->low), p->high);
    return p->top + (p->bottom - p->top) * (p->high - power) / (p->high - p->low);
}

static double y_of(const lvlm_plot *p, double value)
{
    if (!isfinite(value)) return p->top - IN_LANE;
    if (value <= 0) return p->bottom + IN_LANE;
    return y_of_power(p, log10(value));
}

static void put_grid_line(lvlm_strbuf *out, const lvlm_plot *p, const char *class,
                          double y)
{
    lvlm_strbuf_printf(
        out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
        class, LVLM_PLOT_LEFT, p->width - RIGHT, y, y);
}

static void put_lane(lvlm_strbuf *out, const lvlm_plot *p, double y, const char *label)
{
    put_grid_line(out, p, "lane", y);
    lvlm_strbuf_printf(out,
                       "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">"
                       "%s</text>\n",
                       LVLM_PLOT_LEFT - 10, y + 4, label);
}

static void put_grid(lvlm_strbuf *out, const lvlm_plot *p)
{
    for (int power = p->high; power >= p->low; power -= p->step) {
        const double y = y_of_power(p, power);
        put_grid_line(out, p, "grid", y);
        lvlm_strbuf_printf(out,
                           "<text class=\"axis\" x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">10<tspan dy=\"-5\" "
                           "class=\"power\">%s%d</tspan></text>\n",
                           LVLM_PLOT_LEFT - 10, y + 5, power < 0 ? "−" : "",
                           power < 0 ? -power : power);
    }
    if (p->has_none) put_lane(out, p, y_of(p, (double)INFINITY), "∞");
    if (p->has_zero) put_lane(out, p, y_of(p, 0), "0");
}

/* ---- the whole ------------------------------------------------------------------ */

static lvlm_plot make_plot(const lvlm_replay *r, int width)
{
    assert(r->n_stages > 0 && width > LVLM_PLOT_LEFT + RIGHT);
    lvlm_plot p = { .replay = r, .width = width, .low = MAX_POWER, .high = MIN_POWER };
    p.step = 1;
    p.slot = (double)(width - LVLM_PLOT_LEFT - RIGHT) / (double)r->n_stages;
    find_axis(&p);
    lvlm_plot_find_names(&p);
    const bool shown = p.turned && p.slot >= LVLM_PLOT_TICK_LINE;
    p.top = TOP_MARGIN + (p.has_none ? LVLM_PLOT_LANE : 0);
    p.bottom = HEIGHT - (p.has_zero ? LVLM_PLOT_LANE : 0);
    p.height =
        HEIGHT + (shown ? TURNED_TICKS : TICKS) + LVLM_PLOT_LEVEL * (int)p.n_levels + 9;
    return p;
}

/* ---- band ----------------------------------------------------------------------- */

static void put_band_label(lvlm_strbuf *out, const lvlm_plot *p)
{
    assert(!p->replay->is_measure);
    const lvlm_replay *r = p->replay;
    char band[LVLM_ERROR_TEXT];
    double least = r->stages[0].band, most = least;
    for (size_t i = 1; i < r->n_stages; i++) {
        least = fmin(least, r->stages[i].band);
        most = fmax(most, r->stages[i].band);
    }
    lvlm_strbuf_printf(out, "<text class=\"band-label\" x=\"%d\" y=\"%.1f\">band %s",
                       LVLM_PLOT_LEFT + 6, y_of(p, r->stages[0].band) - 7,
                       lvlm_report_band(band, least));
    if (most > least) lvlm_strbuf_printf(out, " to %s", lvlm_report_band(band, most));
    lvlm_strbuf_puts(out, "</text>\n");
}

/* A line along the bands of all stages, from the current point, with a step at each
 * change. */
static void put_steps(lvlm_strbuf *out, const lvlm_plot *p)
{
    const lvlm_replay_stage *stages = p->replay->stages;
    for (size_t i = 0; i < p->replay->n_stages; i++) {
        const double y = y_of(p, stages[i].band),
                     right = lvlm_plot_x(p, i) + p->slot / 2;
        if (i == 0 || stages[i].band != stages[i - 1].band)
            lvlm_strbuf_printf(out, "V%.1f", y);
        if (i + 1 == p->replay->n_stages || stages[i].band != stages[i + 1].band)
            lvlm_strbuf_printf(out, "H%.1f", right);
    }
}

/* Tint the region out of band. */
static void put_tint(lvlm_strbuf *out, const lvlm_plot *p)
{
    lvlm_strbuf_printf(out, "<path class=\"tint\" d=\"M%d %d", LVLM_PLOT_LEFT,
                       TOP_MARGIN);
    put_steps(out, p);
    lvlm_strbuf_printf(out, "V%dZ\"/>\n", TOP_MARGIN);
}

static void put_band(lvlm_strbuf *out, const lvlm_plot *p)
{
    lvlm_strbuf_printf(out, "<path class=\"band\" d=\"M%d %.1f", LVLM_PLOT_LEFT,
                       y_of(p, p->replay->stages[0].band));
    put_steps(out, p);
    lvlm_strbuf_puts(out, "\"/>\n");
}

/* ---- stages --------------------------------------------------------------------- */

/* Join neighbours that both have a logarithm. */
static void put_trace(lvlm_strbuf *out, const lvlm_plot *p)
{
    bool joined = false;
    lvlm_strbuf_puts(out, "<path class=\"trace\" d=\"M0 0");
    for (size_t i = 0; i < p->replay->n_stages; i++) {
        const double error = drawn_error(&p->replay->stages[i]);
        const bool drawn = isfinite(error) && error > 0;
        if (drawn)
            lvlm_strbuf_printf(out, "%c%.1f %.1f", joined ? 'L' : 'M',
                               lvlm_plot_x(p, i), y_of(p, error));
        joined = drawn;
    }
    lvlm_strbuf_puts(out, "\"/>\n");
}

/* Marks differ in form, not only in colour. */
static void put_mark(lvlm_strbuf *out, const lvlm_replay_stage *s, double x, double y,
                     double r)
{
    if (!lvlm_verdict_passes(s->verdict))
        lvlm_strbuf_printf(out,
                           "<path class=\"cross\" d=\"M%.1f %.1fl%.1f %.1fm0 %.1fl%.1f "
                           "%.1f\"/>",
                           x - r, y - r, 2 * r, 2 * r, -2 * r, -2 * r, 2 * r);
    else if (s->error > 0)
        lvlm_strbuf_printf(
            out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>",
            s->verdict == LVLM_VERDICT_ROUNDING ? "ring" : "dot", x, y, r);
    else
        lvlm_strbuf_printf(
            out,
            "<path class=\"exact\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"/>",
            x, y - r - 1, r + 1, r + 1, -r - 1, r + 1, -r - 1, -r - 1);
}

/* What a stage adds to the error that it was given. */
static void put_own(lvlm_strbuf *out, double x, double y, double r)
{
    lvlm_strbuf_printf(out, "<path class=\"own\" d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"/>", x,
                       y - r, r, 1.8 * r, -2 * r);
}

/* A mark, and a rectangle over the whole height that reacts to the pointer. */
static void put_point(lvlm_strbuf *out, const lvlm_plot *p, size_t i)
{
    const lvlm_replay_stage *s = &p->replay->stages[i];
    const double x = lvlm_plot_x(p, i), radius = fmin(4.5, fmax(2, p->slot * 0.34));
    char error[LVLM_ERROR_TEXT];
    lvlm_report_put(out, "<g class=\"point\"><title>%s: ", s->name);
    lvlm_report_reason(out, s);
    if (isfinite(drawn_error(s)))
        lvlm_strbuf_printf(out, "; max abs %s",
                           lvlm_report_error(error, s->found.distance.max_abs));
    if (s->share.known)
        lvlm_strbuf_printf(out, "; own error %s",
                           lvlm_report_error(error, s->share.own));
    if (isfinite(drawn_error(s)) && lvlm_report_has_cosine(s))
        lvlm_strbuf_printf(out, ", cosine %.9f", s->cosine);
    lvlm_strbuf_printf(out,
                       "</title><rect class=\"hit\" x=\"%.2f\" y=\"%d\" "
                       "width=\"%.2f\" height=\"%d\"/>",
                       x - p->slot / 2, TOP_MARGIN, p->slot, HEIGHT - TOP_MARGIN);
    if (s->share.known) put_own(out, x, y_of(p, s->share.own), radius);
    put_mark(out, s, x, y_of(p, drawn_error(s)), radius);
    lvlm_strbuf_puts(out, "</g>\n");
}

/* The name of the first bad stage: to the left of its mark, because the stages there
 * are within their bands and so further down, else above. */
static void put_callout(lvlm_strbuf *out, const lvlm_plot *p)
{
    const lvlm_replay_stage *s = p->replay->first_bad;
    if (s == NULL) return;
    const size_t length = strlen(s->name);
    const size_t shown =
        length < 2 * LVLM_PLOT_MAX_LABEL ? length : 2 * LVLM_PLOT_MAX_LABEL;
    const double x = lvlm_plot_x(p, (size_t)(s - p->replay->stages));
    const double y = y_of(p, drawn_error(s));
    const double length_drawn = (LVLM_PLOT_CHARACTER + 1.0) * (double)shown;
    const bool on_left = x - 12 - length_drawn > LVLM_PLOT_LEFT;
    const double from =
        fmax(fmin(x - 5, p->width - RIGHT - length_drawn), LVLM_PLOT_LEFT);
    lvlm_strbuf_printf(
        out, "<text class=\"callout\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
        on_left ? x - 12 : from, on_left ? y + 4 : y - 11, on_left ? "end" : "start");
    lvlm_report_escape_cut(out, s->name, length, shown);
    lvlm_strbuf_puts(out, "</text>\n");
}

/* ---- legend --------------------------------------------------------------------- */

static void put_key(lvlm_strbuf *out, const lvlm_replay_stage *s, const char *meaning)
{
    lvlm_strbuf_puts(out, "<span><svg class=\"key\" viewBox=\"0 0 16 16\">");
    put_mark(out, s, 8, 8, 4.5);
    lvlm_strbuf_printf(out, "</svg>%s</span>\n", meaning);
}

static void put_legend(lvlm_strbuf *out, const lvlm_replay *r)
{
    static const lvlm_replay_stage within = { .error = 1 };
    static const lvlm_replay_stage rounding = { .error = 1,
                                                .verdict = LVLM_VERDICT_ROUNDING };
    static const lvlm_replay_stage equal = { .error = 0 };
    static const lvlm_replay_stage bad = { .verdict = LVLM_VERDICT_OUT };
    const size_t n_rounding = lvlm_report_count(r, LVLM_VERDICT_ROUNDING);
    size_t n_equal = 0, n_shares = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        n_equal +=
            lvlm_verdict_passes(r->stages[i].verdict) && !(r->stages[i].error > 0);
        n_shares += r->stages[i].share.known;
    }
    lvlm_strbuf_puts(out, "<p class=\"legend\">\n");
    if (n_equal + n_rounding + r->n_failed < r->n_stages)
        put_key(out, &within,
                r->is_measure ? "distance from double" : "within its band");
    if (n_equal > 0) put_key(out, &equal, "equal in every value");
    if (n_rounding > 0) put_key(out, &rounding, "beyond its band by rounding");
    if (r->n_failed > 0)
        put_key(
            out, &bad,
            r->is_measure ? "not finite" : "out of band, missing or in another shape");
    if (n_shares > 0) {
        lvlm_strbuf_puts(out, "<span><svg class=\"key\" viewBox=\"0 0 16 16\">");
        put_own(out, 8, 8, 4.5);
        lvlm_strbuf_puts(out, "</svg>its own error, from recorded rows</span>\n");
    }
    if (!r->is_measure)
        lvlm_strbuf_puts(out, "<span><svg class=\"key\" viewBox=\"0 0 16 16\"><path "
                              "class=\"band\" d=\"M0 8H16\"/></svg>band</span>\n");
    lvlm_strbuf_puts(out, "</p>\n");
}

static void put_chart(lvlm_strbuf *out, const lvlm_replay *r, int width,
                      const char *class)
{
    const lvlm_plot p = make_plot(r, width);
    lvlm_strbuf_printf(out,
                       "<svg class=\"chart %s\" viewBox=\"0 0 %d %d\" "
                       "role=\"img\" aria-label=\"error of each stage in "
                       "order of computation; the numbers are in the table below\">\n",
                       class, p.width, p.height);
    if (!r->is_measure) put_tint(out, &p);
    put_grid(out, &p);
    if (!r->is_measure) put_band(out, &p);
    lvlm_plot_put_names(out, &p);
    put_trace(out, &p);
    for (size_t i = 0; i < r->n_stages; i++) put_point(out, &p, i);
    if (!r->is_measure) put_band_label(out, &p);
    put_callout(out, &p);
    lvlm_strbuf_puts(out, "</svg>\n");
}

void lvlm_report_chart(lvlm_strbuf *out, const lvlm_replay *r)
{
    if (r->n_stages == 0) return;
    put_chart(out, r, WIDE, "wide");
    put_chart(out, r, NARROW, "small");
    put_legend(out, r);
}
