/* factors.c - mistakes in the values of tensors: one added or missing, a factor, a
 * sign, a gate before or after tanh; see trial.h. */
#include <math.h>

#include "formats/base/text.h"
#include "verify/cause/trial.h"

/* ---- what can be done to a value ------------------------------------------------- */

static double add_one(double x, double by)
{
    return x + by;
}

static double times(double x, double by)
{
    return x * by;
}

static double to_tanh(double x, double by)
{
    (void)by;
    return tanh(x);
}

static double from_tanh(double x, double by)
{
    (void)by;
    return fabs(x) < 1 ? atanh(x) : x;
}

// clang-format off
/* Tensors, and what may have happened to them. Other factors are found by fits.c. */
static const struct value_row {
    const char *mistake, *tensors;
    double (*change)(double x, double by);
    double by[2];
    size_t n_by;
    const char *what; /* "added to": the number is before it, the tensors after it */
    const char *see;  /* after their names */
    bool together;    /* all of them, after each by itself */
    bool maps;        /* a weight and its bias too */
} rows[] = {
    { "norm_offset", "*norm*.weight", add_one, { 1, -1 }, 2,
      "added to", "norms are stored as w or as 1 + w, the other way round from this family", true },
    { "factor", "*", times, { -1 }, 1,
      "times", "holds values times a factor", false, true },
    { "bias", "*.bias", times, { 0 }, 1,
      "times", "is not there in the reference, or was zero", false },
    { "gate", "*gate", from_tanh, { 0 }, 1,
      "atanh of", "holds the gate after tanh, and this family stores it before", true },
    { "gate", "*gate", to_tanh, { 0 }, 1,
      "tanh of", "holds the gate where tanh is taken of it twice", true },
};
// clang-format on

static bool fits(const struct value_row *row, const lvlm_target *t)
{
    return lvlm_matches_listed(row->tensors, t->name) && t->shape.n > 0;
}

static int apply(cause_session *s, const struct value_row *row, const lvlm_target *t,
                 double by, lvlm_error *err)
{
    double *const x = variant_rounded(&s->changed, t);
    const size_t n = (size_t)lvlm_tensor_numel(t->here.tensor);
    if (x == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) x[i] = row->change(x[i], by);
    return 0;
}

static int try_one(cause_session *s, const struct value_row *row,
                   const lvlm_target *const *list, size_t n, double by, lvlm_error *err)
{
    const char *const names = cause_names(s, list, n);
    if (names == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) TRY(apply(s, row, list[i], by, err));
    const bool gate = row->change == from_tanh || row->change == to_tanh;
    return cause_try(
        s, row->mistake,
        gate ? lvlm_arena_printf(&s->arena, "%s %s", row->what, names)
             : lvlm_arena_printf(&s->arena, "%.6g %s %s", by, row->what, names),
        lvlm_arena_printf(&s->arena, "%s: %s", names, row->see), err);
}

static int try_row(cause_session *s, const struct value_row *row, lvlm_error *err)
{
    const lvlm_target *all[FEEDS];
    size_t n = 0;
    for (size_t i = 0; i < s->n_feeds; i++) {
        if (!fits(row, s->feeds[i])) continue;
        all[n++] = s->feeds[i];
        for (size_t k = 0; k < row->n_by; k++)
            TRY(try_one(s, row, &s->feeds[i], 1, row->by[k], err));
        const lvlm_target *const map[2] = { s->feeds[i], cause_bias(s, s->feeds[i]) };
        for (size_t k = 0; row->maps && map[1] != NULL && k < row->n_by; k++)
            TRY(try_one(s, row, map, 2, row->by[k], err));
    }
    if (!row->together || n < 2 || n > VARIANT_TENSORS ||
        cause_names_it(s, row->mistake))
        return 0;
    for (size_t k = 0; k < row->n_by; k++)
        TRY(try_one(s, row, all, n, row->by[k], err));
    return 0;
}

/* ---- any factor ------------------------------------------------------------------ */

/* A weight, or with its bias. */
typedef struct scaled {
    const lvlm_target *list[2];
    size_t n;
} scaled;

static int scale(cause_session *s, void *user, double x, lvlm_error *err)
{
    static const struct value_row factor = { .change = times };
    const scaled *const of = user;
    for (size_t i = 0; i < of->n; i++) TRY(apply(s, &factor, of->list[i], x, err));
    return 0;
}

static int fit_one(cause_session *s, scaled *of, lvlm_error *err)
{
    const cause_number number = { scale, of, .start = 1, .is_now = true };
    bool found;
    double x;
    TRY(cause_fit(&found, &x, s, &number, err));
    if (!found || x == 1 || fabs(x) < 1e-9) return 0;
    TRY(scale(s, of, x, err));
    const char *const names = cause_names(s, of->list, of->n);
    if (names == NULL) return lvlm_fail_memory(err);
    return cause_try(
        s, "factor", lvlm_arena_printf(&s->arena, "%.6g times %s", x, names),
        lvlm_arena_printf(&s->arena, "%s: holds values times a factor", names), err);
}

int cause_fit_values(cause_session *s, bool relations, lvlm_error *err)
{
    if (relations) return 0;
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i];
        scaled of = { { t, cause_bias(s, t) }, 1 };
        if (lvlm_tensor_numel(t->here.tensor) == 1) continue; /* it explains anything */
        TRY(fit_one(s, &of, err));
        of.n = 2;
        if (of.list[1] != NULL) TRY(fit_one(s, &of, err));
    }
    return 0;
}

int cause_try_values(cause_session *s, bool relations, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !relations; i++)
        TRY(try_row(s, &rows[i], err));
    return 0;
}
