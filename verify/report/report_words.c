/* report_words.c - numbers, places, reasons and verdicts in words; see
 * report_words.h. */
#include "verify/report/report_words.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "verify/replay/bands.h"
#include "verify/replay/coarse.h"

/* ---- numbers and reasons --------------------------------------------------------- */

const char *lvlm_report_error(char text[LVLM_ERROR_TEXT], double error)
{
    const char *const format = isnan(error) ? "nan" : error == 0 ? "0" : NULL;
    if (format != NULL)
        snprintf(text, LVLM_ERROR_TEXT, "%s", format);
    else
        snprintf(text, LVLM_ERROR_TEXT, "%.2e", error);
    return text;
}

const char *lvlm_report_band(char text[LVLM_ERROR_TEXT], double band)
{
    lvlm_report_error(text, band);
    char *exponent = strchr(text, 'e'), *end = exponent;
    if (exponent == NULL) return text;
    while (end[-1] == '0') end--;
    if (end[-1] == '.') end--;
    memmove(end, exponent, strlen(exponent) + 1);
    return text;
}

static void put_distance_reason(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    const bool inside = s->error <= s->band;
    char error[LVLM_ERROR_TEXT], band[LVLM_ERROR_TEXT];
    if (inside && s->verdict == LVLM_VERDICT_OUT && s->is_logits) {
        lvlm_strbuf_printf(out, "max KL %s is over the band %s",
                           lvlm_report_error(error, s->found.max_kl),
                           lvlm_report_band(band, s->band_kl));
        return;
    }
    lvlm_strbuf_printf(out, "error %s is %s the band %s",
                       lvlm_report_error(error, s->error), inside ? "within" : "over",
                       lvlm_report_band(band, s->band));
    if (s->found.distance.n_bad > 0)
        lvlm_strbuf_printf(out, "; %" PRIu64 " of %" PRIu64 " values are not finite",
                           s->found.distance.n_bad, s->found.distance.n);
}

/* Why agreement there proves nothing. */
static const char *blind_reason(const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    if (s->is_gradient) return "every recorded gradient is zero";
    if (e->n_rows == 0) return "no row is compared: all of them are padding";
    if (e->distance.b2 == 0) return "every recorded value is zero";
    return e->n_constant == e->n_rows ? "every recorded row is one value repeated"
                                      : "every recorded row is the same";
}

void lvlm_report_reason(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char want[LVLM_SHAPE_TEXT], got[LVLM_SHAPE_TEXT];
    switch (s->verdict) {
    case LVLM_VERDICT_MISSING:
        lvlm_strbuf_puts(out, "recorded, and this model does not compute it");
        break;
    case LVLM_VERDICT_SHAPE:
        lvlm_strbuf_printf(out, "recorded in shape %s, computed in shape %s",
                           lvlm_shape_text(want, &s->shape),
                           lvlm_shape_text(got, &s->got));
        break;
    case LVLM_VERDICT_VACUOUS:
        lvlm_strbuf_printf(out,
                           "%s, which proves nothing: record it with inputs that "
                           "differ",
                           blind_reason(s));
        break;
    case LVLM_VERDICT_OK:
    case LVLM_VERDICT_EXACT:
    case LVLM_VERDICT_ROUNDING:
    case LVLM_VERDICT_OUT: put_distance_reason(out, s); break;
    }
}

/* ---- rows ----------------------------------------------------------------------- */

void lvlm_report_place(lvlm_place *index, lvlm_place *meaning, const lvlm_replay *r,
                       const lvlm_replay_stage *stage, const lvlm_worst_row *row)
{
    lvlm_place_of(index, meaning, &r->places, stage->name, &stage->got, row->place);
}

void lvlm_report_index(lvlm_strbuf *out, const lvlm_place *place)
{
    lvlm_strbuf_puts(out, "[");
    for (size_t i = 0; i < place->n; i++)
        lvlm_strbuf_printf(out, "%s%" PRIu64, i > 0 ? ", " : "", place->at[i].index);
    lvlm_strbuf_puts(out, "]");
}

void lvlm_report_axes(lvlm_strbuf *out, const lvlm_place *place)
{
    lvlm_strbuf_puts(out, "[");
    for (size_t i = 0; i < place->n; i++)
        lvlm_strbuf_printf(out, "%s%s", i > 0 ? ", " : "", place->at[i].axis);
    lvlm_strbuf_puts(out, "]");
}

bool lvlm_report_is_plain(const lvlm_place *index, const lvlm_place *meaning)
{
    if (index->n != meaning->n) return false;
    for (size_t i = 0; i < index->n; i++)
        if (strcmp(index->at[i].axis, meaning->at[i].axis) != 0) return false;
    return true;
}

void lvlm_report_row(lvlm_strbuf *out, const lvlm_place *index,
                     const lvlm_place *meaning, const lvlm_worst_row *row)
{
    const bool plain = lvlm_report_is_plain(index, meaning);
    lvlm_report_index(out, index);
    for (size_t i = 0; !plain && i < meaning->n; i++)
        lvlm_strbuf_printf(out, "%s%s %" PRIu64, i > 0 ? ", " : ": ",
                           meaning->at[i].axis, meaning->at[i].index);
    if (row->token >= 0) lvlm_strbuf_printf(out, " (id %" PRId64 ")", row->token);
}

/* ---- figures -------------------------------------------------------------------- */

const char *lvlm_report_times(char text[LVLM_TIMES_TEXT], const lvlm_replay_stage *s,
                              const char *space)
{
    enum { MOST = 15 }; /* digits that are written out */
    const double times = s->error / s->band;
    char digits[MOST + 3];
    text[0] = '\0';
    if (s->verdict != LVLM_VERDICT_OUT || !isfinite(times) || times < 1.05) return text;
    if (times < 100 || times >= 1e15) {
        (void)snprintf(text, LVLM_TIMES_TEXT, times < 100 ? "%.3g" : "%.0e", times);
        return text;
    }
    const double unit = pow(10, floor(log10(times)) - 2);
    (void)snprintf(digits, sizeof digits, "%.0f", round(times / unit) * unit);
    const size_t n = strlen(digits);
    for (size_t i = 0, at = 0; i < n; i++)
        at += (size_t)snprintf(text + at, LVLM_TIMES_TEXT - at, "%s%c",
                               i > 0 && (n - i) % 3 == 0 ? space : "", digits[i]);
    return text;
}

bool lvlm_report_has_cosine(const lvlm_replay_stage *s)
{
    uint64_t n = 0;
    return lvlm_verdict_compared(s->verdict) && lvlm_shape_numel(&n, &s->shape) &&
           n > 1;
}

/* ---- verdicts ------------------------------------------------------------------- */

bool lvlm_report_is_exact(const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (r->stages[i].verdict != LVLM_VERDICT_EXACT) return false;
    return r->n_stages > 0;
}

bool lvlm_report_loose_gradients(const lvlm_replay *r)
{
    return !r->recording.in_double && r->n_stages > 0 &&
           r->stages[r->n_stages - 1].is_gradient;
}

/* Our other computation that is not in double. */
static const char *other_of(const lvlm_replay *r)
{
    return lvlm_compute_name(r->compute == LVLM_COMPUTE_F64 ? LVLM_COMPUTE_F32
                                                            : r->compute);
}

const char *lvlm_report_look(char text[LVLM_LOOK_TEXT], const lvlm_replay *r,
                             const lvlm_replay_stage *s)
{
    const bool rounds = s->verdict == LVLM_VERDICT_ROUNDING;
    const char *const coarse = lvlm_coarse_type(r);
    const bool moved = r->is_exact && coarse == NULL;
    const int at = snprintf(
        text, LVLM_LOOK_TEXT,
        moved ? "%s: the recording is %.1e from our double, which %s change by %.1e"
              : "%s: the recording is %.1e from our double, our %s is %.1e from it",
        rounds ? "rounding" : "not rounding", s->recorded_error,
        moved ? "inputs moved by their last bit" : other_of(r), s->own_error);
    assert(at > 0 && at < LVLM_LOOK_TEXT);
    if (coarse != NULL)
        (void)snprintf(text + at, (size_t)(LVLM_LOOK_TEXT - at),
                       ", %s may be up to %.1e", coarse, s->explained);
    return text;
}

/* The stage with the largest error. */
static const lvlm_replay_stage *find_largest(const lvlm_replay *r)
{
    const lvlm_replay_stage *largest = &r->stages[0];
    assert(r->n_stages > 0);
    for (size_t i = 1; i < r->n_stages; i++)
        if (r->stages[i].error > largest->error) largest = &r->stages[i];
    return largest;
}

const char *lvlm_report_compute(const lvlm_replay *r)
{
    return lvlm_compute_name(r->compute);
}

size_t lvlm_report_count(const lvlm_replay *r, lvlm_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) n += r->stages[i].verdict == verdict;
    return n;
}

const char *lvlm_report_verdict(char text[LVLM_VERDICT_TEXT], const lvlm_replay *r)
{
    const size_t n_rounding = lvlm_report_count(r, LVLM_VERDICT_ROUNDING);
    char name[64];
    if (r->is_measure && r->n_failed > 0) {
        (void)snprintf(text, LVLM_VERDICT_TEXT,
                       "%zu of %zu stages are not finite in %s, the first is %s",
                       r->n_failed, r->n_stages, lvlm_report_compute(r),
                       lvlm_visible(name, sizeof name, r->first_bad->name));
    } else if (r->is_measure) {
        const lvlm_replay_stage *const s = find_largest(r);
        (void)snprintf(text, LVLM_VERDICT_TEXT,
                       "%s is farthest from double at %s: %.1e", lvlm_report_compute(r),
                       lvlm_visible(name, sizeof name, s->name), s->error);
    } else if (r->n_failed > 0) {
        (void)snprintf(text, LVLM_VERDICT_TEXT, "failed: %zu of %zu stages",
                       r->n_failed, r->n_stages);
    } else if (lvlm_report_is_exact(r)) {
        const lvlm_replay_stage *const s = find_largest(r);
        (void)snprintf(text, LVLM_VERDICT_TEXT,
                       "exact: all %zu stages agree in double, the farthest is %s with "
                       "%.1e",
                       r->n_stages, lvlm_visible(name, sizeof name, s->name), s->error);
    } else if (n_rounding > 0) {
        (void)snprintf(text, LVLM_VERDICT_TEXT,
                       "all %zu stages are within their bands or differ by rounding "
                       "(%zu)",
                       r->n_stages, n_rounding);
    } else {
        (void)snprintf(text, LVLM_VERDICT_TEXT, "all %zu stages are within their bands",
                       r->n_stages);
    }
    return text;
}

static void describe_reference(lvlm_mismatch out, const lvlm_replay *r)
{
    assert(r->recording.reference != NULL && r->reference != NULL);
    int at = snprintf(out, LVLM_MISMATCH_TEXT,
                      "the recording shows %.128s, this run computes %.128s: they "
                      "differ in ",
                      r->recording.reference, r->reference);
    for (size_t i = 0; i < r->n_from_recorded && at < LVLM_MISMATCH_TEXT; i++)
        at += snprintf(out + at, LVLM_MISMATCH_TEXT - (size_t)at,
                       "%s%s (seen from %s on)", i > 0 ? ", " : "",
                       lvlm_difference_name(r->from_recorded[i]),
                       r->from_recorded[i]->stage);
}

/* Whose behaviour it is that the recording shows. */
static size_t describe_tries(lvlm_mismatch *out, const lvlm_replay *r)
{
    if (r->agrees_with != NULL)
        (void)snprintf(
            *out, LVLM_MISMATCH_TEXT,
            "the recording does not say whose behaviour it shows, and agrees "
            "with %s at every stage: see --reference",
            r->agrees_with);
    else if (r->n_tried > 0)
        (void)snprintf(
            *out, LVLM_MISMATCH_TEXT,
            "the recording does not say whose behaviour it shows, and agrees "
            "with none that %s is known to have (%zu tried)",
            r->family, r->n_tried + 1);
    return r->n_tried > 0;
}

/* Precisions that no band of float32 is for. */
static size_t describe_coarse(lvlm_mismatch *out, const lvlm_replay *r)
{
    const lvlm_coarse *const c = &r->coarse;
    size_t n = 0;
    if (c->recording != NULL)
        (void)snprintf(out[n++], LVLM_MISMATCH_TEXT,
                       "the recording was computed in %s (%s): what its rounding "
                       "explains passes, a recording in double proves more",
                       c->recording, c->how);
    if (c->model != NULL)
        (void)snprintf(out[n++], LVLM_MISMATCH_TEXT,
                       "the model was converted with --dtype %s, which rounded %" PRIu64
                       " values: what that explains passes, one that keeps its types "
                       "proves more",
                       c->model, c->n_rounded);
    return n;
}

size_t lvlm_report_mismatches(lvlm_mismatch out[LVLM_MISMATCHES], const lvlm_replay *r)
{
    size_t n = 0;
    if (lvlm_replay_is_foreign(r))
        (void)snprintf(out[n++], LVLM_MISMATCH_TEXT,
                       "the recording is of %.128s, the model is %s",
                       r->recording.family, r->family);
    if (!r->is_measure && r->n_from_recorded > 0) describe_reference(out[n++], r);
    n += describe_tries(out + n, r);
    return n + describe_coarse(out + n, r);
}
