/* card.c - makes an evidence card of an audit; see card.h. */
#include "verify/report/card.h"

#include <math.h>
#include <string.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/version.h"
#include "formats/checkpoint/source_digest.h"
#include "formats/native/native.h"
#include "verify/projections.h"
#include "verify/report/report.h"
#include "verify/report/report_words.h"

/* Members are added without checks: the first failure sticks. */
typedef struct maker {
    const lvlm_audit *audit;
    bool failed;
} maker;

static void put_text(maker *m, cJSON *to, const char *key, const char *value)
{
    if (value != NULL && *value != '\0' &&
        cJSON_AddStringToObject(to, key, value) == NULL)
        m->failed = true;
}

static void put_count(maker *m, cJSON *to, const char *key, uint64_t value)
{
    if (cJSON_AddNumberToObject(to, key, (double)value) == NULL) m->failed = true;
}

static void put_flag(maker *m, cJSON *to, const char *key, bool value)
{
    if (cJSON_AddBoolToObject(to, key, value) == NULL) m->failed = true;
}

/* Takes `item`; key NULL: to a list. Returns it, or NULL. */
static cJSON *put(maker *m, cJSON *to, const char *key, cJSON *item)
{
    if (to != NULL && item != NULL &&
        (key != NULL ? cJSON_AddItemToObject(to, key, item)
                     : cJSON_AddItemToArray(to, item)))
        return item;
    lvlm_json_free(item);
    m->failed = true;
    return NULL;
}

static cJSON *put_object(maker *m, cJSON *to, const char *key)
{
    return put(m, to, key, cJSON_CreateObject());
}

static cJSON *put_list(maker *m, cJSON *to, const char *key)
{
    return put(m, to, key, cJSON_CreateArray());
}

static void put_texts(maker *m, cJSON *to, const char *key, const char *const *texts,
                      size_t n)
{
    cJSON *const list = put_list(m, to, key);
    for (size_t i = 0; i < n; i++)
        (void)put(m, list, NULL, cJSON_CreateString(texts[i]));
}

/* ---- the model ------------------------------------------------------------------ */

static void put_dtypes(maker *m, cJSON *to)
{
    const lvlm_checkpoint *const cp = m->audit->checkpoint;
    cJSON *const dtypes = put_object(m, to, "dtypes");
    uint64_t parameters = 0;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *const t = &cp->tensors[i];
        const char *const name = lvlm_dtype_name(t->dtype);
        uint64_t n = 0;
        if (!lvlm_native_is_model(t)) continue;
        parameters += lvlm_tensor_numel(t);
        (void)lvlm_json_u64(&n, lvlm_json_get(dtypes, name));
        if (!lvlm_json_set(dtypes, name, cJSON_CreateNumber((double)n + 1)))
            m->failed = true;
    }
    put_count(m, to, "parameters", parameters);
}

static int put_model(maker *m, cJSON *card, lvlm_error *err)
{
    const lvlm_audit *const a = m->audit;
    cJSON *const model = put_object(m, card, "model");
    lvlm_hex_digest weights, source;
    put_text(m, model, "name", lvlm_path_base(a->model));
    if (a->checkpoint == NULL) return 0;
    TRY(lvlm_native_weights_digest(weights, a->checkpoint, err));
    TRY(lvlm_source_digest(source, &a->manifest, err));
    put_text(m, model, "family", a->manifest.family->name);
    put_text(m, model, "root", lvlm_checkpoint_meta(a->checkpoint, "root"));
    put_text(m, model, "weights", weights);
    put_text(m, model, "checkpoint", source);
    put_count(m, model, "bytes", a->checkpoint->files[0].map->n_bytes);
    put_dtypes(m, model);
    if (!lvlm_json_set_copy(card, "provenance", a->checkpoint->native->provenance))
        m->failed = true;
    return 0;
}

/* ---- the account ---------------------------------------------------------------- */

static void put_uses(maker *m, cJSON *to, const lvlm_ledger *ledger)
{
    static const char *const words[LVLM_N_USES] = { "used", "tied", "unused" };
    cJSON *const rules = put_object(m, to, "rules");
    uint64_t n[LVLM_N_USES] = { 0 };
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const lvlm_ledger_entry *const entry = &ledger->entries[i];
        uint64_t before = 0;
        n[entry->use]++;
        if (entry->rule == NULL) continue;
        (void)lvlm_json_u64(&before, lvlm_json_get(rules, entry->rule));
        if (!lvlm_json_set(rules, entry->rule, cJSON_CreateNumber((double)before + 1)))
            m->failed = true;
    }
    for (size_t i = 0; i < LVLM_N_USES; i++) put_count(m, to, words[i], n[i]);
}

static void put_account(maker *m, cJSON *card)
{
    const lvlm_checkpoint *const cp = m->audit->checkpoint;
    const lvlm_ledger *const ledger = &m->audit->manifest.ledger;
    cJSON *const account = put_object(m, card, "accounting");
    cJSON *const files = put_list(m, account, "files");
    for (size_t i = 0; i < ledger->n_files; i++) {
        cJSON *const file = put_object(m, files, NULL);
        put_text(m, file, "name", ledger->files[i].name);
        put_count(m, file, "bytes", ledger->files[i].n_bytes);
    }
    put_uses(m, account, ledger);
    cJSON *const made = put_list(m, account, "made");
    for (size_t i = 0; i < ledger->n_made; i++) {
        cJSON *const tensor = put_object(m, made, NULL);
        put_text(m, tensor, "name", ledger->made[i].target);
        put_text(m, tensor, "how", ledger->made[i].how);
    }
    cJSON *const side = put_object(m, card, "side_files");
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const char *name;
        if (lvlm_native_section_of(&name, cp->tensors[i].name) == LVLM_SECTION_FILES)
            put_text(m, side, name, lvlm_native_digest_of(cp, &cp->tensors[i]));
    }
}

/* ---- projections ---------------------------------------------------------------- */

static void put_projection(maker *m, cJSON *list, const lvlm_projection_state *p,
                           const lvlm_projection_values *v)
{
    const lvlm_checkpoint *const cp = m->audit->checkpoint;
    const lvlm_tensor *const weight = lvlm_checkpoint_find(cp, p->name);
    cJSON *const to = put_object(m, list, NULL);
    put_text(m, to, "role", p->table->role);
    put_text(m, to, "name", p->name);
    (void)put(m, to, "shape", lvlm_shape_json(&p->shape));
    put_flag(m, to, "bias", p->has_bias);
    put_text(m, to, "form", p->form);
    put_texts(m, to, "sources", p->sources, p->n_sources);
    put_flag(m, to, "transposed", p->transposed);
    put_text(m, to, "values", v->look);
    if (v->look != NULL && strcmp(v->look, "constant") == 0 && isfinite(v->value))
        (void)put(m, to, "value", cJSON_CreateNumber(v->value));
    put_text(m, to, "same_as", v->same_as);
    if (weight != NULL) put_text(m, to, "sha256", lvlm_native_digest_of(cp, weight));
}

static void put_projections(maker *m, cJSON *card)
{
    cJSON *const list = put_list(m, card, "projections");
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state state;
    for (size_t i = 0; lvlm_projections_next(&state, &m->audit->manifest, &at); i++)
        put_projection(m, list, &state, &m->audit->values[i]);
}

/* ---- results -------------------------------------------------------------------- */

static void put_sentence(maker *m, cJSON *to, const lvlm_check *c)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&text, c);
    if (text.failed) m->failed = true;
    put_text(m, to, "summary", text.text);
    lvlm_strbuf_free(&text);
}

static void put_check(maker *m, cJSON *checks, const lvlm_check *c)
{
    cJSON *const to = put_object(m, checks, NULL);
    put_text(m, to, "check", lvlm_check_name(c->kind));
    put_text(m, to, "state", lvlm_check_state_name(c->state));
    put_sentence(m, to, c);
    put_texts(m, to, "problems", c->problems, c->n_problems);
}

static void put_sentences(maker *m, cJSON *to, const char *key, const lvlm_notes *notes)
{
    put_texts(m, to, key, (const char *const *)notes->at, notes->n);
}

static void put_replay(maker *m, cJSON *to, const lvlm_replay *r)
{
    put_text(m, to, "sha256", r->recording.sha256);
    put_flag(m, to, "exact", lvlm_report_is_exact(r));
    put_text(m, to, "compute", lvlm_report_compute(r));
    put_text(m, to, "reference", r->reference);
    cJSON *const differences = put_list(m, to, "differences");
    for (size_t i = 0; i < r->n_differences; i++)
        (void)put(m, differences, NULL,
                  cJSON_CreateString(lvlm_difference_name(r->differences[i])));
    put_count(m, to, "n_stages", r->n_stages);
    put_count(m, to, "n_failed", r->n_failed);
    if (r->first_bad != NULL) put_text(m, to, "first_bad", r->first_bad->name);
    put_sentences(m, to, "not_compared", &r->not_compared);
    put_sentences(m, to, "not_exercised", &r->not_exercised);
    if (r->recording.metadata != NULL &&
        !lvlm_json_set_copy(to, "metadata", r->recording.metadata))
        m->failed = true;
}

static void put_golden(maker *m, cJSON *goldens, const lvlm_check *c)
{
    cJSON *const to = put_object(m, goldens, NULL);
    put_text(m, to, "name", lvlm_path_base(c->golden));
    put_text(m, to, "state", lvlm_check_state_name(c->state));
    put_sentence(m, to, c);
    if (c->replay.model != NULL) put_replay(m, to, &c->replay);
}

/* How the recordings were replayed, as far as they were not left to decide. */
static int put_options(maker *m, cJSON *card, lvlm_error *err)
{
    const lvlm_replay_options *const o = &m->audit->options;
    cJSON *const to = put_object(m, card, "options");
    put_flag(m, to, "grads", o->grads);
    if (o->compute != NULL) put_text(m, to, "compute", lvlm_compute_name(*o->compute));
    put_text(m, to, "reference", o->reference);
    if (o->tolerance == NULL) return 0;
    cJSON *bands = NULL;
    const int rc = lvlm_json_load(&bands, o->tolerance, err);
    if (rc == 0) (void)put(m, to, "tolerance", bands);
    return rc;
}

static int fill(maker *m, cJSON *card, lvlm_error *err)
{
    const lvlm_audit *const a = m->audit;
    lvlm_strbuf verdict = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_audit(&verdict, a);
    if (verdict.failed) m->failed = true;
    put_text(m, card, "format", LVLM_CARD_FORMAT);
    put_text(m, card, "made_by", "lvlm-verify " LVLM_VERSION);
    put_flag(m, card, "passed", a->worst == NULL);
    put_text(m, card, "verdict", verdict.text);
    lvlm_strbuf_free(&verdict);
    TRY(put_model(m, card, err));
    if (a->checkpoint != NULL) {
        put_account(m, card);
        put_projections(m, card);
    }
    TRY(put_options(m, card, err));
    cJSON *const checks = put_list(m, card, "checks");
    cJSON *const goldens = put_list(m, card, "goldens");
    for (size_t i = 0; i < a->n_checks; i++)
        if (a->checks[i].kind != LVLM_CHECK_REPLAY)
            put_check(m, checks, &a->checks[i]);
        else
            put_golden(m, goldens, &a->checks[i]);
    return m->failed ? lvlm_fail_memory(err) : 0;
}

int lvlm_card_make(cJSON **out, const lvlm_audit *audit, lvlm_error *err)
{
    maker m = { audit, false };
    *out = cJSON_CreateObject();
    return *out != NULL ? fill(&m, *out, err) : lvlm_fail_memory(err);
}
