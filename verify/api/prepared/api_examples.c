/* api_examples.c - examples of images and text as the data of lvlm_training. */
#include "formats/base/alloc.h"
#include "runtime/tune/data/dataset.h"
#include "verify/api/api.h"

/* Batches that are made ahead of the computation. */
enum { DEPTH = 2 };

struct api_examples {
    lvlm_encoder *encoder;
    lvlm_dataset data;
};

int api_examples_open(lvlm_training *t, const char *model,
                      const lvlm_training_options *o, lvlm_error *err)
{
    const lvlm_encoder_options reading = { .notes = &t->notes.list,
                                           .images = o->images };
    const lvlm_dataset_options order = { .batch_size = o->batch_size,
                                         .shuffled = true,
                                         .seed = o->seed };
    struct api_examples *const e = lvlm_calloc(1, sizeof *e);
    if (e == NULL) return lvlm_fail_memory(err);
    t->examples = e;
    TRY(lvlm_encoder_open(&e->encoder, model, &reading, err));
    TRY(lvlm_dataset_open(&e->data, o->data, e->encoder, &order, err));
    return lvlm_dataset_source(&t->source, &e->data, DEPTH, err);
}

void api_examples_close(struct api_examples *e)
{
    if (e == NULL) return;
    lvlm_dataset_close(&e->data);
    lvlm_encoder_close(e->encoder);
    lvlm_free(e);
}
