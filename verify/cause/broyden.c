/* broyden.c - see broyden.h. */
#include "verify/cause/broyden.h"

#include <math.h>
#include <string.h>

enum { HALVINGS = 5 };

double broyden_dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

int broyden_make(broyden *b, size_t C, double least, lvlm_arena *arena, lvlm_error *err)
{
    double *const x = lvlm_arena_alloc(arena, (2 * BROYDEN_STEPS + 3) * C, sizeof *x);
    if (x == NULL) return lvlm_fail_memory(err);
    *b = (broyden){ .C = C, .least = least, .u = x, .v = x + BROYDEN_STEPS * C };
    b->residual = b->v + BROYDEN_STEPS * C;
    b->step = b->residual + C;
    b->room = b->step + C;
    return 0;
}

/* out = H x */
static void apply(double *out, const broyden *b, const double *x)
{
    memcpy(out, x, b->C * sizeof *out);
    for (size_t i = 0; i < b->n; i++) {
        const double f = broyden_dot(b->v + i * b->C, x, b->C);
        for (size_t c = 0; c < b->C; c++) out[c] += f * b->u[i * b->C + c];
    }
}

/* The last step changed the residual by d: H += (step - H d) step'H / step'H d. */
static void correct(broyden *b, const double *d)
{
    const size_t C = b->C;
    double *const u = b->u + b->n * C, *const v = b->v + b->n * C;
    apply(b->room, b, d);
    const double below = broyden_dot(b->step, b->room, C);
    if (b->n == BROYDEN_STEPS || !(fabs(below) > 0)) return;
    for (size_t c = 0; c < C; c++) u[c] = (b->step[c] - b->room[c]) / below;
    memcpy(v, b->step, C * sizeof *v); /* H' step */
    for (size_t i = 0; i < b->n; i++) {
        const double f = broyden_dot(b->u + i * C, b->step, C);
        for (size_t c = 0; c < C; c++) v[c] += f * b->v[i * C + c];
    }
    b->n++;
}

void broyden_step(broyden *b, double *z, const double *r)
{
    if (b->solved) return;
    const double length = sqrt(broyden_dot(r, r, b->C));
    if (b->started && !(length < b->length) && b->halved < HALVINGS) {
        b->halved++; /* too far: go back by half of the step */
        for (size_t c = 0; c < b->C; c++) {
            b->step[c] /= 2;
            z[c] -= b->step[c];
        }
        return;
    }
    if (b->started) {
        for (size_t c = 0; c < b->C; c++) b->residual[c] = r[c] - b->residual[c];
        correct(b, b->residual);
    }
    b->started = true;
    memcpy(b->residual, r, b->C * sizeof *r);
    b->length = length;
    b->halved = 0;
    b->solved = length <= b->least;
    if (b->solved) return;
    apply(b->step, b, r);
    for (size_t c = 0; c < b->C; c++) {
        b->step[c] = -b->step[c];
        z[c] += b->step[c];
    }
}
