/* report_text.c - a replay's result as a table for the terminal.
 *
 *   heading -> a row per stage -> remarks on some -> the verdict
 *
 * Lines are at most as wide as the terminal: sentences are folded, columns that do not
 * fit are left out, and a name that does not fit has a line of its own. */
#include "verify/report/report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "verify/report/report_words.h"

enum {
    NAME_BYTES = 512, /* of an escaped name; a longer one is cut */
    LEAST_WIDTH = 40,
    /* of columns, with the spaces before them */
    NAME = 22,
    SHAPE = 17,
    ERROR = 10,
    MAX_ABS = 10,
    SHARE = 9,
    BAND = 8,
    VERDICT = 13,
};

/* The columns that are shown. */
typedef struct layout {
    size_t width; /* of all */
    size_t name;  /* of the first column */
    bool shape, max_abs, own, given, band, verdict;
} layout;

static size_t longest_name(const lvlm_replay *r)
{
    size_t most = NAME;
    for (size_t i = 0; i < r->n_stages; i++)
        if (strlen(r->stages[i].name) > most) most = strlen(r->stages[i].name);
    return most;
}

static layout make_layout(const lvlm_replay *r, size_t width)
{
    layout l = { .width = width > LEAST_WIDTH ? width : LEAST_WIDTH,
                 .verdict = !r->is_measure };
    size_t left = l.width - ERROR - (l.verdict ? VERDICT : 0);
    const size_t share = lvlm_report_has_shares(r) ? SHARE : 0;
    const size_t columns[] = { share, share, share > 0 ? 0 : MAX_ABS,
                               l.verdict ? BAND : 0, SHAPE };
    bool *const shown[] = { &l.own, &l.given, &l.max_abs, &l.band, &l.shape };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        *shown[i] = columns[i] > 0 && left >= NAME + columns[i];
        if (*shown[i]) left -= columns[i];
    }
    const size_t longest = longest_name(r);
    l.name = left < longest ? left : longest;
    return l;
}

/* ---- sentences ------------------------------------------------------------------ */

/* Fold a text between words, with the lines after the first indented. */
static void put_folded(lvlm_strbuf *out, const char *text, size_t width)
{
    assert(width >= LEAST_WIDTH);
    size_t indent = 0;
    while (*text != '\0') {
        const size_t n = lvlm_utf8_line(text, width - indent);
        lvlm_strbuf_printf(out, "%*s%.*s\n", (int)indent, "", (int)n, text);
        text += n + strspn(text + n, " ");
        indent = 2;
    }
}

/* The same for a string buffer, which is emptied. */
static void put_sentence(lvlm_strbuf *out, lvlm_strbuf *sentence, size_t width)
{
    out->failed |= sentence->failed;
    if (sentence->length > 0) put_folded(out, sentence->text, width);
    lvlm_strbuf_free(sentence);
}

static void put_heading(lvlm_strbuf *out, const lvlm_replay *r, size_t width)
{
    char model[NAME_BYTES], golden[NAME_BYTES], reference[NAME_BYTES];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_strbuf_printf(&line,
                       r->is_measure ? "%s (%s): %s compared with double on %s"
                                     : "%s (%s, %s) against %s",
                       lvlm_visible(model, sizeof model, r->model), r->family,
                       lvlm_report_compute(r),
                       lvlm_visible(golden, sizeof golden, r->golden));
    put_sentence(out, &line, width);
    lvlm_strbuf_printf(&line, "behaviour: %s",
                       lvlm_visible(reference, sizeof reference, r->reference));
    for (size_t i = 0; i < r->n_differences; i++)
        lvlm_strbuf_printf(&line, "%s%s", i == 0 ? ", differs from trained in: " : ", ",
                           lvlm_difference_name(r->differences[i]));
    put_sentence(out, &line, width);
    lvlm_strbuf_puts(out, "\n");
}

/* ---- the table ------------------------------------------------------------------ */

static void put_columns(lvlm_strbuf *out, const layout *l)
{
    lvlm_strbuf_printf(out, "%-*s", (int)l->name, "stage");
    if (l->shape) lvlm_strbuf_printf(out, " %-*s", SHAPE - 1, "shape");
    lvlm_strbuf_printf(out, " %*s", ERROR - 1, "error");
    if (l->own) lvlm_strbuf_printf(out, " %*s", SHARE - 1, "own");
    if (l->given) lvlm_strbuf_printf(out, " %*s", SHARE - 1, "given");
    if (l->max_abs) lvlm_strbuf_printf(out, " %*s", MAX_ABS - 1, "max abs");
    if (l->band) lvlm_strbuf_printf(out, " %*s", BAND - 1, "band");
    lvlm_strbuf_puts(out, l->verdict ? "  verdict\n" : "\n");
}

/* Name and shape, on a line before the figures where there is no room for them. */
static void put_names(lvlm_strbuf *out, const lvlm_replay_stage *s, const layout *l)
{
    char shape[LVLM_SHAPE_TEXT], buffer[NAME_BYTES];
    const char *name = lvlm_visible(buffer, sizeof buffer, s->name);
    const size_t room = l->name + (l->shape ? SHAPE : 0);
    size_t n = strlen(name), in_shape = SHAPE - 1;
    (void)lvlm_shape_text(shape, &s->shape);
    if (strlen(shape) > in_shape) in_shape = strlen(shape);
    if (l->shape && n + 1 + in_shape <= room) {
        lvlm_strbuf_printf(out, "%-*s %-*s", (int)(room - 1 - in_shape), name,
                           (int)in_shape, shape);
        return;
    }
    if (!l->shape && n <= room) {
        lvlm_strbuf_printf(out, "%-*s", (int)room, name);
        return;
    }
    for (; n > l->width; name += l->width, n -= l->width)
        lvlm_strbuf_printf(out, "%.*s\n", (int)l->width, name);
    lvlm_strbuf_printf(out, "%s\n%-*s", name, (int)room, l->shape ? shape : "");
}

/* Remarks that have no column. */
static void put_remark(lvlm_strbuf *out, const lvlm_replay_stage *s, size_t width)
{
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    char shape[LVLM_SHAPE_TEXT];
    if (s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(&line, "  computed in shape %s",
                           lvlm_shape_text(shape, &s->got));
    if (s->verdict == LVLM_VERDICT_VACUOUS) {
        lvlm_strbuf_puts(&line, "  ");
        lvlm_report_reason(&line, s);
    }
    if (s->found.distance.n_bad > 0)
        lvlm_strbuf_printf(&line, "  %" PRIu64 " computed values are not finite",
                           s->found.distance.n_bad);
    put_sentence(out, &line, width);
}

static void put_share(lvlm_strbuf *out, const lvlm_replay_share *share, double error)
{
    char text[LVLM_ERROR_TEXT] = "-";
    if (share->known) (void)snprintf(text, sizeof text, "%.1e", error);
    lvlm_strbuf_printf(out, " %*s", SHARE - 1, text);
}

static void put_stage(lvlm_strbuf *out, const lvlm_replay_stage *s, const layout *l)
{
    const bool compared = lvlm_verdict_compared(s->verdict);
    char error[LVLM_ERROR_TEXT] = "-", max_abs[LVLM_ERROR_TEXT] = "-";
    if (compared) {
        (void)snprintf(error, sizeof error, "%.2e", s->error);
        (void)snprintf(max_abs, sizeof max_abs, "%.2e", s->found.distance.max_abs);
    }
    put_names(out, s, l);
    lvlm_strbuf_printf(out, " %*s", ERROR - 1, error);
    if (l->own) put_share(out, &s->share, s->share.own);
    if (l->given) put_share(out, &s->share, s->share.given);
    if (l->max_abs) lvlm_strbuf_printf(out, " %*s", MAX_ABS - 1, max_abs);
    if (l->band) lvlm_strbuf_printf(out, " %*.0e", BAND - 1, s->band);
    if (l->verdict) lvlm_strbuf_printf(out, "  %s", lvlm_verdict_name(s->verdict));
    lvlm_strbuf_puts(out, "\n");
    put_remark(out, s, l->width);
}

/* ---- what is to be said --------------------------------------------------------- */

static void put_divergence(lvlm_strbuf *out, const lvlm_replay *r,
                           const lvlm_replay_stage *s, size_t width)
{
    char name[NAME_BYTES];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_strbuf_printf(&line, "%s: max KL %.2e",
                       lvlm_visible(name, sizeof name, s->name), s->found.max_kl);
    if (!r->is_measure) lvlm_strbuf_printf(&line, " (band %.0e)", s->band_kl);
    lvlm_strbuf_printf(&line, ", same first choice in %" PRIu64 " of %" PRIu64 " rows",
                       s->found.n_top1, s->found.n_rows);
    put_sentence(out, &line, width);
}

/* The figures of a second look. */
static void put_second_look(lvlm_strbuf *out, const lvlm_replay *r,
                            const lvlm_replay_stage *s, size_t width)
{
    char name[NAME_BYTES], figures[LVLM_LOOK_TEXT];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_strbuf_printf(&line, "%s: %s", lvlm_visible(name, sizeof name, s->name),
                       lvlm_report_look(figures, r, s));
    put_sentence(out, &line, width);
}

static void put_remarks(lvlm_strbuf *out, const lvlm_replay *r, size_t width)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (r->stages[i].is_logits && r->stages[i].found.n_rows > 0)
            put_divergence(out, r, &r->stages[i], width);
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        if (s->looked_again && (lvlm_verdict_passes(s->verdict) || s == r->first_bad))
            put_second_look(out, r, s, width);
    }
    if (lvlm_report_loose_gradients(r)) put_folded(out, LVLM_LOOSE_GRADIENTS, width);
}

static void put_worst(lvlm_strbuf *out, const lvlm_replay *r,
                      const lvlm_replay_stage *s, size_t width)
{
    lvlm_place index, meaning;
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (s->found.n_worst == 0 || s->got.n < 2) return;
    for (size_t i = 0; i < s->found.n_worst; i++) {
        const lvlm_worst_row *row = &s->found.worst[i];
        lvlm_report_place(&index, &meaning, r, s, row);
        if (i == 0) {
            lvlm_strbuf_puts(&line, "worst rows there, ");
            lvlm_report_axes(&line, &index);
            lvlm_strbuf_puts(&line, ":");
            put_sentence(out, &line, width);
        }
        lvlm_strbuf_printf(&line, "  %.2e at ", row->error);
        lvlm_report_row(&line, &index, &meaning, row);
        put_sentence(out, &line, width);
    }
}

/* A sentence per line. */
static void put_notes(lvlm_strbuf *out, const char *heading, const lvlm_notes *notes,
                      size_t width)
{
    char shown[2 * LVLM_MISMATCH_TEXT];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    for (size_t i = 0; i < notes->n; i++) {
        lvlm_strbuf_printf(&line, "%s: %s", heading,
                           lvlm_visible(shown, sizeof shown, notes->at[i]));
        put_sentence(out, &line, width);
    }
}

/* Why, a sentence a line. */
static void put_cause(lvlm_strbuf *out, const lvlm_replay *r, size_t width)
{
    char text[LVLM_CAUSE_TEXT], shown[2 * LVLM_CAUSE_TEXT];
    const char *kind, *sentence;
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    for (size_t i = 0; (sentence = lvlm_report_cause(text, &kind, r, i)) != NULL; i++) {
        if (strcmp(kind, "tensor") == 0) break; /* they are in the other reports */
        lvlm_strbuf_printf(&line, "  %s", lvlm_visible(shown, sizeof shown, sentence));
        put_sentence(out, &line, width);
    }
}

static void put_verdict(lvlm_strbuf *out, const lvlm_replay *r, size_t width)
{
    char text[LVLM_VERDICT_TEXT], name[NAME_BYTES], shown[2 * LVLM_MISMATCH_TEXT];
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (r->first_bad != NULL && !r->is_measure)
        lvlm_strbuf_printf(
            &line, "first stage that is wrong: %s (%s); %zu of %zu stages fail",
            lvlm_visible(name, sizeof name, r->first_bad->name),
            lvlm_verdict_name(r->first_bad->verdict), r->n_failed, r->n_stages);
    else
        lvlm_strbuf_puts(&line, lvlm_report_verdict(text, r));
    put_sentence(out, &line, width);
    lvlm_report_whose(&line, r);
    put_sentence(out, &line, width);
    put_cause(out, r, width);
    const size_t n = lvlm_report_mismatches(sentences, r);
    for (size_t i = 0; i < n; i++)
        put_folded(out, lvlm_visible(shown, sizeof shown, sentences[i]), width);
    if (r->first_bad != NULL && !r->is_measure) put_worst(out, r, r->first_bad, width);
}

void lvlm_report_text(lvlm_strbuf *out, const lvlm_replay *r, size_t width)
{
    const layout l = make_layout(r, width > 0 ? width : LVLM_REPORT_WIDTH);
    put_heading(out, r, l.width);
    put_columns(out, &l);
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, &r->stages[i], &l);
    lvlm_strbuf_puts(out, "\n");
    put_remarks(out, r, l.width);
    put_notes(out, "not compared", &r->not_compared, l.width);
    put_notes(out, "not exercised", &r->not_exercised, l.width);
    put_verdict(out, r, l.width);
}
