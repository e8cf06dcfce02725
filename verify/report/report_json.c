/* report_json.c - a replay's result, and a measure's, as JSON. */
#include "verify/report/report.h"

#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "verify/report/report_words.h"

/* "index" counts along the stage's axes, "place" is in words. */
static cJSON *row_json(const lvlm_replay *r, const lvlm_replay_stage *s,
                       const lvlm_worst_row *worst)
{
    cJSON *const row = cJSON_CreateObject();
    lvlm_place index, meaning;
    lvlm_report_place(&index, &meaning, r, s, worst);
    cJSON *const numbers = cJSON_AddArrayToObject(row, "index");
    for (size_t i = 0; i < index.n; i++)
        cJSON_AddItemToArray(numbers, cJSON_CreateNumber((double)index.at[i].index));
    cJSON *const place = cJSON_AddArrayToObject(row, "place");
    for (size_t i = 0; i < meaning.n; i++) {
        cJSON *const part = cJSON_CreateObject();
        cJSON_AddStringToObject(part, "axis", meaning.at[i].axis);
        cJSON_AddNumberToObject(part, "at", (double)meaning.at[i].index);
        cJSON_AddItemToArray(place, part);
    }
    lvlm_json_add_number(row, "relative_l2", worst->error);
    if (worst->token >= 0) lvlm_json_add_number(row, "token", (double)worst->token);
    return row;
}

/* The axes that an index of its rows counts along. */
static void add_axes(cJSON *json, const lvlm_replay *r, const lvlm_replay_stage *s)
{
    const lvlm_worst_row first = { .place = 0 };
    lvlm_place index, meaning;
    cJSON *const axes = cJSON_AddArrayToObject(json, "axes");
    lvlm_report_place(&index, &meaning, r, s, &first);
    for (size_t i = 0; i < index.n; i++)
        cJSON_AddItemToArray(axes, cJSON_CreateString(index.at[i].axis));
}

static void add_figures(cJSON *json, const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    lvlm_json_add_number(json, "relative_l2", s->relative_l2);
    if (!s->is_gradient) lvlm_json_add_number(json, "row_error", s->error);
    lvlm_json_add_number(json, "max_abs", e->distance.max_abs);
    if (lvlm_report_has_cosine(s)) lvlm_json_add_number(json, "cosine", s->cosine);
    lvlm_json_add_number(json, "rows", (double)e->n_rows);
    if (e->distance.n_bad > 0)
        lvlm_json_add_number(json, "computed_not_finite", (double)e->distance.n_bad);
    if (s->is_logits && e->n_rows > 0) {
        lvlm_json_add_number(json, "max_kl", e->max_kl);
        lvlm_json_add_number(json, "top1_agreement",
                             (double)e->n_top1 / (double)e->n_rows);
    }
}

static cJSON *stage_json(const lvlm_replay *r, const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", s->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&s->shape));
    add_axes(json, r, s);
    cJSON_AddStringToObject(json, "verdict", lvlm_verdict_name(s->verdict));
    lvlm_json_add_number(json, "band", s->band);
    add_figures(json, s);
    if (s->looked_again) {
        lvlm_json_add_number(json, "recorded_from_double", s->recorded_error);
        lvlm_json_add_number(json, "own_from_double", s->own_error);
    }
    cJSON *worst = cJSON_AddArrayToObject(json, "worst_rows");
    for (size_t i = 0; i < e->n_worst; i++)
        cJSON_AddItemToArray(worst, row_json(r, s, &e->worst[i]));
    return json;
}

/* The figures of one mode, under its name. */
static cJSON *measured_json(const lvlm_replay *r, const lvlm_replay_stage *s)
{
    cJSON *const json = cJSON_CreateObject();
    cJSON *const mode = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", s->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&s->shape));
    cJSON_AddItemToObject(json, lvlm_report_compute(r), mode);
    add_figures(mode, s);
    return json;
}

static void fill_measure(cJSON *json, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    cJSON_AddBoolToObject(json, "passed", r->n_failed == 0);
    cJSON_AddStringToObject(json, "verdict", lvlm_report_verdict(verdict, r));
    cJSON_AddStringToObject(json, "family", r->family);
    cJSON_AddStringToObject(json, "model", r->model);
    cJSON_AddStringToObject(json, "inputs", r->golden);
    cJSON_AddStringToObject(json, "reference", r->reference);
    cJSON_AddStringToObject(json, "root", r->model_root);
    cJSON *const stages = cJSON_AddArrayToObject(json, "stages");
    for (size_t i = 0; i < r->n_stages; i++)
        cJSON_AddItemToArray(stages, measured_json(r, &r->stages[i]));
}

/* "verdict" with its possible causes, and "mismatches". */
static void add_verdict(cJSON *json, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    char text[LVLM_VERDICT_TEXT + LVLM_MISMATCHES * (LVLM_MISMATCH_TEXT + 2)];
    const size_t n = lvlm_report_mismatches(sentences, r);
    size_t at =
        (size_t)snprintf(text, sizeof text, "%s", lvlm_report_verdict(verdict, r));
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "; %s", sentences[i]);
    cJSON_AddStringToObject(json, "verdict", text);
    cJSON *const list = cJSON_AddArrayToObject(json, "mismatches");
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(sentences[i]));
}

static void fill_replay(cJSON *json, const lvlm_replay *r)
{
    cJSON_AddBoolToObject(json, "passed", r->n_failed == 0);
    cJSON_AddBoolToObject(json, "exact", lvlm_report_is_exact(r));
    add_verdict(json, r);
    if (r->first_bad != NULL)
        cJSON_AddStringToObject(json, "first_bad", r->first_bad->name);
    else
        cJSON_AddNullToObject(json, "first_bad");
    cJSON_AddStringToObject(json, "family", r->family);
    cJSON_AddStringToObject(json, "model", r->model);
    cJSON_AddStringToObject(json, "golden", r->golden);
    cJSON_AddStringToObject(json, "compute", lvlm_report_compute(r));
    cJSON_AddStringToObject(json, "reference", r->reference);
    cJSON *differences = cJSON_AddArrayToObject(json, "differences");
    for (size_t i = 0; i < r->n_differences; i++)
        cJSON_AddItemToArray(
            differences, cJSON_CreateString(lvlm_difference_name(r->differences[i])));
    cJSON_AddStringToObject(json, "root", r->model_root);
    cJSON_AddStringToObject(json, "golden_sha256", r->recording.sha256);
    if (r->source[0] != '\0')
        cJSON_AddBoolToObject(json, "same_checkpoint",
                              strcmp(r->source, r->recording.source) == 0);
    cJSON_AddItemToObject(json, "golden_metadata",
                          r->recording.metadata != NULL
                              ? cJSON_Duplicate(r->recording.metadata, true)
                              : cJSON_CreateObject());
    cJSON *stages = cJSON_AddArrayToObject(json, "stages");
    for (size_t i = 0; i < r->n_stages; i++)
        cJSON_AddItemToArray(stages, stage_json(r, &r->stages[i]));
}

int lvlm_report_json(lvlm_strbuf *out, const lvlm_replay *r, lvlm_error *err)
{
    cJSON *const json = lvlm_json_document();
    char *text = NULL;
    if (r->is_measure)
        fill_measure(json, r);
    else
        fill_replay(json, r);
    if (r->notes != NULL) lvlm_add_notes(json, r->notes);
    const int rc = lvlm_json_print_pretty(&text, json, err);
    if (rc == 0) lvlm_strbuf_puts(out, text);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}
