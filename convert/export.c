/* export.c - opens a native file, plans and writes the directory.
 *
 *   source layout          export_source.c    frames and spans of the ledger
 *   hub, current layouts   export_fresh.c     names of the family's table
 *                          export_config.c    config.json, if it does not match the
 *                                             weights
 *                          export_part.c      what of them is the tower's or the
 *                                             language model's
 *
 * Both produce files of steps; the common part is here. */
#include "convert/export_parts.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/size.h"
#include "formats/container/execute.h"
#include "formats/container/shards.h"
#include "formats/native/native.h"
#include "formats/native/rewrite.h"

/* All targets have as many values, of one type, and together those of the source. */
static int check_step(const lvlm_step *step, lvlm_error *err)
{
    assert(step->n_inputs > 0);
    const uint64_t numel = step->kind == LVLM_STEP_COPY
                               ? step->parts[0].n
                               : lvlm_transform_numel(&step->transform);
    uint64_t all;
    for (size_t i = 0; i < step->n_inputs; i++)
        FAIL_IF(step->parts[i].n != numel ||
                    step->inputs[i]->dtype != step->inputs[0]->dtype ||
                    !lvlm_mul_u64(&all, numel, step->n_inputs) ||
                    lvlm_tensor_numel(&step->out) != all,
                err, LVLM_EFORMAT,
                "'%s' and '%s' do not have the same number of values and type",
                step->out.name, step->inputs[i]->name);
    return 0;
}

int export_step(lvlm_export *ex, lvlm_plan *plan, const lvlm_ledger_entry *entry,
                lvlm_error *err)
{
    assert(entry->n_targets > 0);
    const size_t n = entry->n_targets;
    const lvlm_tensor **inputs = lvlm_arena_alloc(&ex->arena, n, sizeof *inputs);
    const char **expect = lvlm_arena_alloc(&ex->arena, n, sizeof *expect);
    lvlm_elements *data = lvlm_arena_alloc(&ex->arena, n, sizeof *data);
    lvlm_step *step;
    if (inputs == NULL || expect == NULL || data == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        inputs[i] = lvlm_checkpoint_find(ex->model, entry->targets[i]);
        assert(inputs[i] != NULL); /* native_rules.c */
        expect[i] = lvlm_native_digest_of(ex->model, inputs[i]);
        data[i] = lvlm_tensor_elements(inputs[i]);
        if (entry->grown) (void)lvlm_shape_numel(&data[i].n, &entry->source.shape);
    }
    TRY(lvlm_plan_add(&step, plan, &entry->source, err));
    step->kind =
        lvlm_transform_is_keep(&entry->transform) ? LVLM_STEP_COPY : LVLM_STEP_SCATTER;
    step->transform = entry->transform;
    step->inputs = inputs;
    step->parts = data;
    step->n_inputs = n;
    step->expect = expect;
    return check_step(step, err);
}

/* ---- files ---------------------------------------------------------------------- */

int export_add_file(lvlm_export_file **file, lvlm_export *ex, const char *name,
                    lvlm_error *err)
{
    lvlm_export_file *const files = lvlm_arena_room(&ex->arena, ex->files, ex->n_files,
                                                    &ex->capacity, sizeof *files);
    if (files == NULL || name == NULL) return lvlm_fail_memory(err);
    ex->files = files;
    for (size_t i = 0; i < ex->n_files; i++) assert(strcmp(files[i].name, name) != 0);
    *file = &files[ex->n_files++];
    **file = (lvlm_export_file){ .name = name, .plan = { .arena = &ex->arena } };
    return 0;
}

int export_add_text(lvlm_export *ex, const char *name, const char *text,
                    lvlm_error *err)
{
    const size_t n_bytes = strlen(text);
    const char *copy = lvlm_arena_strndup(&ex->arena, text, n_bytes);
    lvlm_export_file *file = NULL;
    if (copy == NULL) return lvlm_fail_memory(err);
    TRY(export_add_file(&file, ex, name, err));
    return lvlm_plan_bytes(&file->plan, name, (const unsigned char *)copy, n_bytes,
                           err);
}

/* A loader of the directory would read such weights as the model. */
static int check_side_name(const char *name, lvlm_error *err)
{
    assert(name[0] != '\0' && strchr(name, '/') == NULL); /* native_rules.c */
    FAIL_IF(fnmatch("*.safetensors", name, 0) == 0 || fnmatch("*.bin", name, 0) == 0,
            err, LVLM_EFORMAT,
            "has '%s', a file of weights, as a side file; it was not converted from "
            "such a directory",
            name);
    return 0;
}

static int add_side_file(lvlm_export *ex, const lvlm_side_file *side, lvlm_error *err)
{
    char *text = NULL;
    lvlm_export_file *file = NULL;
    TRY(check_side_name(side->name, err));
    if (!ex->options.source && strcmp(side->name, "config.json") == 0)
        TRY(ex->options.part != NULL ? export_part_config(&text, ex, side, err)
                                     : export_config(&text, ex, side, err));
    if (text != NULL) {
        const int rc = export_add_text(ex, side->name, text, err);
        lvlm_free(text);
        return rc;
    }
    const char *part =
        lvlm_arena_printf(&ex->arena, LVLM_NATIVE_FILES "%s", side->name);
    if (part == NULL) return lvlm_fail_memory(err);
    const lvlm_ledger_entry entry = { .source = *lvlm_checkpoint_find(ex->model, part),
                                      .targets = &part,
                                      .n_targets = 1 };
    TRY(export_add_file(&file, ex, side->name, err));
    return export_step(ex, &file->plan, &entry, err);
}

/* Are the files those that came in, or in their place? */
static bool gives_back(const lvlm_export *ex)
{
    return ex->options.source || ex->rewritten_as_safetensors;
}

/* Does this side file belong in the directory? The config.json of an .npz was not part
 * of the source, and a fresh layout has its own index. */
static bool has_side_file(const lvlm_export *ex, const char *name)
{
    if (ex->is_makers && gives_back(ex)) /* the others are files of the ledger */
        return !lvlm_ledger_names_file(name);
    if (ex->options.source)
        return !ex->added_config || strcmp(name, "config.json") != 0;
    return strcmp(name, LVLM_INDEX_FILE) != 0 && strcmp(name, LVLM_BIN_INDEX_FILE) != 0;
}

static int add_side_files(lvlm_export *ex, lvlm_error *err)
{
    for (size_t i = 0; i < ex->model->n_side_files; i++)
        if (has_side_file(ex, ex->model->side_files[i].name) &&
            export_part_keeps(ex, ex->model->side_files[i].name))
            TRY(add_side_file(ex, &ex->model->side_files[i], err));
    return 0;
}

/* ---- the plan ------------------------------------------------------------------- */

/* The frames of a .bin or .npz contain checksums, so they are valid only for the
 * original values. Names of an .npz are useless in another format. */
static int choose_container(lvlm_export *ex, lvlm_error *err)
{
    assert(ex->changed && ex->options.source);
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    FAIL_IF(ex->is_makers && ex->reshaped, err, LVLM_EFORMAT,
            "has tensors of other shapes than its makers' folder; --layout hub writes "
            "it whole");
    for (size_t i = 0; i < ledger->n_files; i++) {
        const char *const name = ledger->files[i].name;
        if (export_is_elsewhere(ex, i) || !lvlm_ledger_has_tensors(ledger, i)) continue;
        FAIL_IF(fnmatch("*.npz", name, 0) == 0, err, LVLM_EFORMAT,
                "has been trained, merged or changed, and %s can be rebuilt only with "
                "its original values; --layout hub writes safetensors",
                name);
        if (fnmatch("*.safetensors", name, 0) != 0) ex->rewritten_as_safetensors = true;
    }
    ex->rewritten_as_safetensors |= ex->reshaped;
    if (ex->rewritten_as_safetensors) ex->options.source = false;
    return 0;
}

static int read_provenance(lvlm_export *ex, lvlm_error *err)
{
    const cJSON *const provenance = ex->model->native->provenance;
    const char *dtype = lvlm_json_string(lvlm_json_get(provenance, "dtype"));
    ex->changed = lvlm_provenance_changed(provenance);
    ex->reshaped = lvlm_provenance_reshaped(provenance);
    ex->is_makers = strcmp(lvlm_json_string(lvlm_json_get(provenance, "source")),
                           LVLM_PROVENANCE_MAKERS) == 0;
    ex->added_config = lvlm_json_get(provenance, "config") != NULL;
    assert(dtype != NULL);
    ex->changed_dtype = strcmp(dtype, "keep") != 0;
    return ex->changed && ex->options.source ? choose_container(ex, err) : 0;
}

static int plan(lvlm_export *ex, const char *path, lvlm_error *err)
{
    TRY(lvlm_manifest_open(&ex->manifest, &ex->model, path, NULL, err));
    int rc = read_provenance(ex, err);
    if (rc == 0)
        rc = ex->options.source ? export_source(ex, err) : export_fresh(ex, err);
    if (rc == 0) rc = add_side_files(ex, err);
    if (rc == 0 && ex->is_makers && ex->rewritten_as_safetensors)
        rc = export_source_side_files(ex, err);
    if (rc == 0) rc = export_part_pictures(ex, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    for (size_t i = 0; i < ex->n_files; i++) ex->n_bytes += ex->files[i].plan.n_bytes;
    return rc;
}

int lvlm_export_plan(lvlm_export **out, const char *path,
                     const lvlm_export_options *options, lvlm_error *err)
{
    lvlm_export *ex = lvlm_calloc(1, sizeof *ex);
    *out = NULL;
    assert(options->source || options->max_shard > 0);
    if (ex == NULL) return lvlm_fail_memory(err);
    ex->options = *options;
    const int rc = plan(ex, path, err);
    if (rc == 0)
        *out = ex;
    else
        lvlm_export_free(ex);
    return rc;
}

const lvlm_export_file *lvlm_export_files(size_t *n, uint64_t *n_bytes,
                                          const lvlm_export *ex)
{
    *n = ex->n_files;
    *n_bytes = ex->n_bytes;
    return ex->files;
}

lvlm_exactness lvlm_export_exactness(const lvlm_export *ex)
{
    return !ex->options.source ? LVLM_EXPORT_FRESH
           : ex->changed       ? LVLM_EXPORT_CHANGED
                               : LVLM_EXPORT_EXACT;
}

/* ---- writing -------------------------------------------------------------------- */

/* Progress over all files: bytes of earlier files plus those of this one. */
typedef struct overall {
    const lvlm_run *run;
    uint64_t before, total;
} overall;

static void report_progress(void *user, uint64_t done, uint64_t total)
{
    const overall *o = user;
    (void)total;
    if (o->run->progress != NULL)
        o->run->progress(o->run->user, o->before + done, o->total);
}

/* No finite value may become infinite. */
static int check_range(const lvlm_plan *plan, lvlm_error *err)
{
    for (size_t i = 0; i < plan->n_steps; i++)
        FAIL_IF(plan->steps[i].narrowing.n_overflowed > 0, err, LVLM_ECHECK,
                "tensor '%s': %" PRIu64 " of its values are beyond the range of %s, "
                "its type in the source; --layout hub writes "
                "them as %s",
                plan->steps[i].out.name, plan->steps[i].narrowing.n_overflowed,
                lvlm_dtype_name(plan->steps[i].out.dtype),
                lvlm_dtype_name(plan->steps[i].inputs[0]->dtype));
    return 0;
}

static int write_file(lvlm_export *ex, lvlm_export_file *file, const char *dir,
                      overall *progress, lvlm_error *err)
{
    const char *path = lvlm_arena_printf(&ex->arena, "%s/%s", dir, file->name);
    const lvlm_run run = { progress->run->threads, report_progress, progress };
    lvlm_outfile *out = NULL;
    int rc;
    if (path == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_outfile_open(&out, path, false, err));
    if ((rc = lvlm_execute(&file->plan, out, 0, &run, err)) == 0 &&
        (rc = check_range(&file->plan, err)) == 0)
        rc = lvlm_outfile_commit(out, err);
    lvlm_outfile_close(out);
    progress->before += file->plan.n_bytes;
    return rc;
}

/* Loaders prefer one file to shards, and safetensors to .bin. Files of lower precedence
 * are removed first, so that a loader never reads them in between. */
static const char *const parts[] = { LVLM_BIN_INDEX_FILE, "pytorch_model*.bin",
                                     LVLM_INDEX_FILE, "model*.safetensors", NULL };
static const char *const last[] = { LVLM_BIN_FILE, LVLM_MODEL_FILE, "*.index.json",
                                    NULL };
const lvlm_outdir_set lvlm_model_set = { parts, last };

/* The source's files have no place for what conversion made, some none for what
 * training changed, and their types may have no such values. */
static int add_notes(const lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    lvlm_notes *const notes = ex->options.notes;
    const lvlm_narrowing n = lvlm_export_narrowing(ex);
    if (ex->rewritten_as_safetensors)
        TRY(lvlm_notes_add(notes, err,
                           "the model has been %s, and %s cannot hold other %s than it "
                           "came with: safetensors instead, under the names that came "
                           "in",
                           ex->reshaped ? "changed" : "trained or merged",
                           ledger->files[0].name, ex->reshaped ? "shapes" : "values"));
    for (size_t i = 0; ex->is_makers && gives_back(ex) && i < ledger->n_files; i++)
        if (export_is_elsewhere(ex, i))
            TRY(lvlm_notes_add(notes, err,
                               "the vision tower came from another folder (%s) and is "
                               "not in these files, as its makers release it; --part "
                               "vision writes it, --layout hub the whole model",
                               ledger->files[i].name));
    for (size_t i = 0; i < ledger->n_made && ex->options.source; i++)
        TRY(lvlm_notes_add(notes, err,
                           "%s was made, not found in the source, and is not in these "
                           "files; --layout hub writes it too",
                           ledger->made[i].target));
    if (n.n_rounded > 0)
        TRY(lvlm_notes_add(notes, err,
                           "the types that came in do not hold what the model has been "
                           "trained or merged to: %" PRIu64 " of %" PRIu64
                           " values are rounded, by up to %.2g of their size, %" PRIu64
                           " of them to zero; --layout hub writes all of their bits",
                           n.n_rounded, n.n, n.max_relative, n.n_flushed));
    return 0;
}

int lvlm_export_execute(lvlm_export *ex, lvlm_outdir *dir, const lvlm_run *run,
                        lvlm_error *err)
{
    assert(run->threads > 0);
    overall progress = { run, 0, ex->n_bytes };
    for (size_t i = 0; i < ex->n_files; i++)
        TRY(write_file(ex, &ex->files[i], lvlm_outdir_path(dir), &progress, err));
    TRY(lvlm_checkpoint_unchanged(ex->model, err));
    TRY(lvlm_outdir_commit(dir, err));
    return add_notes(ex, err);
}

lvlm_narrowing lvlm_export_narrowing(const lvlm_export *ex)
{
    lvlm_narrowing sum = { 0 };
    for (size_t i = 0; i < ex->n_files; i++) {
        const lvlm_narrowing file = lvlm_plan_narrowing(&ex->files[i].plan);
        lvlm_narrowing_add(&sum, &file);
    }
    return sum;
}

void lvlm_export_free(lvlm_export *ex)
{
    if (ex == NULL) return;
    lvlm_manifest_free(&ex->manifest);
    lvlm_checkpoint_close(ex->model);
    lvlm_arena_free(&ex->arena);
    lvlm_free(ex);
}
