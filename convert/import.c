/* import.c - plans and writes a native file from a Hugging Face checkpoint.
 *
 *   targets of the manifest, in order of use     found: copy or transform; made
 *   unused/NAME   tensors kept by a rule
 *   frames/FILE   the bytes of each source file that are no tensor's
 *   files/NAME    side files
 *
 * The ledger is written from the same walk, so it cannot disagree with the plan. */
#include "convert/import.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/execute.h"
#include "convert/make.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/native.h"
#include "formats/safetensors.h"

/* ---- what may be missing -------------------------------------------------------- */

/* Mark the connector's missing tensors as to be made, when that was allowed. */
static void allow_missing(lvlm_import *im)
{
    if (im->options.init.kind == LVLM_INIT_NONE) return;
    for (size_t i = 0; i < im->manifest.n_targets; i++) {
        lvlm_target *t = &im->manifest.targets[i];
        if (t->state == LVLM_TARGET_MISSING && t->row->connector)
            t->state = LVLM_TARGET_MADE;
    }
}

static int check_account(lvlm_import *im, void (*problem)(void *, const char *),
                         void *user, lvlm_error *err)
{
    allow_missing(im);
    const size_t n = lvlm_manifest_problems(&im->manifest, problem, user);
    FAIL_IF(n > 0, err, LVLM_ECHECK,
            "%s: %zu tensor%s not add up as %s; nothing was written", im->source->path,
            n, n == 1 ? " does" : "s do", im->manifest.family->title);
    return 0;
}

/* ---- layout --------------------------------------------------------------------- */

static lvlm_dtype stored_dtype(const lvlm_import *im, lvlm_dtype dtype)
{
    return im->options.change_dtype && lvlm_dtype_is_weight(dtype) ? im->options.dtype
                                                                   : dtype;
}

/* Padding before a tensor that would start off its alignment. */
static int add_pad(lvlm_import *im, lvlm_dtype dtype, const lvlm_shape *shape,
                   size_t *n_pads, lvlm_error *err)
{
    lvlm_tensor next = { .dtype = dtype, .shape = *shape };
    const bool fits = lvlm_shape_bytes(&next.n_bytes, shape, dtype);
    assert(fits);
    (void)fits;
    const uint64_t n_bytes = lvlm_native_pad(im->plan.n_bytes, &next);
    if (n_bytes == 0) return 0;
    const char *name =
        lvlm_arena_printf(&im->arena, LVLM_NATIVE_PAD "%zu", (*n_pads)++);
    if (name == NULL) return lvlm_fail_memory(err);
    const lvlm_shape pad = { 1, { n_bytes } };
    lvlm_plan_add(&im->plan, name, LVLM_U8, &pad)->kind = LVLM_STEP_ZEROS;
    return 0;
}

/* A made tensor is stored like its neighbours: in the dtype of the vocabulary's
 * table. */
static lvlm_dtype made_dtype(const lvlm_import *im)
{
    const lvlm_target *table = lvlm_manifest_find(&im->manifest, LVLM_EMBED_TABLE);
    assert(table != NULL && table->source != NULL);
    return table->source->dtype;
}

static int add_target(lvlm_import *im, const lvlm_target *t, size_t *n_pads,
                      lvlm_error *err)
{
    const bool made = t->state == LVLM_TARGET_MADE;
    const lvlm_dtype dtype = stored_dtype(im, made ? made_dtype(im) : t->source->dtype);
    const lvlm_transform *transform = lvlm_manifest_transform(&im->manifest, t);
    TRY(add_pad(im, dtype, &t->shape, n_pads, err));
    if (made) {
        lvlm_step *step = lvlm_plan_add(&im->plan, t->name, dtype, &t->shape);
        step->kind = LVLM_STEP_MADE;
        step->init = im->options.init;
        return 0;
    }
    TRY(lvlm_plan_copy(&im->plan, t->name, dtype, &t->shape, t->source, &im->arena,
                       err));
    if (lvlm_transform_is_keep(transform)) return 0;
    lvlm_step *step = &im->plan.steps[im->plan.n_steps - 1];
    step->kind = LVLM_STEP_FORWARD;
    step->transform = *transform;
    return 0;
}

static const char *unused_name(lvlm_import *im, const lvlm_extra *extra)
{
    return lvlm_arena_printf(&im->arena, LVLM_NATIVE_UNUSED "%s", extra->canonical);
}

static int add_unused(lvlm_import *im, const lvlm_extra *extra, size_t *n_pads,
                      lvlm_error *err)
{
    const lvlm_tensor *t = extra->tensor;
    const lvlm_dtype dtype = stored_dtype(im, t->dtype);
    const char *name = unused_name(im, extra);
    if (name == NULL) return lvlm_fail_memory(err);
    TRY(add_pad(im, dtype, &t->shape, n_pads, err));
    return lvlm_plan_copy(&im->plan, name, dtype, &t->shape, t, &im->arena, err);
}

/* Bytes of a source file: as it is, or as it would be behind a header read alone. */
static uint64_t file_bytes(const lvlm_checkpoint *cp, size_t file)
{
    uint64_t end = cp->files[file].map->n_bytes;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = &cp->tensors[i];
        if (t->file == file && !t->detached && t->offset + t->n_bytes > end)
            end = t->offset + t->n_bytes;
    }
    return end;
}

/* The bytes of a source file that lie between and around its spans, in order. */
static int add_frame(lvlm_import *im, size_t file, lvlm_error *err)
{
    const lvlm_checkpoint *cp = im->source;
    const lvlm_infile *map = cp->files[file].map;
    if (cp->files[file].compressed) return 0;
    const char *name =
        lvlm_arena_printf(&im->arena, LVLM_NATIVE_FRAMES "%s", cp->files[file].name);
    const uint64_t total = file_bytes(cp, file);
    uint64_t at = 0;
    lvlm_strbuf frame = LVLM_STRBUF_INIT((size_t)map->n_bytes + 1);
    for (size_t i = 0; i <= cp->n_tensors; i++) {
        if (i < cp->n_tensors &&
            (cp->tensors[i].file != file || cp->tensors[i].detached))
            continue;
        const uint64_t until = i < cp->n_tensors ? cp->tensors[i].offset : total;
        if (until <= map->n_bytes)
            lvlm_strbuf_append(&frame, map->bytes + at, (size_t)(until - at));
        at = i < cp->n_tensors ? until + cp->tensors[i].n_bytes : until;
    }
    char *bytes = lvlm_arena_strndup(&im->arena, frame.text, frame.length);
    const bool ok = !frame.failed && bytes != NULL && name != NULL;
    const size_t n_bytes = frame.length;
    lvlm_strbuf_free(&frame);
    if (!ok) return lvlm_fail_memory(err);
    return lvlm_plan_bytes(&im->plan, name, (unsigned char *)bytes, n_bytes, &im->arena,
                           err);
}

static int lay_out(lvlm_import *im, lvlm_error *err)
{
    const lvlm_manifest *m = &im->manifest;
    const lvlm_checkpoint *cp = im->source;
    const size_t n = m->n_targets + m->n_extras + cp->n_files + cp->n_side_files;
    size_t n_pads = 0;
    im->plan.steps = lvlm_arena_alloc(&im->arena, 2 * n + 1, sizeof *im->plan.steps);
    if (im->plan.steps == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->n_targets; i++)
        if (lvlm_target_is_stored(&m->targets[i]))
            TRY(add_target(im, &m->targets[i], &n_pads, err));
    for (size_t i = 0; i < m->n_extras; i++)
        TRY(add_unused(im, &m->extras[i], &n_pads, err));
    for (size_t i = 0; i < cp->n_files; i++) TRY(add_frame(im, i, err));
    for (size_t i = 0; i < cp->n_side_files; i++) {
        const lvlm_side_file *side = &cp->side_files[i];
        const char *name =
            lvlm_arena_printf(&im->arena, LVLM_NATIVE_FILES "%s", side->name);
        if (name == NULL) return lvlm_fail_memory(err);
        TRY(lvlm_plan_bytes(&im->plan, name, side->bytes, side->n_bytes, &im->arena,
                            err));
    }
    return 0;
}

/* ---- ledger --------------------------------------------------------------------- */

static lvlm_ledger_entry *entry_of(lvlm_import *im, const lvlm_tensor *tensor)
{
    return &im->ledger.entries[tensor - im->source->tensors];
}

/* Targets of one source stand at their index of the selected axis. */
static int account_target(lvlm_import *im, const lvlm_target *t, lvlm_error *err)
{
    lvlm_ledger_entry *entry = entry_of(im, t->source);
    const lvlm_transform *transform = lvlm_manifest_transform(&im->manifest, t);
    const size_t n =
        transform->select > 0 ? (size_t)transform->axes[transform->select - 1] : 1;
    if (entry->targets == NULL)
        entry->targets = lvlm_arena_alloc(&im->arena, n, sizeof *entry->targets);
    if (entry->targets == NULL) return lvlm_fail_memory(err);
    entry->n_targets = n;
    entry->transform = *transform;
    entry->use = t->state == LVLM_TARGET_TIED ? LVLM_USE_TIED : LVLM_USE_USED;
    entry->targets[transform->select > 0 ? transform->index : 0] =
        t->state == LVLM_TARGET_TIED ? t->row->tied_to : t->name;
    return 0;
}

static int account_unused(lvlm_import *im, const lvlm_extra *extra, lvlm_error *err)
{
    lvlm_ledger_entry *entry = entry_of(im, extra->tensor);
    entry->targets = lvlm_arena_alloc(&im->arena, 1, sizeof *entry->targets);
    if (entry->targets == NULL || (entry->targets[0] = unused_name(im, extra)) == NULL)
        return lvlm_fail_memory(err);
    entry->n_targets = 1;
    entry->use = LVLM_USE_UNUSED;
    entry->rule = extra->rule->name;
    return 0;
}

static int account_made(lvlm_import *im, const lvlm_target *t, lvlm_error *err)
{
    char how[96];
    lvlm_init_describe(how, &im->options.init);
    lvlm_ledger_made *made = &im->ledger.made[im->ledger.n_made++];
    made->target = t->name;
    made->how = lvlm_arena_strndup(&im->arena, how, strlen(how));
    return made->how != NULL ? 0 : lvlm_fail_memory(err);
}

static int account(lvlm_import *im, lvlm_error *err)
{
    const lvlm_manifest *m = &im->manifest;
    const lvlm_checkpoint *cp = im->source;
    lvlm_ledger *ledger = &im->ledger;
    ledger->files =
        lvlm_arena_alloc(&im->arena, cp->n_files + 1, sizeof *ledger->files);
    ledger->entries =
        lvlm_arena_alloc(&im->arena, cp->n_tensors + 1, sizeof *ledger->entries);
    ledger->made = lvlm_arena_alloc(&im->arena, m->n_targets + 1, sizeof *ledger->made);
    if (ledger->files == NULL || ledger->entries == NULL || ledger->made == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_files; i++)
        ledger->files[ledger->n_files++] =
            (lvlm_ledger_file){ cp->files[i].name, file_bytes(cp, i),
                                cp->files[i].compressed };
    for (size_t i = 0; i < cp->n_tensors; i++)
        ledger->entries[ledger->n_entries++].source = cp->tensors[i];
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *t = &m->targets[i];
        if (t->state == LVLM_TARGET_MADE) TRY(account_made(im, t, err));
        if (t->source != NULL) TRY(account_target(im, t, err));
    }
    for (size_t i = 0; i < m->n_extras; i++)
        TRY(account_unused(im, &m->extras[i], err));
    return lvlm_ledger_write(&im->ledger_json, ledger, err);
}

static const char *source_kind(const lvlm_checkpoint *cp)
{
    if (cp->kind == LVLM_CHECKPOINT_NPZ) return "big_vision npz";
    return fnmatch("*.bin", cp->files[0].name, 0) == 0 ? "huggingface pytorch_model.bin"
                                                       : "huggingface safetensors";
}

/* What was converted, by what, and how; nothing about when, where or by whom. */
static int describe(lvlm_import *im, lvlm_error *err)
{
    const cJSON *version = lvlm_json_get(im->source->config, "transformers_version");
    cJSON *p = cJSON_CreateObject();
    im->provenance = p;
    if (cJSON_AddStringToObject(p, "converter", "lvlm-convert " LVLM_VERSION) == NULL ||
        cJSON_AddStringToObject(p, "source", source_kind(im->source)) == NULL ||
        cJSON_AddStringToObject(
            p, "dtype",
            im->options.change_dtype ? lvlm_dtype_name(im->options.dtype) : "keep") ==
            NULL ||
        (im->source->kind == LVLM_CHECKPOINT_NPZ &&
         cJSON_AddStringToObject(
             p, "config", im->source->config_made ? "made from shapes" : "given") ==
             NULL) ||
        (lvlm_json_string(version) != NULL &&
         cJSON_AddStringToObject(p, "transformers_version",
                                 lvlm_json_string(version)) == NULL))
        return lvlm_fail_memory(err);
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

int lvlm_import_plan(lvlm_import *out, const char *path,
                     const lvlm_import_options *options, bool headers_only,
                     void (*problem)(void *user, const char *text), void *user,
                     lvlm_error *err)
{
    const lvlm_open_options open = { .headers_only = headers_only,
                                     .config = options->config };
    *out = (lvlm_import){ .options = *options };
    TRY(lvlm_checkpoint_open(&out->source, path, &open, err));
    const lvlm_checkpoint_kind kind = out->source->kind;
    FAIL_IF(kind != LVLM_CHECKPOINT_NPZ && options->npz, err, LVLM_EUSAGE,
            "%s: expected PaliGemma as big_vision's .npz, with arrays below img/ and "
            "llm/%s",
            path, kind == LVLM_CHECKPOINT_HF ? "; hf2native converts directories" : "");
    FAIL_IF(kind != LVLM_CHECKPOINT_HF && kind != LVLM_CHECKPOINT_NPZ, err, LVLM_EUSAGE,
            "%s: expected a Hugging Face model directory or a big_vision .npz", path);
    TRY(lvlm_manifest_build(&out->manifest, out->source, err));
    TRY(check_account(out, problem, user, err));
    TRY(lay_out(out, err));
    TRY(account(out, err));
    return describe(out, err);
}

static int compose_header(lvlm_strbuf *header, const lvlm_import *im, bool with_digests,
                          lvlm_error *err)
{
    const lvlm_native_meta meta = { im->manifest.family->name, im->manifest.config,
                                    im->provenance, im->ledger_json };
    const size_t n = im->plan.n_steps;
    lvlm_tensor *tensors = lvlm_malloc((n + 1) * sizeof *tensors);
    char(*digests)[LVLM_DIGEST_HEX + 1] = lvlm_malloc((n + 1) * sizeof *digests);
    int rc = lvlm_fail_memory(err);
    if (tensors != NULL && digests != NULL) {
        for (size_t i = 0; i < n; i++) {
            tensors[i] = im->plan.steps[i].out;
            memcpy(digests[i], im->plan.steps[i].digest, sizeof digests[i]);
        }
        rc = lvlm_native_header(header, &meta, tensors, n,
                                with_digests ? digests : NULL, err);
    }
    lvlm_free(tensors);
    lvlm_free(digests);
    return rc;
}

int lvlm_import_execute(lvlm_import *im, const char *path, const lvlm_import_run *run,
                        char root[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    const size_t max = LVLM_SAFETENSORS_MAX_HEADER + 2 * LVLM_NATIVE_ALIGN_DATA;
    lvlm_strbuf blank = LVLM_STRBUF_INIT(max), header = LVLM_STRBUF_INIT(max);
    lvlm_outfile *file = NULL;
    int rc;

    if ((rc = lvlm_checkpoint_check(im->source, run->threads, err)) < 0 ||
        (rc = compose_header(&blank, im, false, err)) < 0 ||
        (rc = lvlm_outfile_open(&file, path, run->overwrite, err)) < 0)
        goto done;
    const lvlm_execute_options options = { run->threads, blank.length, run->progress,
                                           run->user };
    if ((rc = lvlm_execute(&im->plan, file, &options, err)) < 0 ||
        (rc = compose_header(&header, im, true, err)) < 0)
        goto done;
    assert(header.length == blank.length);
    lvlm_outfile_write_at(file, 0, header.text, header.length, NULL);
    if ((rc = lvlm_native_find_root(root, header.text, header.length, err)) == 0 &&
        (rc = lvlm_checkpoint_unchanged(im->source, err)) == 0)
        rc = lvlm_outfile_commit(file, err);
done:
    lvlm_outfile_close(file);
    lvlm_strbuf_free(&blank);
    lvlm_strbuf_free(&header);
    return rc;
}

void lvlm_import_free(lvlm_import *im)
{
    lvlm_json_free(im->ledger_json);
    lvlm_json_free(im->provenance);
    lvlm_manifest_free(&im->manifest);
    lvlm_checkpoint_close(im->source);
    lvlm_arena_free(&im->arena);
}
