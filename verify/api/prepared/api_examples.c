/* api_examples.c - examples of images and text as the data of lvlm_training. */
#include "formats/base/alloc.h"
#include "runtime/tune/data/dataset.h"
#include "verify/api/api.h"

struct api_examples {
    char *images; /* the encoder's, owned */
    lvlm_encoder *encoder;
    lvlm_dataset data;
};

int api_examples_open(lvlm_training *t, const char *model,
                      const lvlm_training_options *o, lvlm_error *err)
{
    lvlm_encoder_options reading = { .notes = &t->notes.list };
    const lvlm_dataset_options order = { .batch_size = o->batch_size,
                                         .shuffled = true,
                                         .seed = o->seed };
    struct api_examples *const e = lvlm_calloc(1, sizeof *e);
    if (e == NULL) return lvlm_fail_memory(err);
    t->examples = e;
    if (o->images != NULL) {
        reading.images = e->images = lvlm_strdup(o->images);
        if (e->images == NULL) return lvlm_fail_memory(err);
    }
    TRY(lvlm_encoder_open(&e->encoder, model, &reading, err));
    TRY(lvlm_dataset_open(&e->data, o->data, e->encoder, &order, err));
    return lvlm_dataset_source(&t->source, &e->data, LVLM_DATASET_AHEAD, err);
}

void api_examples_close(struct api_examples *e)
{
    if (e == NULL) return;
    lvlm_dataset_close(&e->data);
    lvlm_encoder_close(e->encoder);
    lvlm_free(e->images);
    lvlm_free(e);
}
