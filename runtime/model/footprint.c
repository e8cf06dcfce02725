/* footprint.c - the memory of a backward, from tapes that are made and not used.
 *
 *   seeing     rows of the images, the tower's tape
 *   learning   those of them that stay, the decoder's tape, then logits or the
 *              gradients of a block
 *   unseeing   those of them that stay, the gradients of a block of the tower
 *
 * The largest of the three, and what all need. Lists of rows are left out: they are
 * small beside activations. */
#include "formats/base/alloc.h"
#include "runtime/model/engine.h"
#include "runtime/model/pipeline.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The tapes of tower and connector, and what the tower's backward takes. */
static int vision_bytes(uint64_t *tower, uint64_t *connector, uint64_t *grads, pass *t,
                        tape_keep keep, lvlm_error *err)
{
    const pipeline *const p = t->p;
    TRY(p->tower->tape_make(p->vision, &t->tower_tape, &t->seen, &t->inputs.images,
                            keep, err));
    *tower = p->tower->tape_bytes(t->tower_tape);
    TRY(p->connector->tape_make(p->projection, &t->connector_tape, &t->seen,
                                keep != TAPE_NOTHING, err));
    *connector = p->connector->tape_bytes(t->connector_tape);
    return keep == TAPE_NOTHING
               ? 0
               : p->tower->backward_bytes(p->vision, t->tower_tape, grads, err);
}

/* The decoder's tape, and the larger of what head and blocks need on the way back. */
static int text_bytes(uint64_t *out, const pass *t, bool to_images, lvlm_error *err)
{
    const pipeline *const p = t->p;
    decoder_tape_options options = pass_learning(t, to_images);
    workspace back = { .counts = true };
    decoder_tape tape;
    transformer_grads grads;
    options.counts = true;
    int rc = decoder_tape_make(&tape, &p->text, &t->packing, &options, err);
    if (rc == 0) rc = transformer_grads_make(&grads, &back, &tape.blocks, err);
    if (rc == 0)
        *out = tape.memory.bytes +
               larger(back.bytes, head_backward_bytes(&p->head, t->packing.n_targets));
    decoder_tape_free(&tape);
    return rc;
}

static int count(pass *t, uint64_t *out, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const bool sees =
        pass_has_images(t) && (p->gradients.vision || p->gradients.connector);
    const tape_keep keep = p->gradients.vision ? p->keep : TAPE_NOTHING;
    const size_t C = p->text.config.block.hidden, M = t->packing.n_targets;
    uint64_t rows = 0, tower = 0, connector = 0, grads = 0, text = 0;
    if (pass_has_images(t)) {
        const uint64_t seen = t->seen.R * t->seen.C * sizeof(real);
        rows = t->n_image_rows * C * sizeof(real);
        TRY(vision_bytes(&tower, &connector, &grads, t, keep, err));
        rows += seen + (sees ? rows : 0) + (p->gradients.vision ? seen : 0);
    }
    TRY(text_bytes(&text, t, sees, err));
    const uint64_t kept = connector + (keep != TAPE_NOTHING ? tower : 0);
    text += kept + M * C * sizeof(real);
    *out = larger(larger(tower, text), kept + grads) + rows +
           workspace_bytes(t->scratch_memory);
    return 0;
}

int pipeline_backward_bytes(void *model, uint64_t *out, const lvlm_checkpoint *inputs,
                            const char *prefix, lvlm_error *err)
{
    pass t = { .p = model, .stages = stages_silent() };
    int rc;
    *out = 0;
    if ((rc = pass_read(&t, inputs, prefix, err)) == 0 &&
        (rc = pass_make_scratch(&t, err)) == 0)
        rc = count(&t, out, err);
    pass_free(&t);
    return rc;
}
