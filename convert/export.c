/* export.c - opens a native file, has it laid out, and writes the directory.
 *
 *   source layout          export_source.c    frames and spans of the ledger
 *   hub, current layouts   export_fresh.c     names of the family's table
 *
 * Both yield files of steps; what is common stands here. */
#include "convert/export_parts.h"

#include <fnmatch.h>
#include <string.h>

#include "convert/execute.h"
#include "formats/base/json.h"
#include "formats/base/outdir.h"
#include "formats/native.h"
#include "formats/rewrite.h"

const char *lvlm_export_digest(const lvlm_export *ex, const char *name)
{
    const lvlm_tensor *tensor = lvlm_checkpoint_find(ex->model, name);
    return tensor != NULL ? lvlm_native_digest_of(ex->model, tensor) : NULL;
}

int lvlm_export_step(lvlm_export *ex, lvlm_plan *plan, const lvlm_tensor *out,
                     const lvlm_transform *transform, const char *const *parts,
                     size_t n_parts, lvlm_error *err)
{
    const lvlm_tensor **inputs = lvlm_arena_alloc(&ex->arena, n_parts, sizeof *inputs);
    const char **expect = lvlm_arena_alloc(&ex->arena, n_parts, sizeof *expect);
    const void **data = lvlm_arena_alloc(&ex->arena, n_parts, sizeof *data);
    if (inputs == NULL || expect == NULL || data == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n_parts; i++) {
        inputs[i] = lvlm_checkpoint_find(ex->model, parts[i]);
        expect[i] = lvlm_export_digest(ex, parts[i]);
        FAIL_IF(inputs[i] == NULL || expect[i] == NULL, err, LVLM_EFORMAT,
                "tensor '%s' is needed for '%s' and is not there or has no digest",
                parts[i], out->name);
        data[i] = inputs[i]->data;
    }
    lvlm_step *step = lvlm_plan_add(plan, out->name, out->dtype, &out->shape);
    const bool keep = lvlm_transform_is_keep(transform);
    step->kind = keep ? LVLM_STEP_COPY : LVLM_STEP_INVERSE;
    step->transform = *transform;
    step->inputs = inputs;
    step->parts = data;
    step->n_inputs = n_parts;
    step->expect = expect;
    const uint64_t numel =
        keep ? lvlm_tensor_numel(inputs[0]) : lvlm_transform_numel(transform);
    for (size_t i = 0; i < n_parts; i++)
        FAIL_IF(lvlm_tensor_numel(inputs[i]) != numel ||
                    inputs[i]->dtype != inputs[0]->dtype ||
                    lvlm_tensor_numel(&step->out) != numel * n_parts,
                err, LVLM_EFORMAT,
                "'%s' and '%s' do not have the same number of values and type",
                out->name, parts[i]);
    return 0;
}

/* Is this side file one of those that go into the directory? The config.json of an .npz
 * was not beside it when it came in. */
static bool takes_side_file(const lvlm_export *ex, const char *name)
{
    if (!ex->options.source) return lvlm_export_keeps_side_file(ex, name);
    return !ex->added_config || strcmp(name, "config.json") != 0;
}

/* Side files travel as they are; a fresh layout has an index of its own, and says in
 * config.json what the weights are stored as. */
static int add_side_files(lvlm_export *ex, lvlm_error *err)
{
    for (size_t i = 0; i < ex->model->n_side_files; i++) {
        const lvlm_side_file *side = &ex->model->side_files[i];
        lvlm_export_file *file = &ex->files[ex->n_files];
        if (!takes_side_file(ex, side->name)) continue;
        FAIL_IF(strchr(side->name, '/') != NULL || strcmp(side->name, ".") == 0 ||
                    strcmp(side->name, "..") == 0 || side->name[0] == '\0',
                err, LVLM_EFORMAT, "side file '%s' is no plain file name", side->name);
        file->name = side->name;
        file->plan.steps = lvlm_arena_alloc(&ex->arena, 1, sizeof *file->plan.steps);
        if (file->plan.steps == NULL) return lvlm_fail_memory(err);
        const char *part =
            lvlm_arena_printf(&ex->arena, LVLM_NATIVE_FILES "%s", side->name);
        if (part == NULL) return lvlm_fail_memory(err);
        const lvlm_tensor *held = lvlm_checkpoint_find(ex->model, part);
        const lvlm_transform keep = { 0 };
        TRY(lvlm_export_step(ex, &file->plan, held, &keep, &part, 1, err));
        ex->n_files++;
    }
    return ex->options.source ? 0 : lvlm_export_amend_config(ex, err);
}

/* What stands around the tensors of a .bin or .npz, checksums among it, is true of the
 * values that came in alone; names of an .npz would mean nothing elsewhere. */
static int renew(lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    for (size_t i = 0; i < ledger->n_files; i++) {
        const char *const name = ledger->files[i].name;
        FAIL_IF(fnmatch("*.npz", name, 0) == 0, err, LVLM_EUSAGE,
                "has been trained or merged, and %s cannot hold other values than it "
                "came with; --layout hub writes safetensors",
                name);
        if (fnmatch("*.safetensors", name, 0) != 0) ex->renewed = true;
    }
    if (ex->renewed) ex->options.source = false;
    return 0;
}

static int read_provenance(lvlm_export *ex, lvlm_error *err)
{
    cJSON *provenance = NULL;
    TRY(lvlm_native_meta_json(&provenance, ex->model, "provenance", err));
    const char *dtype = lvlm_json_string(lvlm_json_get(provenance, "dtype"));
    const bool changed = lvlm_provenance_changed(provenance);
    ex->added_config = lvlm_json_get(provenance, "config") != NULL;
    ex->changed_dtype = dtype != NULL && strcmp(dtype, "keep") != 0;
    lvlm_json_free(provenance);
    return changed && ex->options.source ? renew(ex, err) : 0;
}

int lvlm_export_plan(lvlm_export *out, const char *path,
                     const lvlm_export_options *options, lvlm_error *err)
{
    *out = (lvlm_export){ .options = *options };
    TRY(lvlm_manifest_open(&out->manifest, &out->model, path, err));
    int rc = read_provenance(out, err);
    const size_t most = out->manifest.n_targets + out->manifest.ledger.n_files +
                        out->model->n_side_files;
    out->files = lvlm_arena_alloc(&out->arena, most + 2, sizeof *out->files);
    if (out->files == NULL) return lvlm_fail_memory(err);
    if (rc == 0)
        rc = out->options.source ? lvlm_export_source(out, err)
                                 : lvlm_export_fresh(out, err);
    if (rc == 0) rc = add_side_files(out, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    for (size_t i = 0; i < out->n_files; i++)
        out->n_bytes += out->files[i].plan.n_bytes;
    return rc;
}

/* ---- writing -------------------------------------------------------------------- */

/* Progress over all files: what the earlier ones had, and this one's part. */
typedef struct overall {
    const lvlm_export *export;
    uint64_t before;
} overall;

static void tell(void *user, uint64_t n_bytes)
{
    const overall *o = user;
    o->export->options.progress(o->export->options.user, o->before + n_bytes);
}

static int write_file(lvlm_export *ex, lvlm_export_file *file, const char *dir,
                      overall *progress, lvlm_error *err)
{
    const char *path = lvlm_arena_printf(&ex->arena, "%s/%s", dir, file->name);
    const lvlm_execute_options options = { ex->options.threads, 0,
                                           ex->options.progress != NULL ? tell : NULL,
                                           progress };
    lvlm_outfile *out = NULL;
    int rc;
    if (path == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_outfile_open(&out, path, ex->options.overwrite, err));
    if ((rc = lvlm_execute(&file->plan, out, &options, err)) == 0)
        rc = lvlm_outfile_commit(out, err);
    lvlm_outfile_close(out);
    progress->before += file->plan.n_bytes;
    return rc;
}

int lvlm_export_execute(lvlm_export *ex, const char *dir, lvlm_error *err)
{
    overall progress = { ex, 0 };
    lvlm_outdir *out = NULL;
    int rc;
    TRY(lvlm_outdir_open(&out, dir, ex->options.overwrite, err));
    for (size_t i = 0; i < ex->n_files; i++)
        if ((rc = write_file(ex, &ex->files[i], lvlm_outdir_path(out), &progress,
                             err)) < 0)
            goto done;
    if ((rc = lvlm_checkpoint_unchanged(ex->model, err)) == 0)
        rc = lvlm_outdir_commit(out, err);
done:
    lvlm_outdir_close(out);
    return rc;
}

void lvlm_export_free(lvlm_export *ex)
{
    lvlm_manifest_free(&ex->manifest);
    lvlm_checkpoint_close(ex->model);
    lvlm_arena_free(&ex->arena);
}
