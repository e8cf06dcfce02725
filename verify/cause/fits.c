/* fits.c - a number that is not one of the known ones: the value of a setting, or the
 * factor of a tensor, with which the stage agrees; see trial.h.
 *
 *   residual r(x) = rows computed with x - rows recorded
 *   next x        = x - <J, r> / <J, J>,   J = (r(x) - r(x before)) / (x - x before)
 *
 * A number that explains little of the residual at its first step is given up. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "verify/cause/trial.h"
#include "verify/replay/own.h"

#define EXPLAINED 0.1 /* of the square of the residual, for a number to be followed */
#define LEFT 0.9      /* of the error after a few steps, or it is given up */
#define FARTHEST 2.0  /* that a step may go, in the logarithm of a setting */
#define STILL 1e-12   /* relative: a step that changes nothing */

typedef struct residual {
    double x, error;
    double *r; /* (R,C) */
} residual;

static int measure(cause_session *s, const cause_number *n, residual *out,
                   lvlm_error *err)
{
    TRY(n->apply(s, n->user, n->is_log ? exp(out->x) : out->x, err));
    TRY(cause_compute(s, out->r, &out->error, err));
    for (size_t i = 0; i < s->R * s->C; i++) out->r[i] -= s->want[i];
    return variant_reset(&s->changed, err);
}

/* The step from `b`, with the slope from `a`; *explains: so much of the residual. */
static double step_from(const cause_session *s, const residual *a, const residual *b,
                        double *explains)
{
    double jj = 0, jr = 0, rr = 0;
    for (size_t i = 0; i < s->R * s->C; i++) {
        const double j = (b->r[i] - a->r[i]) / (b->x - a->x);
        jj += j * j;
        jr += j * b->r[i];
        rr += b->r[i] * b->r[i];
    }
    *explains = jj > 0 && rr > 0 ? jr * jr / (jj * rr) : 0;
    return jj > 0 ? -jr / jj : 0;
}

/* Of two residuals, the first of which is measured, the second to be, to the nearest
 * x. False: this number is not the cause. */
static int follow(bool *found, cause_session *s, const cause_number *n, residual *a,
                  residual *b, lvlm_error *err)
{
    enum { MOST = 16, FEW = 4 };
    const double own = s->stage->share.own;
    *found = false;
    for (size_t i = 0; i < MOST; i++) {
        double explains;
        TRY(measure(s, n, b, err));
        if (!isfinite(b->error)) return 0;
        *found = b->error <= lvlm_own_limit(s->stage);
        const double step = step_from(s, a, b, &explains);
        if (*found || (i == 0 && explains < EXPLAINED) ||
            (i == FEW && b->error > LEFT * own))
            return 0;
        if (!(fabs(step) > STILL * fabs(b->x))) break;
        const residual before = *a;
        *a = *b;
        b->r = before.r;
        b->x += n->is_log ? fmax(-FARTHEST, fmin(FARTHEST, step)) : step;
    }
    *found = true; /* it comes no nearer; a trial decides */
    return 0;
}

/* The shortest decimal number that is as good. */
static int shorten(double *x, cause_session *s, const cause_number *n, residual *b,
                   lvlm_error *err)
{
    const double most = fmax(lvlm_own_limit(s->stage), 2 * b->error);
    const double exact = n->is_log ? exp(b->x) : b->x;
    for (int digits = 2; digits <= 6; digits += 2) {
        char text[32];
        (void)snprintf(text, sizeof text, "%.*g", digits, exact);
        *x = strtod(text, NULL);
        b->x = n->is_log ? log(*x) : *x;
        if (fabs(*x - exact) > 1e-3 * fabs(exact)) continue;
        TRY(measure(s, n, b, err));
        if (b->error <= most) return 0;
    }
    *x = exact;
    return 0;
}

static int solve(bool *found, double *x, cause_session *s, const cause_number *n,
                 double *rows, lvlm_error *err)
{
    residual a = { .r = rows }, b = { .r = rows + s->R * s->C };
    a.x = n->is_log ? log(n->start) : n->start;
    b.x = n->is_log ? a.x + 0.1 : a.x / 2;
    if (n->is_now)
        for (size_t i = 0; i < s->R * s->C; i++) a.r[i] = s->got[i] - s->want[i];
    else
        TRY(measure(s, n, &a, err));
    *found = false;
    if (!n->is_now && !isfinite(a.error)) return 0;
    TRY(follow(found, s, n, &a, &b, err));
    return *found ? shorten(x, s, n, &b, err) : 0;
}

int cause_fit(bool *found, double *x, cause_session *s, const cause_number *n,
              lvlm_error *err)
{
    enum { FEWEST = 16 }; /* values: any number explains one */
    *found = false;
    if (s->R * s->C < FEWEST || !isfinite(s->stage->share.own) ||
        s->out->n_tried >= s->most_tries)
        return 0;
    double *const rows = lvlm_malloc(2 * s->R * s->C * sizeof *rows);
    if (rows == NULL) return lvlm_fail_memory(err);
    const int rc = solve(found, x, s, n, rows, err);
    lvlm_free(rows);
    return rc;
}
