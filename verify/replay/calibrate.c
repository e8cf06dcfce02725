/* calibrate.c - proposes bands from repeated recordings; see calibrate.h. */
#include "verify/replay/calibrate.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "verify/replay/bands.h"
#include "verify/replay/coarse.h"
#include "verify/replay/plant.h"
#include "verify/replay/replay_parts.h"

typedef struct session {
    lvlm_calibration *result;
    const lvlm_replay_options *options;
    lvlm_replay *replays; /* (n_recordings) */
    size_t n_replays;     /* that are open */
    size_t room;          /* of result->at */
} session;

/* ---- stages --------------------------------------------------------------------- */

static lvlm_calibrated *find(lvlm_calibration *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->at[i].name, name) == 0) return &c->at[i];
    return NULL;
}

/* The entry of a stage; a new one if there is none yet. */
static int entry_of(lvlm_calibrated **out, session *s, const char *name,
                    lvlm_error *err)
{
    lvlm_calibration *const c = s->result;
    *out = find(c, name);
    if (*out != NULL) return 0;
    lvlm_calibrated *const list =
        lvlm_arena_room(&c->arena, c->at, c->n, &s->room, sizeof *list);
    char *const copy = lvlm_arena_strndup(&c->arena, name, strlen(name));
    if (list == NULL || copy == NULL) return lvlm_fail_memory(err);
    c->at = list;
    c->at[c->n] = (lvlm_calibrated){ .name = copy, .planted = NAN };
    *out = &c->at[c->n++];
    return 0;
}

static void note_divergence(lvlm_calibration *c, const lvlm_stage_error *found)
{
    c->has_logits = true;
    c->kl = fmax(c->kl, found->max_kl);
}

/* ---- distances ------------------------------------------------------------------ */

static int add_distances(session *s, const lvlm_replay *r, lvlm_error *err)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const stage = &r->stages[i];
        lvlm_calibrated *entry;
        FAIL_IF(!lvlm_verdict_compared(stage->verdict), err, LVLM_ECHECK, "%s: %s: %s",
                r->golden, stage->name, lvlm_verdict_name(stage->verdict));
        TRY(entry_of(&entry, s, stage->name, err));
        entry->n++;
        entry->distance = fmax(entry->distance, stage->error);
        if (stage->is_logits) note_divergence(s->result, &stage->found);
    }
    return 0;
}

/* ---- spread --------------------------------------------------------------------- */

static bool same_tensor(const lvlm_tensor *a, const lvlm_tensor *b)
{
    if (a == NULL || b == NULL) return a == b;
    return a->dtype == b->dtype && lvlm_shape_equal(&a->shape, &b->shape) &&
           memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
}

/* Has `b` every input of `a`, with the same values? */
static bool has_inputs(const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lvlm_tensor *const t = &a->tensors[i];
        if (lvlm_starts_with(t->name, LVLM_RECORDED_INPUT) &&
            !same_tensor(t, lvlm_checkpoint_find(b, t->name)))
            return false;
    }
    return true;
}

static int add_pair(session *s, const lvlm_replay *a, const lvlm_replay *b,
                    lvlm_error *err)
{
    for (size_t i = 0; i < a->n_stages; i++) {
        const lvlm_replay_stage *const x = &a->stages[i];
        const lvlm_replay_stage *const y = lvlm_replay_find(b, x->name);
        lvlm_stage_error found;
        if (y == NULL || !lvlm_shape_equal(&x->shape, &y->shape) ||
            !same_tensor(x->rows.kept, y->rows.kept))
            continue;
        const bool kept = x->rows.kept != NULL;
        const lvlm_rows rows = { .ids = kept ? NULL : x->rows.ids,
                                 .mask = kept ? NULL : x->rows.mask,
                                 .floor = x->rows.floor };
        TRY(lvlm_stage_compare(&found, x->recorded, y->recorded, &rows, x->is_logits,
                               err));
        lvlm_calibrated *const entry = find(s->result, x->name);
        assert(entry != NULL);
        entry->n_pairs++;
        entry->spread = fmax(entry->spread, lvlm_judged_error(y, &found));
        if (x->is_logits) note_divergence(s->result, &found);
    }
    return 0;
}

static int add_pairs(session *s, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_replays; i++)
        for (size_t j = i + 1; j < s->n_replays; j++) {
            const lvlm_replay *const a = &s->replays[i], *const b = &s->replays[j];
            if (has_inputs(a->recording.checkpoint, b->recording.checkpoint) &&
                has_inputs(b->recording.checkpoint, a->recording.checkpoint))
                TRY(add_pair(s, a, b, err));
        }
    return 0;
}

/* ---- bands ---------------------------------------------------------------------- */

/* Up to two significant digits. */
static double round_up(double x)
{
    if (!(x > 0) || !isfinite(x)) return x;
    const double unit = pow(10, floor(log10(x)) - 1);
    return ceil(x / unit * (1 - 1e-12)) * unit;
}

static int plant(session *s, lvlm_error *err)
{
    const lvlm_replay *const r = &s->replays[0];
    double *const planted = lvlm_calloc(r->n_stages + 1, sizeof *planted);
    if (planted == NULL) return lvlm_fail_memory(err);
    const int rc = lvlm_plant_measure(planted, r, s->options, err);
    for (size_t i = 0; rc == 0 && i < r->n_stages; i++)
        find(s->result, r->stages[i].name)->planted = planted[i];
    lvlm_free(planted);
    return rc;
}

static void set_bands(session *s)
{
    lvlm_calibration *const c = s->result;
    const double room = lvlm_coarse_type(&s->replays[0]) != NULL
                            ? LVLM_CALIBRATE_ROOM_COARSE
                            : LVLM_CALIBRATE_ROOM;
    /* the last bits of a result, which another machine may compute differently */
    const double unit =
        s->replays[0].compute == LVLM_COMPUTE_F64 ? DBL_EPSILON : FLT_EPSILON;
    const double least = 4 * unit;
    for (size_t i = 0; i < c->n; i++) {
        lvlm_calibrated *const e = &c->at[i];
        const double seen = fmax(e->spread, e->distance);
        e->band = round_up(fmax(room * seen, least));
        e->refused = e->band >= (isnan(e->planted) ? 1 : e->planted);
        c->n_refused += e->refused;
    }
    c->band_kl = round_up(fmax(room * c->kl, least * least));
}

/* ---- all of it ------------------------------------------------------------------ */

/* "double", "bf16", "f16", "float32" */
static const char *kind_of(const lvlm_replay *r)
{
    const char *const coarse = lvlm_coarse_type(r);
    return coarse != NULL ? coarse : r->is_exact ? "double" : "float32";
}

static int replay_all(session *s, const char *model, const char *const *goldens,
                      size_t n, lvlm_error *err)
{
    while (s->n_replays < n) {
        lvlm_replay *const r = &s->replays[s->n_replays];
        TRY(lvlm_replay_run(r, model, goldens[s->n_replays], s->options, err));
        s->n_replays++;
        FAIL_IF(strcmp(kind_of(r), kind_of(&s->replays[0])) != 0, err, LVLM_EUSAGE,
                "%s is judged in %s, %s in %s: calibrate them one by one", goldens[0],
                kind_of(&s->replays[0]), r->golden, kind_of(r));
        TRY(add_distances(s, r, err));
    }
    TRY(add_pairs(s, err));
    TRY(plant(s, err));
    set_bands(s);
    return 0;
}

int lvlm_calibrate(lvlm_calibration *out, const char *model, const char *const *goldens,
                   size_t n_goldens, const lvlm_replay_options *options,
                   lvlm_error *err)
{
    session s = { .result = out, .options = options };
    assert(n_goldens > 0 && options->tolerance == NULL);
    *out = (lvlm_calibration){ .model = model, .n_recordings = n_goldens };
    s.replays = lvlm_calloc(n_goldens, sizeof *s.replays);
    int rc = s.replays != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0) rc = replay_all(&s, model, goldens, n_goldens, err);
    for (size_t i = 0; i < s.n_replays; i++) lvlm_replay_free(&s.replays[i]);
    lvlm_free(s.replays);
    if (rc < 0) lvlm_calibration_free(out);
    return rc;
}

void lvlm_calibration_free(lvlm_calibration *calibration)
{
    lvlm_arena_free(&calibration->arena);
    *calibration = (lvlm_calibration){ .model = NULL };
}

void lvlm_calibration_print(lvlm_strbuf *out, const lvlm_calibration *c)
{
    lvlm_strbuf_puts(out, "{");
    if (c->has_logits)
        lvlm_strbuf_printf(out, "\n  \"" LVLM_BAND_KL "\": %.1e,", c->band_kl);
    for (size_t i = 0; i < c->n; i++) {
        lvlm_strbuf_puts(out, "\n  ");
        lvlm_json_put_text(out, c->at[i].name);
        lvlm_strbuf_printf(out, ": %.1e%s", c->at[i].band, i + 1 < c->n ? "," : "");
    }
    lvlm_strbuf_puts(out, "\n}\n");
}
