/* report_chart.c - one mark a stage; x is the order of computation, y is log10 of the
 * error. What has no logarithm has a lane of its own, drawn only when it is needed.
 *
 *   inf   |  .  .  .  .  .  x  .  .  .  .     infinite, not a number, not compared
 *   10^-4 |--------------------------------
 *         | - - - - - - - - - - - - - band     above it: crosses
 *   10^-6 |--------------------------------
 *         |     o  o  o  o     o  o  o  o      within its band: dots
 *   0     |  <>  .  .  .  .  .  .  .  .  .     equal in every value: diamonds
 *            patches  0  1     0  1            last part of the name, block numbers
 *            vision            text            parts of the model */
#include "verify/report_chart.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "verify/report_markup.h"
#include "verify/report_words.h"

/* In units of the view box. */
enum {
    WIDTH = 960,
    HEIGHT = 380,
    LEFT = 58,
    RIGHT = 14,
    TOP_MARGIN = 20,
    BOTTOM_MARGIN = 62,
    LANE = 40,       /* height of a lane */
    IN_LANE = 24,    /* its middle line, from the logarithmic axis */
    CHARACTER = 7,   /* about the width of one */
    MAX_LABEL = 24,  /* characters of the name of a part */
    MIN_DECADES = 4, /* shown of the axis */
    HEADROOM = 3,    /* shown above a band, so many times the band */
    MAX_LINES = 9,   /* of the grid, across */
    MAX_POWER = 12,  /* errors beyond these are drawn on the edge */
    MIN_POWER = -20,
};

typedef struct plot {
    const lvlm_replay *replay;
    double slot;        /* width of a stage */
    double top, bottom; /* y of the ends of the logarithmic axis */
    int high, low;      /* powers of ten there */
    int step;           /* powers from one grid line to the next */
    bool has_zero;      /* the lane below is there ... */
    bool has_none;      /* ... and the one above */
} plot;

/* ---- axes ----------------------------------------------------------------------- */

/* The error that is drawn; infinite where nothing could be compared. */
static double drawn_error(const lvlm_replay_stage *s)
{
    return lvlm_verdict_compared(s->verdict) ? s->error : (double)INFINITY;
}

/* Widens the axis so that it shows `value`. */
static void include(plot *p, double value)
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
    return (int)floor((double)value / step) * step;
}

static plot make_plot(const lvlm_replay *r)
{
    plot p = { .replay = r, .low = MAX_POWER, .high = MIN_POWER, .step = 1 };
    p.slot = (double)(WIDTH - LEFT - RIGHT) / (double)r->n_stages;
    for (size_t i = 0; i < r->n_stages; i++) {
        include(&p, drawn_error(&r->stages[i]));
        if (r->is_measure) continue;
        include(&p, r->stages[i].band);
        include(&p, fmin(HEADROOM * r->stages[i].band, DBL_MAX));
    }
    if (p.high < p.low) p.high = p.low = 0;
    if (p.low > p.high - MIN_DECADES) p.low = p.high - MIN_DECADES;
    while ((p.high - p.low) / p.step + 1 > MAX_LINES) p.step++;
    p.low = round_down(p.low, p.step);
    p.high = -round_down(-p.high, p.step);
    p.top = TOP_MARGIN + (p.has_none ? LANE : 0);
    p.bottom = HEIGHT - BOTTOM_MARGIN - (p.has_zero ? LANE : 0);
    return p;
}

/* The middle of a stage. */
static double x_of(const plot *p, size_t i)
{
    return LEFT + p->slot * ((double)i + 0.5);
}

static double y_of_power(const plot *p, double power)
{
    power = fmin(fmax(power, p->low), p->high);
    return p->top + (p->bottom - p->top) * (p->high - power) / (p->high - p->low);
}

static double y_of(const plot *p, double value)
{
    if (!isfinite(value)) return p->top - IN_LANE;
    if (value <= 0) return p->bottom + IN_LANE;
    return y_of_power(p, log10(value));
}

static void put_grid_line(lvlm_strbuf *out, const char *class, double y)
{
    lvlm_strbuf_printf(
        out, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
        class, LEFT, WIDTH - RIGHT, y, y);
}

static void put_lane(lvlm_strbuf *out, double y, const char *label)
{
    put_grid_line(out, "lane", y);
    lvlm_strbuf_printf(out,
                       "<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">"
                       "%s</text>\n",
                       LEFT - 10, y + 4, label);
}

static void put_grid(lvlm_strbuf *out, const plot *p)
{
    for (int power = p->high; power >= p->low; power -= p->step) {
        const double y = y_of_power(p, power);
        put_grid_line(out, "grid", y);
        lvlm_strbuf_printf(out,
                           "<text class=\"axis\" x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">10<tspan dy=\"-5\" "
                           "class=\"power\">%s%d</tspan></text>\n",
                           LEFT - 10, y + 5, power < 0 ? "−" : "",
                           power < 0 ? -power : power);
    }
    if (p->has_none) put_lane(out, y_of(p, (double)INFINITY), "∞");
    if (p->has_zero) put_lane(out, y_of(p, 0), "0");
}

/* ---- names along the axis ------------------------------------------------------- */

/* Blocks are labelled by every so manieth number: 1, 2, 5, 10, 20, ... */
static size_t tick_distance(const plot *p)
{
    static const size_t factors[] = { 1, 2, 5 };
    for (size_t unit = 1;; unit *= 10)
        for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
            if ((double)(factors[i] * unit) * p->slot >= 22) return factors[i] * unit;
}

static void put_tick(lvlm_strbuf *out, const plot *p, size_t i, size_t distance)
{
    const char *const name = p->replay->stages[i].name;
    const char *const dot = strrchr(name, '.');
    const char *const last = dot != NULL ? dot + 1 : name;
    const size_t length = strlen(last);
    const size_t digits = strspn(last, "0123456789");
    size_t number = 0, room = 0;
    if (digits == length && digits > 0 && digits <= 4) {
        for (size_t k = 0; k < digits; k++)
            number = number * 10 + (size_t)(last[k] - '0');
        if (number % distance != 0) return;
        room = digits;
    } else {
        room = (size_t)(p->slot / CHARACTER);
        if (room < 5) return;
    }
    lvlm_strbuf_printf(
        out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
        x_of(p, i), HEIGHT - BOTTOM_MARGIN + 16);
    lvlm_report_escape_cut(out, last, length, room);
    lvlm_strbuf_puts(out, "</text>\n");
}

/* Bytes of "vision", "connector", "text"; 0 for what stands alone: logits, loss. */
static size_t part_bytes(const char *name)
{
    const size_t n = strcspn(name, ".");
    return name[n] == '.' ? n : 0;
}

static bool is_same_part(const char *a, const char *b)
{
    const size_t n = part_bytes(a);
    return n == part_bytes(b) && memcmp(a, b, n) == 0;
}

/* A bracket from one stage to another, and its name if the one before leaves room;
 * *taken is where that one ends. */
static void put_part(lvlm_strbuf *out, const plot *p, size_t first, size_t last,
                     double *taken)
{
    const char *name = p->replay->stages[first].name;
    const size_t in_name = part_bytes(name);
    const size_t bytes = in_name > 0 ? in_name : strlen("head");
    const size_t shown = bytes < MAX_LABEL ? bytes : MAX_LABEL;
    const double gap = fmin(3, p->slot / 6);
    const double from = x_of(p, first) - p->slot / 2 + gap;
    const double to = x_of(p, last) + p->slot / 2 - gap;
    const double half = 0.5 * CHARACTER * (double)shown;
    const double middle = fmin((from + to) / 2, WIDTH - half - 4);
    lvlm_strbuf_printf(out,
                       "<line class=\"part\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" "
                       "y2=\"%d\"/>\n",
                       from, to, HEIGHT - 36, HEIGHT - 36);
    if (middle - half < *taken) return;
    *taken = middle + half + CHARACTER;
    lvlm_strbuf_printf(
        out, "<text class=\"label\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
        middle, HEIGHT - 17);
    lvlm_report_escape_cut(out, in_name > 0 ? name : "head", bytes, MAX_LABEL);
    lvlm_strbuf_puts(out, "</text>\n");
}

static void put_names(lvlm_strbuf *out, const plot *p)
{
    const lvlm_replay_stage *const stages = p->replay->stages;
    const size_t n = p->replay->n_stages, distance = tick_distance(p);
    double taken = 0;
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n; end++)
            if (!is_same_part(stages[first].name, stages[end].name)) break;
        put_part(out, p, first, end - 1, &taken);
    }
    for (size_t i = 0; i < n; i++) put_tick(out, p, i, distance);
}

/* ---- band ----------------------------------------------------------------------- */

static void put_band_label(lvlm_strbuf *out, const plot *p)
{
    const lvlm_replay *r = p->replay;
    char band[LVLM_ERROR_TEXT];
    double least = r->stages[0].band, most = least;
    for (size_t i = 1; i < r->n_stages; i++) {
        least = fmin(least, r->stages[i].band);
        most = fmax(most, r->stages[i].band);
    }
    lvlm_strbuf_printf(out, "<text class=\"band-label\" x=\"%d\" y=\"%.1f\">band %s",
                       LEFT + 6, y_of(p, r->stages[0].band) - 7,
                       lvlm_report_band(band, least));
    if (most > least) lvlm_strbuf_printf(out, " to %s", lvlm_report_band(band, most));
    lvlm_strbuf_puts(out, "</text>\n");
}

/* From stage to stage, from the current point on, with a step for each change. */
static void put_steps(lvlm_strbuf *out, const plot *p)
{
    const lvlm_replay_stage *stages = p->replay->stages;
    for (size_t i = 0; i < p->replay->n_stages; i++) {
        const double y = y_of(p, stages[i].band), right = x_of(p, i) + p->slot / 2;
        if (i == 0 || stages[i].band != stages[i - 1].band)
            lvlm_strbuf_printf(out, "V%.1f", y);
        if (i + 1 == p->replay->n_stages || stages[i].band != stages[i + 1].band)
            lvlm_strbuf_printf(out, "H%.1f", right);
    }
}

/* What is out of band. */
static void put_tint(lvlm_strbuf *out, const plot *p)
{
    lvlm_strbuf_printf(out, "<path class=\"tint\" d=\"M%d %d", LEFT, TOP_MARGIN);
    put_steps(out, p);
    lvlm_strbuf_printf(out, "V%dZ\"/>\n", TOP_MARGIN);
}

static void put_band(lvlm_strbuf *out, const plot *p)
{
    lvlm_strbuf_printf(out, "<path class=\"band\" d=\"M%d %.1f", LEFT,
                       y_of(p, p->replay->stages[0].band));
    put_steps(out, p);
    lvlm_strbuf_puts(out, "\"/>\n");
}

/* ---- stages --------------------------------------------------------------------- */

/* Joins neighbours that both have a logarithm. */
static void put_trace(lvlm_strbuf *out, const plot *p)
{
    bool joined = false;
    lvlm_strbuf_puts(out, "<path class=\"trace\" d=\"M0 0");
    for (size_t i = 0; i < p->replay->n_stages; i++) {
        const double error = drawn_error(&p->replay->stages[i]);
        const bool drawn = isfinite(error) && error > 0;
        if (drawn)
            lvlm_strbuf_printf(out, "%c%.1f %.1f", joined ? 'L' : 'M', x_of(p, i),
                               y_of(p, error));
        joined = drawn;
    }
    lvlm_strbuf_puts(out, "\"/>\n");
}

/* Told apart by form, not by colour alone. */
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
            out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", x, y, r);
    else
        lvlm_strbuf_printf(
            out,
            "<path class=\"exact\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"/>",
            x, y - r - 1, r + 1, r + 1, -r - 1, r + 1, -r - 1, -r - 1);
}

/* The mark and, over the whole height, where the pointer finds it. */
static void put_point(lvlm_strbuf *out, const plot *p, size_t i)
{
    const lvlm_replay_stage *s = &p->replay->stages[i];
    const double x = x_of(p, i), radius = fmin(4.5, fmax(2, p->slot * 0.34));
    char error[LVLM_ERROR_TEXT];
    lvlm_strbuf_puts(out, "<g class=\"point\"><title>");
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_puts(out, ": ");
    lvlm_report_reason(out, s);
    if (isfinite(drawn_error(s)))
        lvlm_strbuf_printf(out, "; max abs %s, cosine %.9f",
                           lvlm_report_error(error, s->found.distance.max_abs),
                           s->cosine);
    lvlm_strbuf_printf(out,
                       "</title><rect class=\"hit\" x=\"%.2f\" y=\"%d\" "
                       "width=\"%.2f\" height=\"%d\"/>",
                       x - p->slot / 2, TOP_MARGIN, p->slot,
                       HEIGHT - TOP_MARGIN - BOTTOM_MARGIN);
    put_mark(out, s, x, y_of(p, drawn_error(s)), radius);
    lvlm_strbuf_puts(out, "</g>\n");
}

/* The name of the first bad stage: to the left of its mark, where all is within its
 * band and so further down, else above. */
static void put_callout(lvlm_strbuf *out, const plot *p)
{
    const lvlm_replay_stage *s = p->replay->first_bad;
    if (s == NULL) return;
    const size_t length = strlen(s->name);
    const size_t shown = length < 2 * MAX_LABEL ? length : 2 * MAX_LABEL;
    const double x = x_of(p, (size_t)(s - p->replay->stages));
    const double y = y_of(p, drawn_error(s));
    const bool on_left = x - 12 - (CHARACTER + 1.0) * (double)shown > LEFT;
    lvlm_strbuf_printf(
        out, "<text class=\"callout\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
        on_left ? x - 12 : x - 5, on_left ? y + 4 : y - 11, on_left ? "end" : "start");
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
    static const lvlm_replay_stage equal = { .error = 0 };
    static const lvlm_replay_stage bad = { .verdict = LVLM_VERDICT_OUT };
    size_t n_equal = 0, n_bad = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        const bool ok = lvlm_verdict_passes(r->stages[i].verdict);
        n_bad += !ok;
        n_equal += ok && !(r->stages[i].error > 0);
    }
    lvlm_strbuf_puts(out, "<p class=\"legend\">\n");
    if (n_equal + n_bad < r->n_stages)
        put_key(out, &within,
                r->is_measure ? "distance from double" : "within its band");
    if (n_equal > 0) put_key(out, &equal, "equal in every value");
    if (n_bad > 0)
        put_key(
            out, &bad,
            r->is_measure ? "not finite" : "out of band, missing or in another shape");
    if (!r->is_measure)
        lvlm_strbuf_puts(out, "<span><svg class=\"key\" viewBox=\"0 0 16 16\"><path "
                              "class=\"band\" d=\"M0 8H16\"/></svg>band</span>\n");
    lvlm_strbuf_puts(out, "</p>\n");
}

void lvlm_report_chart(lvlm_strbuf *out, const lvlm_replay *r)
{
    if (r->n_stages == 0) return;
    const plot p = make_plot(r);
    lvlm_strbuf_printf(
        out,
        "<div class=\"scroll\"><svg class=\"chart\" viewBox=\"0 0 %d %d\" "
        "role=\"img\" aria-label=\"relative L2 error of each stage in "
        "order of computation; the numbers are in the table below\">\n",
        WIDTH, HEIGHT);
    if (!r->is_measure) put_tint(out, &p);
    put_grid(out, &p);
    if (!r->is_measure) put_band(out, &p);
    put_names(out, &p);
    put_trace(out, &p);
    for (size_t i = 0; i < r->n_stages; i++) put_point(out, &p, i);
    if (!r->is_measure) put_band_label(out, &p);
    put_callout(out, &p);
    lvlm_strbuf_puts(out, "</svg></div>\n");
    put_legend(out, r);
}
