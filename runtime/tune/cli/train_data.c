/* train_data.c - the data of a run: ready batches, or examples (train_examples.c). See
 * train_run.h. */
#include <assert.h>

#include "runtime/tune/batches.h"
#include "runtime/tune/cli/train_run.h"

int train_check_data(const train_args *a, lvlm_error *err)
{
    const bool shuffled = a->data != NULL ? !a->in_order : a->shuffle;
    const bool lora = a->lora != NULL || a->adapter != NULL;
    TRY(train_check_examples(a, err));
    FAIL_IF(a->in_order && a->data == NULL, err, LVLM_EUSAGE,
            "--in-order is about --data; ready batches are in order without --shuffle");
    FAIL_IF(a->shuffle && a->in_order, err, LVLM_EUSAGE,
            "--shuffle and --in-order exclude each other");
    FAIL_IF(
        a->seed > 0 && !shuffled && !lora && a->dropout == NULL, err, LVLM_EUSAGE,
        "--seed decides nothing %s",
        a->data != NULL ? "with --in-order" : "without --shuffle, --lora or --dropout");
    FAIL_IF(a->eval_every > 0 && a->eval == NULL, err, LVLM_EUSAGE,
            "--eval-every needs --eval FILE.jsonl");
    return 0;
}

int train_open_data(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    TRY(train_open_examples(r, err));
    if (a->data != NULL) return 0;
    assert(a->batches != NULL); /* the command's needs */
    return lvlm_batches_open(&r->source, a->batches, a->shuffle, a->seed, err);
}

int train_spare_inputs(const train_run *r, lvlm_error *err)
{
    static const char *const batches[] = { "batch-*.safetensors", NULL };
    static const char *const adapter[] = { "adapter_*", NULL };
    static const char *const images[] = { "*.jpg", "*.jpeg", "*.png", "*.webp", NULL };
    const train_args *const a = r->args;
    const char *const files[] = { r->model, a->data, a->eval };
    TRY(lvlm_outputs_spare(&r->outputs, files, 3, err));
    TRY(lvlm_outputs_spare_folder(&r->outputs, a->batches, batches, err));
    TRY(lvlm_outputs_spare_folder(&r->outputs, a->adapter, adapter, err));
    return lvlm_outputs_spare_folder(&r->outputs, a->images, images, err);
}
