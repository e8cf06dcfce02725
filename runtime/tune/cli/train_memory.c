/* train_memory.c - what a run trains, and whether the machine has the memory for it;
 * see train_run.h.
 *
 *   before anything is allocated   weights, gradients, moments, from the headers
 *   before the first step          the same, and the largest batch
 *
 * A run that needs more than the machine has ends; one that needs more than is free is
 * reported. */
#include <assert.h>
#include <stdio.h>

#include "formats/base/memory.h"
#include "formats/cli/fold_text.h"
#include "formats/cli/program.h"
#include "formats/reshape/resolution.h"
#include "runtime/part.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

/* Of one trained value. */
static double value_bytes(const train_run *r)
{
    return r->options.model.compute == LVLM_COMPUTE_F64 ? sizeof(double)
                                                        : sizeof(float);
}

static int check_total(const train_run *r, double needed, lvlm_error *err)
{
    char need[LVLM_AMOUNT_TEXT], total[LVLM_AMOUNT_TEXT];
    FAIL_IF(r->memory.total > 0 && needed > r->memory.total, err, LVLM_ENOMEM,
            "needs about %s of memory, and there are %s in all; --lora, --stage "
            "connector, --checkpointing or a smaller --batch-size need less",
            lvlm_bytes_text(need, needed), lvlm_bytes_text(total, r->memory.total));
    return 0;
}

/* Count the trained values of each part in an adapter, */
static int count_adapter(double *n, const train_run *r, const lvlm_manifest *manifest,
                         lvlm_error *err)
{
    lvlm_adapter adapter = { 0 };
    assert(r->options.lora == &r->lora);
    const int rc =
        lvlm_lora_open(&adapter, &r->lora, r->options.adapter, manifest, err);
    for (size_t i = 0; rc == 0 && i < adapter.n; i++) {
        const lvlm_adapted *const x = &adapter.at[i];
        n[lvlm_part_of(x->module->parts[0]->name)] +=
            (double)x->r * (double)(x->module->in + x->module->out);
    }
    for (size_t i = 0; rc == 0 && i < adapter.n_saved; i++) {
        const lvlm_target *const t = adapter.saved[i].parts[0];
        if (lvlm_target_is_stored(t)) /* else tied */
            n[lvlm_part_of(t->name)] +=
                (double)lvlm_tensor_numel(&adapter.saved[i].value);
    }
    lvlm_adapter_free(&adapter);
    return rc;
}

/* or in the model itself.  n (LVLM_N_PARTS) */
static void count_weights(double *n, lvlm_stage stage, const lvlm_manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_targets; i++) {
        const lvlm_target *const t = &manifest->targets[i];
        uint64_t numel = 0;
        if (t->here.tensor != NULL && lvlm_target_is_stored(t) &&
            lvlm_stage_trains(&stage, manifest, t) &&
            lvlm_shape_numel(&numel, &t->shape))
            n[lvlm_part_of(t->name)] += (double)numel;
    }
}

static int check_rate(const char *option, double n_trained, const train_run *r,
                      lvlm_error *err)
{
    FAIL_IF(n_trained == 0, err, LVLM_EUSAGE,
            "--%s: nothing of that part is trained; %s says what is", option,
            r->options.lora != NULL ? "--lora" : "--stage");
    return 0;
}

/* Is every part trained that has an option of its own?  n (LVLM_N_PARTS) */
static int check_rates(const double *n, const train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    for (lvlm_weight_part part = 0; part < LVLM_N_PARTS; part++) {
        char option[32];
        (void)snprintf(option, sizeof option, "lr-%s", lvlm_part_name(part));
        if (a->lr_part[part].given) TRY(check_rate(option, n[part], r, err));
    }
    return a->layer_decay.given ? check_rate("layer-decay", n[LVLM_PART_VISION], r, err)
                                : 0;
}

/* Are the tower's features the same in every epoch? */
static int check_features(double n_trained, const train_run *r,
                          const lvlm_manifest *manifest, lvlm_error *err)
{
    double rates[LVLM_N_DROPOUTS];
    if (r->args->cache_features == NULL) return 0;
    FAIL_IF(n_trained > 0, err, LVLM_EUSAGE,
            "--cache-features: the vision tower is trained, so its features change; "
            "%s says what is",
            r->options.lora != NULL ? "--lora" : "--stage");
    TRY(lvlm_dropout_rates(rates, &r->options.dropout, manifest, err));
    const double rate = rates[LVLM_DROPOUT_VISION_ATTENTION];
    FAIL_IF(rate > 0, err, LVLM_EUSAGE,
            "--cache-features: --dropout %g drops values of the vision tower (%s), so "
            "its features change",
            rate, lvlm_dropout_name(LVLM_DROPOUT_VISION_ATTENTION));
    return 0;
}

int train_check_trained(train_run *r, lvlm_error *err)
{
    lvlm_manifest manifest = { 0 };
    lvlm_checkpoint *checkpoint = NULL;
    double n[LVLM_N_PARTS] = { 0 };
    if (!lvlm_memory_read(&r->memory, "")) r->memory = (lvlm_memory){ 0 };
    int rc = lvlm_resolution_open(&manifest, &checkpoint, r->model, r->args->resolution,
                                  NULL, err);
    if (rc == 0 && r->options.lora != NULL) rc = count_adapter(n, r, &manifest, err);
    if (rc == 0 && r->options.lora == NULL)
        count_weights(n, r->options.stage, &manifest);
    if (rc == 0) rc = check_features(n[LVLM_PART_VISION], r, &manifest, err);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(checkpoint);
    TRY(rc);
    TRY(check_rates(n, r, err));
    for (size_t i = 0; i < LVLM_N_PARTS; i++) r->n_trained += n[i];
    /* weight, gradient and two moments */
    return check_total(r, 4 * value_bytes(r) * r->n_trained, err);
}

/* ---- before the first step ------------------------------------------------------ */

static void tell_part(const char *what, double bytes)
{
    char text[LVLM_AMOUNT_TEXT];
    fprintf(stderr, "  %9s  %s\n", lvlm_bytes_text(text, bytes), what);
}

static void tell_adapter(const train_run *r)
{
    char text[LVLM_BESIDE_TEXT];
    if (r->args->adapter != NULL && lvlm_beside_text(text, &r->trainer.adapter) != NULL)
        fprintf(stderr, PROGRAM ": %s: %s\n", r->args->adapter, text);
}

static void tell_sum(const train_run *r, double needed)
{
    char text[LVLM_AMOUNT_TEXT];
    fprintf(stderr, PROGRAM ": %zu tensors are trained; needs about %s",
            r->trainer.n_tensors, lvlm_bytes_text(text, needed));
    if (r->memory.total > 0)
        fprintf(stderr, ", %s are free", lvlm_bytes_text(text, r->memory.free));
    fprintf(stderr, ":\n");
}

/* The memory of a pass over the batch that should need the most, and of the batches in
 * memory if all are like it. */
static int count_batch(uint64_t *activations, uint64_t *batches, train_run *r,
                       lvlm_error *err)
{
    lvlm_batch batch;
    assert(r->source.largest < r->source.n && r->source.held > 0);
    *batches = 0;
    TRY(r->source.seek(r->source.self, r->source.largest, err));
    TRY(r->source.next(r->source.self, &batch, err));
    const int rc = lvlm_model_backward_bytes(r->trainer.model, activations,
                                             batch.tensors, "", err);
    if (rc < 0) lvlm_prefix(err, "%s: ", batch.name);
    for (size_t i = 0; i < batch.tensors->n_tensors; i++)
        *batches += r->source.held * batch.tensors->tensors[i].n_bytes;
    return rc;
}

static double mapped_bytes(const train_run *r)
{
    const lvlm_checkpoint *const cp = lvlm_model_manifest(r->trainer.model)->checkpoint;
    double mapped = 0;
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (lvlm_model_weight(r->trainer.model, cp->tensors[i].name) == NULL)
            mapped += (double)cp->tensors[i].n_bytes;
    return mapped;
}

int train_tell_plan(train_run *r, lvlm_error *err)
{
    char text[LVLM_AMOUNT_TEXT];
    double each = 0;
    uint64_t activations = 0, batches = 0;
    TRY(count_batch(&activations, &batches, r,
                    err)); /* also with --quiet: it may fail */
    for (size_t i = 0; i < r->trainer.n_tensors; i++)
        each += value_bytes(r) * (double)r->trainer.tensors[i].of.n;
    const double needed = 4 * each + (double)activations + (double)batches;
    TRY(check_total(r, needed, err));
    if (r->args->common.quiet) return 0;
    tell_adapter(r);
    tell_sum(r, needed);
    tell_part(r->trainer.dtype == LVLM_F64 ? "trained weights in double"
                                           : "trained weights in float32",
              each);
    tell_part("their gradients", each);
    tell_part("their moments", 2 * each);
    tell_part("activations and logits of the largest batch", (double)activations);
    tell_part("that batch, and those made ahead", (double)batches);
    fprintf(stderr,
            "  besides %s of frozen weights, mapped from the file: they need not fit\n",
            lvlm_bytes_text(text, mapped_bytes(r)));
    if (r->memory.total > 0 && needed > r->memory.free)
        fprintf(stderr, PROGRAM ": that is more than is free: the system may become "
                                "slow, or end the run\n");
    return 0;
}
