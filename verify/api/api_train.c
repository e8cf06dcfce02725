/* api_train.c - training of lvlm.h: a trainer and the source of its batches. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/outfile.h"
#include "runtime/tune/batches.h"
#include "verify/api/api.h"

/* ---- opening -------------------------------------------------------------------- */

static int open_source(lvlm_training *t, const char *model,
                       const lvlm_training_options *o, lvlm_error *err)
{
    FAIL_IF((o->data == NULL) == (o->batches == NULL), err, LVLM_EUSAGE,
            "lvlm_training_open: needs data or batches, and not both");
    if (o->data != NULL) return api_examples_open(t, model, o, err);
    FAIL_IF(o->images != NULL || o->batch_size > 0, err, LVLM_EUSAGE,
            "lvlm_training_open: images and batch_size are about data");
    return lvlm_batches_open(&t->source, o->batches, false, o->seed, err);
}

static int read_options(lvlm_training *t, const lvlm_training_options *o,
                        lvlm_error *err)
{
    t->options = (lvlm_trainer_options){
        .adamw = { .lr = o->lr > 0 ? o->lr : 5e-5,
                   .beta1 = 0.9,
                   .beta2 = 0.999,
                   .eps = 1e-8,
                   .decay = o->weight_decay },
        .clip = 1,
        .schedule = { .kind =
                          o->steps > 0 ? LVLM_SCHEDULE_LINEAR : LVLM_SCHEDULE_CONSTANT,
                      .steps = o->steps },
        .accumulate = o->accumulate > 0 ? o->accumulate : 1,
        .data = t->source.id,
        .seed = o->seed,
        .data_file = t->source.file,
        .batches = t->source.how,
        .model = { .threads = api_threads(o->threads), .notes = &t->notes.list },
    };
    TRY(lvlm_stage_parse(&t->options.stage, o->stage, err));
    if (o->lora == NULL) return 0;
    FAIL_IF(o->stage != NULL, err, LVLM_EUSAGE,
            "lvlm_training_open: with lora the model is frozen; targets say what is "
            "adapted, not stage");
    TRY(lvlm_lora_parse(&t->lora, o->lora, err));
    t->options.lora = &t->lora;
    return 0;
}

static int open_all(lvlm_training *t, const char *model, const lvlm_training_options *o,
                    lvlm_error *err)
{
    TRY(open_source(t, model, o, err));
    TRY(read_options(t, o, err));
    t->opened = true;
    TRY(lvlm_trainer_open(&t->trainer, model, &t->options, err));
    if (o->lora != NULL) TRY(lvlm_fold_check(&t->trainer.adapter, err));
    return t->source.seek(t->source.self, 0, err);
}

int lvlm_training_open(lvlm_training **out, const char *model,
                       const lvlm_training_options *options, lvlm_error *err)
{
    static const lvlm_training_options plain;
    const lvlm_training_options *const o = options != NULL ? options : &plain;
    lvlm_training *const t = lvlm_calloc(1, sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    t->notes = (api_notes){ LVLM_NOTES_INIT, o->note, o->user };
    const int rc = open_all(t, model, o, err);
    api_notes_tell(&t->notes);
    if (rc == 0)
        *out = t;
    else
        lvlm_training_close(t);
    return rc;
}

void lvlm_training_close(lvlm_training *t)
{
    if (t == NULL) return;
    if (t->opened) lvlm_trainer_close(&t->trainer);
    lvlm_batch_source_close(&t->source);
    api_examples_close(t->examples);
    lvlm_notes_free(&t->notes.list);
    lvlm_free(t);
}

/* ---- steps ---------------------------------------------------------------------- */

static int take_step(lvlm_training *t, lvlm_trainer_report *report, lvlm_error *err)
{
    assert(t->opened && t->options.accumulate > 0);
    for (size_t i = 0; i < t->options.accumulate; i++) {
        lvlm_batch batch;
        TRY(t->source.next(t->source.self, &batch, err));
        const int rc = lvlm_trainer_add(&t->trainer, batch.tensors, "", err);
        if (rc < 0) lvlm_prefix(err, "%s: ", batch.name);
        TRY(rc);
    }
    return lvlm_trainer_step(&t->trainer, report, err);
}

int lvlm_training_step(lvlm_training *t, lvlm_training_report *report, lvlm_error *err)
{
    lvlm_trainer_report done;
    const int rc = take_step(t, &done, err);
    if (rc < 0) lvlm_prefix(err, "step %zu: ", t->trainer.step + 1);
    if (rc == 0 && report != NULL)
        *report = (lvlm_training_report){ done.step, done.loss, done.grad_norm, done.lr,
                                          done.n_targets };
    api_notes_tell(&t->notes);
    return rc;
}

int lvlm_training_save(lvlm_training *t, const char *model, bool overwrite,
                       lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    lvlm_fold_cost cost;
    TRY(lvlm_outfile_open(&file, model, overwrite, err));
    const int rc = t->options.lora != NULL
                       ? lvlm_trainer_save_merged(&t->trainer, file, &cost, err)
                       : lvlm_trainer_save(&t->trainer, file, err);
    lvlm_outfile_close(file);
    api_notes_tell(&t->notes);
    return rc;
}
