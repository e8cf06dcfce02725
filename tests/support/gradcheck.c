/* gradcheck.c - compares gradients with central finite differences, in double. */
#include "tests/support/gradcheck.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define MOST 16384 /* elements of the arrays under test */
#define DIRECTIONS 3

static const double step = 1e-3; /* truncation ~ step^4, rounding ~ 1e-16 / step */

void gradcheck_fill(double *x, size_t n, uint64_t seed)
{
    uint64_t state = seed * 2654435761u + 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        x[i] = (double)(state >> 11) * 0x1p-52 - 1;
    }
}

double gradcheck_dot(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double loss_at(gradcheck_loss *loss, void *context, double *x,
                      const double *origin, const double *u, double t, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = origin[i] + t * u[i];
    return loss(context);
}

double gradcheck(gradcheck_loss *loss, void *context, double *x, const double *grad,
                 size_t n)
{
    double origin[MOST], u[MOST], worst = 0;
    assert(n <= MOST);
    memcpy(origin, x, n * sizeof *x);
    for (uint64_t seed = 1; seed <= DIRECTIONS; seed++) {
        double at[4], sum = 0, size = 0;
        gradcheck_fill(u, n, 1000 + seed);
        for (int k = 0; k < 4; k++) {
            static const double points[4] = { -2, -1, 1, 2 };
            at[k] = loss_at(loss, context, x, origin, u, points[k] * step, n);
        }
        const double slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step);
        for (size_t i = 0; i < n; i++) {
            sum += grad[i] * u[i];
            size += fabs(grad[i] * u[i]);
        }
        const double floor = 1e-3 * fmax(size, fabs(at[1]));
        const double base = fmax(fmax(fabs(slope), fabs(sum)), fmax(floor, 1e-300));
        const double error = fabs(slope - sum) / base;
        /* a NaN counts as the largest error */
        worst = error <= worst ? worst : error;
    }
    memcpy(x, origin, n * sizeof *x);
    return worst;
}
