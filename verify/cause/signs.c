/* signs.c - which rows and channels carry the error of a stage, and its pattern; see
 * signs.h. */
#include <math.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/signs.h"
#include "verify/replay/own.h"

#define SLACK 4.0        /* bands that a row or channel may be off by rounding */
#define SAME 1e-3        /* relative: two vectors that are the same but for the rest */
#define SMALL_ERROR 1e-3 /* an error of a detail, not of a map */

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

/* ---- channels -------------------------------------------------------------------- */

/* What comes last in a stage: a channel of it is a row of that map, or a value of that
 * norm. Of several the first that is there. */
static const char *const last[] = {
    "*.post_mlp_norm.weight",
    "*.mlp.down.weight|*.mlp.fc2.weight",
    "vision.norm.weight|vision.norm_post.weight",
    "vision.norm_pre.weight|vision.patch.weight",
    "connector.norm_out.weight",
    "connector.fc[0-9].weight",
    "connector.proj.weight",
    "connector.attn.out.weight",
    "connector.norm.weight",
    "text.norm.weight|text.head.weight|text.embed.weight",
};

static const lvlm_target *find_last(const cause_session *s)
{
    const lvlm_target *found = NULL;
    for (size_t i = 0; i < sizeof last / sizeof *last && found == NULL; i++)
        for (size_t k = 0; k < s->n_feeds; k++)
            if (lvlm_matches_listed(last[i], s->feeds[k]->name)) found = s->feeds[k];
    return found;
}

static int say_channel(const signs *g, size_t channel, lvlm_error *err)
{
    cause_session *const s = g->s;
    const lvlm_target *const t = find_last(s);
    const size_t C = s->C;
    if (t == NULL || t->shape.dims[0] != C)
        return SIGNS_SAY(g, err, "only channel %zu of %zu is wrong", channel, C);
    if (t->shape.n == 1)
        return SIGNS_SAY(g, err, "only channel %zu of %zu is wrong: value %zu of %s",
                         channel, C, channel, cause_name(t));
    const char *const row = cause_rows(s, t, channel, channel);
    const lvlm_target *const bias = cause_bias(s, t);
    if (row == NULL) return lvlm_fail_memory(err);
    return SIGNS_SAY(g, err,
                     "only channel %zu of %zu is wrong: %s, or a number in it%s%s",
                     channel, C, row, bias != NULL ? ", or that of " : "",
                     bias != NULL ? cause_name(bias) : "");
}

static int say_channels(const signs *g, lvlm_error *err)
{
    const size_t C = g->s->C, n = g->n_columns;
    size_t first = 0, end = C;
    if (C < 2 || n == 0 || n == C) return 0;
    while (!g->column[first]) first++;
    while (!g->column[end - 1]) end--;
    if (n == 1) return say_channel(g, first, err);
    if (end - first == n)
        return SIGNS_SAY(g, err, "only channels %zu to %zu of %zu are wrong%s", first,
                         end - 1, C, C % 3 == 0 && n == C / 3 ? ", a third" : "");
    return SIGNS_SAY(g, err, "%zu of %zu channels are wrong, from %zu to %zu", n, C,
                     first, end - 1);
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
    TRY(SIGNS_SAY(
        g, err,
        "the error is the same vector in every row that is wrong: one that is added "
        "last, such as a bias"));
    for (size_t i = 0; i < s->n_feeds; i++) {
        const double times = times_of(g, s->feeds[i]);
        if (times == 0) continue;
        TRY(SIGNS_SAY(g, err, "that vector is %.3g times %s", times,
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
    return SIGNS_SAY(g, err, "what is computed is %.6g times what is recorded%s", f,
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
    return SIGNS_SAY(
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
    return SIGNS_SAY(g, err,
                     "the %s are those of the recording in another order: %s %zu is "
                     "computed where the recording has %s %zu",
                     rows ? "rows" : "channels", rows ? "row" : "channel", to,
                     rows ? "row" : "channel", from);
}

static int find(signs *g, lvlm_error *err)
{
    measure(g);
    if (g->n_bad > 0)
        return SIGNS_SAY(g, err, "%zu of %zu values are not finite", g->n_bad,
                         g->s->R * g->s->C);
    TRY(signs_say_rows(g, err));
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
