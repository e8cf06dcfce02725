/* pipeline.c - tower, connector and language model wired together, in one precision.
 *
 *   inputs -> packed rows ------------------------------+
 *   pixels -> tower -> connector -> rows of the images -+-> decoder -> head
 *
 * The configuration names the three parts (tower.h, connector.h, decoder.h). What
 * enters the text are image rows in the places of image tokens, or keys and values
 * of cross-attention. The tower's activations are gone before the decoder's are
 * made. */
#include "formats/base/alloc.h"
#include "runtime/connector/connector.h"
#include "runtime/model/engine.h"
#include "runtime/model/workspace.h"
#include "runtime/positions.h"
#include "runtime/sight.h"
#include "runtime/text/decoder.h"
#include "runtime/text/head.h"
#include "runtime/vision/tower.h"

typedef struct pipeline {
    const vision_tower *tower;
    void *vision; /* the tower's own */
    const vision_connector *connector;
    void *projection; /* the connector's own */
    decoder text;
    text_head head;
    weights weights;
    lvlm_input_spec spec;
    size_t n_threads;
} pipeline;

/* ---- life ----------------------------------------------------------------------- */

static void pipeline_free(void *model)
{
    pipeline *const p = model;
    if (p == NULL) return;
    weights_free(&p->weights);
    decoder_free(&p->text);
    if (p->connector != NULL) p->connector->free(p->projection);
    if (p->tower != NULL) p->tower->free(p->vision);
    lvlm_free(p);
}

static int open_parts(pipeline *p, const lvlm_manifest *manifest, const char *reference,
                      lvlm_error *err)
{
    TRY(lvlm_input_spec_read(&p->spec, manifest->config, err));
    TRY(tower_choose(&p->tower, manifest->config, err));
    TRY(p->tower->open(&p->vision, manifest, reference, err));
    TRY(connector_choose(&p->connector, manifest->config, err));
    TRY(p->connector->open(&p->projection, manifest, err));
    TRY(decoder_open(&p->text, manifest, reference, err));
    return head_open(&p->head, manifest, reference, err);
}

static int bind_parts(pipeline *p, lvlm_error *err)
{
    TRY(p->tower->bind(p->vision, &p->weights, err));
    TRY(p->connector->bind(p->projection, &p->weights, err));
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

/* ---- forward -------------------------------------------------------------------- */

/* What one forward has; freed part by part as it goes. */
typedef struct pass {
    const pipeline *p;
    lvlm_inputs inputs;
    lvlm_packing packing;
    lvlm_sight sight; /* cross-attention only */
    vision_rows seen;
    stages stages;
    ops_scratch scratch;
    void *scratch_memory;
    real *image_rows; /* (connector's rows,C) */
    void *image_memory;
} pass;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool has_images(const pass *t)
{
    return t->inputs.images.n > 0;
}

/* Do blocks look at the images of this batch? */
static bool looks(const pass *t)
{
    return has_images(t) && t->p->spec.splice == LVLM_SPLICE_CROSS_ATTENTION;
}

static int read_batch(pass *t, const lvlm_checkpoint *inputs, const char *prefix,
                      lvlm_error *err)
{
    const pipeline *const p = t->p;
    const decoder_config *const c = &p->text.config;
    const lvlm_images *const images = &t->inputs.images;
    const lvlm_packing_options options = {
        .axes = c->rope.axes,
        .first_position = c->first_position,
        .causal = c->causal,
        .window = c->sliding_window,
        .window_cuts_prefix = c->window_cuts_prefix,
    };
    TRY(lvlm_inputs_read(&t->inputs, inputs, prefix, &p->spec, err));
    TRY(lvlm_packing_make(&t->packing, &t->inputs, &options, err));
    if (!has_images(t)) return 0;
    TRY(p->tower->look(p->vision, &t->seen, images, &t->inputs.arena, err));
    if (c->rope.axes == 3)
        TRY(lvlm_positions_grids(&t->packing, &t->inputs, &p->spec, &c->rope.positions,
                                 err));
    if (!looks(t)) return 0;
    const size_t rows =
        t->seen.R / (images->n * p->spec.images.tiles); /* of one tile */
    return lvlm_sight_make(&t->sight, &t->packing, images, p->spec.images.tiles, rows,
                           c->attends_unseeing, err);
}

static void announce(pass *t)
{
    const pipeline *const p = t->p;
    if (has_images(t)) {
        p->tower->announce(p->vision, &t->stages);
        p->connector->announce(p->projection, &t->stages);
    }
    decoder_announce(&p->text, &t->stages);
    head_announce(&t->packing, &t->stages);
}

/* One scratch for every op of the pass. */
static int make_scratch(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const size_t n = p->n_threads;
    size_t numel = decoder_scratch(&p->text, t->packing.N, t->sight.n_keys, n);
    numel = larger(numel, head_scratch(&p->head, n));
    if (has_images(t)) {
        numel =
            larger(numel, p->tower->scratch(p->vision, &t->inputs.images, &t->seen, n));
        numel = larger(numel, p->connector->scratch(p->projection, &t->seen, n));
    }
    const workspace_slot slot = { &t->scratch.data, numel, 1 };
    TRY(workspace_allocate(&t->scratch_memory, &slot, 1, "scratch", err));
    t->scratch.numel = numel;
    t->scratch.n_threads = n;
    return 0;
}

/* Images to rows of the language model's width. */
static int see(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    void *seen_memory = NULL;
    const workspace_slot seen_slot = { &t->seen.rows, t->seen.R, t->seen.C };
    const workspace_slot rows_slot = { &t->image_rows,
                                       p->connector->rows(p->projection, &t->seen),
                                       p->text.config.hidden };
    int rc;
    if ((rc = workspace_allocate(&seen_memory, &seen_slot, 1, "images", err)) < 0 ||
        (rc = workspace_allocate(&t->image_memory, &rows_slot, 1, "images", err)) < 0 ||
        (rc = p->tower->forward(p->vision, &t->seen, &t->inputs.images, &t->stages,
                                &t->scratch, err)) < 0 ||
        t->stages.left == 0)
        goto done;
    rc = p->connector->forward(p->projection, t->image_rows, &t->seen, &t->stages,
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
        (rc = decoder_forward(&p->text, &acts, &t->packing, t->image_rows,
                              looks(t) ? &t->sight : NULL, &t->stages, &t->scratch,
                              err)) < 0)
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
    if (has_images(&t) && (rc = see(&t, err)) < 0) goto done;
    if (t.stages.left > 0) rc = read_text(&t, err);
done:
    lvlm_free(t.image_memory);
    lvlm_free(t.scratch_memory);
    lvlm_sight_free(&t.sight);
    lvlm_packing_free(&t.packing);
    lvlm_inputs_free(&t.inputs);
    return rc;
}

const lvlm_engine LVLM_PER_PRECISION(lvlm_engine) = {
    .open = pipeline_open,
    .forward = pipeline_forward,
    .free = pipeline_free,
};
