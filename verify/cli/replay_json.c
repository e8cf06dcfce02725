/* replay_json.c - the result of a replay, and of a measure, for --json. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/cli/printer.h"
#include "verify/cause/cause.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"
#include "verify/report/report_words.h"

/* "index" counts along the stage's axes, "place" is in words. */
static void print_row(lvlm_printer *p, const lvlm_replay *r, const lvlm_replay_stage *s,
                      const lvlm_worst_row *worst)
{
    lvlm_place index, meaning;
    lvlm_report_place(&index, &meaning, r, s, worst);
    lvlm_printer_object(p, NULL);
    lvlm_printer_list(p, "index");
    for (size_t i = 0; i < index.n; i++) lvlm_printer_count(p, NULL, index.at[i].index);
    lvlm_printer_end(p);
    lvlm_printer_list(p, "place");
    for (size_t i = 0; i < meaning.n; i++) {
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "axis", meaning.at[i].axis);
        lvlm_printer_count(p, "at", meaning.at[i].index);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
    lvlm_printer_number(p, "relative_l2", worst->error);
    if (worst->token >= 0) lvlm_printer_count(p, "token", (uint64_t)worst->token);
    lvlm_printer_end(p);
}

/* The axes that an index of its rows counts along. */
static void print_axes(lvlm_printer *p, const lvlm_replay *r,
                       const lvlm_replay_stage *s)
{
    const lvlm_worst_row first = { .place = 0 };
    lvlm_place index, meaning;
    lvlm_report_place(&index, &meaning, r, s, &first);
    lvlm_printer_list(p, "axes");
    for (size_t i = 0; i < index.n; i++) lvlm_printer_text(p, NULL, index.at[i].axis);
    lvlm_printer_end(p);
}

static void print_figures(lvlm_printer *p, const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    lvlm_printer_number(p, "relative_l2", s->relative_l2);
    if (!s->is_gradient) lvlm_printer_number(p, "row_error", s->error);
    lvlm_printer_number(p, "max_abs", e->distance.max_abs);
    if (lvlm_report_has_cosine(s)) lvlm_printer_number(p, "cosine", s->cosine);
    lvlm_printer_count(p, "rows", e->n_rows);
    if (e->distance.n_bad > 0)
        lvlm_printer_count(p, "computed_not_finite", e->distance.n_bad);
    if (s->is_logits && e->n_rows > 0) {
        lvlm_printer_number(p, "max_kl", e->max_kl);
        lvlm_printer_number(p, "top1_agreement", (double)e->n_top1 / (double)e->n_rows);
    }
}

/* NULL: the inputs. */
static void print_from(lvlm_printer *p, const char *from)
{
    if (from != NULL)
        lvlm_printer_text(p, "given_from", from);
    else
        lvlm_printer_null(p, "given_from");
}

static void print_share(lvlm_printer *p, const lvlm_replay_share *share)
{
    lvlm_printer_number(p, "own_error", share->own);
    lvlm_printer_number(p, "given_error", share->given);
    print_from(p, share->from);
    lvlm_printer_flag(p, "separable", share->is_direct);
}

static void print_tensor(lvlm_printer *p, const lvlm_cause_tensor *t)
{
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", t->name);
    if (t->source != NULL) lvlm_printer_text(p, "source", t->source);
    lvlm_printer_text(p, "dtype", lvlm_dtype_name(t->dtype));
    lvlm_printer_shape(p, "shape", &t->shape);
    if (t->digest != NULL) lvlm_printer_text(p, "sha256", t->digest);
    lvlm_printer_end(p);
}

static void print_candidate(lvlm_printer *p, const lvlm_cause_candidate *c)
{
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", c->mistake);
    lvlm_printer_flag(p, "agrees", c->agrees);
    lvlm_printer_number(p, "own_error", c->error);
    lvlm_printer_count(p, "n_settled", c->n_settled);
    lvlm_printer_text(p, "sentence", c->sentence);
    lvlm_printer_end(p);
}

static void print_why(lvlm_printer *p, const lvlm_cause *c)
{
    lvlm_printer_count(p, "n_stages", c->n_causes);
    lvlm_printer_texts(p, "signs", c->signs, c->n_signs);
    lvlm_printer_texts(p, "weights", c->weights, c->n_weights);
    lvlm_printer_list(p, "tensors");
    for (size_t i = 0; i < c->n_tensors; i++) print_tensor(p, &c->tensors[i]);
    lvlm_printer_end(p);
    lvlm_printer_count(p, "n_tried", c->n_tried);
    lvlm_printer_count(p, "n_passes", c->n_passes);
    lvlm_printer_list(p, "candidates");
    for (size_t i = 0; i < c->n_candidates; i++) print_candidate(p, &c->candidates[i]);
    lvlm_printer_end(p);
}

/* The first stage with an error of its own, or null. */
static void print_cause(lvlm_printer *p, const lvlm_replay *r)
{
    lvlm_strbuf whose = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (r->cause == NULL) {
        lvlm_printer_null(p, "cause");
        return;
    }
    lvlm_report_whose(&whose, r);
    lvlm_printer_object(p, "cause");
    lvlm_printer_text(p, "stage", r->cause->name);
    print_share(p, &r->cause->share);
    if (!whose.failed) lvlm_printer_text(p, "sentence", whose.text);
    if (r->why != NULL) print_why(p, r->why);
    lvlm_printer_end(p);
    lvlm_strbuf_free(&whose);
}

/* Of a measure the figures are under the name of the mode. */
static void print_stage(lvlm_printer *p, const lvlm_replay *r,
                        const lvlm_replay_stage *s)
{
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", s->name);
    lvlm_printer_shape(p, "shape", &s->shape);
    if (r->is_measure) {
        lvlm_printer_object(p, lvlm_report_compute(r));
        print_figures(p, s);
        lvlm_printer_end(p);
    } else {
        print_axes(p, r, s);
        lvlm_printer_text(p, "verdict", lvlm_verdict_name(s->verdict));
        lvlm_printer_number(p, "band", s->band);
        print_figures(p, s);
        if (s->looked_again) {
            lvlm_printer_number(p, "recorded_from_double", s->recorded_error);
            lvlm_printer_number(p, "own_from_double", s->own_error);
            lvlm_printer_number(p, "rounding_up_to", s->explained);
        }
        if (s->share.known) print_share(p, &s->share);
        lvlm_printer_list(p, "worst_rows");
        for (size_t i = 0; i < s->found.n_worst; i++)
            print_row(p, r, s, &s->found.worst[i]);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

static void print_tokens(lvlm_printer *p, const lvlm_replay_tokens *t)
{
    const lvlm_other_token *const f = &t->first;
    lvlm_printer_object(p, "tokens");
    lvlm_printer_count(p, "rounds", t->n);
    lvlm_printer_count(p, "others", t->n_others);
    lvlm_printer_count(p, "near_ties", t->n_ties);
    if (t->n_others > 0) {
        lvlm_printer_object(p, "first");
        lvlm_printer_count(p, "round", f->round);
        lvlm_printer_number(p, "recorded", (double)f->recorded);
        lvlm_printer_number(p, "computed", (double)f->computed);
        if (!isnan(f->recorded_gap))
            lvlm_printer_number(p, "recorded_gap", f->recorded_gap);
        lvlm_printer_number(p, "computed_gap", f->computed_gap);
        lvlm_printer_flag(p, "near_tie", f->is_tie);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

/* "verdict" with its possible causes, and "mismatches". */
static void print_verdict(lvlm_printer *p, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    char text[LVLM_VERDICT_TEXT + LVLM_MISMATCHES * (LVLM_MISMATCH_TEXT + 2)];
    const size_t n = lvlm_report_mismatches(sentences, r);
    size_t at =
        (size_t)snprintf(text, sizeof text, "%s", lvlm_report_verdict(verdict, r));
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "; %s", sentences[i]);
    lvlm_printer_text(p, "verdict", text);
    lvlm_printer_list(p, "mismatches");
    for (size_t i = 0; i < n; i++) lvlm_printer_text(p, NULL, sentences[i]);
    lvlm_printer_end(p);
}

static void print_measure(lvlm_printer *p, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    lvlm_printer_flag(p, "passed", r->n_failed == 0);
    lvlm_printer_text(p, "verdict", lvlm_report_verdict(verdict, r));
    lvlm_printer_text(p, "family", r->family);
    lvlm_printer_text(p, "model", r->model);
    lvlm_printer_text(p, "inputs", r->golden);
    lvlm_printer_text(p, "reference", r->reference);
    lvlm_printer_text(p, "root", r->model_root);
}

static void print_sentences(lvlm_printer *p, const char *key, const lvlm_notes *list)
{
    lvlm_printer_texts(p, key, (const char *const *)list->at, list->n);
}

static void print_replay(lvlm_printer *p, const lvlm_replay *r)
{
    lvlm_printer_flag(p, "passed", r->n_failed == 0);
    lvlm_printer_flag(p, "exact", lvlm_report_is_exact(r));
    print_verdict(p, r);
    if (r->first_bad != NULL)
        lvlm_printer_text(p, "first_bad", r->first_bad->name);
    else
        lvlm_printer_null(p, "first_bad");
    print_sentences(p, "not_compared", &r->not_compared);
    print_sentences(p, "not_exercised", &r->not_exercised);
    print_cause(p, r);
    lvlm_printer_text(p, "family", r->family);
    lvlm_printer_text(p, "model", r->model);
    lvlm_printer_text(p, "golden", r->golden);
    lvlm_printer_text(p, "compute", lvlm_report_compute(r));
    lvlm_printer_text(p, "kernel", lvlm_kernel_name(r->compute));
    lvlm_printer_text(p, "reference", r->reference);
    if (r->layers > 0) lvlm_printer_count(p, "layers", r->layers);
    if (r->agrees_with != NULL) lvlm_printer_text(p, "agrees_with", r->agrees_with);
    if (r->tokens.n > 0) print_tokens(p, &r->tokens);
    lvlm_printer_list(p, "differences");
    for (size_t i = 0; i < r->n_differences; i++)
        lvlm_printer_text(p, NULL, lvlm_difference_name(r->differences[i]));
    lvlm_printer_end(p);
    lvlm_printer_text(p, "root", r->model_root);
    lvlm_printer_text(p, "golden_sha256", r->recording.sha256);
    if (r->source[0] != '\0')
        lvlm_printer_flag(p, "same_checkpoint",
                          strcmp(r->source, r->recording.source) == 0);
    if (r->recording.metadata != NULL) {
        lvlm_printer_tree(p, "golden_metadata", r->recording.metadata);
    } else {
        lvlm_printer_object(p, "golden_metadata");
        lvlm_printer_end(p);
    }
}

void verify_print_replay(lvlm_printer *p, const lvlm_replay *r)
{
    if (r->is_measure)
        print_measure(p, r);
    else
        print_replay(p, r);
    lvlm_printer_list(p, "stages");
    for (size_t i = 0; i < r->n_stages; i++) print_stage(p, r, &r->stages[i]);
    lvlm_printer_end(p);
}

int verify_print_json(const lvlm_replay *r, lvlm_error *err)
{
    lvlm_printer p;
    lvlm_printer_open(&p, true, false);
    verify_print_replay(&p, r);
    return lvlm_printer_close(&p, r->notes, err);
}
