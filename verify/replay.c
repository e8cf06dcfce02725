/* replay.c - a forward pass held against a recording, stage by stage, as it is
 * computed, and the way back, gradient by gradient.
 *
 *   recording -> stages in order of computation, each with its band
 *   forward   -> sink: find the stage, compare row by row, forget it
 *   backward  -> gradients under the source's names, from the head down
 *
 * Nothing is kept of a stage but its sums and its worst rows. */
#include "verify/replay.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/finite.h"
#include "formats/numeric.h"
#include "runtime/gradient_list.h"
#include "runtime/input_tensor.h"
#include "verify/recording.h"

#define EXPECTED "out."
#define INPUTS "in."
#define GRADIENT "grad."

typedef struct session {
    lvlm_replay *replay;
    const lvlm_tensor *ids;  /* integers or NULL */
    const lvlm_tensor *mask; /* integers or NULL: no padding */
    const lvlm_replay_options *options;
} session;

const char *lvlm_verdict_name(lvlm_verdict verdict)
{
    static const char *const names[] = { "ok", "OUT OF BAND", "missing",
                                         "wrong shape" };
    return names[verdict];
}

/* ---- stages of the recording ---------------------------------------------------- */

/* Stages in order of computation; "*" is a number or the rest of the name. */
static const char *const order[] = {
    "vision.patches", "vision.embed", "vision.blocks.*", "vision.global_blocks.*",
    "vision.out",     "connector.*",  "connector.out",   "text.embed",
    "text.blocks.*",  "text.norm",    "logits",          "loss",
};

static size_t rank_of(const char *name)
{
    size_t best = sizeof order / sizeof order[0];
    for (size_t i = 0; i < sizeof order / sizeof order[0];
         i++) /* the last match: exact */
        if (fnmatch(order[i], name, 0) == 0) best = i;
    return best;
}

bool lvlm_replay_knows(const char *name)
{
    return rank_of(name) < sizeof order / sizeof order[0];
}

/* By place in the computation; numbered blocks by their numbers. */
static int by_computation(const void *a, const void *b)
{
    const char *x = ((const lvlm_replay_stage *)a)->name;
    const char *y = ((const lvlm_replay_stage *)b)->name;
    const size_t rx = rank_of(x), ry = rank_of(y);
    if (rx != ry) return rx < ry ? -1 : 1;
    const size_t nx = strlen(x), ny = strlen(y);
    if (strstr(x, "blocks.") != NULL && nx != ny) return nx < ny ? -1 : 1;
    return strcmp(x, y);
}

static bool is_recorded_stage(const lvlm_tensor *t)
{
    return lvlm_starts_with(t->name, EXPECTED) && lvlm_dtype_is_weight(t->dtype);
}

static int list_stages(lvlm_replay *r, lvlm_error *err)
{
    const lvlm_checkpoint *rec = r->recording;
    r->stages = lvlm_arena_alloc(&r->arena, rec->n_tensors + 1, sizeof *r->stages);
    if (r->stages == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < rec->n_tensors; i++) {
        const lvlm_tensor *t = &rec->tensors[i];
        if (!is_recorded_stage(t)) continue;
        lvlm_replay_stage *stage = &r->stages[r->n_stages++];
        stage->name = t->name + strlen(EXPECTED);
        stage->shape = t->shape;
        stage->verdict = LVLM_VERDICT_MISSING;
        stage->is_logits = strcmp(stage->name, "logits") == 0;
        stage->relative_l2 = INFINITY;
        stage->band_kl = LVLM_BAND_KL;
        stage->band = r->compute == LVLM_COMPUTE_F64 ? LVLM_BAND_F64 : LVLM_BAND_F32;
    }
    FAIL_IF(r->n_stages == 0, err, LVLM_EFORMAT,
            "%s: records no stage (no tensor is called " EXPECTED "*)", r->golden);
    qsort(r->stages, r->n_stages, sizeof *r->stages, by_computation);
    return 0;
}

static lvlm_replay_stage *find_stage(const lvlm_replay *r, const char *name)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (strcmp(r->stages[i].name, name) == 0) return &r->stages[i];
    return NULL;
}

/* ---- comparing ------------------------------------------------------------------ */

/* Has this stage a row for each token? */
static bool is_per_token(const session *s, const lvlm_replay_stage *stage)
{
    return (strncmp(stage->name, "text.", 5) == 0 || stage->is_logits) &&
           s->ids != NULL && stage->shape.n >= 2 &&
           stage->shape.dims[0] == s->ids->shape.dims[0] &&
           stage->shape.dims[1] == s->ids->shape.dims[1];
}

static void note_row(lvlm_replay_stage *stage, const lvlm_worst_row *row)
{
    size_t at = stage->n_worst;
    while (at > 0 && stage->worst[at - 1].relative_l2 < row->relative_l2) at--;
    if (at == LVLM_WORST_ROWS) return;
    if (stage->n_worst < LVLM_WORST_ROWS) stage->n_worst++;
    memmove(&stage->worst[at + 1], &stage->worst[at],
            (stage->n_worst - at - 1) * sizeof *row);
    stage->worst[at] = *row;
}

/* Values of row `i`, b (recorded), that are infinite or NaN. */
static void note_not_finite(lvlm_replay_stage *stage, size_t i, const double *b,
                            size_t C)
{
    uint64_t first;
    const uint64_t n = lvlm_count_not_finite(&first, b, LVLM_F64, C);
    if (n > 0 && stage->n_not_finite == 0) stage->not_finite = i * C + first;
    stage->n_not_finite += n;
}

/* Row `i` of a stage: a (computed) against b (recorded), C values each. */
static void compare_row(const session *s, lvlm_replay_stage *stage, size_t i,
                        const double *a, const double *b, size_t C)
{
    const bool per_token = is_per_token(s, stage);
    const size_t inner = stage->shape.n >= 2 ? (size_t)stage->shape.dims[1] : 1;
    lvlm_distance d = { 0 };
    if (per_token && s->mask != NULL && lvlm_input_integer(s->mask, i) == 0) return;
    note_not_finite(stage, i, b, C);
    lvlm_distance_add(&d, a, b, C);
    lvlm_distance_merge(&stage->distance, &d);
    const lvlm_worst_row row = { .index = { i / inner, i % inner },
                                 .relative_l2 = lvlm_relative_l2(&d),
                                 .token =
                                     per_token ? lvlm_input_integer(s->ids, i) : -1 };
    note_row(stage, &row);
    if (!stage->is_logits) return;
    const double kl = lvlm_kl(a, b, C);
    if (!(kl <= stage->max_kl)) stage->max_kl = kl;
    stage->n_rows++;
    stage->n_top1 += lvlm_argmax(a, C) == lvlm_argmax(b, C);
}

static void judge(lvlm_replay_stage *stage)
{
    stage->relative_l2 = lvlm_relative_l2(&stage->distance);
    stage->cosine = lvlm_cosine(&stage->distance);
    const bool inside = stage->n_not_finite == 0 && stage->relative_l2 <= stage->band &&
                        (!stage->is_logits || stage->max_kl <= stage->band_kl);
    stage->verdict = inside ? LVLM_VERDICT_OK : LVLM_VERDICT_OUT;
}

/* All rows of `got` against those of `want`, which is of the same shape. */
static int compare(const session *s, lvlm_replay_stage *stage, const lvlm_tensor *want,
                   const lvlm_tensor *got, lvlm_error *err)
{
    const size_t n = want->shape.n;
    const size_t C = n > 0 ? (size_t)want->shape.dims[n - 1] : 1;
    const size_t rows = C > 0 ? (size_t)lvlm_tensor_numel(want) / C : 0;
    const size_t got_bytes = C * lvlm_dtype_bytes(got->dtype);
    const size_t want_bytes = C * lvlm_dtype_bytes(want->dtype);
    double *a = lvlm_malloc(2 * C * sizeof *a);
    if (a == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < rows; i++) {
        lvlm_convert_values(a, LVLM_F64, got->data + i * got_bytes, got->dtype, C);
        lvlm_convert_values(a + C, LVLM_F64, want->data + i * want_bytes, want->dtype,
                            C);
        compare_row(s, stage, i, a, a + C, C);
    }
    lvlm_free(a);
    return 0;
}

static int take(void *user, const lvlm_tensor *got, lvlm_error *err)
{
    const session *s = user;
    lvlm_replay_stage *stage = find_stage(s->replay, got->name);
    if (stage == NULL) return 0;
    stage->got = got->shape;
    stage->verdict = LVLM_VERDICT_SHAPE;
    if (!lvlm_shape_equal(&got->shape, &stage->shape)) return 0;
    const char *name = lvlm_arena_printf(&s->replay->arena, EXPECTED "%s", got->name);
    const lvlm_tensor *want =
        name != NULL ? lvlm_checkpoint_find(s->replay->recording, name) : NULL;
    if (want == NULL) return lvlm_fail_memory(err);
    TRY(compare(s, stage, want, got, err));
    judge(stage);
    return 0;
}

static bool wants(void *user, const char *name)
{
    return find_stage(((const session *)user)->replay, name) != NULL;
}

static void progress(void *user, size_t done, size_t total)
{
    const session *s = user;
    if (s->options->progress != NULL)
        s->options->progress(s->options->user, done, total);
}

/* ---- gradients ------------------------------------------------------------------ */

static bool is_gradient(const lvlm_tensor *t)
{
    return lvlm_starts_with(t->name, GRADIENT) && lvlm_dtype_is_weight(t->dtype);
}

/* Unless it is listed; `listed` has a flag for each tensor of the recording. */
static void add_gradient(lvlm_replay *r, bool *listed, const lvlm_tensor *t)
{
    bool *const flag = &listed[t - r->recording->tensors];
    if (*flag || !is_gradient(t)) return;
    *flag = true;
    r->stages[r->n_stages++] = (lvlm_replay_stage){ .name = t->name,
                                                    .shape = t->shape,
                                                    .verdict = LVLM_VERDICT_MISSING,
                                                    .relative_l2 = INFINITY,
                                                    .band = LVLM_BAND_GRADIENT };
}

/* A source tensor, and where the last of its native parts stands in order of use. */
typedef struct place {
    const char *source;
    const lvlm_target *target;
} place;

static int last_first(const void *a, const void *b)
{
    const lvlm_target *x = ((const place *)a)->target, *y = ((const place *)b)->target;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The recorded gradients, the last used first, as a backward pass meets them; then
 * those that the model's source does not have, which can only be missing. */
static int list_gradients(lvlm_replay *r, const lvlm_manifest *m, lvlm_error *err)
{
    const lvlm_checkpoint *rec = r->recording;
    const size_t before = r->n_stages;
    size_t n = 0;
    place *places =
        lvlm_arena_alloc(&r->arena, m->ledger.n_entries + 1, sizeof *places);
    bool *const listed = lvlm_arena_alloc(&r->arena, rec->n_tensors, sizeof *listed);
    if (places == NULL || listed == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->ledger.n_entries; i++) {
        const lvlm_ledger_entry *e = &m->ledger.entries[i];
        if (e->use != LVLM_USE_USED || e->n_targets == 0) continue;
        places[n++] = (place){ e->source.name,
                               lvlm_manifest_find(m, e->targets[e->n_targets - 1]) };
    }
    qsort(places, n, sizeof *places, last_first);
    for (size_t i = 0; i < n; i++) {
        const char *name =
            lvlm_arena_printf(&r->arena, GRADIENT "%s", places[i].source);
        if (name == NULL) return lvlm_fail_memory(err);
        const lvlm_tensor *t = lvlm_checkpoint_find(rec, name);
        if (t != NULL) add_gradient(r, listed, t);
    }
    for (size_t i = 0; i < rec->n_tensors; i++)
        add_gradient(r, listed, &rec->tensors[i]);
    FAIL_IF(r->n_stages == before, err, LVLM_EFORMAT,
            "%s: records no gradient (no tensor is called " GRADIENT "*)", r->golden);
    return 0;
}

/* Gradients that are nothing but rounding have no relative error worth a verdict: a
 * norm below a thousandth of the average one of that size counts as that. */
static void judge_gradients(lvlm_replay *r, size_t first)
{
    double sum = 0, n = 0;
    for (size_t i = first; i < r->n_stages; i++) {
        sum += r->stages[i].distance.b2;
        n += (double)r->stages[i].distance.n;
    }
    for (size_t i = first; i < r->n_stages; i++) {
        lvlm_replay_stage *stage = &r->stages[i];
        const lvlm_distance *d = &stage->distance;
        const double least = 1e-6 * sum / n * (double)d->n;
        if (stage->verdict != LVLM_VERDICT_OK) continue;
        judge(stage);
        if (d->n_bad > 0 || stage->n_not_finite > 0 || d->b2 >= least) continue;
        stage->relative_l2 = sqrt(d->difference2 / (least > 0 ? least : 1));
        stage->verdict =
            stage->relative_l2 <= stage->band ? LVLM_VERDICT_OK : LVLM_VERDICT_OUT;
    }
}

static int compare_gradient(const session *s, const lvlm_tensor *got, lvlm_error *err)
{
    lvlm_replay *r = s->replay;
    const char *name = lvlm_arena_printf(&r->arena, GRADIENT "%s", got->name);
    if (name == NULL) return lvlm_fail_memory(err);
    lvlm_replay_stage *stage = find_stage(r, name);
    if (stage == NULL) return 0;
    stage->got = got->shape;
    stage->verdict = LVLM_VERDICT_SHAPE;
    if (!lvlm_shape_equal(&got->shape, &stage->shape)) return 0;
    stage->verdict = LVLM_VERDICT_OK; /* until all are there to be judged */
    return compare(s, stage, lvlm_checkpoint_find(r->recording, name), got, err);
}

/* Back through the recording's loss. Gradients stand behind `first` stages. */
static int replay_gradients(const session *s, lvlm_model *model, size_t first,
                            lvlm_error *err)
{
    lvlm_gradient_list list = { .arena = LVLM_ARENA_INIT };
    lvlm_model_step step;
    TRY(lvlm_model_backward(model, &step, s->replay->recording, INPUTS, 0, err));
    FAIL_IF(step.n_targets == 0, err, LVLM_EFORMAT,
            "no label counts, so there is no loss to differentiate");
    int rc = lvlm_gradient_list_make(&list, model, true, err);
    for (size_t i = 0; rc == 0 && i < list.n; i++)
        rc = compare_gradient(s, &list.tensors[i], err);
    lvlm_gradient_list_free(&list);
    if (rc == 0) judge_gradients(s->replay, first);
    return rc;
}

static bool trains_all(void *user, const lvlm_manifest *manifest,
                       const lvlm_target *target)
{
    (void)user, (void)manifest, (void)target;
    return true;
}

/* ---- the run -------------------------------------------------------------------- */

static const lvlm_tensor *find_integers(const lvlm_replay *r, const char *name)
{
    const lvlm_tensor *t = lvlm_checkpoint_find(r->recording, name);
    const bool integers =
        t != NULL && (t->dtype == LVLM_I64 || t->dtype == LVLM_I32) && t->shape.n == 2;
    return integers ? t : NULL;
}

/* Who is compared with whom, for the reports. */
static int describe(lvlm_replay *r, const lvlm_model *model, lvlm_error *err)
{
    const lvlm_manifest *m = lvlm_model_manifest(model);
    const lvlm_infile *map = r->recording->files[0].map;
    const char *root = lvlm_json_string(lvlm_json_get(m->checkpoint->metadata, "root"));
    size_t n = 0;
    r->family = lvlm_arena_strndup(&r->arena, m->family->name, strlen(m->family->name));
    while (m->family->differences[n].name != NULL) n++;
    r->differences = lvlm_arena_alloc(&r->arena, n + 1, sizeof *r->differences);
    if (r->family == NULL || r->differences == NULL) return lvlm_fail_memory(err);
    for (const lvlm_difference *d = NULL;
         (d = lvlm_model_difference(model, d)) != NULL;)
        r->differences[r->n_differences++] = d->name;
    if (root != NULL && strlen(root) == LVLM_DIGEST_HEX)
        memcpy(r->model_root, root, sizeof r->model_root);
    return lvlm_digest_bytes(r->golden_sha256, map->bytes, (size_t)map->n_bytes, err);
}

static void count_failures(lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        if (r->stages[i].verdict == LVLM_VERDICT_OK) continue;
        if (r->n_failed++ == 0) r->first_bad = &r->stages[i];
    }
}

static int open_recording(lvlm_replay *r, const lvlm_replay_options *options,
                          lvlm_error *err)
{
    if (options->reference != NULL) TRY(lvlm_reference_check(options->reference, err));
    TRY(lvlm_checkpoint_open(&r->recording, r->golden, NULL, err));
    FAIL_IF(r->recording->kind != LVLM_CHECKPOINT_PLAIN, err, LVLM_EFORMAT,
            "%s: is a model, not a recording", r->golden);
    r->golden_metadata = r->recording->metadata;
    const char *recorded =
        lvlm_json_string(lvlm_json_get(r->recording->metadata, "reference"));
    r->reference = options->reference != NULL ? options->reference
                   : recorded != NULL         ? recorded
                                              : LVLM_REFERENCE_TRAINED;
    return list_stages(r, err);
}

/* Model and recording are there: everything that is recorded, in order. */
static int run(session *s, lvlm_model *model, lvlm_error *err)
{
    lvlm_replay *const r = s->replay;
    const lvlm_stage_sink sink = { take, wants, s, progress };
    const size_t n_forward = r->n_stages;
    TRY(describe(r, model, err));
    TRY(lvlm_recording_check(r->recording, r->family, s->options->grads,
                             s->options->notes, err));
    if (s->options->grads) TRY(list_gradients(r, lvlm_model_manifest(model), err));
    TRY(lvlm_tolerance_read(r, s->options->tolerance, err));
    int rc = lvlm_model_forward(model, r->recording, INPUTS, &sink, err);
    if (rc == 0 && s->options->grads) rc = replay_gradients(s, model, n_forward, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", r->golden);
    count_failures(r);
    return rc;
}

int lvlm_replay_run(lvlm_replay *out, const char *model_path, const char *golden,
                    const lvlm_replay_options *options, lvlm_error *err)
{
    lvlm_model_options model_options = { .compute = options->compute,
                                         .threads = options->threads,
                                         .trains = options->grads ? trains_all : NULL,
                                         .notes = options->notes,
                                         .check = true,
                                         .checking = options->checking,
                                         .checking_user = options->checking_user };
    lvlm_model *model = NULL;
    session s = { .replay = out, .options = options };
    int rc;

    *out = (lvlm_replay){ .model = model_path,
                          .golden = golden,
                          .compute = options->compute,
                          .notes = options->notes };
    if ((rc = open_recording(out, options, err)) < 0) goto done;
    s.ids = find_integers(out, INPUTS "input_ids");
    s.mask = find_integers(out, INPUTS "attention_mask");
    model_options.reference = out->reference;
    if ((rc = lvlm_model_open(&model, model_path, &model_options, err)) == 0)
        rc = run(&s, model, err);
done:
    lvlm_model_free(model);
    if (rc < 0) lvlm_replay_free(out);
    return rc;
}

void lvlm_replay_free(lvlm_replay *replay)
{
    lvlm_checkpoint_close(replay->recording);
    lvlm_arena_free(&replay->arena);
    *replay = (lvlm_replay){ 0 };
}
