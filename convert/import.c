/* import.c - plans and writes a native file from a Hugging Face checkpoint.
 *
 *   targets of the manifest, in order of use     found: copy or transform; or made
 *   unused/NAME   tensors kept by a rule
 *   frames/FILE   the bytes of each source file that are not in a tensor
 *   files/NAME    side files
 *
 * The ledger is made with the plan, so they cannot disagree. */

#include "convert/import_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/make.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/base/utf8.h"
#include "formats/container/execute.h"
#include "formats/container/safetensors.h"
#include "formats/native/native_writer.h"

/* ---- what may be missing -------------------------------------------------------- */

/* How a missing tensor is made. */
static lvlm_init *init_of(lvlm_import *im, const lvlm_target *t)
{
    const char *const prefix = im->options.identity, *const made = t->row->made;
    if (im->options.init.kind != LVLM_INIT_NONE) {
        if (made != NULL) return strcmp(made, "ones") == 0 ? &im->ones : &im->sines;
        if (t->shape.n < 2) return &im->zeros;
    }
    return prefix != NULL && lvlm_starts_with(t->name, prefix) ? &im->identity
                                                               : &im->options.init;
}

/* Mark missing tensors of the connector to be made, if that is allowed. */
static void allow_missing(lvlm_import *im)
{
    im->identity.kind = LVLM_INIT_IDENTITY;
    im->zeros.kind = LVLM_INIT_ZEROS;
    im->ones.kind = LVLM_INIT_ONES;
    im->sines.kind = LVLM_INIT_SINES;
    for (size_t i = 0; i < im->manifest.n_targets; i++) {
        lvlm_target *t = &im->manifest.targets[i];
        if (t->state == LVLM_TARGET_MISSING && t->row->connector &&
            init_of(im, t)->kind != LVLM_INIT_NONE)
            t->state = LVLM_TARGET_MADE;
    }
}

/* Report how many names match no rule, with the first and the last. Missing tensors are
 * listed first, and with unknown prefixes they would hide these. */
static size_t find_unknown(const lvlm_extra **first, const lvlm_extra **last,
                           const lvlm_manifest *m)
{
    size_t n = 0;
    *first = *last = NULL;
    for (size_t i = 0; i < m->n_extras; i++) {
        if (m->extras[i].kind != LVLM_EXTRA_UNKNOWN) continue;
        if (n++ == 0) *first = &m->extras[i];
        *last = &m->extras[i];
    }
    return n;
}

static int check_account(lvlm_import *im, lvlm_error *err)
{
    allow_missing(im);
    const size_t n = lvlm_manifest_problems(&im->manifest, im->options.problem,
                                            im->options.problem_user);
    const lvlm_extra *first, *last;
    const size_t n_unknown = find_unknown(&first, &last, &im->manifest);
    FAIL_IF(n > 0 && n_unknown > 1, err, LVLM_ECHECK,
            "%s: %zu tensors do not match %s; nothing was written; %zu have names "
            "that no rule matches, from '%s' to '%s', where '%s' is expected",
            im->source->path, n, im->manifest.family->title, n_unknown,
            first->tensor->name, last->tensor->name,
            im->manifest.targets[0].source_name);
    FAIL_IF(n > 0, err, LVLM_ECHECK,
            "%s: %zu tensor%s not match %s; nothing was written", im->source->path, n,
            n == 1 ? " does" : "s do", im->manifest.family->title);
    return 0;
}

/* ---- names ---------------------------------------------------------------------- */

/* Why a native file cannot hold a file of that name, or NULL. */
static const char *name_problem(const char *name)
{
    if (!lvlm_utf8_valid(name, strlen(name))) return "is not UTF-8";
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < ' ' || *name == 0x7f)
            return "has a control character";
    return NULL;
}

/* Reported here with the user's file names; native_rules.c refuses the same. */
static int check_names(const lvlm_checkpoint *cp, lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_files; i++) {
        const char *const name = cp->files[i].name;
        const char *const problem = name_problem(name);
        FAIL_IF(problem != NULL || !lvlm_ledger_names_file(name), err, LVLM_EFORMAT,
                "%s: the file's name %s; rename it", name,
                problem != NULL ? problem : "begins with a dot");
    }
    for (size_t i = 0; i < cp->n_side_files; i++) {
        const char *const name = cp->side_files[i].name;
        const char *const problem = name_problem(name);
        FAIL_IF(problem != NULL, err, LVLM_EFORMAT,
                "%s: the side file's name %s; rename it or move it away", name,
                problem);
    }
    return 0;
}

/* ---- layout --------------------------------------------------------------------- */

static lvlm_dtype stored_dtype(const lvlm_import *im, lvlm_dtype dtype)
{
    return im->options.change_dtype && lvlm_dtype_is_weight(dtype) ? im->options.dtype
                                                                   : dtype;
}

/* A made tensor is stored in the dtype of the embedding. */
static lvlm_dtype made_dtype(const lvlm_import *im)
{
    const lvlm_target *table = lvlm_manifest_find(&im->manifest, LVLM_EMBED_TABLE);
    assert(table != NULL && table->here.tensor != NULL);
    return table->here.tensor->dtype;
}

/* How a source tensor gets rows that are not stored; NULL: it has all of them. */
static lvlm_growth *growth_of(const lvlm_import *im, const lvlm_tensor *tensor)
{
    for (size_t i = 0; i < im->options.n_growths; i++)
        if (strcmp(im->options.growths[i].table->name, tensor->name) == 0)
            return &im->options.growths[i];
    return NULL;
}

static int add_written(lvlm_import *im, const lvlm_tensor *out, lvlm_write write,
                       void *user, lvlm_error *err)
{
    lvlm_step *step;
    TRY(lvlm_plan_add(&step, &im->plan, out, err));
    step->kind = LVLM_STEP_WRITTEN;
    step->write = write;
    step->user = user;
    return 0;
}

static int add_target(lvlm_import *im, const lvlm_target *t, size_t *n_pads,
                      lvlm_error *err)
{
    const bool made = t->state == LVLM_TARGET_MADE;
    assert(made || (t->state == LVLM_TARGET_FOUND && !t->here.wrong_shape));
    const lvlm_dtype dtype =
        stored_dtype(im, made ? made_dtype(im) : t->here.tensor->dtype);
    const lvlm_transform *transform = &t->here.transform;
    const lvlm_tensor out = { .name = t->name, .dtype = dtype, .shape = t->shape };
    lvlm_step *step;
    TRY(lvlm_native_add_pad(&im->plan, n_pads, &out, err));
    if (made) return add_written(im, &out, lvlm_init_write, init_of(im, t), err);
    lvlm_growth *const growth = growth_of(im, t->here.tensor);
    if (growth != NULL) return add_written(im, &out, lvlm_growth_write, growth, err);
    TRY(lvlm_plan_copy(&step, &im->plan, &out, t->here.tensor, err));
    if (lvlm_transform_is_keep(transform)) return 0;
    step->kind = LVLM_STEP_GATHER;
    step->transform = *transform;
    return 0;
}

/* ---- steps and ledger ------------------------------------------------------------ */

static lvlm_ledger_entry *entry_of(lvlm_import *im, const lvlm_tensor *tensor)
{
    assert(tensor >= im->source->tensors);
    assert(tensor < im->source->tensors + im->source->n_tensors);
    return &im->ledger.entries[tensor - im->source->tensors];
}

/* Targets of one source are ordered by the index of the selected axis. */
static int account_target(lvlm_import *im, const lvlm_target *t, lvlm_error *err)
{
    lvlm_ledger_entry *entry = entry_of(im, t->here.tensor);
    const lvlm_transform *transform = &t->here.transform;
    const size_t n =
        transform->select > 0 ? (size_t)transform->axes[transform->select - 1] : 1;
    assert(transform->select == 0 || transform->index < n);
    assert(entry->targets == NULL || entry->n_targets == n);
    if (entry->targets == NULL)
        entry->targets = lvlm_arena_alloc(&im->arena, n, sizeof *entry->targets);
    if (entry->targets == NULL) return lvlm_fail_memory(err);
    entry->n_targets = n;
    entry->transform = *transform;
    entry->grown =
        im->options.originals != NULL && growth_of(im, t->here.tensor) != NULL;
    entry->use = t->state == LVLM_TARGET_TIED ? LVLM_USE_TIED : LVLM_USE_USED;
    entry->targets[transform->select > 0 ? transform->index : 0] =
        t->state == LVLM_TARGET_TIED ? t->row->tied_to : t->name;
    return 0;
}

static int account_made(lvlm_import *im, const lvlm_target *t, lvlm_error *err)
{
    char how[96];
    assert(im->ledger.n_made < im->manifest.n_targets);
    lvlm_init_describe(how, init_of(im, t));
    lvlm_ledger_made *made = &im->ledger.made[im->ledger.n_made++];
    made->target = t->name;
    made->how = lvlm_arena_strndup(&im->arena, how, strlen(how));
    return made->how != NULL ? 0 : lvlm_fail_memory(err);
}

static int add_targets(lvlm_import *im, size_t *n_pads, lvlm_error *err)
{
    for (size_t i = 0; i < im->manifest.n_targets; i++) {
        const lvlm_target *const t = &im->manifest.targets[i];
        if (lvlm_target_is_stored(t)) TRY(add_target(im, t, n_pads, err));
        if (t->state == LVLM_TARGET_MADE) TRY(account_made(im, t, err));
        if (t->here.tensor != NULL) TRY(account_target(im, t, err));
    }
    return 0;
}

static int add_unused(lvlm_import *im, const lvlm_extra *extra, size_t *n_pads,
                      lvlm_error *err)
{
    const lvlm_tensor *const t = extra->tensor;
    lvlm_ledger_entry *const entry = entry_of(im, t);
    assert(extra->kind == LVLM_EXTRA_UNUSED && entry->targets == NULL);
    const lvlm_tensor out = {
        .name =
            lvlm_arena_printf(&im->arena, LVLM_NATIVE_UNUSED "%s", extra->canonical),
        .dtype = stored_dtype(im, t->dtype),
        .shape = t->shape,
    };
    entry->targets = lvlm_arena_alloc(&im->arena, 1, sizeof *entry->targets);
    if (out.name == NULL || entry->targets == NULL) return lvlm_fail_memory(err);
    entry->targets[0] = out.name;
    entry->n_targets = 1;
    entry->use = LVLM_USE_UNUSED;
    entry->rule = extra->rule->name;
    TRY(lvlm_native_add_pad(&im->plan, n_pads, &out, err));
    return lvlm_plan_copy(NULL, &im->plan, &out, t, err);
}

/* A source file, by what is not in its tensors. */
static int add_file(lvlm_import *im, size_t file, lvlm_error *err)
{
    const lvlm_source_file *const source = &im->source->files[file];
    im->ledger.files[im->ledger.n_files++] =
        (lvlm_ledger_file){ source->name, import_file_bytes(im, file),
                            source->compressed };
    return import_frame(im, file, err);
}

static int add_side_file(lvlm_import *im, const lvlm_side_file *side, lvlm_error *err)
{
    const char *const name =
        lvlm_arena_printf(&im->arena, LVLM_NATIVE_FILES "%s", side->name);
    if (name == NULL) return lvlm_fail_memory(err);
    return lvlm_plan_bytes(&im->plan, name, side->bytes, side->n_bytes, err);
}

static int begin_ledger(lvlm_import *im, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = im->source;
    lvlm_ledger *const l = &im->ledger;
    l->files = lvlm_arena_alloc(&im->arena, cp->n_files + 1, sizeof *l->files);
    l->entries = lvlm_arena_alloc(&im->arena, cp->n_tensors + 1, sizeof *l->entries);
    l->made = lvlm_arena_alloc(&im->arena, im->manifest.n_targets + 1, sizeof *l->made);
    if (l->files == NULL || l->entries == NULL || l->made == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++)
        l->entries[l->n_entries++].source =
            im->options.originals != NULL ? im->options.originals[i] : cp->tensors[i];
    return 0;
}

static int lay_out(lvlm_import *im, lvlm_error *err)
{
    const lvlm_manifest *const m = &im->manifest;
    const lvlm_checkpoint *const cp = im->source;
    size_t n_pads = 0;
    im->plan.arena = &im->arena;
    assert(im->plan.n_steps == 0);
    TRY(begin_ledger(im, err));
    TRY(add_targets(im, &n_pads, err));
    for (size_t i = 0; i < m->n_extras; i++)
        TRY(add_unused(im, &m->extras[i], &n_pads, err));
    for (size_t i = 0; i < cp->n_files; i++) TRY(add_file(im, i, err));
    for (size_t i = 0; i < cp->n_side_files; i++)
        TRY(add_side_file(im, &cp->side_files[i], err));
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

static int plan(lvlm_import *im, lvlm_error *err)
{
    TRY(check_names(im->source, err));
    TRY(lvlm_manifest_build(&im->manifest, im->source, err));
    TRY(check_account(im, err));
    TRY(lay_out(im, err));
    return import_describe(im, err);
}

static int open_source(lvlm_import *im, const char *path, lvlm_error *err)
{
    const lvlm_open_options open = { .headers_only = im->options.headers_only,
                                     .in_place = true,
                                     .config = im->options.config,
                                     .notes = im->options.notes };
    TRY(lvlm_checkpoint_open(&im->source, path, &open, err));
    const lvlm_checkpoint_kind kind = im->source->kind;
    FAIL_IF(kind != LVLM_CHECKPOINT_NPZ && im->options.npz, err, LVLM_EFORMAT,
            "%s: expected PaliGemma as big_vision's .npz, with arrays below img/ and "
            "llm/%s",
            path, kind == LVLM_CHECKPOINT_HF ? "; hf2native converts directories" : "");
    FAIL_IF(kind != LVLM_CHECKPOINT_HF && kind != LVLM_CHECKPOINT_NPZ, err,
            LVLM_EFORMAT,
            "%s: expected a Hugging Face model directory or a big_vision .npz", path);
    return 0;
}

/* `source` or, if it is NULL, the checkpoint at `path`. */
static int create(lvlm_import **out, lvlm_checkpoint *source, const char *path,
                  const lvlm_import_options *options, lvlm_error *err)
{
    lvlm_import *const im = lvlm_calloc(1, sizeof *im);
    assert((source == NULL) == (path != NULL));
    *out = NULL;
    if (im == NULL) return lvlm_fail_memory(err);
    im->options = *options;
    im->source = source;
    im->borrows = source != NULL;
    int rc = source != NULL ? 0 : open_source(im, path, err);
    if (rc == 0) rc = plan(im, err);
    if (rc == 0)
        *out = im;
    else
        lvlm_import_free(im);
    return rc;
}

int lvlm_import_plan(lvlm_import **out, const char *path,
                     const lvlm_import_options *options, lvlm_error *err)
{
    return create(out, NULL, path, options, err);
}

int lvlm_import_plan_source(lvlm_import **out, lvlm_checkpoint *source,
                            const lvlm_import_options *options, lvlm_error *err)
{
    assert(source->headers_only == options->headers_only);
    return create(out, source, NULL, options, err);
}

lvlm_import_view lvlm_import_planned(const lvlm_import *im)
{
    return (lvlm_import_view){ &im->manifest, &im->ledger, &im->plan, &im->options };
}

/* ---- writing -------------------------------------------------------------------- */

typedef struct writing {
    lvlm_import *import;
    char *config, *provenance; /* owned */
    lvlm_strbuf ledger;
} writing;

/* Padded with spaces: the header's length must not change with numbers that are not
 * known yet. */
static int print_provenance(writing *w, lvlm_error *err)
{
    lvlm_strbuf padded = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    char *text = NULL;
    TRY(lvlm_json_print(&text, w->import->provenance, err));
    lvlm_strbuf_printf(&padded, "%-*s", (int)w->import->provenance_bytes, text);
    lvlm_free(text);
    lvlm_free(w->provenance);
    w->provenance = padded.text;
    return lvlm_strbuf_check(&padded, err);
}

/* Add to the provenance what is known only from the data. */
static int record_narrowing(void *user, lvlm_native_meta *meta, lvlm_error *err)
{
    writing *const w = user;
    lvlm_import *const im = w->import;
    const lvlm_narrowing narrowing = lvlm_plan_narrowing(&im->plan);
    if (!im->options.change_dtype) return 0;
    assert(im->provenance_bytes > 0);
    TRY(import_describe_narrowing(im, &narrowing, err));
    TRY(print_provenance(w, err));
    meta->provenance = w->provenance;
    return 0;
}

static int write_file(writing *w, lvlm_outfile *file, const lvlm_run *run,
                      lvlm_hex_digest root, lvlm_error *err)
{
    lvlm_import *const im = w->import;
    TRY(lvlm_json_print(&w->config, im->manifest.config, err));
    TRY(print_provenance(w, err));
    lvlm_ledger_print(&w->ledger, &im->ledger);
    TRY(lvlm_strbuf_check(&w->ledger, err));
    TRY(lvlm_checkpoint_check(im->source, run->threads, err));
    const lvlm_native_parts parts = {
        .meta = { im->manifest.family->name, w->config, w->provenance, w->ledger.text },
        .plan = &im->plan,
        .sources = { im->source },
        .finish = record_narrowing,
        .user = w,
    };
    return lvlm_native_write(root, file, &parts, run, err);
}

int lvlm_import_execute(lvlm_import *im, lvlm_outfile *file, const lvlm_run *run,
                        lvlm_hex_digest root, lvlm_error *err)
{
    assert(!im->source->headers_only);
    writing w = { .import = im,
                  .ledger = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER) };
    int rc = im->options.check != NULL
                 ? im->options.check(im->options.check_user, run, err)
                 : 0;
    if (rc == 0) rc = write_file(&w, file, run, root, err);
    if (rc == 0) rc = lvlm_import_note(im, err);
    lvlm_free(w.config);
    lvlm_free(w.provenance);
    lvlm_strbuf_free(&w.ledger);
    return rc;
}

void lvlm_import_free(lvlm_import *im)
{
    if (im == NULL) return;
    lvlm_json_free(im->provenance);
    lvlm_manifest_free(&im->manifest);
    if (!im->borrows) lvlm_checkpoint_close(im->source);
    lvlm_arena_free(&im->arena);
    lvlm_free(im);
}
