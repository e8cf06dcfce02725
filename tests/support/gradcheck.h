/* gradcheck.h - compares gradients with central finite differences, in double. */
#ifndef LVLM_TESTS_SUPPORT_GRADCHECK_H
#define LVLM_TESTS_SUPPORT_GRADCHECK_H

#include <stddef.h>
#include <stdint.h>

/* The scalar under test, computed from whatever `context` points at. */
typedef double gradcheck_loss(void *context);

/* Move x along a few random directions u and return the largest relative difference
 * between the slope of `loss`, by a four-point central difference, and <grad, u>; the
 * denominator is at least 1e-3 of sum |grad u| and of the loss, so that a slope of 0
 * does not blow up. x is restored. x, grad (n) */
double gradcheck(gradcheck_loss *loss, void *context, double *x, const double *grad,
                 size_t n);

/* Uniform in [-1, 1), a fixed sequence per seed.  x (n) */
void gradcheck_fill(double *x, size_t n, uint64_t seed);

/* sum x y: a loss that weighs every output.  x, y (n) */
double gradcheck_dot(const double *x, const double *y, size_t n);

#endif
