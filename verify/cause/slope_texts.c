/* slope_texts.c - texts that count otherwise in the loss; see slope_labels.h.
 *
 *   the recorded gradient of one small tensor = sum over texts of w times the gradient
 *   of the text by itself -> w, by least squares -> all gradients with these w */
#include <math.h>
#include <string.h>

#include "runtime/part.h"
#include "verify/cause/slope_labels.h"

enum { MOST_TEXTS = 16 };

#define NEAR 1e-5 /* of what a text counts: the same */

/* Labels of one text alone. */
static void label_text(const texts *t, relabelled *x, size_t text)
{
    for (size_t k = 0; k < t->B * x->W; k++)
        x->labels[k] =
            k / x->W == text ? texts_label(t, text, k % x->W) : LVLM_IGNORE_LABEL;
}

/* Solve a x = b by elimination; false: it cannot be.  a (n,n), b (n) becomes x */
static bool solve(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t r = i; r < n; r++)
            if (fabs(a[r * n + i]) > fabs(a[best * n + i])) best = r;
        if (!(fabs(a[best * n + i]) > 0)) return false;
        for (size_t c = 0; c < n; c++) {
            const double swap = a[i * n + c];
            a[i * n + c] = a[best * n + c];
            a[best * n + c] = swap;
        }
        const double swap = b[i];
        b[i] = b[best];
        b[best] = swap;
        for (size_t r = 0; r < n; r++) {
            if (r == i) continue;
            const double f = a[r * n + i] / a[i * n + i];
            for (size_t c = i; c < n; c++) a[r * n + c] -= f * a[i * n + c];
            b[r] -= f * b[i];
        }
    }
    for (size_t i = 0; i < n; i++) b[i] /= a[i * n + i];
    return true;
}

/* Weights w with which the sum of g[i] comes nearest to `want`; false: not near.
 * g (n) of (m) each, w (n), want (m) */
static bool fit(double *w, const double *const *g, size_t n, const double *want,
                size_t m)
{
    double a[MOST_TEXTS * MOST_TEXTS], rest2 = 0, want2 = 0;
    for (size_t i = 0; i < n; i++) {
        w[i] = 0;
        for (size_t r = 0; r < m; r++) w[i] += g[i][r] * want[r];
        for (size_t k = 0; k < n; k++) {
            a[i * n + k] = 0;
            for (size_t r = 0; r < m; r++) a[i * n + k] += g[i][r] * g[k][r];
        }
    }
    if (!solve(a, w, n)) return false;
    for (size_t r = 0; r < m; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += w[i] * g[i][r];
        rest2 += (sum - want[r]) * (sum - want[r]);
        want2 += want[r] * want[r];
    }
    return rest2 <= 1e-10 * want2;
}

/* The smallest gradient of the text that shows the weights of n texts; NULL: none. */
static const slope *find_probe(const slopes *l, size_t n)
{
    const slope *best = NULL;
    for (size_t i = 0; i < l->n; i++) {
        const slope *const x = &l->at[i];
        if (x->fits && x->wrong && x->n >= 4 * n && x->distance.b2 > 0 &&
            lvlm_part_of(x->target->name) == LVLM_PART_TEXT &&
            (best == NULL || x->n < best->n))
            best = x;
    }
    return best;
}

/* How much each text counts, of the sum over its labels; false: nothing fits. */
static int weigh(slopes *l, const texts *t, relabelled *x, double *w, bool *found,
                 lvlm_error *err)
{
    const slope *const probe = find_probe(l, t->n_counted);
    const double *g[MOST_TEXTS];
    *found = false;
    if (probe == NULL) return 0;
    for (size_t i = 0; i < t->n_counted; i++) {
        double *const of = lvlm_arena_alloc(&x->arena, probe->n, sizeof *of);
        bool done;
        if (of == NULL) return lvlm_fail_memory(err);
        label_text(t, x, t->counted[i]);
        TRY(relabelled_begin(l, err));
        TRY(relabelled_pass(l, &done, x, 1, err));
        if (!done || !slope_load(l, probe, l->other)) return 0;
        memcpy(of, l->got, probe->n * sizeof *of);
        g[i] = of;
    }
    *found = fit(w, g, t->n_counted, l->want, probe->n);
    return 0;
}

/* The weight of a text if the loss is a mean over texts of the mean of each. */
static double of_means(const texts *t, size_t i)
{
    return 1 / ((double)t->n_counted * (double)t->of_text[t->counted[i]]);
}

/* What the weights mean; those near a known one become it. */
static const char *explain(cause_session *s, const texts *t, double *w)
{
    const double n = (double)t->n_labels;
    bool means = true, out = true;
    double counted = 0;
    const char *left = "";
    for (size_t i = 0; i < t->n_counted; i++) {
        means &= fabs(w[i] / of_means(t, i) - 1) < NEAR;
        if (fabs(w[i] * n) < NEAR) {
            w[i] = 0;
            left = lvlm_arena_printf(&s->arena, "%s%s%zu", left,
                                     *left != '\0' ? ", " : "", t->counted[i]);
            if (left == NULL) return NULL;
        } else {
            counted += (double)t->of_text[t->counted[i]];
        }
    }
    for (size_t i = 0; i < t->n_counted; i++)
        out &= w[i] == 0 || fabs(w[i] * counted - 1) < NEAR;
    for (size_t i = 0; i < t->n_counted; i++)
        w[i] = means ? of_means(t, i) : out && w[i] != 0 ? 1 / counted : w[i];
    if (means)
        return "the loss is a mean over texts of the mean of each, as when gradients "
               "of single texts are accumulated: it is to be one over all labels";
    if (out && *left != '\0')
        return lvlm_arena_printf(
            &s->arena, "labels of text %s do not count in the reference", left);
    return "texts have weights of their own in the loss";
}

/* "labels of text 0 counted 1.5 times, of text 1 0.5 times" */
static const char *list_weights(cause_session *s, const texts *t, const double *w)
{
    const char *text = "";
    for (size_t i = 0; i < t->n_counted && text != NULL; i++)
        text = lvlm_arena_printf(&s->arena, "%s%s %zu %s%.4g times", text,
                                 i == 0 ? "labels of text" : ", of text", t->counted[i],
                                 i == 0 ? "counted " : "", w[i] * (double)t->n_labels);
    return text;
}

int slopes_try_texts(slopes *l, const texts *t, relabelled *x, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const size_t n = t->n_counted;
    double w[MOST_TEXTS];
    cause_finding found;
    bool done;
    if (n < 2 || n > MOST_TEXTS || !slopes_can_pass(l, 2 * n)) return 0;
    s->out->n_tried++;
    TRY(weigh(l, t, x, w, &done, err));
    if (!done) return 0;
    const char *const see = explain(s, t, w);
    TRY(relabelled_begin(l, err));
    for (size_t i = 0; i < n; i++) {
        if (w[i] == 0) continue;
        label_text(t, x, t->counted[i]);
        TRY(relabelled_pass(l, &done, x, w[i], err));
        if (!done) return 0;
    }
    slopes_judge(l, &found, l->other, 1);
    return cause_offer(s, "texts", list_weights(s, t, w), see, &found, err);
}
