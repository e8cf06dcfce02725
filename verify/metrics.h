/* metrics.h - how far two arrays of numbers are apart. */
#ifndef LVLM_VERIFY_METRICS_H
#define LVLM_VERIFY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Sums over pairs of values, added in any number of calls. Zero-initialise for an empty
 * sum. Values are compared in double. */
typedef struct lvlm_distance {
    double difference2; /* sum (a - b)^2 */
    double a2, b2, ab;
    double max_abs;    /* largest |a - b| */
    uint64_t n;        /* pairs */
    uint64_t n_differ; /* pairs with a != b as numbers */
    uint64_t n_bad;    /* pairs of which one is not finite, unless both are the same */
} lvlm_distance;

/* a, b (n) */
void lvlm_distance_add(lvlm_distance *d, const double *a, const double *b, size_t n);
/* Add the sums of another part. */
void lvlm_distance_merge(lvlm_distance *d, const lvlm_distance *part);

/* ||a - b|| / ||b||; b is the reference. 0 when a equals b, infinite when b is zero
 * and a is not or when any value is not finite. */
double lvlm_relative_l2(const lvlm_distance *d);
/* a.b / (||a|| ||b||); 1 when both are zero. */
double lvlm_cosine(const lvlm_distance *d);

/* KL(softmax(b) || softmax(a)) of one row of logits, in nats; b is the reference.
 * a, b (n). Infinite when a value is not finite. */
double lvlm_kl(const double *a, const double *b, size_t n);
/* Index of the largest value, the first of equals. */
size_t lvlm_argmax(const double *a, size_t n);

LVLM_END_DECLS

#endif
