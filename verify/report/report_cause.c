/* report_cause.c - whose error it is, in words; see report_words.h. */
#include "verify/report/report_words.h"

#include <stdio.h>

#include "formats/base/utf8.h"
#include "verify/cause/cause.h"

enum { NAME_BYTES = 512, MOST_NAMED = 3 };

bool lvlm_report_has_shares(const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (r->stages[i].share.known) return true;
    return false;
}

static void put_name(lvlm_strbuf *out, const char *name)
{
    char buffer[NAME_BYTES];
    lvlm_strbuf_puts(out, lvlm_visible(buffer, sizeof buffer, name));
}

void lvlm_report_from(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    if (s->share.from == NULL)
        lvlm_strbuf_puts(out, "the inputs");
    else
        put_name(out, s->share.from);
}

/* The stage at fault, with both errors. */
static void put_cause(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *const s = r->cause;
    char own[LVLM_ERROR_TEXT], given[LVLM_ERROR_TEXT];
    (void)lvlm_report_error(own, s->share.own);
    (void)lvlm_report_error(given, s->share.given);
    if (s == r->first_bad)
        lvlm_strbuf_puts(out, "the error is its own: ");
    else
        lvlm_strbuf_puts(out, "first stage with an error of its own: ");
    if (s != r->first_bad) {
        put_name(out, s->name);
        lvlm_strbuf_puts(out, ", ");
    }
    lvlm_strbuf_printf(out, "%s when computed from ", own);
    lvlm_report_from(out, s);
    lvlm_strbuf_printf(out, " as recorded, which was given with %s", given);
    if (s->share.is_direct) return;
    lvlm_strbuf_puts(out, "; not separable from the stages between, of which the "
                          "recording lacks rows");
}

/* Another one with an error of its own, number n of these. */
static void put_another(lvlm_strbuf *out, size_t n, const lvlm_replay_stage *s)
{
    if (n >= MOST_NAMED) return;
    lvlm_strbuf_puts(out, n == 0 ? "; so have " : ", ");
    put_name(out, s->name);
}

static void put_rest(lvlm_strbuf *out, size_t n)
{
    if (n > MOST_NAMED) lvlm_strbuf_printf(out, " and %zu more", n - MOST_NAMED);
}

/* The stages after it. */
static void put_others(lvlm_strbuf *out, const lvlm_replay *r)
{
    size_t n_causes = 0, n_followers = 0;
    for (const lvlm_replay_stage *s = r->cause + 1; s < r->stages + r->n_stages; s++) {
        n_followers += s->share.known && !s->share.is_cause;
        if (!s->share.is_cause) continue;
        put_another(out, n_causes++, s);
    }
    put_rest(out, n_causes);
    if (n_followers > 0)
        lvlm_strbuf_printf(out, "; %zu stage%s after it fail%s by what %s given",
                           n_followers, n_followers == 1 ? "" : "s",
                           n_followers == 1 ? "s" : "",
                           n_followers == 1 ? "it was" : "they were");
}

/* The same of gradients, which are in order of a backward pass. */
static void put_gradients(lvlm_strbuf *out, const lvlm_replay *r)
{
    char own[LVLM_ERROR_TEXT];
    size_t n_causes = 0, n_followers = 0;
    lvlm_strbuf_puts(out, "first gradient with an error of its own: ");
    put_name(out, r->cause->name);
    lvlm_strbuf_printf(out, ", %s",
                       r->cause->verdict == LVLM_VERDICT_OUT
                           ? lvlm_report_error(own, r->cause->share.own)
                           : lvlm_verdict_name(r->cause->verdict));
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        if (s == r->cause || !s->is_gradient || lvlm_verdict_passes(s->verdict))
            continue;
        n_followers += !s->share.is_cause;
        if (!s->share.is_cause) continue;
        put_another(out, n_causes++, s);
    }
    put_rest(out, n_causes);
    if (n_followers > 0)
        lvlm_strbuf_printf(out,
                           "; %zu gradient%s of tensors before it may fail by "
                           "what flows back",
                           n_followers, n_followers == 1 ? "" : "s");
}

/* No stage is at fault: the one nearest to its band. */
static void put_sum(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *most = NULL;
    char own[LVLM_ERROR_TEXT];
    for (const lvlm_replay_stage *s = r->stages; s < r->stages + r->n_stages; s++)
        if (s->share.known && (most == NULL || s->share.own > most->share.own))
            most = s;
    lvlm_strbuf_puts(out,
                     "no stage that fails has an error of its own beyond its band: "
                     "small errors add up, or the cause is earlier; the largest "
                     "is of ");
    put_name(out, most->name);
    lvlm_strbuf_printf(out, ", %s", lvlm_report_error(own, most->share.own));
    if (r->compute == LVLM_COMPUTE_F32)
        lvlm_strbuf_puts(out, "; a recording in double shows which");
}

void lvlm_report_whose(lvlm_strbuf *out, const lvlm_replay *r)
{
    if (r->cause != NULL && r->cause->is_gradient) {
        put_gradients(out, r);
        return;
    }
    if (!lvlm_report_has_shares(r)) return;
    if (r->cause == NULL) {
        put_sum(out, r);
        return;
    }
    put_cause(out, r);
    put_others(out, r);
}

/* ---- why ------------------------------------------------------------------------- */

static const char *tried(char text[LVLM_CAUSE_TEXT], const lvlm_cause *c)
{
    const bool found = c->n_candidates > 0 && c->candidates[0].agrees;
    char rest[64] = "";
    if (c->n_left_out > 0)
        (void)snprintf(rest, sizeof rest, "; %zu more were not tried", c->n_left_out);
    const char *const none = found ? "" : ": none makes it agree";
    const char *const were = c->n_tried == 1 ? " was" : "s were";
    if (c->n_passes > 0)
        (void)snprintf(
            text, LVLM_CAUSE_TEXT,
            "%zu known mistake%s tried, with %zu backward pass%s of the whole "
            "model%s%s",
            c->n_tried, were, c->n_passes, c->n_passes == 1 ? "" : "es", none, rest);
    else
        (void)snprintf(text, LVLM_CAUSE_TEXT,
                       "%zu known mistake%s undone in this stage by itself%s%s",
                       c->n_tried, were, none, rest);
    return text;
}

static const char *tensor(char text[LVLM_CAUSE_TEXT], const lvlm_cause_tensor *t)
{
    char shape[LVLM_SHAPE_TEXT];
    (void)snprintf(text, LVLM_CAUSE_TEXT, "fed by %s %s %s%s%.12s",
                   t->source != NULL ? t->source : t->name, lvlm_dtype_name(t->dtype),
                   lvlm_shape_text(shape, &t->shape),
                   t->digest != NULL ? ", SHA-256 " : "",
                   t->digest != NULL ? t->digest : "");
    return text;
}

bool lvlm_report_is_explained(const lvlm_replay *r)
{
    return r->why != NULL && r->why->n_candidates > 0 && r->why->candidates[0].agrees;
}

void lvlm_report_mistake(lvlm_strbuf *out, const lvlm_replay *r)
{
    const bool other = r->cause != NULL && r->cause != r->first_bad;
    if (other) {
        lvlm_strbuf_puts(out, "; first with an error of its own: ");
        put_name(out, r->cause->name);
    }
    if (lvlm_report_is_explained(r))
        lvlm_strbuf_printf(out, "%s %s", other ? ":" : ";",
                           r->why->candidates[0].sentence);
}

const char *lvlm_report_cause(char text[LVLM_CAUSE_TEXT], const char **kind,
                              const lvlm_replay *r, size_t i)
{
    const lvlm_cause *const c = r->why;
    if (c == NULL) return NULL;
    *kind = "sign";
    if (i < c->n_signs) return c->signs[i];
    i -= c->n_signs;
    *kind = "weights";
    if (i < c->n_weights) return c->weights[i];
    i -= c->n_weights;
    *kind = "tried";
    if (c->n_tried > 0 && i-- == 0) return tried(text, c);
    *kind = "cause";
    if (i < c->n_candidates) return c->candidates[i].sentence;
    i -= c->n_candidates;
    *kind = "tensor";
    return i < c->n_tensors ? tensor(text, &c->tensors[i]) : NULL;
}
