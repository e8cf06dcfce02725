/* slope_signs.c - which gradients differ, and where and how the first of them does; see
 * slope.h. */
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "verify/cause/slope.h"
#include "verify/replay/recording.h"

enum { MOST_TEXT = 1 << 12, NAMED = 4 };

#define SLACK 4.0  /* limits that a row or column may be off by rounding */
#define SAME 1e-3  /* relative: vectors that are the same but for the rest */
#define LEAST 1e-3 /* of the average row: shorter ones count as that */

/* Add a sentence on the error. */
#define SAY(l, err, ...) CAUSE_SAY_SIGN(&(l)->s, err, __VA_ARGS__)

static const char *source_of(const lvlm_replay_stage *gradient)
{
    return gradient->name + strlen(LVLM_RECORDED_GRADIENT);
}

/* ---- which ----------------------------------------------------------------------- */

/* Which gradients differ, from the head down. */
static void put_names(lvlm_strbuf *out, const slopes *l)
{
    const lvlm_replay *const r = l->s.replay;
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        if (lvlm_verdict_passes(r->stages[i].verdict)) continue;
        if (n++ < NAMED)
            lvlm_strbuf_printf(out, "%s%s", n > 1 ? ", " : "",
                               source_of(&r->stages[i]));
    }
    if (n > NAMED) lvlm_strbuf_printf(out, " and %zu more", n - NAMED);
}

static int say_names(slopes *l, lvlm_error *err)
{
    lvlm_strbuf names = LVLM_STRBUF_INIT(MOST_TEXT);
    put_names(&names, l);
    int rc = lvlm_strbuf_check(&names, err);
    if (rc == 0)
        rc = SAY(l, err,
                 "every stage agrees, and gradients do not: from the head down "
                 "those of %s",
                 names.text);
    lvlm_strbuf_free(&names);
    return rc;
}

/* What follows from which of them are right. */
static int say_place(slopes *l, const slope *cause, lvlm_error *err)
{
    const char *const stage = cause_stage_of(&l->s, cause->target);
    size_t n_right = 0, n_followers = 0;
    if (stage == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < l->n; i++) {
        n_right += l->at[i].place < cause->place && !l->at[i].wrong;
        n_followers += l->at[i].wrong && !l->at[i].own;
    }
    if (lvlm_recording_find(&l->s.replay->recording, stage) == NULL)
        TRY(SAY(l, err,
                "%s is a tensor of stage %s, which is not recorded: what is computed "
                "forward may be wrong there or before it",
                cause_name(cause->target), stage));
    else
        TRY(SAY(l, err,
                "%s is a tensor of stage %s: what differs is which rows, labels or "
                "weights take part there or after it (padding, frozen parts, a "
                "tied table), not what is computed forward",
                cause_name(cause->target), stage));
    if (n_followers == 0 && n_right > 0)
        return SAY(l, err,
                   "gradients of tensors before it agree, so what flows back through "
                   "it is right: the error is of this gradient by itself");
    if (n_followers > 0 && n_right == 0)
        return SAY(l, err,
                   "gradients of all tensors before it differ too: what flows back to "
                   "them is wrong from there on, or the loss is another");
    return 0;
}

/* ---- where ----------------------------------------------------------------------- */

/* Rows, or columns, of a slope that are wrong. */
typedef struct lines {
    bool *wrong; /* (n) */
    size_t n, n_wrong, first, last;
} lines;

static void find_lines(lines *out, const slopes *l, const slope *x, bool rows)
{
    const size_t n = rows ? x->R : x->C, m = rows ? x->C : x->R;
    const size_t next = rows ? x->C : 1, step = rows ? 1 : x->C;
    const double limit = SLACK * slope_limit(x);
    const double least2 =
        fmax(LEAST * LEAST * x->distance.b2, x->least * x->least) / (double)n;
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        double d2 = 0, w2 = 0;
        for (size_t k = 0; k < m; k++) {
            const double w = l->want[i * next + k * step];
            const double d = l->got[i * next + k * step] - w;
            d2 += d * d;
            w2 += w * w;
        }
        out->wrong[i] = !(d2 <= limit * limit * fmax(w2, least2));
        if (!out->wrong[i]) continue;
        if (out->n_wrong++ == 0) out->first = i;
        out->last = i;
    }
}

/* Which head all wrong lines belong to; SIZE_MAX: not one of several. */
static size_t head_of(const slopes *l, const slope *x, const lines *some)
{
    const size_t D = cause_head_dim(&l->s, x->target);
    if (D == 0 || some->n % D != 0 || some->n == D || some->n_wrong == 0 ||
        some->first / D != some->last / D)
        return SIZE_MAX;
    return some->first / D;
}

static bool has_heads(const slope *x, bool rows)
{
    return lvlm_matches_listed(
        rows ? "*attn.[qkv].*|*cross.[qkv].*" : "*attn.out.weight|*cross.out.weight",
        x->target->name);
}

static int say_lines(slopes *l, const slope *x, const lines *some, bool rows,
                     lvlm_error *err)
{
    const char *const what = rows ? "row" : "column";
    const size_t head = has_heads(x, rows) ? head_of(l, x, some) : SIZE_MAX;
    if (some->n < 2 || some->n_wrong == 0 || some->n_wrong == some->n) return 0;
    const bool run = some->last - some->first + 1 == some->n_wrong;
    if (head != SIZE_MAX) {
        const size_t D = cause_head_dim(&l->s, x->target);
        const size_t first = run ? some->first : head * D;
        const size_t last = run ? some->last : head * D + D - 1;
        const char *const where =
            rows ? cause_rows(&l->s, x->target, first, last)
                 : lvlm_arena_printf(&l->s.arena, "columns %zu to %zu of %s", first,
                                     last, cause_name(x->target));
        if (where == NULL) return lvlm_fail_memory(err);
        return SAY(l, err, "only head %zu of %zu is wrong: %s", head, some->n / D,
                   where);
    }
    if (!run)
        return SAY(l, err, "%zu of %zu %ss are wrong, from %zu to %zu", some->n_wrong,
                   some->n, what, some->first, some->last);
    if (!rows)
        return SAY(l, err, "only columns %zu to %zu of %zu are wrong", some->first,
                   some->last, some->n);
    const char *const where = cause_rows(&l->s, x->target, some->first, some->last);
    if (where == NULL) return lvlm_fail_memory(err);
    return SAY(l, err, "of %zu rows only these are wrong: %s", some->n, where);
}

/* ---- how ------------------------------------------------------------------------- */

static int say_factor(slopes *l, const slope *x, lvlm_error *err)
{
    const lvlm_distance *const d = &x->distance;
    const double f = d->ab / d->b2;
    double rest2 = 0;
    for (size_t i = 0; i < x->n; i++) {
        const double r = l->got[i] - f * l->want[i];
        rest2 += r * r;
    }
    if (!(rest2 <= SAME * SAME * d->difference2)) return 0;
    if (fabs(f + 1) < SAME)
        return SAY(l, err, "what is computed has the other sign than what is recorded");
    return SAY(l, err, "what is computed is %.6g times what is recorded", f);
}

/* Is the error the same in every row? */
static int say_vector(slopes *l, const slope *x, lvlm_error *err)
{
    double mean2 = 0;
    if (x->R < 2 || x->C < 2) return 0;
    for (size_t c = 0; c < x->C; c++) {
        double sum = 0;
        for (size_t r = 0; r < x->R; r++)
            sum += l->got[r * x->C + c] - l->want[r * x->C + c];
        mean2 += sum * sum / (double)x->R;
    }
    /* the rest is what the means leave of all squares */
    if (!(x->distance.difference2 - mean2 <= SAME * SAME * mean2)) return 0;
    return SAY(l, err, "the error is the same vector in every row");
}

static int say_pattern(slopes *l, const slope *x, lvlm_error *err)
{
    const lvlm_distance *const d = &x->distance;
    lines rows = { .n = 0 }, columns = { .n = 0 };
    if (!slope_load(l, x, l->model)) return 0;
    if (d->n_bad > 0)
        return SAY(l, err, "%llu of %zu values that are computed are not finite",
                   (unsigned long long)d->n_bad, x->n);
    if (d->b2 == 0) return SAY(l, err, "what is recorded is zero in every value");
    if (d->a2 == 0) return SAY(l, err, "what is computed is zero in every value");
    bool *const wrong = lvlm_calloc(x->R + x->C, sizeof *wrong);
    if (wrong == NULL) return lvlm_fail_memory(err);
    rows.wrong = wrong;
    columns.wrong = wrong + x->R;
    find_lines(&rows, l, x, true);
    find_lines(&columns, l, x, false);
    int rc = say_lines(l, x, &rows, true, err);
    if (rc == 0) rc = say_lines(l, x, &columns, false, err);
    if (rc == 0) rc = say_factor(l, x, err);
    if (rc == 0) rc = say_vector(l, x, err);
    lvlm_free(wrong);
    return rc;
}

/* ---- all ------------------------------------------------------------------------- */

/* The parts of the cause that are wrong, of several which: "k of in_proj_weight". */
static int say_parts(slopes *l, const slope *x, lvlm_error *err)
{
    if (lvlm_transform_is_keep(&x->transform) || x->transform.select == 0) return 0;
    const char *const where = cause_rows(&l->s, x->target, 0, x->R - 1);
    if (where == NULL) return lvlm_fail_memory(err);
    return SAY(l, err, "in %s, which are %s:", where, x->target->name);
}

int slopes_find_signs(slopes *l, lvlm_error *err)
{
    bool first = true;
    TRY(say_names(l, err));
    for (size_t i = l->n; i-- > 0;) {
        const slope *const x = &l->at[i];
        if (x->stage != l->s.stage || !x->wrong) continue;
        if (first) TRY(say_place(l, x, err));
        first = false;
        TRY(say_parts(l, x, err));
        TRY(say_pattern(l, x, err));
    }
    if (first)
        return SAY(l, err, "%s is recorded, and this model has no such gradient",
                   source_of(l->s.stage));
    return 0;
}
