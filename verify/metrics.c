/* metrics.c - sums for norms and angles, and the divergence of two distributions. */
#include "verify/metrics.h"

#include <assert.h>
#include <math.h>

void lvlm_distance_add(lvlm_distance *d, const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            d->n_bad += !(a[i] == b[i] || (isnan(a[i]) && isnan(b[i])));
            continue;
        }
        const double difference = fabs(a[i] - b[i]);
        d->difference2 += difference * difference;
        d->a2 += a[i] * a[i];
        d->b2 += b[i] * b[i];
        d->ab += a[i] * b[i];
        d->n_differ += difference != 0;
        if (difference > d->max_abs) d->max_abs = difference;
    }
    d->n += n;
}

void lvlm_distance_merge(lvlm_distance *d, const lvlm_distance *part)
{
    d->difference2 += part->difference2;
    d->a2 += part->a2;
    d->b2 += part->b2;
    d->ab += part->ab;
    d->n += part->n;
    d->n_differ += part->n_differ;
    d->n_bad += part->n_bad;
    if (part->max_abs > d->max_abs) d->max_abs = part->max_abs;
}

double lvlm_relative_l2(const lvlm_distance *d)
{
    if (d->n_bad > 0) return INFINITY;
    if (d->difference2 == 0) return 0;
    return d->b2 > 0 ? sqrt(d->difference2 / d->b2) : INFINITY;
}

double lvlm_cosine(const lvlm_distance *d)
{
    if (d->n_bad > 0) return NAN;
    if (d->a2 == 0 && d->b2 == 0) return 1;
    return d->a2 > 0 && d->b2 > 0 ? d->ab / sqrt(d->a2 * d->b2) : 0;
}

/* log sum exp of a row, shifted by its largest value. */
static double log_sum_exp(const double *x, size_t n)
{
    const double top = x[lvlm_argmax(x, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

double lvlm_kl(const double *a, const double *b, size_t n)
{
    assert(n > 0);
    const double la = log_sum_exp(a, n), lb = log_sum_exp(b, n);
    double kl = 0;
    for (size_t i = 0; i < n; i++) {
        const double log_p = b[i] - lb;
        kl += exp(log_p) * (log_p - (a[i] - la));
    }
    return isfinite(kl) ? fabs(kl) : INFINITY; /* rounding may leave -1e-17 */
}

size_t lvlm_argmax(const double *a, size_t n)
{
    size_t best = 0;
    assert(n > 0);
    for (size_t i = 1; i < n; i++)
        if (a[i] > a[best]) best = i;
    return best;
}
