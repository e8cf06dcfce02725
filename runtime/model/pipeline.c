/* pipeline.c - tower, connector and language model wired together, in one precision.
 *
 *   inputs -> packed rows ------------------------------+
 *   pixels -> tower -> connector -> rows of the images -+-> decoder -> head
 *
 * The configuration names the three parts (tower.h, connector.h, decoder.h). What
 * enters the text are image rows in the places of image tokens, or keys and values
 * of cross-attention. The tower's activations are gone before the decoder's are
 * made. */
#include "runtime/model/pipeline.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/batch/positions.h"
#include "runtime/block/workspace.h"

/* ---- life ----------------------------------------------------------------------- */

static void pipeline_free(void *model)
{
    pipeline *const p = model;
    if (p == NULL) return;
    step_memory_free(p->steps);
    gradients_free(&p->gradients);
    adapters_free(&p->adapters);
    weights_free(&p->weights);
    decoder_free(&p->text);
    lvlm_free(p->connector);
    tower_free(p->tower);
    workspace_pool_free(&p->pool);
    lvlm_free(p);
}

static int open_parts(pipeline *p, const lvlm_manifest *manifest,
                      const lvlm_model_options *options, lvlm_error *err)
{
    const char *const reference = options->reference;
    TRY(lvlm_input_spec_read(&p->spec, manifest->config, err));
    TRY(tower_open(&p->tower, manifest, &p->spec.images, reference, err));
    TRY(connector_open(&p->connector, manifest, &p->spec.rows, err));
    TRY(decoder_open(&p->text, manifest, reference, err));
    p->text.config.nudge = options->nudge;
    TRY(pipeline_fit(p, manifest->is_cut, err));
    return head_open(&p->head, manifest, reference, err);
}

static int bind_parts(pipeline *p, lvlm_error *err)
{
    TRY(tower_bind(p->tower, &p->weights, err));
    TRY(connector_bind(p->connector, &p->weights, err));
    TRY(decoder_bind(&p->text, &p->weights, err));
    return head_bind(&p->head, &p->weights, err);
}

static int pipeline_open(void **out, const lvlm_manifest *manifest,
                         const lvlm_model_options *options, size_t n_threads,
                         lvlm_error *err)
{
    pipeline *const p = lvlm_calloc(1, sizeof *p);
    assert(manifest != NULL && n_threads > 0);
    int rc;
    if (p == NULL) return lvlm_fail_memory(err);
    p->weights.manifest = manifest;
    p->n_threads = n_threads;
    p->terms = options->compute == LVLM_COMPUTE_BF16     ? 1
               : options->compute == LVLM_COMPUTE_BF16X2 ? 2
                                                         : 0;
    p->cache_dtype = options->cache_bf16 ? LVLM_BF16 : LVLM_REAL_DTYPE;
    p->keep = options->checkpointing ? TAPE_INPUTS : TAPE_ALL;
    p->store = options->features;
    p->passing = stages_counting(options->progress, options->progress_user);
    if ((rc = open_parts(p, manifest, options, err)) < 0 ||
        (rc = gradients_make(&p->gradients, manifest, options, err)) < 0 ||
        (rc = adapters_make(&p->adapters, manifest, options->adapter, err)) < 0)
        goto fail;
    p->weights.grads = p->gradients.at;
    p->weights.values = p->gradients.values;
    p->weights.adapters = p->adapters.of;
    if (options->once) p->text.releases = &p->weights;
    for (lvlm_weight_part part = LVLM_PART_VISION; part < LVLM_N_PARTS; part++)
        p->gradients.trains[part] |= adapters_touch(&p->adapters, part);
    if ((rc = bind_parts(p, err)) < 0 || /* measures */
        (rc = weights_allocate(&p->weights, err)) < 0 || (rc = bind_parts(p, err)) < 0)
        goto fail;
    *out = p;
    return 0;
fail:
    pipeline_free(p);
    return rc;
}

/* ---- forward -------------------------------------------------------------------- */

void pipeline_evaluates(pipeline *p)
{
    p->adapters.noise.active = false;
    ops_threads(p->n_threads);
}

bool pass_has_images(const pass *t)
{
    return t->inputs.images.n > 0;
}

bool pass_trains_images(const pass *t)
{
    const bool *const trains = t->p->gradients.trains;
    return pass_has_images(t) &&
           (trains[LVLM_PART_VISION] || trains[LVLM_PART_CONNECTOR]);
}

const lvlm_cross_view *pass_cross_view(const pass *t)
{
    const bool cross =
        pass_has_images(t) && t->p->spec.splice == LVLM_SPLICE_CROSS_ATTENTION;
    return cross ? &t->cross_view : NULL;
}

/* Noted for the first such batch: notes on the others would differ only in numbers. */
static int note_positions(pass *t, const char *prefix, lvlm_error *err)
{
    pipeline *const p = t->p;
    const decoder_config *const c = &p->text.config;
    const int64_t most = c->first_position + (int64_t)c->max_positions;
    const size_t n = lvlm_packing_beyond(&t->packing, most);
    if (n == 0 || p->noted_positions) return 0;
    p->noted_positions = true;
    return lvlm_notes_add(p->weights.manifest->checkpoint->notes, err,
                          "%sinput_ids: %zu of %zu tokens are beyond the %zu positions "
                          "that the model was made for (max_position_embeddings); they "
                          "are computed as the reference does",
                          prefix, n, t->packing.N, c->max_positions);
}

/* The batch in rows, and what its images are. */
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
        .prefix = c->prefix,
        .window = c->sliding_window,
        .window_cuts_prefix = c->window_cuts_prefix,
    };
    lvlm_input_spec spec = p->spec;
    spec.unlabelled = t->unlabelled;
    TRY(lvlm_inputs_read(&t->inputs, inputs, prefix, &spec,
                         p->weights.manifest->checkpoint->notes, err));
    TRY(lvlm_packing_make(&t->packing, &t->inputs, &options, err));
    if (!pass_has_images(t)) return 0;
    TRY(p->tower->kind->plan(p->tower, &t->features, images, &t->inputs.arena, err));
    assert(t->features.C == p->tower->width && t->features.R > 0);
    t->features.noise = t->noise;
    t->n_image_rows = lvlm_image_rows_count(&p->spec.rows, images, 0, images->n);
    if (c->rope.axes == 3)
        TRY(lvlm_positions_grids(&t->packing, &t->inputs, &p->spec, &c->rope.positions,
                                 err));
    if (pass_cross_view(t) == NULL) return 0;
    const size_t rows = lvlm_image_rows_frame(&p->spec.rows, &images->grids[0]);
    return lvlm_cross_view_make(&t->cross_view, &t->packing, images,
                                p->spec.images.tiles, rows, c->attends_unseeing, err);
}

int pass_read(pass *t, const lvlm_checkpoint *inputs, const char *prefix,
              lvlm_error *err)
{
    t->memory.pool = t->tower_memory.pool = t->connector_memory.pool = &t->p->pool;
    TRY(read_batch(t, inputs, prefix, err));
    return note_positions(t, prefix, err);
}

decoder_tape_options pass_tape_options(const pass *t, bool to_images)
{
    return (decoder_tape_options){ .cross_view = pass_cross_view(t),
                                   .keep = t->p->keep,
                                   .to_images = to_images,
                                   .wanted = t->packing.predicting,
                                   .n_wanted = t->packing.n_targets,
                                   .noise = t->noise };
}

void pass_announce(pass *t)
{
    const pipeline *const p = t->p;
    if (pass_has_images(t)) {
        const stages before = t->stages;
        tower_announce(p->tower, &t->stages);
        t->tower_stages = t->stages.total - before.total;
        t->shows_tower = t->stages.left > before.left || t->stages.sink->gives != NULL;
        p->connector->kind->announce(p->connector, &t->stages);
        t->shows_images = t->shows_tower || t->stages.left > before.left;
    }
    decoder_announce(&p->text, &t->stages);
}

int pass_make_scratch(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const size_t n = p->n_threads;
    assert(t->packing.N > 0 && t->scratch.data == NULL);
    const lvlm_packing *const text = &t->packing;
    const bool images = pass_has_images(t);
    const size_t numel = LARGEST(
        transformer_scratch(&p->text.config.block, text->N, t->cross_view.n_keys, n),
        transformer_scratch(&p->text.config.block, max_size(text->n_targets, 1),
                            text->N, n),
        head_scratch(&p->head, n), adapters_scratch(&p->adapters, n),
        images ? tower_scratch(p->tower, &t->features, n) : 0,
        images ? p->connector->kind->scratch(p->connector, &t->features, n) : 0);
    TRY(workspace_array(&t->scratch.data, &t->memory, numel, 1, "scratch", err));
    t->scratch.numel = numel;
    t->scratch.n_threads = n;
    t->scratch.terms = p->terms;
    return 0;
}

/* Rows of the text to logits and loss. */
static int read_text(pass *t, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const lvlm_cross_view *const cross_view = pass_cross_view(t);
    const lvlm_packing *const packing = &t->packing;
    const bool all = stages_shows(&t->stages, "logits") || packing->n_targets == 0;
    assert(!pass_has_images(t) || t->image_rows != NULL);
    workspace memory = { .pool = &t->p->pool };
    decoder_tape tape;
    int rc;
    const decoder_tape_options o = {
        .cross_view = cross_view,
        .wanted = all ? NULL : packing->predicting,
        .n_wanted = packing->n_targets,
        .stages = &t->stages,
    };
    if ((rc = decoder_tape_make(&tape, &memory, &p->text, &t->packing, &o, err)) < 0 ||
        (rc = decoder_forward(&p->text, &tape, t->image_rows, cross_view, &t->stages,
                              &t->scratch, err)) < 0)
        goto done;
    rc = head_forward(&p->head, tape.normed, packing, &t->stages, &t->p->pool,
                      &t->scratch, err);
done:
    workspace_free(&memory);
    return rc;
}

void pass_free(pass *t)
{
    workspace_free(&t->tower_memory);
    workspace_free(&t->connector_memory);
    workspace_free(&t->memory);
    lvlm_cross_view_free(&t->cross_view);
    lvlm_packing_free(&t->packing);
    lvlm_inputs_free(&t->inputs);
}

static int pipeline_forward(void *model, const lvlm_checkpoint *inputs,
                            const char *prefix, const lvlm_stage_sink *sink,
                            lvlm_error *err)
{
    pass t = { .p = model, .stages = { .sink = sink } };
    assert(inputs != NULL && prefix != NULL && sink != NULL);
    int rc;
    if ((rc = pass_read(&t, inputs, prefix, err)) < 0) goto done;
    pass_announce(&t);
    head_announce(&t.packing, &t.stages);
    if (t.stages.left == 0 || (rc = pass_make_scratch(&t, err)) < 0) goto done;
    ops_threads(t.p->n_threads);
    if (pass_has_images(&t) &&
        (rc = pass_forward_images(&t, TAPE_NOTHING, false, err)) < 0)
        goto done;
    if (t.stages.left > 0) rc = read_text(&t, err);
done:
    pass_free(&t);
    return rc;
}

/* ---- backward ------------------------------------------------------------------- */

/* Decoder and head, forward and backward; dimage_rows as decoder_backward has it. */
static int forward_backward_text(pass *t, lvlm_model_step *step, double scale,
                                 real *dimage_rows, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const lvlm_cross_view *const cross_view = pass_cross_view(t);
    decoder_tape tape;
    real *dnormed = NULL;
    workspace memory = { .pool = &t->p->pool };
    const decoder_tape_options o = pass_tape_options(t, dimage_rows != NULL);
    int rc;
    TRY(workspace_array(&dnormed, &memory, t->packing.n_targets,
                        p->text.config.block.hidden, "gradients", err));
    if ((rc = decoder_tape_make(&tape, &memory, &p->text, &t->packing, &o, err)) < 0 ||
        (rc = decoder_forward(&p->text, &tape, t->image_rows, cross_view, &t->stages,
                              &t->scratch, err)) < 0 ||
        (rc = head_backward(&p->head, &step->loss, dnormed, tape.normed, &t->packing,
                            scale, &t->p->pool, &t->scratch, err)) < 0)
        goto done;
    stages_advance(&t->stages, 1);
    rc = decoder_backward(&p->text, &tape, dnormed, dimage_rows, cross_view, &t->stages,
                          &t->scratch, err);
done:
    workspace_free(&memory);
    return rc;
}

static int forward_backward(pass *t, lvlm_model_step *step, double scale,
                            lvlm_error *err)
{
    const pipeline *const p = t->p;
    const bool to_images = pass_trains_images(t);
    real *dimage_rows = NULL;
    workspace memory = { .pool = &t->p->pool };
    const tape_keep tower =
        p->gradients.trains[LVLM_PART_VISION] ? p->keep : TAPE_NOTHING;
    if (pass_has_images(t)) TRY(pass_forward_images(t, tower, to_images, err));
    const size_t n = to_images ? t->n_image_rows : 0, C = p->text.config.block.hidden;
    TRY(workspace_array(&dimage_rows, &memory, n, C, "images", err));
    if (to_images) memset(dimage_rows, 0, n * C * sizeof *dimage_rows);
    int rc = forward_backward_text(t, step, scale, dimage_rows, err);
    if (rc == 0 && to_images) rc = pass_backward_images(t, dimage_rows, err);
    workspace_free(&memory);
    return rc;
}

/* The stages of forward, then head, layers and connector. */
static void announce_backward(pass *t)
{
    pass_announce(t);
    stages_announce_hidden(&t->stages, 2 + t->p->text.config.layers);
}

static int pipeline_backward(void *model, lvlm_model_step *step,
                             const lvlm_checkpoint *inputs, const char *prefix,
                             double scale, lvlm_error *err)
{
    pipeline *const p = model;
    pass t = { .p = p,
               .stages = { .sink = &p->passing, .left = 1 },
               .noise = noise_drops(&p->noise) ? &p->noise : NULL };
    int rc;
    assert(inputs != NULL && prefix != NULL && scale >= 0);
    *step = (lvlm_model_step){ 0 };
    p->adapters.noise.active = true; /* only here */
    if ((rc = pass_read(&t, inputs, prefix, err)) < 0) goto done;
    step->n_targets = t.packing.n_targets;
    step->n_tokens = t.packing.N;
    step->n_texts = t.packing.n_texts;
    step->n_images = lvlm_images_present(&t.inputs.images);
    step->sees = pass_has_images(&t);
    if (t.packing.n_targets == 0 || (rc = pass_make_scratch(&t, err)) < 0) goto done;
    announce_backward(&t);
    ops_threads(t.p->n_threads);
    rc = forward_backward(&t, step, scale != 0 ? scale : 1 / (double)step->n_targets,
                          err);
done:
    p->adapters.noise.active = false;
    pass_free(&t);
    return rc;
}

static bool pipeline_gradient(const void *model, lvlm_tensor *out, size_t target)
{
    const gradients *const g = &((const pipeline *)model)->gradients;
    assert(g->manifest == NULL || target < g->manifest->n_targets);
    if (g->at == NULL || g->at[target] == NULL) return false;
    const lvlm_target *const t = &g->manifest->targets[target];
    *out =
        (lvlm_tensor){ .name = t->name, .dtype = LVLM_REAL_DTYPE, .shape = t->shape };
    out->data = (const unsigned char *)g->at[target];
    return lvlm_shape_bytes(&out->n_bytes, &out->shape, out->dtype);
}

static void pipeline_zero_gradients(void *model)
{
    const pipeline *const p = model;
    for (size_t i = 0; i < p->gradients.manifest->n_targets; i++) {
        lvlm_tensor g;
        if (pipeline_gradient(p, &g, i))
            memset(p->gradients.at[i], 0, (size_t)g.n_bytes);
    }
    if (p->adapters.numel > 0)
        memset(p->adapters.gradients, 0,
               p->adapters.numel * sizeof *p->adapters.gradients);
}

static void *pipeline_weight(void *model, size_t target)
{
    const gradients *const g = &((const pipeline *)model)->gradients;
    assert(target < g->manifest->n_targets);
    return g->values != NULL ? g->values[target] : NULL;
}

static bool pipeline_factors(const void *model, lvlm_factors *out, size_t i)
{
    return adapters_factors(&((const pipeline *)model)->adapters, out, i);
}

static void pipeline_trim(void *model)
{
    pipeline *const p = model;
    workspace_pool_free(&p->pool);
}

static void pipeline_set_noise(void *model, const lvlm_noise *given)
{
    pipeline *const p = model;
    p->adapters.noise.key = given->adapter;
    p->noise.key = given->step;
    p->noise.texts = given->texts;
    p->noise.images = given->images;
}

static void pipeline_set_dropout(void *model, const double *rates)
{
    pipeline *const p = model;
    const lvlm_dropout_row *row = p->weights.manifest->family->dropouts;
    memset(p->noise.rates, 0, sizeof p->noise.rates);
    for (; row->place != LVLM_NO_DROPOUT; row++)
        p->noise.rates[row->place] = rates[row->place];
}

const lvlm_engine LVLM_REAL_ENGINE = {
    .open = pipeline_open,
    .forward = pipeline_forward,
    .backward = pipeline_backward,
    .backward_bytes = pipeline_backward_bytes,
    .images_bytes = pipeline_images_bytes,
    .gradient = pipeline_gradient,
    .zero_gradients = pipeline_zero_gradients,
    .weight = pipeline_weight,
    .factors = pipeline_factors,
    .set_noise = pipeline_set_noise,
    .trim = pipeline_trim,
    .set_dropout = pipeline_set_dropout,
    .begin = decoding_begin,
    .step = decoding_step,
    .keep = decoding_keep,
    .cached = decoding_cached,
    .end = decoding_end,
    .free = pipeline_free,
};
