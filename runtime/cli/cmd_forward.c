/* cmd_forward.c - lvlm-run forward: one forward pass, its stages into a file.
 *
 *   MODEL + IN.safetensors -> model.h -> stages in memory -> OUT.safetensors */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/container/finite.h"
#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "runtime/cli/run_commands.h"
#include "runtime/collect.h"

typedef struct forward_args {
    lvlm_common_args common;
    const char *inputs;
    const char *out;
    run_model_args model;
    bool trace;
    bool force;
} forward_args;

// clang-format off
static const lvlm_option options[] = {
    { "inputs", "IN.safetensors", LVLM_OPTION_TEXT, offsetof(forward_args, inputs),
      "input_ids, attention_mask, pixel_values and so on, as the family's processor makes them" },
    { "out", "OUT.safetensors", LVLM_OPTION_TEXT, offsetof(forward_args, out),
      "logits, loss when labels are given, and the stages" },
    { "trace", NULL, LVLM_OPTION_FLAG, offsetof(forward_args, trace),
      "write every stage: vision.patches, ..., text.norm" },
    RUN_MODEL_OPTIONS(forward_args, model, " and of the results"),
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(forward_args, force),
      "overwrite OUT.safetensors" },
    LVLM_OPTION_END,
};
// clang-format on

static int open_output(lvlm_outputs *outputs, lvlm_outfile **out,
                       const forward_args *args, const char *model, lvlm_error *err)
{
    const char *const inputs[] = { model, args->inputs };
    TRY(lvlm_outputs_file(outputs, out, args->out, err));
    return lvlm_outputs_spare(outputs, inputs, 2, err);
}

static int forward(lvlm_stage_list *list, lvlm_model *model, const char *path,
                   bool quiet, lvlm_error *err)
{
    lvlm_progress bar;
    list->progress = lvlm_progress_stages;
    list->user = &bar;
    const lvlm_stage_sink sink = lvlm_stage_list_sink(list);
    lvlm_checkpoint *inputs = NULL;
    TRY(lvlm_checkpoint_open(&inputs, path, NULL, err));
    lvlm_progress_init(&bar, "computing", quiet);
    const int rc = lvlm_model_forward(model, inputs, "", &sink, err);
    lvlm_progress_finish(&bar);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", path);
    lvlm_checkpoint_close(inputs);
    return rc;
}

static const char *compute_of(const forward_args *args)
{
    return lvlm_compute_name(lvlm_compute_of(args->model.compute));
}

static const char *kernel_of(const forward_args *args)
{
    return lvlm_kernel_name(lvlm_compute_of(args->model.compute));
}

/* The metadata of OUT: how it was computed. */
static bool describe(cJSON *to, const lvlm_model *model, const forward_args *args)
{
    return cJSON_AddStringToObject(to, "family",
                                   lvlm_model_manifest(model)->family->name) != NULL &&
           cJSON_AddStringToObject(to, "compute", compute_of(args)) != NULL &&
           cJSON_AddStringToObject(to, "kernel", kernel_of(args)) != NULL &&
           cJSON_AddStringToObject(to, "reference", run_reference(&args->model)) !=
               NULL;
}

static int save(lvlm_stage_list *list, const lvlm_model *model,
                const forward_args *args, lvlm_outfile *out, lvlm_error *err)
{
    cJSON *const metadata = cJSON_CreateObject();
    int rc = LVLM_ENOMEM;
    lvlm_stage_list_sort(list);
    if (metadata == NULL || !describe(metadata, model, args))
        lvlm_fail_memory(err);
    else
        rc = lvlm_safetensors_write(out, list->stages, list->n, metadata, err);
    lvlm_json_free(metadata);
    return rc;
}

/* ---- what is said about it ---------------------------------------------------- */

static double scalar(const lvlm_tensor *tensor)
{
    assert(lvlm_tensor_numel(tensor) == 1);
    double value = 0;
    lvlm_convert_values(&value, LVLM_F64, tensor->data, tensor->dtype, 1);
    return value;
}

/* `bad`: what lvlm_check_all_finite found. */
static int print_result(const lvlm_stage_list *list, const cJSON *bad,
                        const lvlm_model *model, const forward_args *args,
                        double seconds, const lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_tensor *const logits = lvlm_stage_list_find(list, "logits");
    const lvlm_tensor *const loss = lvlm_stage_list_find(list, "loss");
    const lvlm_difference *d = NULL;
    char shape[LVLM_SHAPE_TEXT];
    lvlm_printer p;
    lvlm_printer_open(&p, args->common.json, !args->common.quiet);
    lvlm_printer_line(&p, "%s: %zu tensors, %s\n", args->out, list->n,
                      compute_of(args));
    lvlm_printer_text(&p, "family", lvlm_model_manifest(model)->family->name);
    lvlm_printer_text(&p, "compute", compute_of(args));
    lvlm_printer_text(&p, "kernel", kernel_of(args));
    lvlm_printer_text(&p, "reference", run_reference(&args->model));
    if (logits != NULL)
        lvlm_printer_line(&p, "logits  %s\n", lvlm_shape_text(shape, &logits->shape));
    if (loss != NULL) lvlm_printer_line(&p, "loss    %.6f\n", scalar(loss));
    lvlm_printer_list(&p, "differences");
    while ((d = lvlm_model_difference(model, d)) != NULL) {
        lvlm_printer_line(&p, "as %s: %s\n", run_reference(&args->model), d->what);
        lvlm_printer_text(&p, NULL, lvlm_difference_name(d));
    }
    lvlm_printer_end(&p);
    if (!args->model.check)
        lvlm_printer_line(&p,
                          "weights were not checked against their digests (--check)\n");
    lvlm_printer_flag(&p, "checked", args->model.check);
    lvlm_printer_line(&p, "%.2f s\n", seconds);
    lvlm_printer_seconds(&p, "seconds", seconds);
    if (loss != NULL) lvlm_printer_number(&p, "loss", scalar(loss));
    lvlm_printer_list(&p, "stages");
    for (size_t i = 0; i < list->n; i++) lvlm_printer_tensor(&p, &list->stages[i]);
    lvlm_printer_end(&p);
    if (lvlm_json_count(bad) > 0) lvlm_printer_tree(&p, "not_finite", bad);
    return lvlm_printer_close(&p, notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const forward_args *const args = arguments;
    lvlm_model *model = NULL;
    lvlm_stage_list list = { .everything = args->trace };
    lvlm_outputs outputs = { .force = args->force };
    lvlm_outfile *out = NULL;
    cJSON *const bad = cJSON_CreateArray();
    run_model_args chosen = args->model;
    lvlm_error not_finite;
    int rc, finite;
    chosen.once = true;
    if ((rc = open_output(&outputs, &out, args, operands->at[0], err)) < 0 ||
        (rc = run_open_model(&model, operands->at[0], &args->common, &chosen, notes,
                             err)) < 0)
        goto done;
    const double started = lvlm_seconds();
    if ((rc = forward(&list, model, args->inputs, args->common.quiet, err)) < 0)
        goto done;
    const double seconds = lvlm_seconds() - started;
    finite = lvlm_check_all_finite(bad, list.stages, list.n, &not_finite);
    if ((rc = save(&list, model, args, out, err)) < 0) goto done;
    rc = print_result(&list, bad, model, args, seconds, notes, err);
    if (rc == 0 && finite < 0) {
        *err = not_finite;
        rc = finite;
    }
done:
    lvlm_outputs_close(&outputs);
    lvlm_json_free(bad);
    lvlm_stage_list_free(&list);
    lvlm_model_free(model);
    return rc;
}

const lvlm_command command_forward = {
    "forward",
    "MODEL",
    1,
    1,
    "one forward pass over ready tensors",
    "Runs a native model once over tensors that are ready for it and writes what\n"
    "comes out: logits [B, T, V], the loss when a label counts, and with --trace\n"
    "every stage on the way. Padding tokens are not computed; their rows are zeros.\n"
    "The same inputs give the same bytes, whatever --threads says. Results that are\n"
    "not finite are written, counted, and a failure (exit 1): the first stage is\n"
    "named, which --trace finds. Weights are used as they are in the file; --check\n"
    "compares each with its digest first and names one that is damaged (exit 1).\n"
    "\n"
    "  lvlm-run forward model.lvlm --inputs in.safetensors --out out.safetensors \\\n"
    "      --trace",
    options,
    sizeof(forward_args),
    run,
    .needs = "--inputs IN.safetensors --out OUT.safetensors",
};
