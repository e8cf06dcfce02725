/* cmd_grad.c - lvlm-tune grad: loss and gradients of one batch, into a file.
 *
 *   MODEL + IN.safetensors -> lvlm_model_backward -> gradient_list.h -> GRADS */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/container/finite.h"
#include "formats/container/safetensors.h"
#include "runtime/gradient_list.h"
#include "runtime/tune/cli/tune_commands.h"
#include "runtime/tune/stage.h"
#include "runtime/tune/zero_gradients.h"

typedef struct grad_args {
    lvlm_common_args common;
    const char *inputs;
    const char *out;
    const char *stage;
    const char *names;
    const char *compute;
    const char *reference;
    bool force;
} grad_args;

// clang-format off
static const lvlm_option options[] = {
    { "inputs", "IN.safetensors", LVLM_OPTION_TEXT, offsetof(grad_args, inputs),
      "a batch with labels, as the family's processor makes it" },
    { "out", "GRADS.safetensors", LVLM_OPTION_TEXT, offsetof(grad_args, out),
      "`loss` and the gradient of every trained tensor" },
    { "stage", "1|2|3|full|connector", LVLM_OPTION_TEXT, offsetof(grad_args, stage),
      "what is trained: 1 vision and connector, 2 all that the makers trained, 3 connector and "
      "language model; full everything (default)" },
    { "names", "native|hf", LVLM_OPTION_TEXT, offsetof(grad_args, names),
      "native names, or those and the layouts of the source checkpoint (default native)" },
    { "compute", LVLM_COMPUTE_NAMES, LVLM_OPTION_TEXT, offsetof(grad_args, compute),
      "precision of the computation and of the results (default f32); bf16x2 and bf16 round operands of matrix products" },
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT, offsetof(grad_args, reference),
      "whose behaviour, where versions of transformers differ from training (default trained)" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(grad_args, force),
      "overwrite GRADS.safetensors" },
    LVLM_OPTION_END,
};
// clang-format on

static bool is(const char *text, const char *word)
{
    return text != NULL && strcmp(text, word) == 0;
}

static int backward(lvlm_model_step *step, lvlm_model *model, const char *path,
                    lvlm_error *err)
{
    lvlm_checkpoint *inputs = NULL;
    TRY(lvlm_checkpoint_open(&inputs, path, NULL, err));
    int rc = lvlm_model_backward(model, step, inputs, "", 0, err);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", path);
    lvlm_checkpoint_close(inputs);
    FAIL_IF(rc == 0 && step->n_targets == 0, err, LVLM_EFORMAT,
            "%s: no label counts, so there is no loss to differentiate", path);
    return rc;
}

/* Write the gradients and the loss, sorted by name: `list` has room for it. */
static int save(lvlm_gradient_list *list, double loss, bool f64, lvlm_outfile *out,
                lvlm_error *err)
{
    const float loss32 = (float)loss;
    list->tensors[list->n++] = (lvlm_tensor){
        .name = "loss",
        .dtype = f64 ? LVLM_F64 : LVLM_F32,
        .data = f64 ? (const unsigned char *)&loss : (const unsigned char *)&loss32,
        .n_bytes = f64 ? sizeof loss : sizeof loss32,
    };
    qsort(list->tensors, list->n, sizeof *list->tensors, lvlm_safetensors_order);
    return lvlm_safetensors_write(out, list->tensors, list->n, NULL, err);
}

/* "vision.patch.weight", or with --names hf its source name. */
static const char *name_of(lvlm_zero_gradients *zeros, lvlm_model *model,
                           const char *native, bool hf)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    const lvlm_target *const t = lvlm_manifest_find(m, native);
    assert(t != NULL);
    const char *const name =
        hf ? lvlm_gradient_source_name(m, t, &zeros->arena) : native;
    return name != NULL ? name : native; /* out of memory */
}

static void print_zeros(lvlm_printer *p, lvlm_zero_gradients *zeros,
                        const lvlm_zero_group *g, lvlm_model *model, bool hf)
{
    const char *last = "";
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "part", g->part);
    lvlm_printer_text(p, "cause", g->cause);
    lvlm_printer_list(p, "names");
    for (size_t i = 0; i < g->n; i++) { /* parts of one fused tensor are consecutive */
        const char *const name = name_of(zeros, model, g->names[i], hf);
        if (strcmp(name, last) != 0) lvlm_printer_text(p, NULL, name);
        last = name;
    }
    lvlm_printer_end(p);
    lvlm_printer_end(p);
}

/* `bad`: what lvlm_check_all_finite found in `n` gradients. */
static int report(size_t n, lvlm_zero_gradients *zeros, const cJSON *bad,
                  lvlm_model *model, const lvlm_model_step *step, const grad_args *args,
                  const lvlm_notes *notes, lvlm_error *err)
{
    const double loss = step->loss / (double)step->n_targets;
    lvlm_printer p;
    if (!args->common.quiet) tune_tell_zeros(zeros);
    lvlm_printer_open(&p, args->common.json, !args->common.quiet);
    lvlm_printer_line(&p, "%s: loss %.6f over %zu labels, %zu gradients\n", args->out,
                      loss, step->n_targets, n);
    lvlm_printer_number(&p, "loss", loss);
    lvlm_printer_count(&p, "labels", step->n_targets);
    lvlm_printer_count(&p, "gradients", n);
    lvlm_printer_list(&p, "zero");
    for (size_t i = 0; i < zeros->n_groups; i++)
        print_zeros(&p, zeros, &zeros->groups[i], model, is(args->names, "hf"));
    lvlm_printer_end(&p);
    if (lvlm_json_count(bad) > 0) lvlm_printer_tree(&p, "not_finite", bad);
    return lvlm_printer_close(&p, notes, err);
}

/* An error names the loss, or the first gradient with a value that is not finite. */
static int check_finite(cJSON *bad, const lvlm_gradient_list *list,
                        const lvlm_model_step *step, lvlm_error *err)
{
    const int rc = lvlm_check_all_finite(bad, list->tensors, list->n, err);
    if (isfinite(step->loss) || (rc < 0 && rc != LVLM_ECHECK)) return rc;
    return lvlm_fail(err, LVLM_ECHECK,
                     "the loss is %s, and %zu of %zu gradients hold values that are "
                     "not finite",
                     lvlm_not_finite_word(step->loss), lvlm_json_count(bad), list->n);
}

/* Write and report the gradients of a model; only then fail if some are not finite. */
static int finish(lvlm_model *model, const lvlm_model_step *step, const grad_args *args,
                  lvlm_outfile *out, const lvlm_notes *notes, lvlm_error *err)
{
    assert(step->n_targets > 0);
    const double loss = step->loss / (double)step->n_targets;
    lvlm_gradient_list list = { .arena = LVLM_ARENA_INIT };
    lvlm_zero_gradients zeros = { .arena = LVLM_ARENA_INIT };
    cJSON *const bad = cJSON_CreateArray();
    lvlm_error not_finite;
    int rc, finite = 0;
    if ((rc = lvlm_gradient_list_make(&list, model, is(args->names, "hf"), err)) == 0 &&
        (rc = lvlm_zero_gradients_find(&zeros, model, step, err)) == 0) {
        const size_t n = list.n;
        finite = check_finite(bad, &list, step, &not_finite);
        rc = save(&list, loss, lvlm_compute_of(args->compute) == LVLM_COMPUTE_F64, out,
                  err);
        if (rc == 0) rc = report(n, &zeros, bad, model, step, args, notes, err);
    }
    if (rc == 0 && finite < 0) {
        *err = not_finite;
        rc = finite;
    }
    lvlm_json_free(bad);
    lvlm_zero_gradients_free(&zeros);
    lvlm_gradient_list_free(&list);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const grad_args *const args = arguments;
    lvlm_model *model = NULL;
    lvlm_model_step step;
    lvlm_progress bar;
    lvlm_stage stage;
    lvlm_outputs outputs = { .force = args->force };
    lvlm_outfile *out = NULL;
    int rc;
    TRY(lvlm_stage_parse(&stage, args->stage, err));
    const lvlm_model_options chosen = {
        .compute = lvlm_compute_of(args->compute),
        .threads = lvlm_thread_count(&args->common),
        .reference = args->reference,
        .trains = lvlm_stage_trains,
        .user = &stage,
        .notes = notes,
        .check = true,
        .checking = lvlm_progress_bytes,
        .checking_user = &bar,
    };
    const char *const inputs[] = { operands->at[0], args->inputs };
    if ((rc = lvlm_outputs_file(&outputs, &out, args->out, err)) < 0 ||
        (rc = lvlm_outputs_spare(&outputs, inputs, 2, err)) < 0)
        goto done;
    lvlm_progress_init(&bar, "checking", args->common.quiet);
    rc = lvlm_model_open(&model, operands->at[0], &chosen, err);
    lvlm_progress_finish(&bar);
    if (rc == 0 && (rc = backward(&step, model, args->inputs, err)) == 0)
        rc = finish(model, &step, args, out, notes, err);
done:
    lvlm_outputs_close(&outputs);
    lvlm_model_free(model);
    return rc;
}

const lvlm_command command_grad = {
    "grad",
    "MODEL",
    1,
    1,
    "loss and gradients of one batch",
    "Runs a native model forward and backward over a batch with labels and writes the\n"
    "mean loss and its gradient for every trained tensor. Gradients that are zero\n"
    "everywhere are reported with the likely cause: so a missing projection or a\n"
    "closed gate is noticed. A loss or gradient that is not finite is\n"
    "written, counted, and a failure (exit 1). Every weight is compared with its\n"
    "digest first.\n"
    "\n"
    "  lvlm-tune grad model.lvlm --inputs batch.safetensors --out grads.safetensors",
    options,
    sizeof(grad_args),
    run,
    .needs = "--inputs IN.safetensors --out GRADS.safetensors",
};
