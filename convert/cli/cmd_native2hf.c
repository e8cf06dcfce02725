/* cmd_native2hf.c - lvlm-convert native2hf MODEL DIR */
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
    const char *layout, *part;
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
    { "part", "vision|text", LVLM_OPTION_TEXT, offsetof(args, part),
      "only the vision tower or the language model, as transformers saves it by "
      "itself" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force),
      "write into DIR although it holds files; those of an older model are removed, "
      "others are kept" },
    LVLM_OPTION_END,
};

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    (void)operands;
    FAIL_IF(a->part != NULL && a->layout != NULL, err, LVLM_EUSAGE,
            "--part has a layout of its own; leave --layout out");
    FAIL_IF(
        a->max_shard > 0 && a->part == NULL &&
            (a->layout == NULL || strcmp(a->layout, "source") == 0),
        err, LVLM_EUSAGE,
        "--max-shard-size goes with --layout hub or current: source keeps the files "
        "as they were");
    return 0;
}

static void read_options(lvlm_export_options *out, const args *a, lvlm_notes *notes)
{
    const char *layout = a->layout != NULL ? a->layout
                         : a->part != NULL ? "hub"
                                           : "source";
    *out = (lvlm_export_options){ .source = strcmp(layout, "source") == 0,
                                  .part = a->part,
                                  .notes = notes };
    out->layout = strcmp(layout, "hub") == 0 ? LVLM_LAYOUT_HUB : LVLM_LAYOUT_CURRENT;
    out->max_shard = a->max_shard > 0 ? a->max_shard : DEFAULT_SHARD;
}

static int print_result(const lvlm_export *ex, const lvlm_common_args *a,
                        const char *dir, double seconds, const lvlm_notes *notes,
                        lvlm_error *err)
{
    static const char *const words[] = {
        [LVLM_EXPORT_EXACT] = ", byte for byte as they came in",
        [LVLM_EXPORT_CHANGED] = ", as they came in but for changed values",
        [LVLM_EXPORT_FRESH] = "",
    };
    const lvlm_exactness exactness = lvlm_export_exactness(ex);
    const lvlm_narrowing narrowing = lvlm_export_narrowing(ex);
    size_t n;
    uint64_t n_bytes;
    const lvlm_export_file *const files = lvlm_export_files(&n, &n_bytes, ex);
    lvlm_printer p;
    char size[LVLM_AMOUNT_TEXT];
    lvlm_printer_open(&p, a->json, !a->quiet);
    lvlm_printer_line(&p, "%s: %zu files, %s in %.1f s%s\n", dir, n,
                      lvlm_bytes_text(size, (double)n_bytes), seconds,
                      words[exactness]);
    lvlm_printer_list(&p, "files");
    for (size_t i = 0; i < n; i++) {
        lvlm_printer_line(&p, "  %-44s %10s\n", lvlm_shown(files[i].name),
                          lvlm_bytes_text(size, (double)files[i].plan.n_bytes));
        lvlm_printer_text(&p, NULL, files[i].name);
    }
    lvlm_printer_end(&p);
    lvlm_printer_count(&p, "bytes", n_bytes);
    lvlm_printer_seconds(&p, "seconds", seconds);
    lvlm_printer_flag(&p, "exact", exactness == LVLM_EXPORT_EXACT);
    if (narrowing.n > 0) account_narrowing(&p, &narrowing, false);
    return lvlm_printer_close(&p, notes, err);
}

static int write(lvlm_export *ex, const lvlm_common_args *a, lvlm_outdir *out,
                 lvlm_error *err)
{
    lvlm_progress bar;
    const lvlm_run run = { lvlm_thread_count(a), lvlm_progress_bytes, &bar };
    lvlm_progress_init(&bar, "writing", a->quiet);
    const int rc = lvlm_export_execute(ex, out, &run, err);
    lvlm_progress_finish(&bar);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *a = arguments;
    const double started = lvlm_seconds();
    lvlm_export_options export_options;
    lvlm_export *export = NULL;
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outdir *out = NULL;
    int rc;

    read_options(&export_options, a, notes);
    if ((rc = lvlm_outputs_dir(&outputs, &out, operands->at[1], &lvlm_model_set,
                               err)) == 0 &&
        (rc = lvlm_outputs_spare(&outputs, operands->at, 1, err)) == 0 &&
        (rc = lvlm_export_plan(&export, operands->at[0], &export_options, err)) == 0)
        rc = write(export, &a->common, out, err);
    lvlm_print_notes(PROGRAM, notes);
    if (rc == 0)
        rc = print_result(export, &a->common, operands->at[1], lvlm_seconds() - started,
                          notes, err);
    lvlm_outputs_close(&outputs);
    lvlm_export_free(export);
    return rc;
}

const lvlm_command command_native2hf = {
    "native2hf",
    "MODEL DIR",
    2,
    2,
    "native file to a Hugging Face directory",
    "With --layout source every tensor file, the index and every side file are\n"
    "written byte for byte as they came in; if a model from .bin has been trained or\n"
    "merged, safetensors are written instead. Of a LLaVA of its makers it is their\n"
    "folder, without a tower from another one. hub and current are new files; both\n"
    "load in transformers. Each tensor is checked against its digest: a corrupt one\n"
    "is named (exit 1) and nothing is written. --part vision|text writes the tower or\n"
    "the language model by itself, for AutoModel and AutoModelForCausalLM.\n"
    "\n"
    "  lvlm-convert native2hf model.lvlm back\n"
    "  lvlm-convert native2hf model.lvlm back --layout hub --max-shard-size 2GB\n"
    "  lvlm-convert native2hf model.lvlm tower --part vision",
    options,
    sizeof(args),
    run,
    .check = check,
};
