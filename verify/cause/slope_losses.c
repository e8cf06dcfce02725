/* slope_losses.c - other losses: scaled, or of other labels; see slope.h. A forward has
 * all of these alike. */
#include <math.h>

#include "verify/cause/slope_labels.h"

/* ---- the scale ------------------------------------------------------------------- */

/* What multiplies the mean over labels. */
static const char *meaning(cause_session *s, const texts *t, double k)
{
    const double n = (double)t->n_labels, B = (double)t->B;
    const struct {
        double k;
        const char *what;
    } known[] = {
        { n, "the loss is a sum over labels, not their mean" },
        { n / B, "the loss is a sum over labels, divided by the number of texts" },
        { n / (B * (double)t->T), "the loss is a mean over all places, those without "
                                  "a label too" },
        { n / (B * (double)(t->T - 1)), "the loss is a mean over all places after the "
                                        "first, those without a label too" },
        { n / (double)t->n_tokens, "the loss is a mean over all tokens, those without "
                                   "a label too" },
        { n / (double)(t->n_tokens - t->B), "the loss is a mean over all tokens after "
                                            "the first, those without a label too" },
        { n / (n + (double)t->n_first), "labels of first tokens are counted, which "
                                        "nothing predicts: the number of items" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (fabs(known[i].k / k - 1) < 1e-6) return known[i].what;
    if (k > 1 && fabs(k - nearbyint(k)) < 1e-6 * k)
        return log2(k) == nearbyint(log2(k)) && k >= 256
                   ? "a scale of the loss for float16 was not taken out again"
                   : lvlm_arena_printf(&s->arena,
                                       "gradients of %.0f equal steps were added up, "
                                       "or of as many processes",
                                       nearbyint(k));
    if (k < 1 && fabs(1 / k - nearbyint(1 / k)) < 1e-6 / k)
        return lvlm_arena_printf(&s->arena,
                                 "the loss was divided by %.0f, as for accumulation, "
                                 "and only one step recorded",
                                 nearbyint(1 / k));
    return "a loss that is scaled";
}

int slopes_try_scale(slopes *l, lvlm_error *err)
{
    cause_session *const s = &l->s;
    cause_finding found;
    texts t;
    double k = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].stage == s->stage && l->at[i].distance.ab > 0)
            k = l->at[i].distance.b2 / l->at[i].distance.ab;
    if (k == 0 || l->n_wrong < 2) return 0;
    s->out->n_tried++;
    slopes_judge(l, &found, l->model, k);
    if (!found.agrees) return 0;
    TRY(texts_read(&t, l, err));
    return cause_offer(s, "loss_scale",
                       lvlm_arena_printf(&s->arena, "the loss times %.6g", k),
                       meaning(s, &t, k), &found, err);
}

/* ---- other labels ---------------------------------------------------------------- */

typedef int64_t label_maker(const texts *t, size_t b, size_t at);

/* What predicts a label is the token before it: one place later it is its own. */
static int64_t not_shifted(const texts *t, size_t b, size_t at)
{
    return at > 0 ? texts_label(t, b, at - 1) : LVLM_IGNORE_LABEL;
}

static int64_t shifted_twice(const texts *t, size_t b, size_t at)
{
    return texts_label(t, b, at + 1);
}

static int64_t every_token(const texts *t, size_t b, size_t at)
{
    const size_t i = b * t->T + at;
    if (at >= t->T || !texts_is_real(t, i) || (at > 0 && !texts_is_real(t, i - 1)))
        return LVLM_IGNORE_LABEL;
    return lvlm_input_integer(t->ids, i);
}

static int64_t every_word(const texts *t, size_t b, size_t at)
{
    const int64_t id = every_token(t, b, at);
    return id != t->image ? id : LVLM_IGNORE_LABEL;
}

static bool counts_in(const texts *t, size_t b, size_t first, size_t end)
{
    for (size_t at = first; at < end; at++)
        if (texts_label(t, b, at) != LVLM_IGNORE_LABEL) return true;
    return false;
}

static int64_t without_last(const texts *t, size_t b, size_t at)
{
    return counts_in(t, b, at + 1, t->T) ? texts_label(t, b, at) : LVLM_IGNORE_LABEL;
}

static int64_t without_first(const texts *t, size_t b, size_t at)
{
    return counts_in(t, b, 1, at) ? texts_label(t, b, at) : LVLM_IGNORE_LABEL;
}

// clang-format off
static const struct label_row {
    label_maker *make;
    const char *with, *see;
} rows[] = {
    { not_shifted,   "labels at the place of the token itself",
      "the reference does not shift labels by one before its loss" },
    { shifted_twice, "labels shifted twice",
      "labels were shifted by one before a loss that shifts them again" },
    { every_token,   "a label for every token",
      "the loss is of all tokens: labels of the prompt are not ignored (-100)" },
    { every_word,    "a label for every token but those of images",
      "the loss is of all tokens: labels of the prompt are not ignored (-100)" },
    { without_last,  "the last label of each text left out",
      "the end of an answer has no label in the reference" },
    { without_first, "the first label of each text left out",
      "the first token of an answer has no label in the reference" },
};
// clang-format on

static int try_labels(slopes *l, const texts *t, relabelled *x, lvlm_error *err)
{
    cause_session *const s = &l->s;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !cause_is_found(s); i++) {
        cause_finding found;
        bool done;
        if (!slopes_can_pass(l, 1)) return 0;
        for (size_t k = 0; k < t->B * x->W; k++)
            x->labels[k] = rows[i].make(t, k / x->W, k % x->W);
        TRY(relabelled_begin(l, err));
        TRY(relabelled_pass(l, &done, x, 0, err));
        if (!done) continue;
        s->out->n_tried++;
        slopes_judge(l, &found, l->other, 1);
        TRY(cause_offer(s, "labels", rows[i].with, rows[i].see, &found, err));
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------- */

int slopes_try_losses(slopes *l, lvlm_error *err)
{
    const cause_session *const s = &l->s;
    relabelled x;
    texts t;
    if (l->n_wrong < 2) return 0;
    TRY(texts_read(&t, l, err));
    if (t.n_labels == 0) return 0;
    int rc = relabel(&x, &t, s->replay->recording.checkpoint, err);
    if (rc == 0) rc = try_labels(l, &t, &x, err);
    if (rc == 0 && !cause_is_found(s)) rc = slopes_try_texts(l, &t, &x, err);
    lvlm_arena_free(&x.arena);
    return rc;
}
