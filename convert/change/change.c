/* change.c - plans and writes the changed file: tensors of the model are copied, get
 * another shape, or come from an exchanged part; for everything else see reshape.h. */
#include "convert/change/change.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/change/change_parts.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/safetensors.h"
#include "formats/native/native_writer.h"
#include "formats/native/rewrite.h"

/* ---- steps ----------------------------------------------------------------------- */

/* Where the values of a tensor are: in the model, or in an exchanged part. */
typedef struct origin {
    const lvlm_tensor *tensor;
    lvlm_shape shape; /* as in a native file; where it is rearranged, not used */
    const lvlm_checkpoint *file;
    lvlm_transform transform;
} origin;

/* Compare what a step reads with its digest, if its file records one. */
static int expect(lvlm_step *step, const lvlm_change *c, const origin *from,
                  lvlm_error *err)
{
    const char **const digest = lvlm_arena_alloc(c->to.plan.arena, 1, sizeof *digest);
    if (digest == NULL) return lvlm_fail_memory(err);
    if (from->file->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    *digest = lvlm_native_digest_of(from->file, from->tensor);
    step->expect = digest;
    return 0;
}

static int add_copy(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                    lvlm_error *err)
{
    lvlm_step *step = NULL;
    TRY(lvlm_plan_copy(&step, &c->to.plan, out, from->tensor, err));
    if (!lvlm_transform_is_keep(&from->transform)) {
        step->kind = LVLM_STEP_GATHER;
        step->transform = from->transform;
    }
    return expect(step, c, from, err);
}

static int add_written(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                       lvlm_write write, void *user, lvlm_error *err)
{
    const lvlm_tensor **const inputs =
        lvlm_arena_alloc(&c->to.arena, 1, sizeof *inputs);
    lvlm_tensor *const view = lvlm_arena_alloc(&c->to.arena, 1, sizeof *view);
    lvlm_step *step = NULL;
    FAIL_IF(!lvlm_transform_is_keep(&from->transform), err, LVLM_EFORMAT,
            "'%s' is not stored row by row, so that its shape cannot change",
            from->tensor->name);
    if (inputs == NULL || view == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_plan_add(&step, &c->to.plan, out, err));
    *view = *from->tensor;
    view->shape = from->shape;
    *inputs = view;
    step->inputs = inputs;
    step->n_inputs = 1;
    step->kind = LVLM_STEP_WRITTEN;
    step->write = write;
    step->user = user;
    return expect(step, c, from, err);
}

static int add_rows(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                    lvlm_error *err)
{
    const uint64_t stored = from->shape.dims[0], rows = out->shape.dims[0];
    if (strcmp(out->name, LVLM_EMBED_TABLE) == 0 && c->options.vocab > 0)
        c->to.rows[0] = stored; /* of an exchanged part's */
    if (rows == stored) return add_copy(c, out, from, err);
    if (rows < stored) {
        if (strcmp(out->name, LVLM_EMBED_TABLE) == 0)
            TRY(change_check_words(c, rows, err));
        return add_written(c, out, from, change_cut_write, NULL, err);
    }
    lvlm_growth *const growth = lvlm_arena_alloc(&c->to.arena, 1, sizeof *growth);
    if (growth == NULL) return lvlm_fail_memory(err);
    *growth = (lvlm_growth){ from->tensor, c->options.new_rows };
    return add_written(c, out, from, lvlm_growth_write, growth, err);
}

static int add_positions(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                         lvlm_error *err)
{
    if (lvlm_shape_equal(&from->shape, &out->shape)) return add_copy(c, out, from, err);
    return add_written(c, out, from, lvlm_reshape_positions, c->to.grid, err);
}

/* ---- tensors --------------------------------------------------------------------- */

/* The values of a target, and of a tensor that nothing reads. */
static origin origin_of(lvlm_change *c, const lvlm_tensor *t)
{
    const origin own = { t, t->shape, c->to.model, { 0 } };
    const char *rest;
    const lvlm_native_section section = lvlm_native_section_of(&rest, t->name);
    lvlm_change_part *const part = change_part_of(c, rest);
    if (part == NULL) return own;
    if (section == LVLM_SECTION_MODEL) {
        const lvlm_target *const got = lvlm_manifest_find(&part->manifest, t->name);
        assert(got != NULL && got->here.tensor != NULL); /* change_part.c */
        return (origin){ got->here.tensor, got->shape, part->from,
                         got->here.transform };
    }
    const lvlm_tensor *const extra = lvlm_manifest_find_extra(&part->manifest, rest);
    if (extra != NULL && lvlm_shape_equal(&extra->shape, &t->shape))
        return (origin){ extra, extra->shape, part->from, { 0 } };
    part->n_kept++;
    return own;
}

/* A lvlm_reshape_add. */
static int add_tensor(void *change, const lvlm_tensor *t, const lvlm_tensor *out,
                      lvlm_error *err)
{
    lvlm_change *const c = change;
    const origin from = origin_of(c, t);
    if (change_is_words(t->name)) return add_rows(c, out, &from, err);
    if (lvlm_shape_equal(&out->shape, &t->shape)) return add_copy(c, out, &from, err);
    assert(lvlm_starts_with(t->name, "vision.positions."));
    return add_positions(c, out, &from, err);
}

/* ---- provenance ------------------------------------------------------------------ */

/* Rows of the word tables, and what those hold that were added last, if there are. */
static bool record_words(lvlm_change *c)
{
    char how[96];
    if (!lvlm_reshape_record(c->to.provenance, "vocabulary", c->to.rows)) return false;
    const cJSON *const pair = lvlm_json_get(c->to.provenance, "vocabulary");
    if (lvlm_json_whole(pair, "to") <= lvlm_json_whole(pair, "from"))
        cJSON_DeleteItemFromObjectCaseSensitive(c->to.provenance, "new_rows");
    if (c->to.rows[1] < c->to.rows[0]) return true;
    lvlm_init_describe(how, &c->options.new_rows);
    return lvlm_json_set(c->to.provenance, "new_rows", cJSON_CreateString(how));
}

static bool record_parts(lvlm_change *c)
{
    cJSON *exchanged =
        cJSON_GetObjectItemCaseSensitive(c->to.provenance, LVLM_PROVENANCE_EXCHANGED);
    bool ok = true;
    for (size_t i = 0; i < LVLM_CHANGE_PARTS && ok; i++) {
        const lvlm_change_part *const part = &c->parts[i];
        if (part->from == NULL) continue;
        if (exchanged == NULL) {
            exchanged = cJSON_CreateObject();
            ok = lvlm_json_set(c->to.provenance, LVLM_PROVENANCE_EXCHANGED, exchanged);
        }
        ok = ok && lvlm_json_set(exchanged, part->role,
                                 cJSON_CreateNumber((double)part->n_tensors));
    }
    return ok;
}

/* ---- public ---------------------------------------------------------------------- */

static int note_kept(const lvlm_change *c, lvlm_error *err)
{
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (c->parts[i].n_kept > 0)
            TRY(lvlm_notes_add(c->options.notes, err,
                               "%zu tensor%s of the %s that nothing reads stay: %s "
                               "does not have them",
                               c->parts[i].n_kept, c->parts[i].n_kept == 1 ? "" : "s",
                               c->parts[i].role, c->parts[i].from->path));
    return 0;
}

static int plan(lvlm_change *c, lvlm_error *err)
{
    const char *const sources[LVLM_CHANGE_PARTS] = { c->options.text,
                                                     c->options.vision };
    const uint64_t vocab = c->to.vocab;
    FAIL_IF(vocab > 0 && vocab == c->to.rows[0] && c->options.text == NULL, err,
            LVLM_EFORMAT, "--vocab %" PRIu64 ": the word table has that many rows",
            vocab);
    TRY(lvlm_reshape_config(&c->to, err));
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (sources[i] != NULL) TRY(change_part_open(c, &c->parts[i], sources[i], err));
    TRY(lvlm_reshape_lay_out(&c->to, add_tensor, c, err));
    TRY(note_kept(c, err));
    const bool words = c->to.rows[1] != c->to.rows[0];
    return record_parts(c) && (!words || record_words(c)) ? 0 : lvlm_fail_memory(err);
}

int lvlm_change_plan(lvlm_change *out, const char *model,
                     const lvlm_change_options *options, lvlm_error *err)
{
    *out = (lvlm_change){ .options = *options,
                          .parts = { { .role = "text" }, { .role = "vision" } } };
    TRY(lvlm_reshape_open(&out->to, model, options->notes, err));
    out->to.vocab = options->vocab;
    out->to.resolution = options->resolution;
    return lvlm_within(plan(out, err), err, "%s: ", model);
}

/* Values of a source of another type, as the model's type holds them. An
 * lvlm_native_finish, so that nothing is committed if it does not hold all of them. */
static int check_narrowing(void *change, lvlm_native_meta *meta, lvlm_error *err)
{
    const lvlm_change *const c = change;
    lvlm_narrowing n = { 0 };
    (void)meta;
    for (size_t i = 0; i < c->to.plan.n_steps; i++) {
        const lvlm_step *const step = &c->to.plan.steps[i];
        FAIL_IF(step->narrowing.n_overflowed > 0, err, LVLM_ECHECK,
                "tensor '%s': %" PRIu64 " of its values are beyond the range of %s, "
                "the model's type",
                step->out.name, step->narrowing.n_overflowed,
                lvlm_dtype_name(step->out.dtype));
        if (step->kind != LVLM_STEP_WRITTEN) lvlm_narrowing_add(&n, &step->narrowing);
    }
    if (n.n_rounded == 0) return 0;
    return lvlm_notes_add(c->options.notes, err,
                          "%" PRIu64 " of %" PRIu64
                          " values are rounded to the model's type, by up to %.2g of "
                          "their size",
                          n.n_rounded, n.n, n.max_relative);
}

int lvlm_change_execute(lvlm_change *c, lvlm_outfile *file, const lvlm_run *run,
                        lvlm_hex_digest root, lvlm_error *err)
{
    lvlm_native_parts parts = {
        .plan = &c->to.plan,
        .sources = { c->to.model, c->parts[0].from, c->parts[1].from },
        .finish = check_narrowing,
        .user = c,
    };
    TRY(lvlm_reshape_meta(&parts.meta, &c->to, err));
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (c->parts[i].from != NULL)
            TRY(lvlm_checkpoint_check(c->parts[i].from, run->threads, err));
    return lvlm_native_write(root, file, &parts, run, err);
}

void lvlm_change_free(lvlm_change *c)
{
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++) change_part_close(&c->parts[i]);
    lvlm_reshape_free(&c->to);
}
