/* report.c - a replay's result as a table for the terminal and as JSON. */
#include "verify/report.h"

#include <inttypes.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/utf8.h"
#include "formats/finite.h"

/* A name as a terminal may get it; a longer one is cut where it has to be escaped. */
enum { NAME_BYTES = 512 };

static const char *compute_name(lvlm_compute compute)
{
    return compute == LVLM_COMPUTE_F64 ? "f64" : "f32";
}

/* ---- text ----------------------------------------------------------------------- */

static void put_heading(lvlm_strbuf *out, const lvlm_replay *r)
{
    char model[NAME_BYTES], golden[NAME_BYTES], reference[NAME_BYTES];
    lvlm_strbuf_printf(out, "%s (%s, %s) against %s, behaviour: %s",
                       lvlm_visible(model, sizeof model, r->model), r->family,
                       compute_name(r->compute),
                       lvlm_visible(golden, sizeof golden, r->golden),
                       lvlm_visible(reference, sizeof reference, r->reference));
    for (size_t i = 0; i < r->n_differences; i++)
        lvlm_strbuf_printf(out, "%s%s", i == 0 ? ", differs from trained in: " : ", ",
                           r->differences[i]);
    lvlm_strbuf_puts(out, "\n\n");
}

static void put_stage(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char shape[LVLM_SHAPE_TEXT], name[NAME_BYTES];
    lvlm_strbuf_printf(out, "%-24s %-16s", lvlm_visible(name, sizeof name, s->name),
                       lvlm_shape_text(shape, &s->shape));
    if (s->verdict == LVLM_VERDICT_MISSING || s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(out, " %10s %10s %13s", "-", "-", "-");
    else
        lvlm_strbuf_printf(out, " %10.2e %10.2e %13.10f", s->relative_l2,
                           s->distance.max_abs, s->cosine);
    lvlm_strbuf_printf(out, " %9.1e  %s", s->band, lvlm_verdict_name(s->verdict));
    if (s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(out, ", got %s", lvlm_shape_text(shape, &s->got));
    if (s->n_not_finite > 0)
        lvlm_strbuf_printf(out,
                           ", %" PRIu64 " recorded values are not finite, the first at "
                           "%s",
                           s->n_not_finite,
                           lvlm_place_text(shape, &s->shape, s->not_finite));
    else if (s->distance.n_bad > 0)
        lvlm_strbuf_printf(out, ", %" PRIu64 " computed values are not finite",
                           s->distance.n_bad);
    lvlm_strbuf_puts(out, "\n");
}

static void put_logits(lvlm_strbuf *out, const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (s->is_logits && s->n_rows > 0)
            lvlm_strbuf_printf(out,
                               "logits: max KL %.2e (band %.0e), same first choice in "
                               "%" PRIu64 " of %" PRIu64 " rows\n",
                               s->max_kl, s->band_kl, s->n_top1, s->n_rows);
    }
}

static void put_worst(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    if (s->n_worst == 0) return;
    lvlm_strbuf_puts(out, "worst rows there:");
    for (size_t i = 0; i < s->n_worst; i++) {
        const lvlm_worst_row *row = &s->worst[i];
        lvlm_strbuf_printf(out, "%s [%zu, %zu] %.2e", i > 0 ? "," : "", row->index[0],
                           row->index[1], row->relative_l2);
        if (row->token >= 0) lvlm_strbuf_printf(out, " (id %" PRId64 ")", row->token);
    }
    lvlm_strbuf_puts(out, "\n");
}

void lvlm_report_text(lvlm_strbuf *out, const lvlm_replay *r)
{
    char name[NAME_BYTES];
    put_heading(out, r);
    lvlm_strbuf_printf(out, "%-24s %-16s %10s %10s %13s %9s  %s\n", "stage", "shape",
                       "rel L2", "max abs", "cosine", "band", "verdict");
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, &r->stages[i]);
    lvlm_strbuf_puts(out, "\n");
    put_logits(out, r);
    if (r->first_bad == NULL) {
        lvlm_strbuf_printf(out, "all %zu stages are within their bands\n", r->n_stages);
        return;
    }
    lvlm_strbuf_printf(
        out, "first stage that is wrong: %s (%s); %zu of %zu stages fail\n",
        lvlm_visible(name, sizeof name, r->first_bad->name),
        lvlm_verdict_name(r->first_bad->verdict), r->n_failed, r->n_stages);
    put_worst(out, r->first_bad);
}

/* ---- JSON ----------------------------------------------------------------------- */

static cJSON *stage_json(const lvlm_replay_stage *s)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", s->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&s->shape));
    cJSON_AddStringToObject(json, "verdict", lvlm_verdict_name(s->verdict));
    lvlm_json_add_number(json, "relative_l2", s->relative_l2);
    lvlm_json_add_number(json, "max_abs", s->distance.max_abs);
    lvlm_json_add_number(json, "cosine", s->cosine);
    lvlm_json_add_number(json, "band", s->band);
    if (s->n_not_finite > 0)
        lvlm_json_add_number(json, "recorded_not_finite", (double)s->n_not_finite);
    if (s->distance.n_bad > 0)
        lvlm_json_add_number(json, "computed_not_finite", (double)s->distance.n_bad);
    if (s->is_logits && s->n_rows > 0) {
        lvlm_json_add_number(json, "max_kl", s->max_kl);
        lvlm_json_add_number(json, "top1_agreement",
                             (double)s->n_top1 / (double)s->n_rows);
        lvlm_json_add_number(json, "rows", (double)s->n_rows);
    }
    cJSON *worst = cJSON_AddArrayToObject(json, "worst_rows");
    for (size_t i = 0; i < s->n_worst; i++) {
        cJSON *row = cJSON_CreateObject();
        const double index[] = { (double)s->worst[i].index[0],
                                 (double)s->worst[i].index[1] };
        cJSON_AddItemToArray(worst, row);
        cJSON_AddItemToObject(row, "index", cJSON_CreateDoubleArray(index, 2));
        lvlm_json_add_number(row, "relative_l2", s->worst[i].relative_l2);
        if (s->worst[i].token >= 0)
            lvlm_json_add_number(row, "token", (double)s->worst[i].token);
    }
    return json;
}

int lvlm_report_json(lvlm_strbuf *out, const lvlm_replay *r, lvlm_error *err)
{
    cJSON *json = cJSON_CreateObject();
    char *text = NULL;
    cJSON_AddBoolToObject(json, "passed", r->n_failed == 0);
    if (r->first_bad != NULL)
        cJSON_AddStringToObject(json, "first_bad", r->first_bad->name);
    else
        cJSON_AddNullToObject(json, "first_bad");
    cJSON_AddStringToObject(json, "family", r->family);
    cJSON_AddStringToObject(json, "model", r->model);
    cJSON_AddStringToObject(json, "golden", r->golden);
    cJSON_AddStringToObject(json, "compute", compute_name(r->compute));
    cJSON_AddStringToObject(json, "reference", r->reference);
    cJSON *differences = cJSON_AddArrayToObject(json, "differences");
    for (size_t i = 0; i < r->n_differences; i++)
        cJSON_AddItemToArray(differences, cJSON_CreateString(r->differences[i]));
    cJSON_AddStringToObject(json, "model_root", r->model_root);
    cJSON_AddStringToObject(json, "golden_sha256", r->golden_sha256);
    cJSON_AddItemToObject(json, "golden_metadata",
                          r->golden_metadata != NULL
                              ? cJSON_Duplicate(r->golden_metadata, true)
                              : cJSON_CreateObject());
    cJSON *stages = cJSON_AddArrayToObject(json, "stages");
    for (size_t i = 0; i < r->n_stages; i++)
        cJSON_AddItemToArray(stages, stage_json(&r->stages[i]));
    if (r->notes != NULL) lvlm_add_notes(json, r->notes);
    const int rc = lvlm_json_print_pretty(&text, json, err);
    if (rc == 0) lvlm_strbuf_puts(out, text);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}
