/* report_plot.c - the names below a chart: of stages, rotated if they are too wide, and
 * of parts of the model, on several lines if they would overlap; see report_plot.h. */
#include "verify/report/report_plot.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/report/report_parts.h"

enum {
    MAX_LEVELS = 3,
    TICK_CHARACTER = 6,
};

double lvlm_plot_x(const lvlm_plot *p, size_t i)
{
    assert(i < p->replay->n_stages);
    return LVLM_PLOT_LEFT + p->slot * ((double)i + 0.5);
}

/* ---- parts of the model --------------------------------------------------------- */

/* Bytes of "vision", "connector", "text"; 0 for logits and loss. */
static size_t part_bytes(const char *name)
{
    const size_t n = strcspn(name, ".");
    return name[n] == '.' ? n : 0;
}

#define GLOBAL_BLOCKS "vision.global_blocks."

static bool is_same_part(const char *a, const char *b)
{
    const size_t n = part_bytes(a);
    return n == part_bytes(b) && memcmp(a, b, n) == 0 &&
           lvlm_starts_with(a, GLOBAL_BLOCKS) == lvlm_starts_with(b, GLOBAL_BLOCKS);
}

/* Name a part; the tower's end after its global blocks needs no name. */
static void name_part(lvlm_plot_part *to, const lvlm_plot *p,
                      const lvlm_plot_part *before)
{
    const char *const name = p->replay->stages[to->first].name;
    to->label = "head";
    to->bytes = strlen(to->label);
    if (lvlm_starts_with(name, GLOBAL_BLOCKS)) {
        to->label = "global";
        to->bytes = strlen(to->label);
    } else if (part_bytes(name) > 0) {
        to->label = name;
        to->bytes = part_bytes(name);
    }
    if (before != NULL && strcmp(before->label, "global") == 0 &&
        lvlm_starts_with(name, "vision."))
        to->bytes = 0;
}

/* The first line on which a label of that place has room; taken: where each ends. */
static void place_label(lvlm_plot_part *to, const lvlm_plot *p,
                        double taken[MAX_LEVELS])
{
    assert(to->first <= to->last && to->level == 0);
    const size_t shown =
        to->bytes < LVLM_PLOT_MAX_LABEL ? to->bytes : LVLM_PLOT_MAX_LABEL;
    const double half = 0.5 * LVLM_PLOT_CHARACTER * (double)shown;
    const double middle = (lvlm_plot_x(p, to->first) + lvlm_plot_x(p, to->last)) / 2;
    to->middle = fmin(fmax(middle, half + 4), p->width - half - 4);
    if (to->bytes == 0) return;
    while (to->level < MAX_LEVELS && to->middle - half < taken[to->level]) to->level++;
    if (to->level == MAX_LEVELS)
        to->bytes = to->level = 0;
    else
        taken[to->level] = to->middle + half + LVLM_PLOT_CHARACTER;
}

static void find_parts(lvlm_plot *p)
{
    const lvlm_replay_stage *const stages = p->replay->stages;
    double taken[MAX_LEVELS] = { 0 };
    p->n_levels = 1;
    for (size_t first = 0, end;
         first < p->replay->n_stages && p->n_parts < LVLM_PLOT_MAX_PARTS; first = end) {
        lvlm_plot_part *const next = &p->parts[p->n_parts];
        for (end = first + 1; end < p->replay->n_stages; end++)
            if (!is_same_part(stages[first].name, stages[end].name)) break;
        *next = (lvlm_plot_part){ .first = first, .last = end - 1 };
        name_part(next, p, p->n_parts > 0 ? next - 1 : NULL);
        place_label(next, p, taken);
        if (next->level + 1 > p->n_levels) p->n_levels = next->level + 1;
        p->n_parts++;
    }
}

/* A bracket over its stages, and its name. */
static void put_part(lvlm_strbuf *out, const lvlm_plot *p, const lvlm_plot_part *this)
{
    assert(this->level < p->n_levels);
    const double gap = fmin(3, p->slot / 6);
    const double y = p->height - 9 - LVLM_PLOT_LEVEL * (double)p->n_levels;
    lvlm_strbuf_printf(out,
                       "<line class=\"part\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
                       "y2=\"%.1f\"/>\n",
                       lvlm_plot_x(p, this->first) - p->slot / 2 + gap,
                       lvlm_plot_x(p, this->last) + p->slot / 2 - gap, y, y);
    if (this->bytes == 0) return;
    lvlm_strbuf_printf(
        out, "<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
        this->middle, y + LVLM_PLOT_LEVEL * (double)(this->level + 1));
    lvlm_report_escape_cut(out, this->label, this->bytes, LVLM_PLOT_MAX_LABEL);
    lvlm_strbuf_puts(out, "</text>\n");
}

/* ---- names along the axis ------------------------------------------------------- */

/* Every n-th block is labelled with its number; n is 1, 2, 5, 10, 20, ... */
static size_t tick_distance(const lvlm_plot *p)
{
    assert(p->slot > 0);
    static const size_t factors[] = { 1, 2, 5 };
    for (size_t unit = 1;; unit *= 10)
        for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
            if ((double)(factors[i] * unit) * p->slot >= 22) return factors[i] * unit;
}

/* The last part of a name. Returns whether it is a number, that of a block. */
static bool last_word(const char **word, size_t *number, const char *name)
{
    const char *const dot = strrchr(name, '.');
    *word = dot != NULL ? dot + 1 : name;
    const size_t digits = strspn(*word, "0123456789");
    *number = 0;
    if (digits != strlen(*word) || digits == 0 || digits > 4) return false;
    for (size_t k = 0; k < digits; k++)
        *number = *number * 10 + (size_t)((*word)[k] - '0');
    return true;
}

/* Of gradients it is "weight" or "bias", which tells nothing. */
static bool has_word(const lvlm_plot *p, size_t i)
{
    return !p->replay->stages[i].is_gradient;
}

/* Is there a word that is wider than the place below its stage? */
static bool has_wide_word(const lvlm_plot *p)
{
    const char *word;
    size_t number;
    for (size_t i = 0; i < p->replay->n_stages; i++)
        if (has_word(p, i) && !last_word(&word, &number, p->replay->stages[i].name) &&
            (double)strlen(word) * TICK_CHARACTER > p->slot + TICK_CHARACTER)
            return true;
    return false;
}

/* *taken is where the number before it ends. */
static void put_tick(lvlm_strbuf *out, const lvlm_plot *p, size_t i, size_t distance,
                     double *taken)
{
    enum { MOST = 9 }; /* characters */
    const double x = lvlm_plot_x(p, i),
                 y = p->bottom + (p->has_zero ? LVLM_PLOT_LANE : 0) + 16;
    const char *word;
    size_t number;
    const bool numbered = last_word(&word, &number, p->replay->stages[i].name);
    const double half = 0.5 * TICK_CHARACTER * (double)strlen(word);
    if (numbered ? number % distance != 0 || x - half < *taken
                 : p->turned && p->slot < LVLM_PLOT_TICK_LINE)
        return;
    if (numbered) *taken = x + half + TICK_CHARACTER;
    if (numbered || !p->turned)
        lvlm_strbuf_printf(
            out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
            x, y);
    else
        lvlm_strbuf_printf(out,
                           "<text class=\"tick\" transform=\"translate(%.1f %.1f) "
                           "rotate(-90)\" text-anchor=\"end\">",
                           x + 4, y - 10);
    lvlm_report_escape_cut(out, word, strlen(word), MOST);
    lvlm_strbuf_puts(out, "</text>\n");
}

void lvlm_plot_find_names(lvlm_plot *p)
{
    assert(p->n_parts == 0);
    find_parts(p);
    p->turned = has_wide_word(p);
}

void lvlm_plot_put_names(lvlm_strbuf *out, const lvlm_plot *p)
{
    const size_t distance = tick_distance(p);
    double taken = 0;
    for (size_t i = 0; i < p->n_parts; i++) put_part(out, p, &p->parts[i]);
    for (size_t i = 0; i < p->replay->n_stages; i++)
        if (has_word(p, i)) put_tick(out, p, i, distance, &taken);
}
