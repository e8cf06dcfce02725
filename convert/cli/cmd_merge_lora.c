/* cmd_merge_lora.c - lvlm-convert merge-lora MODEL ADAPTER OUT */
#include "convert/cli/commands.h"
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

static int print_result(const lvlm_adapter *adapter, const lvlm_fold_cost *cost,
                        const lvlm_common_args *a, const char *out, double seconds,
                        const lvlm_notes *notes, lvlm_error *err)
{
    char beside[LVLM_BESIDE_TEXT];
    lvlm_printer p;
    lvlm_printer_open(&p, a->json, !a->quiet);
    lvlm_printer_line(&p, "%s: %zu tensors changed, root digest %.16s...\n", out,
                      cost->n_tensors, cost->root);
    lvlm_fold_cost_print(&p, cost);
    if (lvlm_beside_text(beside, adapter) != NULL)
        lvlm_printer_line(&p, "  the adapter %s\n", beside);
    lvlm_printer_text(&p, "trained_beside", lvlm_beside_name(adapter));
    lvlm_printer_text(&p, "root", cost->root);
    lvlm_printer_seconds(&p, "seconds", seconds);
    return lvlm_printer_close(&p, notes, err);
}

static int merge(const lvlm_adapter *adapter, lvlm_fold_cost *cost, const args *a,
                 lvlm_outfile *out, lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "merging", a->common.quiet);
    const lvlm_run run = { lvlm_thread_count(&a->common), lvlm_progress_bytes, &bar };
    const int rc = lvlm_fold_save(cost, adapter, 0, out, &run, err);
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

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *const a = arguments;
    const char *const *const at = operands->at;
    const double started = lvlm_seconds();
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outfile *out = NULL;
    lvlm_checkpoint *model = NULL;
    lvlm_manifest manifest = { 0 };
    lvlm_adapter adapter = { 0 };
    lvlm_fold_cost cost;
    int rc = open_output(&outputs, &out, operands, err);
    if (rc == 0 &&
        (rc = lvlm_manifest_open(&manifest, &model, at[0], notes, err)) == 0 &&
        (rc = lvlm_adapter_open(&adapter, at[1], &manifest, err)) == 0 &&
        (rc = merge(&adapter, &cost, a, out, err)) == 0)
        rc = print_result(&adapter, &cost, &a->common, at[2], lvlm_seconds() - started,
                          notes, err);
    lvlm_outputs_close(&outputs);
    lvlm_adapter_free(&adapter);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(model);
    return rc;
}

const lvlm_command command_merge_lora = {
    "merge-lora",
    "MODEL ADAPTER OUT",
    3,
    3,
    "fold a PEFT adapter into a native file",
    "ADAPTER is a directory with adapter_config.json and adapter_model.safetensors\n"
    "(or .bin) of a LoRA, under the names of any version of transformers; OUT is\n"
    "MODEL with W + scale B A in place of every W that it adapts, computed in double\n"
    "and rounded once to the stored type of W. The cost of that rounding is printed:\n"
    "a change that is smaller than half a step of bfloat16 leaves a value as it was.\n"
    "Modules that were trained whole and saved with the adapter (modules_to_save)\n"
    "replace those of MODEL, in its types; where the head is tied to the embedding\n"
    "both must be equal, as ensure_weight_tying makes them. DoRA, trained biases and\n"
    "adapted tables are refused by name, and so is an adapted output layer that is\n"
    "tied to the embedding. An adapter that was trained here records the family and\n"
    "the digest of the weights that it was trained with: another family is refused;\n"
    "other weights, or an adapter that records nothing, are reported.\n"
    "\n"
    "  lvlm-convert merge-lora model.lvlm adapter merged.lvlm",
    options,
    sizeof(args),
    run,
};
