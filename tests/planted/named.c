/* named.c - see named.h. */
#include "tests/planted/named.h"

#include <stdio.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/cause/cause.h"

/* What sentences on weights and rows are about, the plainest first. */
static const struct {
    const char *sentence, *name;
} words[] = {
    { "not finite", "not finite" },
    { "is zero in every value", "all zeros" },
    { "has only zeros in", "zeros" },
    { "bit for bit", "held twice" },
    { "it was rounded", "rounded" },
    { "it was quantised", "few values" },
    { "has the same value everywhere", "all the same" },
    { "this model does not compute", "no such stage" },
    { "in its place the recorded rows", "one number" },
    { "only head", "one head" },
    { "what attention adds is wrong in channel", "one row" },
    { "only channel ", "one channel" },
    { "the same vector in every row", "one vector" },
    { "are those of id", "ids" },
    { "no head is stored", "head not stored" },
};
enum { WORDS = sizeof words / sizeof *words };

static bool says(const char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(list[i], text) != NULL) return true;
    return false;
}

/* What shows without undoing anything; NULL: nothing that has a name. */
static const char *shown(const lvlm_replay *r)
{
    const lvlm_cause *const c = r->why;
    const lvlm_replay_stage *const bad = r->first_bad;
    if (bad->verdict == LVLM_VERDICT_SHAPE) return "wrong shape";
    if (bad->verdict == LVLM_VERDICT_MISSING) return "no such stage";
    for (size_t i = 0; i < WORDS && c != NULL; i++)
        if (says(c->weights, c->n_weights, words[i].sentence) ||
            says(c->signs, c->n_signs, words[i].sentence))
            return words[i].name;
    return NULL;
}

/* "`a`, `b`" of those that agree. */
static void put_mistakes(named *out, const kind *k, const lvlm_cause *c)
{
    for (size_t i = 0; i < c->n_candidates; i++) {
        const char *const mistake = c->candidates[i].mistake;
        const size_t n = strlen(out->text);
        if (!c->candidates[i].agrees) continue;
        out->n_undone++;
        out->is_wrong |= k->undo == NULL || !lvlm_matches_listed(k->undo, mistake);
        (void)snprintf(out->text + n, CAUSE - n, "%s`%s`", n > 0 ? ", " : "", mistake);
    }
}

named name_cause(const kind *k, const lvlm_replay *r)
{
    named out = { .text = "" };
    if (r->why != NULL) {
        put_mistakes(&out, k, r->why);
        out.n_tried = r->why->n_tried;
    }
    if (out.n_undone > 0) return out;
    const char *const word = shown(r), *const text = word != NULL ? word : "-";
    const bool shows = k->shows == NULL || lvlm_matches_listed(k->shows, text);
    const bool is_lost = k->undo == NULL || (k->shows != NULL && shows);
    (void)snprintf(out.text, CAUSE, "%s", is_lost ? text : "not named");
    out.is_wrong = k->undo == NULL && !shows;
    return out;
}

named name_none(void)
{
    return (named){ .text = "-" };
}
