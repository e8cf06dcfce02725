/* pipeline.c - tower, connector and language model wired together, in one precision.
 *
 *   inputs -> packed rows ----------------------------------+
 *   pixels -> siglip -> projector -> rows of image tokens --+-> decoder -> head
 *
 * The configuration names the three parts; a new part is one more word in a list here
 * and its file. The tower's activations are gone before the decoder's are made. */
#include "formats/base/alloc.h"
#include "runtime/connector/project.h"
#include "runtime/model/configure.h"
#include "runtime/model/engine.h"
#include "runtime/model/workspace.h"
#include "runtime/text/decoder.h"
#include "runtime/text/head.h"
#include "runtime/vision/siglip.h"

typedef struct pipeline {
    siglip vision;
    projector connector;
    decoder text;
    text_head head;
    weights weights;
    int64_t image_token;
    size_t n_threads;
} pipeline;

static const char *const tower_words[] = { "siglip", NULL };
static const char *const connector_words[] = { "linear", NULL };

static const config_row config_rows[] = {
    CONFIG("tokens.image", pipeline, image_token),
    CONFIG_END,
};

/* ---- life --------------------------------------------------------------------- */

static void pipeline_free(void *model)
{
    pipeline *const p = model;
    if (p == NULL) return;
    weights_free(&p->weights);
    decoder_free(&p->text);
    siglip_free(&p->vision);
    lvlm_free(p);
}

static int open_parts(pipeline *p, const lvlm_manifest *manifest, const char *reference,
                      lvlm_error *err)
{
    const cJSON *const config = manifest->config;
    size_t word = 0;
    TRY(configure_word(&word, config, "vision.tower", tower_words, err));
    TRY(siglip_open(&p->vision, config, err));
    TRY(configure_word(&word, config, "connector.kind", connector_words, err));
    TRY(projector_open(&p->connector, config, err));
    TRY(decoder_open(&p->text, manifest, reference, err));
    TRY(head_open(&p->head, manifest, reference, err));
    return configure(p, config_rows, config, err);
}

static int bind_parts(pipeline *p, lvlm_error *err)
{
    TRY(siglip_bind(&p->vision, &p->weights, err));
    TRY(projector_bind(&p->connector, &p->weights, err));
    TRY(decoder_bind(&p->text, &p->weights, err));
    return head_bind(&p->head, &p->weights, err);
}

static int pipeline_open(void **out, const lvlm_manifest *manifest,
                         const char *reference, size_t n_threads, lvlm_error *err)
{
    pipeline *const p = lvlm_calloc(1, sizeof *p);
    int rc;
    if (p == NULL) return lvlm_fail_memory(err);
    p->weights.manifest = manifest;
    p->n_threads = n_threads;
    if ((rc = open_parts(p, manifest, reference, err)) < 0 ||
        (rc = bind_parts(p, err)) < 0 || /* measures */
        (rc = weights_allocate(&p->weights, err)) < 0 ||
        (rc = bind_parts(p, err)) < 0) {
        pipeline_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

/* ---- forward ------------------------------------------------------------------ */

/* What one forward has; freed part by part as it goes. */
typedef struct pass {
    const pipeline *p;
    lvlm_inputs inputs;
    lvlm_packing packing;
    stages stages;
    ops_scratch scratch;
    void *scratch_memory;
    real *image_rows; /* (R,C) */
    void *image_memory;
} pass;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int read_batch(pass *t, const lvlm_checkpoint *inputs, const char *prefix,
                      lvlm_error *err)
{
    const pipeline *const p = t->p;
    const lvlm_input_spec spec = {
        .vocab = p->text.config.vocab,
        .image_token = p->image_token,
        .channels = p->vision.config.channels,
        .image = p->vision.config.image,
        .rows_per_image = siglip_rows(&p->vision),
    };
    const lvlm_packing_options options = {
        .image_token = p->image_token,
        .first_position = p->text.config.first_position,
        .window = p->text.config.sliding_window,
        .window_cuts_prefix = p->text.config.window_cuts_prefix,
    };
    TRY(lvlm_inputs_read(&t->inputs, inputs, prefix, &spec, err));
    return lvlm_packing_make(&t->packing, &t->inputs, &options, err);
}

static void announce(pass *t)
{
    const pipeline *const p = t->p;
    if (t->inputs.n_images > 0) {
        siglip_announce(&p->vision, &t->stages);
        projector_announce(&t->stages);
    }
    decoder_announce(&p->text, &t->stages);
    head_announce(&t->packing, &t->stages);
}

/* One scratch for every op of the pass. */
static int make_scratch(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const size_t R = t->inputs.n_images * siglip_rows(&p->vision);
    size_t numel = decoder_scratch(&p->text, t->packing.N, p->n_threads);
    numel = larger(numel, head_scratch(&p->head, p->n_threads));
    if (R > 0) numel = larger(numel, siglip_scratch(&p->vision, R, p->n_threads));
    if (R > 0) numel = larger(numel, projector_scratch(&p->connector, p->n_threads));
    const workspace_slot slot = { &t->scratch.data, numel, 1 };
    TRY(workspace_allocate(&t->scratch_memory, &slot, 1, "scratch", err));
    t->scratch.numel = numel;
    t->scratch.n_threads = p->n_threads;
    return 0;
}

/* Images to rows of the text. */
static int see(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const size_t n_images = t->inputs.n_images, P = siglip_rows(&p->vision);
    real *seen = NULL;
    void *seen_memory = NULL;
    const workspace_slot seen_slot = { &seen, n_images * P, p->vision.config.hidden };
    const workspace_slot rows_slot = { &t->image_rows, n_images * P,
                                       p->text.config.hidden };
    int rc;
    if ((rc = workspace_allocate(&seen_memory, &seen_slot, 1, "images", err)) < 0 ||
        (rc = workspace_allocate(&t->image_memory, &rows_slot, 1, "images", err)) < 0 ||
        (rc = siglip_forward(&p->vision, seen, t->inputs.pixels, &t->stages,
                             &t->scratch, err)) < 0 ||
        t->stages.left == 0)
        goto done;
    rc = projector_forward(&p->connector, t->image_rows, seen, n_images, P, &t->stages,
                           &t->scratch, err);
done:
    lvlm_free(seen_memory);
    return rc;
}

/* Rows of the text to logits and loss. */
static int read_text(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    decoder_acts acts;
    int rc;
    if ((rc = decoder_acts_make(&acts, &p->text, &t->packing, err)) < 0 ||
        (rc = decoder_forward(&p->text, &acts, &t->packing, t->image_rows, &t->stages,
                              &t->scratch, err)) < 0)
        goto done;
    rc = head_forward(&p->head, acts.normed, &t->packing, &t->stages, &t->scratch, err);
done:
    decoder_acts_free(&acts);
    return rc;
}

static int pipeline_forward(void *model, const lvlm_checkpoint *inputs,
                            const char *prefix, const lvlm_stage_sink *sink,
                            lvlm_error *err)
{
    pass t = { .p = model, .stages = { .sink = sink } };
    int rc;
    if ((rc = read_batch(&t, inputs, prefix, err)) < 0) goto done;
    announce(&t);
    if (t.stages.left == 0 || (rc = make_scratch(&t, err)) < 0) goto done;
    ops_threads(t.p->n_threads);
    if (t.inputs.n_images > 0 && (rc = see(&t, err)) < 0) goto done;
    if (t.stages.left > 0) rc = read_text(&t, err);
done:
    lvlm_free(t.image_memory);
    lvlm_free(t.scratch_memory);
    lvlm_packing_free(&t.packing);
    lvlm_inputs_free(&t.inputs);
    return rc;
}

const lvlm_engine LVLM_PER_PRECISION(lvlm_engine) = {
    .open = pipeline_open,
    .forward = pipeline_forward,
    .free = pipeline_free,
};
