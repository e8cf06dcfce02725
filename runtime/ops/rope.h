/* rope.h - rotary positions on half-split pairs (j, j + D/2). */
#ifndef LVLM_RUNTIME_OPS_ROPE_H
#define LVLM_RUNTIME_OPS_ROPE_H

#include "runtime/ops/ops.h"

/* inv_freq[j] = theta^(-j/n): the frequencies of a head 2n wide.  inv_freq (n) */
void rope_frequencies(real *inv_freq, size_t n, double theta);

/* Llama 3.1's scaling: waves longer than original/low are slowed by `factor`, those
 * shorter than original/high are kept, those between are interpolated. inv_freq (n) */
void rope_scale_llama3(real *inv_freq, size_t n, double factor, double low, double high,
                       double original);

/* cos and sin of positions[axis[j],n] * inv_freq[j], each step rounded to real; rope.c
 * explains why. `axis` NULL: all pairs rotate by axis 0. cosines, sines (N,n) positions
 * (axes,N), |position| < 2^24 axis, inv_freq (n) */
void rope_table(real *cosines, real *sines, const int64_t *positions,
                const unsigned char *axis, const real *inv_freq, size_t N, size_t n);

/* y_j = x_j cos_j - x_k sin_j, y_k = x_k cos_j + x_j sin_j, k = j + D/2, the same for
 * every head. y may be x.  x, y (N,heads,D)  cosines, sines (N,D/2) */
void rope_forward(real *y, const real *x, const real *cosines, const real *sines,
                  size_t N, size_t heads, size_t D);
/* dx = dy rotated by the opposite angle. Unlike other backwards it OVERWRITES dx, so
 * that it can work in place (dx may be dy). dx, dy (N,heads,D) cosines, sines
 * (N,D/2) */
void rope_backward(real *dx, const real *dy, const real *cosines, const real *sines,
                   size_t N, size_t heads, size_t D);

#endif
