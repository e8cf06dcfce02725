/* report_cause.c - whose error it is, in words; see report_words.h. */
#include "verify/report/report_words.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "formats/base/utf8.h"

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

/* The stages after it. */
static void put_others(lvlm_strbuf *out, const lvlm_replay *r)
{
    size_t n_causes = 0, n_followers = 0;
    for (const lvlm_replay_stage *s = r->cause + 1; s < r->stages + r->n_stages; s++) {
        n_followers += s->share.known && !s->share.is_cause;
        if (!s->share.is_cause) continue;
        if (n_causes < MOST_NAMED) {
            lvlm_strbuf_puts(out, n_causes == 0 ? "; so have " : ", ");
            put_name(out, s->name);
        }
        n_causes++;
    }
    if (n_causes > MOST_NAMED)
        lvlm_strbuf_printf(out, " and %zu more", n_causes - MOST_NAMED);
    if (n_followers > 0)
        lvlm_strbuf_printf(out, "; %zu stage%s after it fail%s by what %s given",
                           n_followers, n_followers == 1 ? "" : "s",
                           n_followers == 1 ? "s" : "",
                           n_followers == 1 ? "it was" : "they were");
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
    if (!lvlm_report_has_shares(r)) return;
    if (r->cause == NULL) {
        put_sum(out, r);
        return;
    }
    put_cause(out, r);
    put_others(out, r);
}
