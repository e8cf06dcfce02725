/* cmd_native2hf.c - lvlm-convert native2hf MODEL DIR */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/cli/account.h"
#include "convert/cli/commands.h"
#include "convert/export.h"
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"

/* Where the reference splits by default. */
#define DEFAULT_SHARD ((uint64_t)5000000000)

typedef struct args {
    lvlm_common_args common;
    const char *layout;
    uint64_t max_shard;
    bool force;
} args;

static const lvlm_option options[] = {
    { "layout", "source|hub|current", LVLM_OPTION_TEXT, offsetof(args, layout),
      "source: the files that came in, byte for byte (default); hub: names of the "
      "official files; current: names that current transformers writes" },
    { "max-shard-size", "SIZE", LVLM_OPTION_BYTES, offsetof(args, max_shard),
      "hub and current: split into files with at most SIZE of tensors each, their "
      "headers not counted (default 5GB); a tensor that is larger has its own" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force),
      "write into DIR although it holds files; those of an older model go, others "
      "stay" },
    LVLM_OPTION_END,
};

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    (void)operands;
    FAIL_IF(
        a->max_shard > 0 && (a->layout == NULL || strcmp(a->layout, "source") == 0),
        err, LVLM_EUSAGE,
        "--max-shard-size goes with --layout hub or current: source keeps the files "
        "as they were");
    return 0;
}

static void read_options(lvlm_export_options *out, const args *a, lvlm_notes *notes)
{
    const char *layout = a->layout != NULL ? a->layout : "source";
    *out = (lvlm_export_options){ .source = strcmp(layout, "source") == 0,
                                  .notes = notes };
    out->layout = strcmp(layout, "hub") == 0 ? LVLM_LAYOUT_HUB : LVLM_LAYOUT_CURRENT;
    out->max_shard = a->max_shard > 0 ? a->max_shard : DEFAULT_SHARD;
}

static int print_result(const lvlm_export *ex, const lvlm_common_args *a,
                        const char *dir, double seconds, lvlm_error *err)
{
    const lvlm_narrowing narrowing = lvlm_export_narrowing(ex);
    const bool exact = lvlm_export_is_exact(ex);
    lvlm_printer p;
    char size[LVLM_AMOUNT_TEXT];
    lvlm_printer_open(&p, a->json, !a->quiet);
    lvlm_printer_line(&p, "%s: %zu files, %s in %.1f s%s\n", dir, ex->n_files,
                      lvlm_bytes_text(size, (double)ex->n_bytes), seconds,
                      exact                ? ", byte for byte as they came in"
                      : ex->options.source ? ", as they came in but for changed values"
                                           : "");
    lvlm_printer_list(&p, "files");
    for (size_t i = 0; i < ex->n_files; i++) {
        const lvlm_export_file *const file = &ex->files[i];
        lvlm_printer_line(&p, "  %-44s %10s\n", lvlm_shown(file->name),
                          lvlm_bytes_text(size, (double)file->plan.n_bytes));
        lvlm_printer_text(&p, NULL, file->name);
    }
    lvlm_printer_end(&p);
    lvlm_printer_count(&p, "bytes", ex->n_bytes);
    lvlm_printer_seconds(&p, "seconds", seconds);
    lvlm_printer_flag(&p, "exact", exact);
    if (narrowing.n > 0) account_narrowing(&p, &narrowing, false);
    return lvlm_printer_close(&p, ex->options.notes, err);
}

/* The source's files have no place for what conversion made, some none for what
 * training changed, and their types may have no such values. */
static int add_notes(const lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    lvlm_notes *const notes = ex->options.notes;
    const lvlm_narrowing n = lvlm_export_narrowing(ex);
    if (ex->rewritten_as_safetensors)
        TRY(lvlm_notes_add(notes, err,
                           "the model has been trained or merged, and %s cannot hold "
                           "other values than it came with: safetensors instead, under "
                           "the names that came in",
                           ledger->files[0].name));
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

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    const double started = lvlm_seconds();
    lvlm_export_options export_options;
    lvlm_export export = { 0 };
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outdir *out = NULL;
    lvlm_progress bar;
    const lvlm_run run = { lvlm_thread_count(&a->common), lvlm_progress_bytes, &bar };
    lvlm_error err;
    int rc;

    read_options(&export_options, a, &notes);
    if ((rc = lvlm_outputs_dir(&outputs, &out, operands->at[1], &lvlm_model_set,
                               &err)) == 0 &&
        (rc = lvlm_outputs_spare(&outputs, operands->at, 1, &err)) == 0)
        rc = lvlm_export_plan(&export, operands->at[0], &export_options, &err);
    if (rc == 0) {
        lvlm_progress_init(&bar, "writing", a->common.quiet);
        rc = lvlm_export_execute(&export, out, &run, &err);
        lvlm_progress_finish(&bar);
    }
    if (rc == 0) rc = add_notes(&export, &err);
    lvlm_print_notes(PROGRAM, &notes);
    if (rc == 0)
        rc = print_result(&export, &a->common, operands->at[1],
                          lvlm_seconds() - started, &err);
    lvlm_outputs_close(&outputs);
    lvlm_export_free(&export);
    lvlm_notes_free(&notes);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
}

const lvlm_command command_native2hf = {
    "native2hf",
    "MODEL DIR",
    2,
    2,
    "native file back to a Hugging Face directory",
    "With --layout source every tensor file, the index and every side file come back\n"
    "byte for byte under their names; of a model from .bin that has been trained or\n"
    "merged safetensors are written instead. hub and current are written fresh; both\n"
    "load in transformers. Each tensor is checked against its digest: one\n"
    "that is corrupt is named (exit 1) and the directory does not appear.\n"
    "\n"
    "  lvlm-convert native2hf model.lvlm back\n"
    "  lvlm-convert native2hf model.lvlm back --layout hub --max-shard-size 2GB",
    options,
    sizeof(args),
    run,
    .check = check,
};
