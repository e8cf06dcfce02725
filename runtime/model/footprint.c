/* footprint.c - the memory of a backward, and of images before the text is read: the
 * same calls that allocate it, with workspaces that count.
 *
 *   images     rows of the images, the tower's tape
 *   text       those of them that stay, the decoder's tape, then logits or the
 *              gradients of a block
 *   backward   those of them that stay, the gradients of a block of the tower
 *
 * The largest of the three, and what all need. Lists of rows are left out: they are
 * small beside activations. */
#include "runtime/model/pipeline.h"

#include <assert.h>

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t features_bytes(const pass *t)
{
    return t->features.R * t->features.C * sizeof(real);
}

/* Of what the connector makes of them. */
static uint64_t image_rows_bytes(const pass *t)
{
    return t->n_image_rows * t->p->text.config.block.hidden * sizeof(real);
}

/* The tower's tape, which is t->tower_tape; of parts the largest. */
static int tower_bytes(uint64_t *out, pass *t, tape_keep keep, lvlm_error *err)
{
    const vision_tower *const tower = t->p->tower;
    const bool cut = pass_tower_is_cut(t, keep);
    *out = 0;
    t->tower_memory.counts = true;
    for (size_t first = 0, n; first < t->inputs.images.n; first += n) {
        lvlm_images_part part;
        features f = t->features;
        n = cut ? pass_tower_part(t, first) : t->inputs.images.n;
        if (cut)
            TRY(pass_tower_plan(&f, &part, t, first, n, &t->tower_memory.lists, err));
        t->tower_memory.bytes = 0;
        TRY(tower->kind->tape_make(tower, &t->tower_tape, &t->tower_memory, &f, keep,
                                   err));
        *out = larger(*out, t->tower_memory.bytes);
    }
    return 0;
}

/* The tapes of tower and connector; *grads: what the tower's backward takes. */
static int vision_bytes(uint64_t *tower, uint64_t *grads, pass *t, tape_keep keep,
                        lvlm_error *err)
{
    const pipeline *const p = t->p;
    workspace back = { .counts = true };
    transformer_grads g;
    assert(pass_has_images(t));
    *grads = 0;
    t->connector_memory.counts = true;
    TRY(tower_bytes(tower, t, keep, err));
    TRY(p->connector->kind->tape_make(p->connector, &t->connector_tape,
                                      &t->connector_memory, &t->features,
                                      keep != TAPE_NOTHING, err));
    if (keep == TAPE_NOTHING) return 0;
    TRY(transformer_grads_make(&g, &back, t->tower_tape, err));
    *grads = back.bytes;
    return 0;
}

/* The decoder's tape, and the larger of what head and blocks need in backward. */
static int text_bytes(uint64_t *out, const pass *t, bool to_images, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const decoder_tape_options options = pass_tape_options(t, to_images);
    workspace memory = { .counts = true }, back = { .counts = true };
    decoder_tape tape;
    transformer_grads grads;
    int rc = decoder_tape_make(&tape, &memory, &p->text, &t->packing, &options, err);
    if (rc == 0) rc = transformer_grads_make(&grads, &back, &tape.blocks, err);
    *out = memory.bytes +
           larger(back.bytes, head_backward_bytes(&p->head, t->packing.n_targets));
    workspace_free(&memory);
    return rc;
}

static int count_backward(uint64_t *out, pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const bool to_images = pass_trains_images(t);
    const bool to_tower = p->gradients.trains[LVLM_PART_VISION];
    const tape_keep keep = to_tower ? p->keep : TAPE_NOTHING;
    uint64_t rows = 0, tower = 0, grads = 0, text = 0;
    if (pass_has_images(t)) {
        TRY(vision_bytes(&tower, &grads, t, keep, err));
        rows = image_rows_bytes(t) * (to_images ? 2 : 1) + /* with their gradients */
               features_bytes(t) * (to_tower ? 2 : 1);
    }
    TRY(text_bytes(&text, t, to_images, err));
    const uint64_t kept =
        t->connector_memory.bytes + (keep != TAPE_NOTHING ? tower : 0);
    text += kept + t->packing.n_targets * p->text.config.block.hidden * sizeof(real);
    *out = larger(larger(tower, text), kept + grads) + rows + t->memory.bytes;
    return 0;
}

static int count_images(uint64_t *out, pass *t, lvlm_error *err)
{
    uint64_t tower, grads;
    if (!pass_has_images(t)) return 0;
    TRY(vision_bytes(&tower, &grads, t, TAPE_NOTHING, err));
    *out = tower + t->connector_memory.bytes + t->memory.bytes + features_bytes(t) +
           image_rows_bytes(t);
    return 0;
}

/* Read a batch, and count what its pass takes. */
static int run(pipeline *p, uint64_t *out, const lvlm_checkpoint *inputs,
               const char *prefix,
               int (*count)(uint64_t *out, pass *t, lvlm_error *err), lvlm_error *err)
{
    pass t = { .p = p, .stages = stages_silent(), .memory.counts = true };
    int rc;
    assert(inputs != NULL && prefix != NULL);
    *out = 0;
    if ((rc = pass_read(&t, inputs, prefix, err)) == 0 &&
        (rc = pass_make_scratch(&t, err)) == 0)
        rc = count(out, &t, err);
    pass_free(&t);
    return rc;
}

int pipeline_backward_bytes(void *model, uint64_t *out, const lvlm_checkpoint *inputs,
                            const char *prefix, lvlm_error *err)
{
    return run(model, out, inputs, prefix, count_backward, err);
}

int pipeline_images_bytes(void *model, uint64_t *out, const lvlm_checkpoint *inputs,
                          const char *prefix, lvlm_error *err)
{
    return run(model, out, inputs, prefix, count_images, err);
}
