/* cmd_hf2native.c - lvlm-convert hf2native SRC MODEL, npz2native FILE.npz MODEL */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/cli/commands.h"
#include "convert/import.h"
#include "convert/make.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"

/* So many problems are shown; the count of all is always told. */
enum { MAX_SHOWN = 20 };

typedef struct args {
    lvlm_common_args common;
    const char *dtype;
    bool dry_run;
    const char *init_missing;
    uint64_t seed;
    bool force;
    const char *config;
} args;

// clang-format off
#define COMMON_OPTIONS(source)                                                         \
    { "dtype", "keep|f32|bf16|f16", LVLM_OPTION_TEXT, offsetof(args, dtype),           \
      "store weights as this type, rounded to nearest even (default: keep)" },         \
    { "dry-run", NULL, LVLM_OPTION_FLAG, offsetof(args, dry_run),                      \
      "print the plan and write nothing; needs only the headers of " source },           \
    { "init-missing", "zeros|normal:STD|xavier", LVLM_OPTION_TEXT,                     \
      offsetof(args, init_missing),                                                    \
      "make the connector's projection when " source " has none; recorded as made" },     \
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(args, seed),                            \
      "seed of the tensors that are made (default 0)" },                                            \
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite MODEL" }
// clang-format on

static const lvlm_option options[] = { COMMON_OPTIONS("SRC"), LVLM_OPTION_END };

static const lvlm_option npz_options[] = {
    { "config", "FILE.json", LVLM_OPTION_TEXT, offsetof(args, config),
      "a Hugging Face config.json to go by, instead of one made from the shapes" },
    COMMON_OPTIONS("FILE.npz"),
    LVLM_OPTION_END,
};

/* ---- problems ------------------------------------------------------------------- */

typedef struct problems {
    size_t n;
    cJSON *list; /* with --json: all of them */
} problems;

static void show_problem(void *user, const char *text)
{
    problems *const p = user;
    if (++p->n <= MAX_SHOWN) fprintf(stderr, PROGRAM ": %s\n", lvlm_shown(text));
    if (p->n == MAX_SHOWN + 1) fprintf(stderr, PROGRAM ": ... and more\n");
    if (p->list != NULL) cJSON_AddItemToArray(p->list, cJSON_CreateString(text));
}

/* ---- the plan ------------------------------------------------------------------- */

static const char *describe(char text[96], const lvlm_step *step)
{
    switch (step->kind) {
    case LVLM_STEP_MADE: lvlm_init_describe(text, &step->init); return text;
    case LVLM_STEP_ZEROS: return "padding";
    case LVLM_STEP_JOIN: return "keep";
    case LVLM_STEP_COPY:
        if (step->inputs[0]->dtype == step->out.dtype)
            return lvlm_shape_equal(&step->inputs[0]->shape, &step->out.shape)
                       ? "keep"
                       : "reshape";
        snprintf(text, 96, "%s to %s", lvlm_dtype_name(step->inputs[0]->dtype),
                 lvlm_dtype_name(step->out.dtype));
        return text;
    default: return "rearrange";
    }
}

static void print_step(const lvlm_step *step)
{
    char shape[LVLM_SHAPE_TEXT], how[96];
    printf("%-44s %-5s %-16s %12" PRIu64 "  %-8s %s\n", lvlm_shown(step->out.name),
           lvlm_dtype_name(step->out.dtype), lvlm_shape_text(shape, &step->out.shape),
           step->out.n_bytes, describe(how, step),
           step->n_inputs > 0 && step->inputs[0]->name != step->out.name
               ? lvlm_shown(step->inputs[0]->name)
               : "");
}

/* Does config.json say that the head is the table of word vectors? */
static bool says_tied(const lvlm_import *import)
{
    return lvlm_family_ties(import->manifest.family, import->source->config).tied;
}

static void print_plan(const lvlm_import *import)
{
    printf("%-44s %-5s %-16s %12s  %-8s %s\n", "tensor", "dtype", "shape", "bytes",
           "how", "from");
    for (size_t i = 0; i < import->plan.n_steps; i++)
        print_step(&import->plan.steps[i]);
    for (size_t i = 0; i < import->manifest.n_targets; i++) {
        const lvlm_target *t = &import->manifest.targets[i];
        if (t->row->tied_to == NULL) continue;
        if (t->state == LVLM_TARGET_TIED)
            printf("%-44s tied to %s\n", t->name, t->row->tied_to);
        else if (says_tied(import))
            printf("%-44s is left out, as tied, if its bytes equal %s\n", t->name,
                   t->row->tied_to);
    }
}

/* ---- the account ---------------------------------------------------------------- */

typedef struct totals {
    size_t used, tied, unused, made;
} totals;

static totals count(const lvlm_import *import)
{
    totals n = { 0 };
    for (size_t i = 0; i < import->ledger.n_entries; i++) {
        n.used += import->ledger.entries[i].use == LVLM_USE_USED;
        n.tied += import->ledger.entries[i].use == LVLM_USE_TIED;
        n.unused += import->ledger.entries[i].use == LVLM_USE_UNUSED;
    }
    n.made = import->ledger.n_made;
    return n;
}

static int note_target(const lvlm_import *import, const lvlm_target *t, lvlm_error *err)
{
    lvlm_notes *const notes = import->options.notes;
    if (t->state == LVLM_TARGET_MADE)
        return lvlm_notes_add(notes, err, "%s was made, not found: train it before use",
                              t->name);
    if (t->row->tied_to == NULL) return 0;
    const bool tied = says_tied(import);
    if (t->state == LVLM_TARGET_FOUND && tied && !import->source->headers_only)
        return lvlm_notes_add(
            notes, err,
            "'%s' differs from %s, although tie_word_embeddings is true: kept as a "
            "head of its own",
            t->source->name, t->row->tied_to);
    if (t->state == LVLM_TARGET_TIED && t->source == NULL && !tied)
        return lvlm_notes_add(
            notes, err,
            "tie_word_embeddings is false, but there is no '%s': %s is used; is it a "
            "base model saved alone?",
            t->source_name, t->row->tied_to);
    return 0;
}

/* What the type that was asked for cannot hold, and the first tensor with such. */
static int note_narrowing(const lvlm_import *import, lvlm_error *err)
{
    lvlm_notes *const notes = import->options.notes;
    const lvlm_narrowing *const n = &import->narrowing;
    const char *const dtype = lvlm_dtype_name(import->options.dtype);
    const char *overflowed = "", *flushed = "";
    for (size_t i = import->plan.n_steps; i-- > 0;) {
        const lvlm_step *const step = &import->plan.steps[i];
        if (step->narrowing.n_overflowed > 0) overflowed = step->out.name;
        if (step->narrowing.n_flushed > 0) flushed = step->out.name;
    }
    if (n->n_overflowed > 0)
        TRY(lvlm_notes_add(notes, err,
                           "%s: %" PRIu64 " value%s beyond the range of %s, now "
                           "infinite: --dtype bf16 has the range of F32",
                           overflowed, n->n_overflowed,
                           n->n_overflowed == 1 ? " is" : "s, in it and others, are",
                           dtype));
    if (n->n_flushed > 0)
        TRY(lvlm_notes_add(
            notes, err, "%s: %" PRIu64 " value%s too small for %s, now zero", flushed,
            n->n_flushed, n->n_flushed == 1 ? " is" : "s, in it and others, are",
            dtype));
    return 0;
}

/* What a person should know beyond the numbers. */
static int add_notes(const lvlm_import *import, lvlm_error *err)
{
    const lvlm_manifest *m = &import->manifest;
    for (size_t i = 0; i < m->n_targets; i++)
        TRY(note_target(import, &m->targets[i], err));
    if (import->source->assumed != NULL)
        TRY(lvlm_notes_add(import->options.notes, err, "%s: %s", import->source->path,
                           import->source->assumed));
    return note_narrowing(import, err);
}

static void print_unused(const lvlm_import *import)
{
    for (const lvlm_unused_rule *rule = import->manifest.family->unused;
         rule->name != NULL; rule++) {
        size_t n = 0;
        for (size_t i = 0; i < import->manifest.n_extras; i++)
            n += import->manifest.extras[i].rule == rule;
        if (n > 0) printf("  %zu by rule %s: %s\n", n, rule->name, rule->why);
    }
}

static void print_text(const lvlm_import *import, const char *model, const char *root,
                       double seconds)
{
    const totals n = count(import);
    char in[32], speed[32];
    printf("%s: %s, %zu source tensors: %zu used, %zu tied, %zu kept unused",
           import->source->path, import->manifest.family->title,
           import->ledger.n_entries, n.used, n.tied, n.unused);
    if (n.made > 0) printf("; %zu made", n.made);
    printf("\n");
    print_unused(import);
    if (root == NULL) return;
    printf("%s: %s in %.1f s (%s/s), root digest %.16s...\n", model,
           lvlm_bytes_text(in, (double)import->plan.n_bytes), seconds,
           lvlm_bytes_text(speed, (double)import->plan.n_bytes / (seconds + 1e-9)),
           root);
}

static bool add_plan(cJSON *json, const lvlm_import *import)
{
    cJSON *steps = cJSON_AddArrayToObject(json, "plan");
    for (size_t i = 0; i < import->plan.n_steps; i++) {
        const lvlm_step *step = &import->plan.steps[i];
        char how[96];
        cJSON *row = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(steps, row)) return false;
        cJSON_AddStringToObject(row, "name", step->out.name);
        cJSON_AddStringToObject(row, "dtype", lvlm_dtype_name(step->out.dtype));
        cJSON_AddItemToObject(row, "shape", lvlm_shape_json(&step->out.shape));
        cJSON_AddNumberToObject(row, "bytes", (double)step->out.n_bytes);
        cJSON_AddStringToObject(row, "transform", describe(how, step));
        cJSON *sources = cJSON_AddArrayToObject(row, "sources");
        if (step->n_inputs > 0)
            cJSON_AddItemToArray(sources, cJSON_CreateString(step->inputs[0]->name));
    }
    return true;
}

static void add_narrowing(cJSON *json, const lvlm_import *import)
{
    const lvlm_narrowing *const n = &import->narrowing;
    cJSON *narrowed = cJSON_AddObjectToObject(json, "narrowed");
    cJSON_AddNumberToObject(narrowed, "values", (double)n->n);
    cJSON_AddNumberToObject(narrowed, "rounded", (double)n->n_rounded);
    cJSON_AddNumberToObject(narrowed, "overflowed", (double)n->n_overflowed);
    cJSON_AddNumberToObject(narrowed, "flushed", (double)n->n_flushed);
    lvlm_json_add_number(narrowed, "max_relative", n->max_relative);
}

static int print_json(const lvlm_import *import, const char *root, double seconds,
                      lvlm_error *err)
{
    const totals n = count(import);
    cJSON *json = lvlm_json_document();
    cJSON_AddStringToObject(json, "family", import->manifest.family->name);
    cJSON_AddNumberToObject(json, "used", (double)n.used);
    cJSON_AddNumberToObject(json, "tied", (double)n.tied);
    cJSON_AddNumberToObject(json, "unused", (double)n.unused);
    cJSON_AddNumberToObject(json, "made", (double)n.made);
    cJSON_AddNumberToObject(json, "bytes", (double)import->plan.n_bytes);
    if (root != NULL) cJSON_AddStringToObject(json, "root", root);
    if (root != NULL) lvlm_add_seconds(json, "seconds", seconds);
    if (root == NULL) add_plan(json, import);
    if (root != NULL && import->options.change_dtype) add_narrowing(json, import);
    lvlm_add_notes(json, import->options.notes);
    return lvlm_print_json(json, err);
}

/* ---- the command ---------------------------------------------------------------- */

static int read_options(lvlm_import_options *out, const args *a, bool npz,
                        lvlm_error *err)
{
    static const struct {
        const char *name;
        lvlm_dtype dtype;
    } dtypes[] = { { "f32", LVLM_F32 }, { "bf16", LVLM_BF16 }, { "f16", LVLM_F16 } };
    *out = (lvlm_import_options){ .npz = npz, .config = a->config };
    for (size_t i = 0; a->dtype != NULL && i < 3; i++) {
        if (strcmp(a->dtype, dtypes[i].name) != 0) continue;
        out->change_dtype = true;
        out->dtype = dtypes[i].dtype;
    }
    if (a->init_missing == NULL) return 0;
    return lvlm_init_parse(&out->init, a->init_missing, a->seed, err);
}

/* MODEL may not be one of the files that it is made of. */
static int spare_source(const lvlm_outputs *outputs, const lvlm_import *import,
                        const char *config, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = import->source;
    for (size_t i = 0; i < cp->n_files + cp->n_side_maps; i++) {
        const lvlm_infile *const map =
            i < cp->n_files ? cp->files[i].map : cp->side_maps[i - cp->n_files];
        const char *const path = map->path;
        TRY(lvlm_outputs_spare(outputs, &path, 1, err));
    }
    return lvlm_outputs_spare(outputs, &config, 1, err);
}

static int convert(lvlm_import *import, const args *a, lvlm_outfile *model,
                   lvlm_hex_digest root, lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "converting", import->plan.n_bytes, a->common.quiet);
    const lvlm_import_run run = { lvlm_thread_count(&a->common), lvlm_progress_update,
                                  &bar };
    const int rc = lvlm_import_execute(import, model, &run, root, err);
    lvlm_progress_finish(&bar);
    return rc;
}

static int run_any(const void *arguments, const lvlm_operands *operands, bool npz)
{
    const args *a = arguments;
    const char *source = operands->at[0], *model = operands->at[1];
    const double started = lvlm_seconds();
    lvlm_import_options import_options;
    lvlm_import import = { 0 };
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outfile *out = NULL;
    lvlm_hex_digest root;
    lvlm_error err;
    problems found = { 0, a->common.json ? cJSON_CreateArray() : NULL };
    int rc;

    if ((rc = read_options(&import_options, a, npz, &err)) < 0 ||
        (rc = lvlm_outputs_file(&outputs, &out, a->dry_run ? NULL : model, &err)) < 0)
        goto done;
    import_options.notes = &notes;
    if ((rc = lvlm_import_plan(&import, source, &import_options, a->dry_run,
                               show_problem, &found, &err)) < 0 ||
        (rc = spare_source(&outputs, &import, a->config, &err)) < 0 ||
        (!a->dry_run && (rc = convert(&import, a, out, root, &err)) < 0) ||
        (rc = add_notes(&import, &err)) < 0)
        goto done;
    const char *made_root = a->dry_run ? NULL : root;
    const double seconds = lvlm_seconds() - started;
    if (a->dry_run && !a->common.json) print_plan(&import);
    lvlm_print_notes(PROGRAM, &notes);
    if (a->common.json)
        rc = print_json(&import, made_root, seconds, &err);
    else if (!a->common.quiet)
        print_text(&import, model, made_root, seconds);
done:
    lvlm_outputs_close(&outputs);
    lvlm_import_free(&import);
    lvlm_print_notes(PROGRAM, &notes);
    lvlm_notes_free(&notes);
    if (found.n > 0)
        lvlm_report_with("problems", found.list);
    else
        lvlm_json_free(found.list);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    lvlm_init made;
    FAIL_IF(!a->dry_run && operands->n < 2, err, LVLM_EUSAGE,
            "MODEL is needed, the file to write, or --dry-run");
    if (a->init_missing != NULL)
        TRY(lvlm_init_parse(&made, a->init_missing, a->seed, err));
    FAIL_IF(a->seed > 0 && (a->init_missing == NULL || made.kind == LVLM_INIT_ZEROS),
            err, LVLM_EUSAGE,
            "--seed decides nothing without --init-missing normal:STD or xavier");
    return 0;
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    return run_any(arguments, operands, false);
}

static int run_npz(const void *arguments, const lvlm_operands *operands)
{
    return run_any(arguments, operands, true);
}

const lvlm_command command_hf2native = {
    "hf2native",
    "SRC MODEL",
    1,
    2,
    "Hugging Face model directory to one native file",
    "SRC is a directory with config.json and model.safetensors or pytorch_model.bin,\n"
    "or shards and their index (a pickle is read, never executed); or a model id such\n"
    "as google/paligemma-3b-pt-224[@revision] in the local Hugging Face cache;\n"
    "nothing is downloaded; or a big_vision .npz, see npz2native.\n"
    "MODEL is the file to write, NAME.lvlm. Every source tensor is used, tied, or\n"
    "kept by a rule with a name; every native tensor has a source. Anything else is\n"
    "an error that names the tensor (exit 1) and nothing is written. Side files\n"
    "travel inside, so the native file alone is enough to run and to go back\n"
    "(native2hf).\n"
    "\n"
    "  lvlm-convert hf2native paligemma-3b-pt-224 model.lvlm\n"
    "  lvlm-convert hf2native paligemma-3b-pt-224 --dry-run | less",
    options,
    sizeof(args),
    run,
    .check = check,
};

const lvlm_command command_npz2native = {
    "npz2native",
    "FILE.npz MODEL",
    1,
    2,
    "PaliGemma as big_vision's .npz to one native file",
    "FILE.npz is PaliGemma 1 or 2 as big_vision and Kaggle have it: arrays below img/\n"
    "and llm/, with or without params/ in front, blocks stacked or one by one. It has\n"
    "no configuration: one is made from the shapes, which settles every released\n"
    "model; give --config for others. The native file equals the one from the Hugging\n"
    "Face checkpoint, tensor by tensor, but for that one's 64 rows of padding.\n"
    "native2hf gives a stored FILE.npz back byte for byte, or with --layout hub a\n"
    "Hugging Face directory.\n"
    "\n"
    "  lvlm-convert npz2native paligemma-3b-pt-224.npz model.lvlm\n"
    "  lvlm-convert native2hf model.lvlm hf --layout hub",
    npz_options,
    sizeof(args),
    run_npz,
    .check = check,
};
