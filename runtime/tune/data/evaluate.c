/* evaluate.c - forward passes over a file of examples; see evaluate.h. */
#include "runtime/tune/data/evaluate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/container/finite.h"
#include "runtime/tune/data/prefetch.h"

/* ---- one batch ------------------------------------------------------------------ */

static bool wants_loss(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "loss") == 0;
}

static int take_loss(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    double *const loss = user;
    (void)err;
    assert(stage->dtype == LVLM_F32 && lvlm_tensor_numel(stage) == 1);
    *loss = *(const float *)(const void *)stage->data;
    return 0;
}

/* Add the losses of a batch to a sum over labels. */
static int add_batch(lvlm_evaluation *sum, lvlm_model *model,
                     const lvlm_dataset_batch *batch, lvlm_error *err)
{
    double loss = 0;
    const lvlm_stage_sink sink = { .take = take_loss,
                                   .wants = wants_loss,
                                   .user = &loss };
    if (batch->encoded == NULL) return 0;
    assert(batch->encoded->n_targets > 0);
    int rc = lvlm_model_forward(model, &batch->encoded->batch, "", &sink, err);
    if (rc == 0 && !isfinite(loss))
        rc = lvlm_fail(err, LVLM_ECHECK, "the loss is %s", lvlm_not_finite_word(loss));
    if (rc < 0) lvlm_prefix(err, "%s: ", batch->name);
    sum->loss += loss * (double)batch->encoded->n_targets;
    sum->n_targets += batch->encoded->n_targets;
    return rc;
}

/* ---- all of them ---------------------------------------------------------------- */

static int make_item(void **item, void *user, size_t i, lvlm_error *err)
{
    lvlm_dataset_batch *made = NULL;
    TRY(lvlm_dataset_make(&made, user, i, 1, err));
    *item = made;
    return 0;
}

static void drop_item(void *item)
{
    lvlm_dataset_batch_free(item);
}

int lvlm_evaluate(lvlm_evaluation *out, lvlm_model *model, lvlm_dataset *data,
                  int (*stop)(void), lvlm_error *err)
{
    const lvlm_prefetch_work work = { .make = make_item,
                                      .drop = drop_item,
                                      .user = data,
                                      .end = data->order.n_batches,
                                      .depth = LVLM_DATASET_AHEAD };
    lvlm_prefetch *ahead = NULL;
    int rc = 0;
    lvlm_evaluation sum = { .n_targets = 0 };
    *out = (lvlm_evaluation){ .loss = NAN };
    assert(data->n > 0); /* lvlm_dataset_open */
    TRY(lvlm_prefetch_start(&ahead, &work, err));
    for (size_t i = 0; rc == 0 && i < work.end; i++) {
        void *batch = NULL;
        if (stop != NULL && stop() != 0) {
            rc = lvlm_fail(err, LVLM_ESTOPPED, "stopped");
            break;
        }
        if ((rc = lvlm_prefetch_take(&batch, ahead, err)) < 0) break;
        lvlm_dataset_note_batch(data, batch);
        rc = add_batch(&sum, model, batch, err);
        lvlm_dataset_batch_free(batch);
    }
    lvlm_prefetch_stop(ahead);
    TRY(rc);
    FAIL_IF(sum.n_targets == 0, err, LVLM_EFORMAT,
            "%s: none of its examples can be used", data->file.file->path);
    sum.loss /= (double)sum.n_targets;
    *out = sum;
    return 0;
}
