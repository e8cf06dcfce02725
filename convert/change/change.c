/* change.c - plans and writes the changed file.
 *
 *   tensors of the model     copied; or of another shape; or from an exchanged part
 *   frames/FILE              copied; left out if shapes change, because the source's
 *                            files cannot be given back then
 *   files/NAME               copied, or edited (change_config.c)
 *
 * The order is the model's. The ledger stays, as after training: it says where the
 * tensors came from, the provenance what was done to them. */
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
    const char **const digest = lvlm_arena_alloc(c->plan.arena, 1, sizeof *digest);
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
    TRY(lvlm_plan_copy(&step, &c->plan, out, from->tensor, err));
    if (!lvlm_transform_is_keep(&from->transform)) {
        step->kind = LVLM_STEP_GATHER;
        step->transform = from->transform;
    }
    return expect(step, c, from, err);
}

static int add_written(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                       lvlm_write write, void *user, lvlm_error *err)
{
    const lvlm_tensor **const inputs = lvlm_arena_alloc(&c->arena, 1, sizeof *inputs);
    lvlm_tensor *const view = lvlm_arena_alloc(&c->arena, 1, sizeof *view);
    lvlm_step *step = NULL;
    FAIL_IF(!lvlm_transform_is_keep(&from->transform), err, LVLM_EFORMAT,
            "'%s' is not stored row by row, so that its shape cannot change",
            from->tensor->name);
    if (inputs == NULL || view == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_plan_add(&step, &c->plan, out, err));
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
        c->rows[0] = stored; /* of an exchanged part's */
    if (rows == stored) return add_copy(c, out, from, err);
    if (rows < stored) {
        if (strcmp(out->name, LVLM_EMBED_TABLE) == 0)
            TRY(change_check_words(c, rows, err));
        return add_written(c, out, from, change_cut_write, NULL, err);
    }
    lvlm_growth *const growth = lvlm_arena_alloc(&c->arena, 1, sizeof *growth);
    if (growth == NULL) return lvlm_fail_memory(err);
    *growth = (lvlm_growth){ from->tensor, c->options.new_rows };
    return add_written(c, out, from, lvlm_growth_write, growth, err);
}

static int add_positions(lvlm_change *c, const lvlm_tensor *out, const origin *from,
                         lvlm_error *err)
{
    if (lvlm_shape_equal(&from->shape, &out->shape)) return add_copy(c, out, from, err);
    change_grid *const grid = lvlm_arena_alloc(&c->arena, 1, sizeof *grid);
    if (grid == NULL) return lvlm_fail_memory(err);
    *grid = (change_grid){ change_count(c->manifest.config, "vision.grid"),
                           change_count(c->config, "vision.grid") };
    return add_written(c, out, from, change_positions_write, grid, err);
}

/* ---- tensors --------------------------------------------------------------------- */

/* The values of a target, and of a tensor that nothing reads. */
static origin origin_of(lvlm_change *c, const lvlm_tensor *t)
{
    const origin own = { t, t->shape, c->model, { 0 } };
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

static int add_tensor(lvlm_change *c, const lvlm_tensor *t, size_t *n_pads,
                      lvlm_error *err)
{
    const lvlm_target *const target = lvlm_manifest_find(&c->manifest, t->name);
    const origin from = origin_of(c, t);
    lvlm_tensor out = { .name = t->name, .dtype = t->dtype, .shape = t->shape };
    FAIL_IF(target != NULL &&
                !lvlm_shape_resolve(&out.shape, target->row->shape, c->config),
            err, LVLM_EFORMAT, "the new shape of %s cannot be computed", t->name);
    TRY(lvlm_native_add_pad(&c->plan, n_pads, &out, err));
    const bool other = !lvlm_shape_equal(&out.shape, &t->shape);
    c->n_reshaped += other;
    if (change_is_words(t->name)) return add_rows(c, &out, &from, err);
    if (!other) return add_copy(c, &out, &from, err);
    assert(lvlm_starts_with(t->name, "vision.positions."));
    return add_positions(c, &out, &from, err);
}

static int add_side_file(lvlm_change *c, const lvlm_tensor *t, const char *name,
                         lvlm_error *err)
{
    const origin own = { t, t->shape, c->model, { 0 } };
    for (size_t i = 0; i < c->n_files; i++)
        if (strcmp(c->files[i].name, name) == 0)
            return lvlm_plan_bytes(&c->plan, t->name,
                                   (const unsigned char *)c->files[i].text,
                                   strlen(c->files[i].text), err);
    return add_copy(c, t, &own, err);
}

/* Sections follow one another, so that n_reshaped is final at the first frame. */
static int lay_out(lvlm_change *c, lvlm_error *err)
{
    size_t n_pads = 0;
    c->plan.arena = &c->arena;
    for (size_t i = 0; i < c->model->n_tensors; i++) {
        const lvlm_tensor *const t = &c->model->tensors[i];
        const origin own = { t, t->shape, c->model, { 0 } };
        const char *rest;
        switch (lvlm_native_section_of(&rest, t->name)) {
        case LVLM_SECTION_MODEL:
        case LVLM_SECTION_UNUSED: TRY(add_tensor(c, t, &n_pads, err)); break;
        case LVLM_SECTION_FRAMES:
            if (c->n_reshaped == 0) TRY(add_copy(c, t, &own, err));
            break;
        case LVLM_SECTION_FILES: TRY(add_side_file(c, t, rest, err)); break;
        case LVLM_SECTION_PAD: break; /* new ones */
        }
    }
    return 0;
}

/* ---- provenance and ledger ------------------------------------------------------- */

/* { "from": ..., "to": ... }; `first` stays that of the first change. */
static bool record_pair(cJSON *provenance, const char *member, uint64_t first,
                        uint64_t now)
{
    (void)lvlm_json_u64(&first,
                        lvlm_json_get(lvlm_json_get(provenance, member), "from"));
    cJSON *const json = cJSON_CreateObject();
    return lvlm_json_set(provenance, member, json) &&
           lvlm_json_set(json, "from", cJSON_CreateNumber((double)first)) &&
           lvlm_json_set(json, "to", cJSON_CreateNumber((double)now));
}

/* Rows of the word tables, and what those hold that were added last, if there are. */
static bool record_words(lvlm_change *c)
{
    char how[96];
    if (!record_pair(c->provenance, "vocabulary", c->rows[0], c->rows[1])) return false;
    const cJSON *const pair = lvlm_json_get(c->provenance, "vocabulary");
    if (change_count(pair, "to") <= change_count(pair, "from"))
        cJSON_DeleteItemFromObjectCaseSensitive(c->provenance, "new_rows");
    if (c->rows[1] < c->rows[0]) return true;
    lvlm_init_describe(how, &c->options.new_rows);
    return lvlm_json_set(c->provenance, "new_rows", cJSON_CreateString(how));
}

static bool record_parts(lvlm_change *c)
{
    cJSON *exchanged =
        cJSON_GetObjectItemCaseSensitive(c->provenance, LVLM_PROVENANCE_EXCHANGED);
    bool ok = true;
    for (size_t i = 0; i < LVLM_CHANGE_PARTS && ok; i++) {
        const lvlm_change_part *const part = &c->parts[i];
        if (part->from == NULL) continue;
        if (exchanged == NULL) {
            exchanged = cJSON_CreateObject();
            ok = lvlm_json_set(c->provenance, LVLM_PROVENANCE_EXCHANGED, exchanged);
        }
        ok = ok && lvlm_json_set(exchanged, part->role,
                                 cJSON_CreateNumber((double)part->n_tensors));
    }
    return ok;
}

static int describe(lvlm_change *c, lvlm_error *err)
{
    c->provenance = cJSON_Duplicate(c->model->native->provenance, true);
    bool ok = c->provenance != NULL && record_parts(c);
    if (ok && c->rows[1] != c->rows[0]) ok = record_words(c);
    if (ok && c->pixels[1] != c->pixels[0])
        ok = record_pair(c->provenance, LVLM_PROVENANCE_RESOLUTION, c->pixels[0],
                         c->pixels[1]);
    if (!ok) return lvlm_fail_memory(err);
    return c->n_reshaped == 0
               ? 0
               : lvlm_provenance_add(c->provenance, LVLM_PROVENANCE_RESHAPED,
                                     c->n_reshaped, err);
}

/* The shape that a source tensor would have for its targets' new ones. */
static int reshape_entry(lvlm_change *c, lvlm_ledger_entry *entry, lvlm_error *err)
{
    const lvlm_target *const t = lvlm_manifest_find(&c->manifest, entry->targets[0]);
    lvlm_shape shape;
    entry->source.detached = true;
    if (t == NULL) return 0;
    FAIL_IF(!lvlm_shape_resolve(&shape, t->row->shape, c->config), err, LVLM_EFORMAT,
            "the new shape of %s cannot be computed", t->name);
    if (lvlm_shape_equal(&shape, &t->shape)) return 0;
    assert(entry->n_targets == 1);
    if (lvlm_shape_equal(&entry->source.shape, &t->hf.shape) &&
        !lvlm_shape_resolve(&shape, t->hf.shape_text, c->config))
        return lvlm_fail(err, LVLM_EFORMAT, "the new shape of %s cannot be computed",
                         t->source_name);
    entry->source.shape = shape;
    entry->transform = (lvlm_transform){ 0 };
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const lvlm_ledger_entry *const x = a, *const y = b;
    if (x->source.file != y->source.file)
        return x->source.file < y->source.file ? -1 : 1;
    return lvlm_tensor_span_order(&x->source, &y->source);
}

/* If shapes change, the source's files cannot be given back: they have no frames, and
 * no tensor has a span in them. */
static int print_ledger(lvlm_strbuf *out, lvlm_change *c, lvlm_error *err)
{
    lvlm_ledger l = c->manifest.ledger;
    if (c->n_reshaped == 0) {
        lvlm_strbuf_puts(out, lvlm_checkpoint_meta(c->model, "ledger"));
        return lvlm_strbuf_check(out, err);
    }
    l.files = lvlm_arena_alloc(&c->arena, l.n_files + 1, sizeof *l.files);
    l.entries = lvlm_arena_alloc(&c->arena, l.n_entries + 1, sizeof *l.entries);
    if (l.files == NULL || l.entries == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < l.n_files; i++) {
        l.files[i] = c->manifest.ledger.files[i];
        l.files[i].compressed = true;
    }
    for (size_t i = 0; i < l.n_entries; i++) {
        l.entries[i] = c->manifest.ledger.entries[i];
        TRY(reshape_entry(c, &l.entries[i], err));
    }
    qsort(l.entries, l.n_entries, sizeof *l.entries, by_place);
    lvlm_ledger_print(out, &l);
    return lvlm_strbuf_check(out, err);
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
    TRY(change_config(c, err));
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (sources[i] != NULL) TRY(change_part_open(c, &c->parts[i], sources[i], err));
    TRY(lay_out(c, err));
    TRY(note_kept(c, err));
    return describe(c, err);
}

int lvlm_change_plan(lvlm_change *out, const char *model,
                     const lvlm_change_options *options, lvlm_error *err)
{
    *out = (lvlm_change){ .options = *options,
                          .parts = { { .role = "text" }, { .role = "vision" } } };
    TRY(lvlm_manifest_open(&out->manifest, &out->model, model, options->notes, err));
    return lvlm_within(plan(out, err), err, "%s: ", model);
}

/* Values of a source of another type, as the model's type holds them. An
 * lvlm_native_finish, so that nothing is committed if it does not hold all of them. */
static int check_narrowing(void *change, lvlm_native_meta *meta, lvlm_error *err)
{
    const lvlm_change *const c = change;
    lvlm_narrowing n = { 0 };
    (void)meta;
    for (size_t i = 0; i < c->plan.n_steps; i++) {
        const lvlm_step *const step = &c->plan.steps[i];
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
    lvlm_strbuf ledger = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    char *config = NULL, *provenance = NULL;
    int rc = lvlm_json_print(&config, c->config, err);
    if (rc == 0) rc = lvlm_json_print(&provenance, c->provenance, err);
    if (rc == 0) rc = print_ledger(&ledger, c, err);
    for (size_t i = 0; i < LVLM_CHANGE_PARTS && rc == 0; i++)
        if (c->parts[i].from != NULL)
            rc = lvlm_checkpoint_check(c->parts[i].from, run->threads, err);
    if (rc == 0) {
        const lvlm_native_parts parts = {
            .meta = { c->manifest.family->name, config, provenance, ledger.text },
            .plan = &c->plan,
            .sources = { c->model, c->parts[0].from, c->parts[1].from },
            .finish = check_narrowing,
            .user = c,
        };
        rc = lvlm_native_write(root, file, &parts, run, err);
    }
    lvlm_free(config);
    lvlm_free(provenance);
    lvlm_strbuf_free(&ledger);
    return rc;
}

void lvlm_change_free(lvlm_change *c)
{
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++) change_part_close(&c->parts[i]);
    lvlm_json_free(c->provenance);
    lvlm_json_free(c->config);
    lvlm_manifest_free(&c->manifest);
    lvlm_checkpoint_close(c->model);
    lvlm_arena_free(&c->arena);
}
