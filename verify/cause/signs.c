/* signs.c - which rows and channels carry the error of a stage, and its pattern; see
 * trial.h.
 *
 * D is computed minus recorded. A row or channel is wrong if its part of D is beyond a
 * few bands. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "runtime/batch/input_tensor.h"
#include "verify/cause/trial.h"
#include "verify/replay/own.h"

enum { NAMED = 4, MOST_TEXT = 1 << 12 };

#define SLACK 4.0        /* bands that a row or channel may be off by rounding */
#define SAME 1e-3        /* relative: two vectors that are the same but for the rest */
#define SMALL_ERROR 1e-3 /* an error of a detail, not of a map */

typedef struct signs {
    cause_session *s;
    bool *row, *column; /* (R), (C) wrong */
    size_t n_rows, n_columns, n_bad;
    double *mean;           /* (C) of D over the wrong rows */
    double length2, error2; /* sums of squares of the recording, and of D */
} signs;

/* Add a sentence on the error. */
#define SAY(g, err, ...)                                                               \
    cause_say((g)->s, &(g)->s->out->signs, &(g)->s->out->n_signs, err, __VA_ARGS__)

/* Frees the text. */
static int say_built(const signs *g, lvlm_strbuf *text, lvlm_error *err)
{
    int rc = lvlm_strbuf_check(text, err);
    if (rc == 0) rc = SAY(g, err, "%s", text->text);
    lvlm_strbuf_free(text);
    return rc;
}

static double difference(const signs *g, size_t r, size_t c)
{
    const cause_session *const s = g->s;
    return s->got[r * s->C + c] - s->want[r * s->C + c];
}

/* ---- which rows and channels ----------------------------------------------------- */

static void measure(signs *g)
{
    const cause_session *const s = g->s;
    const double tolerance = SLACK * lvlm_own_limit(s->stage);
    for (size_t i = 0; i < s->R * s->C; i++) {
        const double d = s->got[i] - s->want[i];
        g->n_bad += isfinite(s->got[i]) ? 0 : 1;
        g->length2 += s->want[i] * s->want[i];
        g->error2 += d * d;
    }
    const double least2 = 1e-6 * g->length2 / (double)s->R;
    for (size_t r = 0; r < s->R; r++) {
        double d2 = 0, w2 = 0;
        for (size_t c = 0; c < s->C; c++) {
            const double d = difference(g, r, c), w = s->want[r * s->C + c];
            d2 += d * d;
            w2 += w * w;
        }
        g->row[r] = !(d2 <= tolerance * tolerance * fmax(w2, least2));
        g->n_rows += g->row[r];
    }
    for (size_t c = 0; c < s->C; c++) {
        double d2 = 0;
        for (size_t r = 0; r < s->R; r++) {
            d2 += difference(g, r, c) * difference(g, r, c);
            if (g->row[r]) g->mean[c] += difference(g, r, c) / (double)g->n_rows;
        }
        g->column[c] = !(d2 <= tolerance * tolerance * g->length2 / (double)s->C);
        g->n_columns += g->column[c];
    }
}

/* ---- rows of texts --------------------------------------------------------------- */

/* What is known of the tokens of all texts. */
typedef struct tokens {
    bool first_right; /* the first token of each is right */
    bool cut;         /* each is right up to a place and wrong from there on */
    size_t least_cut, most_cut; /* of those with a wrong row: that place */
    size_t n_texts;             /* with a wrong row */
} tokens;

static tokens look_at_tokens(const signs *g, size_t T)
{
    const cause_session *const s = g->s;
    tokens t = { .first_right = true, .cut = true, .least_cut = SIZE_MAX };
    for (size_t r = 0, next; r < s->R; r = next) {
        size_t first = SIZE_MAX;
        for (next = r; next < s->R && s->places[next] / T == s->places[r] / T; next++) {
            if (g->row[next] && first == SIZE_MAX) first = next;
            if (!g->row[next] && first != SIZE_MAX) t.cut = false;
        }
        if (g->row[r]) t.first_right = false;
        if (first == SIZE_MAX) continue;
        const size_t at = first - r;
        t.n_texts++;
        t.least_cut = at < t.least_cut ? at : t.least_cut;
        t.most_cut = at > t.most_cut ? at : t.most_cut;
    }
    return t;
}

static int say_tokens(signs *g, size_t T, lvlm_error *err)
{
    const tokens t = look_at_tokens(g, T);
    const bool block = lvlm_starts_with(g->s->stage->name, "text.blocks.");
    if (!t.first_right || t.n_texts == 0) return 0;
    g->s->only_relations = block;
    if (block && t.most_cut == 1)
        return SAY(
            g, err,
            "the first token of every text is right: what differs is which "
            "tokens look at which (queries, keys, positions), not values, output, "
            "MLP or norms");
    if (!block || !t.cut) return 0;
    if (t.least_cut == t.most_cut)
        return SAY(g, err,
                   "tokens before number %zu are right, and all from there on "
                   "wrong: compare that with lengths and windows, and with where "
                   "images are",
                   t.least_cut);
    return SAY(g, err,
               "every text is right up to a token, number %zu to %zu, and wrong "
               "from there on: it may be the first after an image",
               t.least_cut, t.most_cut);
}

/* Are the wrong rows those of certain ids? */
static int say_ids(const signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const lvlm_tensor *const ids = s->replay->recording.ids;
    lvlm_strbuf text = LVLM_STRBUF_INIT(MOST_TEXT);
    int64_t wrong[NAMED];
    size_t n = 0;
    for (size_t r = 0; r < s->R; r++) {
        const int64_t id = lvlm_input_integer(ids, s->places[r]);
        size_t k = 0;
        while (k < n && wrong[k] != id) k++;
        if (g->row[r] && k == n && n == NAMED) return 0; /* many */
        if (g->row[r] && k == n) wrong[n++] = id;
    }
    for (size_t r = 0; r < s->R; r++) /* a right row of one of them */
        for (size_t k = 0; k < n; k++)
            if (!g->row[r] && lvlm_input_integer(ids, s->places[r]) == wrong[k])
                return 0;
    lvlm_strbuf_puts(&text, "the rows that are wrong are those of id ");
    for (size_t k = 0; k < n; k++)
        lvlm_strbuf_printf(&text, "%s%" PRId64, k > 0 ? ", " : "", wrong[k]);
    lvlm_strbuf_puts(&text, ", all of them");
    return say_built(g, &text, err);
}

/* ---- rows of images -------------------------------------------------------------- */

/* Along one axis of the places of rows: which indexes have wrong rows, and only wrong
 * ones? */
static int say_axis(const signs *g, size_t axis, lvlm_error *err)
{
    enum { MOST = 256 };
    const cause_session *const s = g->s;
    unsigned char seen[MOST] = { 0 }; /* 1: right rows, 2: wrong ones */
    const char *name = NULL;
    size_t n_wrong = 0, n_values = 0;
    for (size_t r = 0; r < s->R; r++) {
        lvlm_place index, meaning;
        lvlm_place_of(&index, &meaning, &s->replay->places, s->stage->name,
                      &s->stage->got, s->places[r]);
        if (axis >= meaning.n || meaning.at[axis].index >= MOST) return 0;
        name = meaning.at[axis].axis;
        seen[meaning.at[axis].index] |= g->row[r] ? 2 : 1;
    }
    for (size_t i = 0; i < MOST; i++) {
        if (seen[i] == 3) return 0;
        n_values += seen[i] != 0;
        n_wrong += seen[i] == 2;
    }
    if (n_wrong == 0 || n_wrong == n_values || name == NULL) return 0;
    const bool most = n_values - n_wrong < n_wrong;
    if ((most ? n_values - n_wrong : n_wrong) > NAMED) return 0;
    lvlm_strbuf text = LVLM_STRBUF_INIT(MOST_TEXT);
    lvlm_strbuf_printf(&text, "the rows that are wrong are all%s with %s",
                       most ? " but those" : "", name);
    const char *between = " ";
    for (size_t i = 0; i < MOST; i++) {
        if (seen[i] != (most ? 1 : 2)) continue;
        lvlm_strbuf_printf(&text, "%s%zu", between, i);
        between = ", ";
    }
    return say_built(g, &text, err);
}

/* Every how many rows does the pattern of wrong ones repeat? 0: it does not. */
static size_t period(const signs *g)
{
    const size_t R = g->s->R;
    for (size_t p = 2; p <= R / 3; p++) {
        size_t r = p;
        while (r < R && g->row[r] == g->row[r - p]) r++;
        if (r == R) return p;
    }
    return 0;
}

static int say_rows(signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const lvlm_tensor *const ids = s->stage->rows.ids;
    if (s->R < 2) return 0;
    TRY(SAY(g, err,
            g->n_rows == s->R ? "all %zu rows are wrong" : "%zu of %zu rows are wrong",
            g->n_rows, s->R));
    if (g->n_rows == s->R) return 0;
    if (ids != NULL) {
        TRY(say_tokens(g, (size_t)ids->shape.dims[1], err));
        return say_ids(g, err);
    }
    const size_t before = s->out->n_signs;
    for (size_t axis = 0; axis < 5; axis++) TRY(say_axis(g, axis, err));
    const size_t p = period(g);
    if (p == 0 || s->out->n_signs > before) return 0;
    return SAY(g, err, "which rows are wrong repeats every %zu rows", p);
}

/* ---- channels -------------------------------------------------------------------- */

static int say_channels(const signs *g, lvlm_error *err)
{
    const size_t C = g->s->C, n = g->n_columns;
    size_t first = 0, last = C;
    if (C < 2 || n == 0 || n == C) return 0;
    while (!g->column[first]) first++;
    while (!g->column[last - 1]) last--;
    if (n == 1)
        return SAY(g, err,
                   "only channel %zu of %zu is wrong: row %zu of the last map, or a "
                   "number in it",
                   first, C, first);
    if (last - first == n)
        return SAY(g, err, "only channels %zu to %zu of %zu are wrong%s", first,
                   last - 1, C, C % 3 == 0 && n == C / 3 ? ", a third" : "");
    return SAY(g, err, "%zu of %zu channels are wrong, from %zu to %zu", n, C, first,
               last - 1);
}

/* ---- patterns -------------------------------------------------------------------- */

/* Is D the same vector in every wrong row? */
static bool is_one_vector(const signs *g)
{
    const cause_session *const s = g->s;
    double mean2 = 0, rest2 = 0;
    for (size_t c = 0; c < s->C; c++) mean2 += g->mean[c] * g->mean[c];
    for (size_t r = 0; r < s->R; r++)
        for (size_t c = 0; g->row[r] && c < s->C; c++) {
            const double d = difference(g, r, c) - g->mean[c];
            rest2 += d * d;
        }
    return g->n_rows > 1 && rest2 <= SAME * SAME * mean2 * (double)g->n_rows;
}

/* `times` a bias is that vector; 0: it is not. */
static double times_of(const signs *g, const lvlm_target *bias)
{
    const size_t C = g->s->C;
    const lvlm_tensor *const t = bias->here.tensor;
    double dot = 0, b2 = 0, rest2 = 0, mean2 = 0;
    if (!lvlm_ends_with(bias->name, ".bias") || lvlm_tensor_numel(t) != C) return 0;
    double *const b = lvlm_malloc((C + 1) * sizeof *b);
    if (b == NULL) return 0;
    lvlm_convert_values(b, LVLM_F64, t->data, t->dtype, C);
    for (size_t c = 0; c < C; c++) {
        dot += g->mean[c] * b[c];
        b2 += b[c] * b[c];
        mean2 += g->mean[c] * g->mean[c];
    }
    const double times = b2 > 0 ? dot / b2 : 0;
    for (size_t c = 0; c < C; c++) {
        const double d = g->mean[c] - times * b[c];
        rest2 += d * d;
    }
    lvlm_free(b);
    return rest2 <= SAME * SAME * mean2 ? times : 0;
}

static int say_vector(const signs *g, lvlm_error *err)
{
    cause_session *const s = g->s;
    if (!is_one_vector(g)) return 0;
    TRY(SAY(
        g, err,
        "the error is the same vector in every row that is wrong: one that is added "
        "last, such as a bias"));
    for (size_t i = 0; i < s->n_feeds; i++) {
        const double times = times_of(g, s->feeds[i]);
        if (times == 0) continue;
        TRY(SAY(g, err, "that vector is %.3g times %s", times,
                cause_name(s->feeds[i])));
    }
    return 0;
}

/* Is what is computed what is recorded, times one factor? */
static int say_factor(const signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    double dot = 0, rest2 = 0;
    for (size_t i = 0; i < s->R * s->C; i++) dot += s->got[i] * s->want[i];
    const double f = g->length2 > 0 ? dot / g->length2 : 1;
    for (size_t i = 0; i < s->R * s->C; i++) {
        const double d = s->got[i] - f * s->want[i];
        rest2 += d * d;
    }
    if (s->R * s->C < 2 || !(rest2 <= SAME * SAME * g->error2)) return 0;
    return SAY(g, err, "what is computed is %.6g times what is recorded%s", f,
               fabs(f * f - (double)s->C) < 1e-3 * (double)s->C
                   ? ", the square root of the width"
               : fabs(f * f * (double)s->C - 1) < 1e-3
                   ? ", one over the square root of the width"
                   : "");
}

static int say_size(const signs *g, lvlm_error *err)
{
    const bool everywhere = g->n_rows == g->s->R && g->n_columns == g->s->C;
    if (!everywhere || !(sqrt(g->error2 / g->length2) < SMALL_ERROR)) return 0;
    return SAY(
        g, err,
        "it is small in every row and channel: an epsilon, a rounding of weights, "
        "erf against tanh, or a factor near 1");
}

/* Do two rows, or columns, have the same values? */
static bool same(const double *a, const double *b, size_t n, size_t step, double least)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i * step] - b[i * step]) <= least)) return false;
    return true;
}

/* Rows or columns that are those of the recording in another order. */
static int say_order(const signs *g, bool rows, lvlm_error *err)
{
    enum { MOST = 1024 };
    const cause_session *const s = g->s;
    const size_t n = rows ? s->R : s->C, m = rows ? s->C : s->R;
    const size_t next = rows ? s->C : 1, step = rows ? 1 : s->C;
    const double least =
        2 * SLACK * lvlm_own_limit(s->stage) * sqrt(g->length2 / (double)(s->R * s->C));
    size_t moved = 0, from = 0, to = 0;
    if (n < 2 || n > MOST || m < 2) return 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        if (!(rows ? g->row[i] : g->column[i])) continue;
        for (k = 0; k < n; k++)
            if (same(s->got + i * next, s->want + k * next, m, step, least)) break;
        if (k == n) return 0;
        if (moved++ == 0) from = i, to = k;
    }
    if (moved < 2) return 0;
    return SAY(g, err,
               "the %s are those of the recording in another order: %s %zu is "
               "computed where the recording has %s %zu",
               rows ? "rows" : "channels", rows ? "row" : "channel", to,
               rows ? "row" : "channel", from);
}

static int find(signs *g, lvlm_error *err)
{
    measure(g);
    if (g->n_bad > 0)
        return SAY(g, err, "%zu of %zu values are not finite", g->n_bad,
                   g->s->R * g->s->C);
    TRY(say_rows(g, err));
    TRY(say_channels(g, err));
    TRY(say_vector(g, err));
    TRY(say_factor(g, err));
    TRY(say_size(g, err));
    TRY(say_order(g, true, err));
    return say_order(g, false, err);
}

int cause_find_signs(cause_session *s, lvlm_error *err)
{
    signs g = { .s = s };
    if (s->R == 0 || s->C == 0) return 0;
    g.row = lvlm_calloc(s->R + s->C, sizeof *g.row);
    g.mean = lvlm_calloc(s->C, sizeof *g.mean);
    g.column = g.row != NULL ? g.row + s->R : NULL;
    const int rc =
        g.row != NULL && g.mean != NULL ? find(&g, err) : lvlm_fail_memory(err);
    lvlm_free(g.row);
    lvlm_free(g.mean);
    return rc;
}
