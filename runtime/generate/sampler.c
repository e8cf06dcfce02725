/* sampler.c - chooses the next token; see sampler.h. */
#include "runtime/generate/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/random.h"
#include "formats/container/numeric.h"

int lvlm_sampling_check(const lvlm_sampling *s, lvlm_error *err)
{
    FAIL_IF(!(s->temperature >= 0 && s->temperature < INFINITY), err, LVLM_EUSAGE,
            "temperature %g: expected 0 (greedy) or more", s->temperature);
    FAIL_IF(!(s->penalty > 0 && s->penalty < INFINITY), err, LVLM_EUSAGE,
            "repetition penalty %g: expected a number above 0", s->penalty);
    if (s->temperature == 0) return 0;
    FAIL_IF(!(s->top_p >= 0 && s->top_p <= 1), err, LVLM_EUSAGE,
            "top-p %g: expected a probability, 0 to 1", s->top_p);
    return 0;
}

int lvlm_sampler_make(lvlm_sampler *s, const lvlm_sampling *sampling, uint64_t vocab,
                      lvlm_error *err)
{
    *s = (lvlm_sampler){ .sampling = *sampling, .vocab = (size_t)vocab };
    TRY(lvlm_sampling_check(sampling, err));
    FAIL_IF(vocab == 0 || vocab > UINT32_MAX, err, LVLM_EFORMAT,
            "%llu logits to choose from", (unsigned long long)vocab);
    s->stream = lvlm_random_stream(sampling->seed, "tokens");
    s->scores = lvlm_calloc(s->vocab, sizeof *s->scores);
    s->spare = lvlm_calloc(s->vocab, sizeof *s->spare);
    s->held = lvlm_calloc(s->vocab, sizeof *s->held);
    s->kept = lvlm_calloc(s->vocab, sizeof *s->kept);
    const bool ok =
        s->scores != NULL && s->spare != NULL && s->held != NULL && s->kept != NULL;
    return ok ? 0 : lvlm_fail_memory(err);
}

void lvlm_sampler_free(lvlm_sampler *s)
{
    lvlm_free(s->scores);
    lvlm_free(s->spare);
    lvlm_free(s->held);
    lvlm_free(s->kept);
    *s = (lvlm_sampler){ 0 };
}

void lvlm_sampler_hold(lvlm_sampler *s, const int64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0 && (uint64_t)ids[i] < s->vocab) s->held[ids[i]] = true;
}

/* In float, as the reference computes it. */
static void penalise(lvlm_sampler *s)
{
    const float penalty = (float)s->sampling.penalty;
    if (penalty == 1) return;
    for (size_t i = 0; i < s->vocab; i++)
        if (s->held[i])
            s->scores[i] =
                s->scores[i] < 0 ? s->scores[i] * penalty : s->scores[i] / penalty;
}

/* The index of the largest, the first of equals; n when all are -infinity. */
static size_t largest(const float *x, size_t n)
{
    size_t best = n;
    float most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (x[i] <= most) continue;
        most = x[i];
        best = i;
    }
    return best;
}

/* Sift heap[i] down; the root is the smallest. */
static void sift(float *heap, size_t n, size_t i)
{
    for (size_t below; (below = 2 * i + 1) < n; i = below) {
        if (below + 1 < n && heap[below + 1] < heap[below]) below++;
        if (heap[i] <= heap[below]) return;
        const float swap = heap[i];
        heap[i] = heap[below];
        heap[below] = swap;
    }
}

/* The k-th largest of x, 1 <= k <= n.  heap (k) is scratch */
static float kth_largest(float *heap, const float *x, size_t n, size_t k)
{
    assert(k >= 1 && k <= n);
    memcpy(heap, x, k * sizeof *heap);
    for (size_t i = k / 2; i-- > 0;) sift(heap, k, i);
    for (size_t i = k; i < n; i++) {
        if (x[i] <= heap[0]) continue;
        heap[0] = x[i];
        sift(heap, k, 0);
    }
    return heap[0];
}

/* Most likely first, ties by id. */
static int order(const void *a, const void *b)
{
    const lvlm_candidate *const x = a, *const y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static double weight(float score, float most)
{
    return exp((double)score - (double)most);
}

static double sum_weights(const lvlm_candidate *kept, size_t n, float most)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += weight(kept[i].score, most);
    return sum;
}

/* Candidates with at least `least`, in order of id. */
static size_t collect(lvlm_sampler *s, float least)
{
    size_t n = 0;
    for (size_t i = 0; i < s->vocab; i++)
        if (s->scores[i] >= least)
            s->kept[n++] = (lvlm_candidate){ s->scores[i], (uint32_t)i };
    return n;
}

/* Keep the most likely candidates whose probabilities sum to top_p, at least one;
 * returns their number. Candidates whose total is below 1 - top_p are dropped before
 * the others are sorted. */
static size_t keep_top_p(lvlm_sampler *s, size_t n, float most)
{
    assert(n > 0 && n <= s->vocab);
    const double p = s->sampling.top_p, total = sum_weights(s->kept, n, most);
    const double least = (1 - p) * total / (2 * (double)n);
    size_t kept = 0;
    double before = 0;
    for (size_t i = 0; i < n; i++)
        if (weight(s->kept[i].score, most) >= least) s->kept[kept++] = s->kept[i];
    qsort(s->kept, kept, sizeof *s->kept, order);
    for (n = 0; n < kept && (n == 0 || before < p * total); n++)
        before += weight(s->kept[n].score, most);
    return n;
}

/* Draw one of n by weight. */
static int64_t draw(lvlm_sampler *s, size_t n, float most)
{
    assert(n > 0 && n <= s->vocab);
    const double random = lvlm_random_uniform(s->stream, s->drawn++);
    double left = random * sum_weights(s->kept, n, most);
    size_t i = 0;
    while (i + 1 < n && (left -= weight(s->kept[i].score, most)) >= 0) i++;
    return s->kept[i].id;
}

static int64_t sample(lvlm_sampler *s, float most)
{
    const lvlm_sampling *const o = &s->sampling;
    const float temperature = (float)o->temperature;
    for (size_t i = 0; i < s->vocab; i++) s->scores[i] /= temperature;
    most /= temperature;
    const bool cut = o->top_k > 0 && o->top_k < s->vocab;
    size_t n =
        collect(s, cut ? kth_largest(s->spare, s->scores, s->vocab, (size_t)o->top_k)
                       : -INFINITY);
    if (o->top_p < 1) n = keep_top_p(s, n, most);
    return draw(s, n, most);
}

int lvlm_sampler_pick(lvlm_sampler *s, int64_t *id, const lvlm_tensor *logits,
                      lvlm_error *err)
{
    assert(lvlm_tensor_numel(logits) == s->vocab);
    lvlm_convert_values(s->scores, LVLM_F32, logits->data, logits->dtype, s->vocab);
    for (size_t i = 0; i < s->vocab; i++)
        FAIL_IF(isnan(s->scores[i]), err, LVLM_ECHECK,
                "logits[%zu]: is not a number; are the weights sound?", i);
    penalise(s);
    const size_t best = largest(s->scores, s->vocab);
    FAIL_IF(best == s->vocab, err, LVLM_ECHECK, "logits: no token is possible");
    *id = s->sampling.temperature > 0 ? sample(s, s->scores[best]) : (int64_t)best;
    return 0;
}
