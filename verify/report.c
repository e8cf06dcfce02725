/* report.c - a replay's result as a table for the terminal and as JSON. */
#include "verify/report.h"

#include <inttypes.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/utf8.h"
#include "verify/report_words.h"

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
    lvlm_strbuf_printf(out,
                       r->is_measure ? "%s (%s): %s compared with double on %s, "
                                       "behaviour: %s"
                                     : "%s (%s, %s) against %s, behaviour: %s",
                       lvlm_visible(model, sizeof model, r->model), r->family,
                       compute_name(r->compute),
                       lvlm_visible(golden, sizeof golden, r->golden),
                       lvlm_visible(reference, sizeof reference, r->reference));
    for (size_t i = 0; i < r->n_differences; i++)
        lvlm_strbuf_printf(out, "%s%s", i == 0 ? ", differs from trained in: " : ", ",
                           r->differences[i]);
    lvlm_strbuf_puts(out, "\n\n");
}

static void put_stage(lvlm_strbuf *out, const lvlm_replay *r,
                      const lvlm_replay_stage *s)
{
    char shape[LVLM_SHAPE_TEXT], name[NAME_BYTES];
    lvlm_strbuf_printf(out, "%-22s %-16s", lvlm_visible(name, sizeof name, s->name),
                       lvlm_shape_text(shape, &s->shape));
    if (lvlm_verdict_compared(s->verdict))
        lvlm_strbuf_printf(out, " %9.2e %9.2e", s->error, s->found.distance.max_abs);
    else
        lvlm_strbuf_printf(out, " %9s %9s", "-", "-");
    if (!r->is_measure)
        lvlm_strbuf_printf(out, " %7.0e  %s", s->band, lvlm_verdict_name(s->verdict));
    if (s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(out, ", got %s", lvlm_shape_text(shape, &s->got));
    if (s->found.distance.n_bad > 0)
        lvlm_strbuf_printf(out, ", %" PRIu64 " computed values are not finite",
                           s->found.distance.n_bad);
    lvlm_strbuf_puts(out, "\n");
}

static void put_divergence(lvlm_strbuf *out, const lvlm_replay *r,
                           const lvlm_replay_stage *s)
{
    lvlm_strbuf_printf(out, "logits: max KL %.2e", s->found.max_kl);
    if (!r->is_measure) lvlm_strbuf_printf(out, " (band %.0e)", s->band_kl);
    lvlm_strbuf_printf(out, ", same first choice in %" PRIu64 " of %" PRIu64 " rows\n",
                       s->found.n_top1, s->found.n_rows);
}

static void put_logits(lvlm_strbuf *out, const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (s->is_logits && s->found.n_rows > 0) put_divergence(out, r, s);
    }
}

static void put_worst(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char place[LVLM_SHAPE_TEXT];
    if (s->found.n_worst == 0) return;
    lvlm_strbuf_puts(out, "worst rows there:");
    for (size_t i = 0; i < s->found.n_worst; i++) {
        const lvlm_worst_row *row = &s->found.worst[i];
        lvlm_strbuf_printf(out, "%s %s %.2e", i > 0 ? "," : "",
                           lvlm_report_row(place, s, row), row->error);
        if (row->token >= 0) lvlm_strbuf_printf(out, " (id %" PRId64 ")", row->token);
    }
    lvlm_strbuf_puts(out, "\n");
}

/* What a second look showed, of each stage that it was taken of. */
static void put_second_looks(lvlm_strbuf *out, const lvlm_replay *r)
{
    char name[NAME_BYTES], figures[LVLM_LOOK_TEXT];
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        if (s->looked_again && (lvlm_verdict_passes(s->verdict) || s == r->first_bad))
            lvlm_strbuf_printf(out, "%s: %s\n",
                               lvlm_visible(name, sizeof name, s->name),
                               lvlm_report_look(figures, r, s));
    }
}

static void put_failure(lvlm_strbuf *out, const lvlm_replay *r)
{
    char name[NAME_BYTES];
    lvlm_strbuf_printf(
        out, "first stage that is wrong: %s (%s); %zu of %zu stages fail\n",
        lvlm_visible(name, sizeof name, r->first_bad->name),
        lvlm_verdict_name(r->first_bad->verdict), r->n_failed, r->n_stages);
    put_worst(out, r->first_bad);
}

void lvlm_report_text(lvlm_strbuf *out, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    put_heading(out, r);
    lvlm_strbuf_printf(out, "%-22s %-16s %9s %9s", "stage", "shape", "error",
                       "max abs");
    lvlm_strbuf_puts(out, r->is_measure ? "\n" : "    band  verdict\n");
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, r, &r->stages[i]);
    lvlm_strbuf_puts(out, "\n");
    put_logits(out, r);
    put_second_looks(out, r);
    if (lvlm_report_loose_gradients(r))
        lvlm_strbuf_puts(out, LVLM_LOOSE_GRADIENTS "\n");
    if (r->first_bad != NULL && !r->is_measure)
        put_failure(out, r);
    else
        lvlm_strbuf_printf(out, "%s\n", lvlm_report_verdict(verdict, r));
}

/* ---- JSON ----------------------------------------------------------------------- */

static cJSON *row_json(const lvlm_replay_stage *s, const lvlm_worst_row *worst)
{
    cJSON *const row = cJSON_CreateObject();
    lvlm_shape index;
    lvlm_report_row_index(&index, s, worst);
    cJSON_AddItemToObject(row, "index", lvlm_shape_json(&index));
    lvlm_json_add_number(row, "relative_l2", worst->error);
    if (worst->token >= 0) lvlm_json_add_number(row, "token", (double)worst->token);
    return row;
}

static void add_figures(cJSON *json, const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    lvlm_json_add_number(json, "relative_l2", s->relative_l2);
    if (!s->is_gradient) lvlm_json_add_number(json, "row_error", s->error);
    lvlm_json_add_number(json, "max_abs", e->distance.max_abs);
    lvlm_json_add_number(json, "cosine", s->cosine);
    lvlm_json_add_number(json, "rows", (double)e->n_rows);
    if (e->distance.n_bad > 0)
        lvlm_json_add_number(json, "computed_not_finite", (double)e->distance.n_bad);
    if (s->is_logits && e->n_rows > 0) {
        lvlm_json_add_number(json, "max_kl", e->max_kl);
        lvlm_json_add_number(json, "top1_agreement",
                             (double)e->n_top1 / (double)e->n_rows);
    }
}

static cJSON *stage_json(const lvlm_replay_stage *s)
{
    const lvlm_stage_error *const e = &s->found;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", s->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&s->shape));
    cJSON_AddStringToObject(json, "verdict", lvlm_verdict_name(s->verdict));
    lvlm_json_add_number(json, "band", s->band);
    add_figures(json, s);
    if (s->looked_again) {
        lvlm_json_add_number(json, "recorded_from_double", s->recorded_error);
        lvlm_json_add_number(json, "own_from_double", s->own_error);
    }
    cJSON *worst = cJSON_AddArrayToObject(json, "worst_rows");
    for (size_t i = 0; i < e->n_worst; i++)
        cJSON_AddItemToArray(worst, row_json(s, &e->worst[i]));
    return json;
}

/* The figures of one mode, under its name. */
static cJSON *measured_json(const lvlm_replay *r, const lvlm_replay_stage *s)
{
    cJSON *const json = cJSON_CreateObject();
    cJSON *const mode = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", s->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&s->shape));
    cJSON_AddItemToObject(json, compute_name(r->compute), mode);
    add_figures(mode, s);
    return json;
}

static int print_json(lvlm_strbuf *out, cJSON *json, lvlm_error *err)
{
    char *text = NULL;
    const int rc = lvlm_json_print_pretty(&text, json, err);
    if (rc == 0) lvlm_strbuf_puts(out, text);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

int lvlm_report_precision_json(lvlm_strbuf *out, const lvlm_replay *r, lvlm_error *err)
{
    char verdict[LVLM_VERDICT_TEXT];
    cJSON *const json = lvlm_json_document();
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
    if (r->notes != NULL) lvlm_add_notes(json, r->notes);
    return print_json(out, json, err);
}

int lvlm_report_json(lvlm_strbuf *out, const lvlm_replay *r, lvlm_error *err)
{
    cJSON *json = lvlm_json_document();
    char verdict[LVLM_VERDICT_TEXT];
    cJSON_AddBoolToObject(json, "passed", r->n_failed == 0);
    cJSON_AddBoolToObject(json, "exact", lvlm_report_is_exact(r));
    cJSON_AddStringToObject(json, "verdict", lvlm_report_verdict(verdict, r));
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
    cJSON_AddStringToObject(json, "root", r->model_root);
    cJSON_AddStringToObject(json, "golden_sha256", r->recording.sha256);
    cJSON_AddItemToObject(json, "golden_metadata",
                          r->recording.metadata != NULL
                              ? cJSON_Duplicate(r->recording.metadata, true)
                              : cJSON_CreateObject());
    cJSON *stages = cJSON_AddArrayToObject(json, "stages");
    for (size_t i = 0; i < r->n_stages; i++)
        cJSON_AddItemToArray(stages, stage_json(&r->stages[i]));
    if (r->notes != NULL) lvlm_add_notes(json, r->notes);
    return print_json(out, json, err);
}
