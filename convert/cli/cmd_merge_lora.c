/* cmd_merge_lora.c - lvlm-convert merge-lora MODEL ADAPTER OUT */
#include "convert/cli/commands.h"
#include "convert/merge.h"
#include "formats/cli/fold_text.h"
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"

typedef struct args {
    lvlm_common_args common;
    bool force;
} args;

static const lvlm_option options[] = {
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite OUT" },
    LVLM_OPTION_END,
};

static int print_result(const lvlm_merge *m, const lvlm_fold_cost *cost,
                        const lvlm_common_args *a, const char *out, const char *root,
                        double seconds, const lvlm_notes *notes, lvlm_error *err)
{
    char beside[LVLM_BESIDE_TEXT];
    lvlm_printer p;
    lvlm_printer_open(&p, a->json, !a->quiet);
    lvlm_printer_line(&p, "%s: %zu tensors changed, root digest %.16s...\n", out,
                      cost->n_tensors, root);
    lvlm_fold_cost_print(&p, cost);
    if (lvlm_beside_text(beside, &m->adapter) != NULL)
        lvlm_printer_line(&p, "  the adapter %s\n", beside);
    lvlm_printer_text(&p, "trained_beside", lvlm_beside_name(&m->adapter));
    lvlm_printer_text(&p, "root", root);
    lvlm_printer_seconds(&p, "seconds", seconds);
    return lvlm_printer_close(&p, notes, err);
}

static int merge(lvlm_merge *m, lvlm_fold_cost *cost, const args *a, lvlm_outfile *out,
                 lvlm_hex_digest root, lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "merging", m->n_bytes, a->common.quiet);
    const lvlm_merge_run run = { lvlm_thread_count(&a->common), lvlm_progress_update,
                                 &bar };
    const int rc = lvlm_merge_execute(m, out, &run, cost, root, err);
    lvlm_progress_finish(&bar);
    return rc;
}

static int open_output(lvlm_outputs *outputs, lvlm_outfile **out,
                       const lvlm_operands *operands, lvlm_error *err)
{
    static const char *const adapter_files[] = { "adapter_*", NULL };
    TRY(lvlm_outputs_file(outputs, out, operands->at[2], err));
    TRY(lvlm_outputs_spare(outputs, operands->at, 1, err));
    return lvlm_outputs_spare_folder(outputs, operands->at[1], adapter_files, err);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *const a = arguments;
    const double started = lvlm_seconds();
    lvlm_hex_digest root;
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outfile *out = NULL;
    lvlm_fold_cost cost;
    lvlm_merge m = { .n_bytes = 0 };
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_error err;
    int rc = open_output(&outputs, &out, operands, &err);
    if (rc == 0)
        rc = lvlm_merge_open(&m, operands->at[0], operands->at[1], &notes, &err);
    if (rc == 0) rc = merge(&m, &cost, a, out, root, &err);
    if (rc == 0)
        rc = print_result(&m, &cost, &a->common, operands->at[2], root,
                          lvlm_seconds() - started, &notes, &err);
    lvlm_outputs_close(&outputs);
    lvlm_merge_free(&m);
    lvlm_print_notes(PROGRAM, &notes);
    lvlm_notes_free(&notes);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
}

const lvlm_command command_merge_lora = {
    "merge-lora",
    "MODEL ADAPTER OUT",
    3,
    3,
    "fold a PEFT adapter into a native file",
    "ADAPTER is a directory with adapter_config.json and adapter_model.safetensors\n"
    "(or .bin) of a LoRA, under the names of any version of transformers; OUT is\n"
    "MODEL with W + scale B A in the place of every W that it adapts, computed in\n"
    "double and rounded once to the type that W is stored in. What that rounding\n"
    "costs is told: a bfloat16 weight has steps that a small change does not reach,\n"
    "and such values stay what they were. DoRA, trained biases, modules saved whole\n"
    "and adapted tables are refused by name, and so is an output layer that is tied\n"
    "to the embedding. An adapter that was trained here records the family and the\n"
    "digest of the weights beside which it was: another family is refused, and other\n"
    "weights, or an adapter that records nothing, are told of.\n"
    "\n"
    "  lvlm-convert merge-lora model.lvlm adapter merged.lvlm",
    options,
    sizeof(args),
    run,
};
