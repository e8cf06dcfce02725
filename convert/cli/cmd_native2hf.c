/* cmd_native2hf.c - lvlm-convert native2hf MODEL DIR */
#include <stdio.h>
#include <string.h>

#include "convert/cli/commands.h"
#include "convert/export.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
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
      "hub and current: split into files of at most SIZE (default 5GB)" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force),
      "write into DIR although it holds files" },
    LVLM_OPTION_END,
};

static int read_options(lvlm_export_options *out, const args *a, lvlm_error *err)
{
    const char *layout = a->layout != NULL ? a->layout : "source";
    *out = (lvlm_export_options){ .source = strcmp(layout, "source") == 0,
                                  .threads = lvlm_thread_count(&a->common),
                                  .overwrite = a->force };
    out->layout = strcmp(layout, "hub") == 0 ? LVLM_LAYOUT_HUB : LVLM_LAYOUT_CURRENT;
    out->max_shard = a->max_shard > 0 ? a->max_shard : DEFAULT_SHARD;
    FAIL_IF(
        out->source && a->max_shard > 0, err, LVLM_EUSAGE,
        "--max-shard-size goes with --layout hub or current: source keeps the files "
        "as they were");
    return 0;
}

static int print_json(const lvlm_export *ex, double seconds, lvlm_error *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *files = cJSON_AddArrayToObject(json, "files");
    for (size_t i = 0; i < ex->n_files; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(ex->files[i].name));
    cJSON_AddNumberToObject(json, "bytes", (double)ex->n_bytes);
    cJSON_AddNumberToObject(json, "seconds", seconds);
    return lvlm_print_json(json, err);
}

static void print_text(const lvlm_export *ex, const char *dir, double seconds)
{
    char size[32];
    printf("%s: %zu files, %s in %.1f s%s\n", dir, ex->n_files,
           lvlm_bytes_text(size, (double)ex->n_bytes), seconds,
           ex->options.source ? ", byte for byte as they came in" : "");
    for (size_t i = 0; i < ex->n_files; i++)
        printf("  %-44s %10s\n", ex->files[i].name,
               lvlm_bytes_text(size, (double)ex->files[i].plan.n_bytes));
}

/* The source's files have no place for what conversion made, and some none for what
 * training changed. */
static void remark(const lvlm_export *ex)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    if (ex->renewed)
        fprintf(stderr,
                PROGRAM
                ": the model has been trained or merged, and %s cannot hold other "
                "values than it came with: safetensors instead, under the names "
                "that came in\n",
                ledger->files[0].name);
    for (size_t i = 0; i < ledger->n_made && ex->options.source; i++)
        fprintf(stderr,
                PROGRAM ": %s was made, not found in the source, and is not in these "
                        "files; --layout hub writes it too\n",
                ledger->made[i].target);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    const double started = lvlm_seconds();
    lvlm_export_options export_options;
    lvlm_export export = { 0 };
    lvlm_progress bar;
    lvlm_error err;
    int rc;

    if ((rc = read_options(&export_options, a, &err)) < 0)
        return lvlm_report(PROGRAM, &err);
    export_options.progress = lvlm_progress_update;
    export_options.user = &bar;
    rc = lvlm_export_plan(&export, operands->at[0], &export_options, &err);
    if (rc == 0) {
        lvlm_progress_init(&bar, "writing", export.n_bytes, a->common.quiet);
        rc = lvlm_export_execute(&export, operands->at[1], &err);
        lvlm_progress_finish(&bar);
    }
    if (rc == 0) remark(&export);
    if (rc == 0 && a->common.json)
        rc = print_json(&export, lvlm_seconds() - started, &err);
    else if (rc == 0 && !a->common.quiet)
        print_text(&export, operands->at[1], lvlm_seconds() - started);
    lvlm_export_free(&export);
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
    "load in transformers. Each tensor is held against its digest on the way: one\n"
    "that is corrupt is named (exit 1) and the directory does not appear.\n"
    "\n"
    "  lvlm-convert native2hf model.lvlm back\n"
    "  lvlm-convert native2hf model.lvlm back --layout hub --max-shard-size 2GB",
    options,
    sizeof(args),
    run,
};
