/* model.c - opening a model and choosing its precision.
 *
 *   path -> checkpoint -> manifest -> engine (pipeline.c, once per precision)
 *
 * Not here: how it is computed. */
#include "runtime/model.h"

#include <assert.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/alloc.h"
#include "formats/base/processors.h"
#include "formats/base/read_ahead.h"
#include "formats/native/digests.h"
#include "formats/reshape/resolution.h"
#include "runtime/kernel/kernel.h"
#include "runtime/model/engine.h"
#include "runtime/threads.h"

enum { REFERENCE_BYTES = 64 };

struct lvlm_model {
    const lvlm_engine *engine;
    void *pipeline;
    const lvlm_manifest *manifest;
    const lvlm_adapter *adapter; /* or NULL */
    char reference[REFERENCE_BYTES];
    /* lvlm_model_open only */
    lvlm_checkpoint *checkpoint;
    lvlm_manifest own;
    lvlm_read_ahead *ahead; /* of the checkpoint; or NULL */
};

static const struct {
    const char *name;
    const lvlm_engine *engine;
} computes[] = {
    [LVLM_COMPUTE_F32] = { "f32", &lvlm_engine_f32 },
    [LVLM_COMPUTE_F64] = { "f64", &lvlm_engine_f64 },
    [LVLM_COMPUTE_BF16X2] = { "bf16x2", &lvlm_engine_f32 },
    [LVLM_COMPUTE_BF16] = { "bf16", &lvlm_engine_f32 },
};

lvlm_compute lvlm_compute_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof computes / sizeof *computes; i++)
        if (strcmp(name, computes[i].name) == 0) return (lvlm_compute)i;
    assert(name == NULL);
    return LVLM_COMPUTE_F32;
}

const char *lvlm_compute_name(lvlm_compute compute)
{
    return computes[compute].name;
}

const char *lvlm_kernel_name(lvlm_compute compute)
{
    return compute == LVLM_COMPUTE_F64 ? "openblas" : lvlm_unit_chosen()->name;
}

static int set_reference(lvlm_model *model, const char *reference, lvlm_error *err)
{
    const char *const name = reference != NULL ? reference : LVLM_REFERENCE_TRAINED;
    TRY(lvlm_reference_check(name, err));
    const size_t length = strlen(name);
    FAIL_IF(length >= sizeof model->reference, err, LVLM_EUSAGE,
            "reference '%.40s...' is longer than any version", name);
    memcpy(model->reference, name, length + 1);
    return 0;
}

/* Before any value is read: what a damaged tensor computes looks like a result. */
static int check(const lvlm_model *model, const lvlm_model_options *options,
                 size_t n_threads, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = model->manifest->checkpoint;
    const lvlm_run run = { n_threads, options->checking, options->checking_user };
    if (!options->check || cp->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    return lvlm_within(lvlm_digests_check(cp, lvlm_native_runs_with, &run, err), err,
                       "%s: ", cp->path);
}

/* Is a weight trained, by itself or with the adapter? */
static bool trains_or_saves(void *user, const lvlm_manifest *m, const lvlm_target *t)
{
    const lvlm_model_options *const given = user;
    return (given->trains != NULL && given->trains(given->user, m, t)) ||
           lvlm_adapter_saves(given->adapter, t);
}

/* The values of modules that the adapter saves whole. */
static int load_saved(lvlm_model *model, lvlm_compute compute, lvlm_error *err)
{
    const lvlm_adapter *const x = model->adapter;
    const lvlm_dtype dtype = compute == LVLM_COMPUTE_F64 ? LVLM_F64 : LVLM_F32;
    for (size_t i = 0; x != NULL && i < x->n_saved; i++) {
        const lvlm_saved *const saved = &x->saved[i];
        for (size_t p = 0; saved->value.data != NULL && p < saved->n_parts; p++) {
            const lvlm_target *const t = saved->parts[p];
            void *const w = lvlm_model_weight(model, t->name);
            uint64_t n = 0;
            if (w == NULL || !lvlm_shape_numel(&n, &t->shape)) continue; /* tied */
            TRY(lvlm_saved_read(w, dtype, saved, p, 0, (size_t)n, err));
        }
    }
    return 0;
}

/* `model->manifest` is there; make it run. */
static int start(lvlm_model *model, const lvlm_model_options *options, lvlm_error *err)
{
    const lvlm_model_options defaults = { 0 };
    const lvlm_model_options *const given = options != NULL ? options : &defaults;
    size_t n_threads = given->threads != 0 ? given->threads : lvlm_processors();
    FAIL_IF(n_threads > LVLM_MAX_THREADS, err, LVLM_EUSAGE, "%zu threads, at most %d",
            n_threads, LVLM_MAX_THREADS);
    TRY(lvlm_unit_check(err));
    TRY(set_reference(model, given->reference, err));
    TRY(lvlm_threads_reserve(&n_threads, model->manifest->checkpoint->notes, err));
    TRY(check(model, given, n_threads, err));
    model->engine = computes[given->compute].engine;
    model->adapter = given->adapter;
    lvlm_model_options checked = *given, whole = *given;
    checked.reference = model->reference;
    if (given->adapter != NULL && given->adapter->n_saved > 0) {
        checked.trains = trains_or_saves;
        checked.user = &whole;
        checked.own_weights = true;
    }
    TRY(model->engine->open(&model->pipeline, model->manifest, &checked, n_threads,
                            err));
    return load_saved(model, given->compute, err);
}

int lvlm_model_open(lvlm_model **out, const char *path,
                    const lvlm_model_options *options, lvlm_error *err)
{
    lvlm_model *model = lvlm_calloc(1, sizeof *model);
    if (model == NULL) return lvlm_fail_memory(err);
    model->manifest = &model->own;
    lvlm_notes *const notes = options != NULL ? options->notes : NULL;
    const size_t layers = options != NULL ? options->layers : 0;
    const uint64_t pixels = options != NULL ? options->resolution : 0;
    int rc =
        lvlm_resolution_open(&model->own, &model->checkpoint, path, pixels, notes, err);
    if (rc == 0 && layers == 0 && model->checkpoint->n_files > 0)
        model->ahead = lvlm_read_ahead_start(model->checkpoint->files[0].map);
    if (rc == 0 && layers > 0)
        rc =
            lvlm_within(lvlm_manifest_cut(&model->own, layers, err), err, "%s: ", path);
    if (rc == 0 && (rc = start(model, options, err)) == LVLM_EFORMAT)
        lvlm_prefix(err, "%s: ", path);
    if (rc < 0) {
        lvlm_model_free(model);
        return rc;
    }
    *out = model;
    return 0;
}

int lvlm_model_bind(lvlm_model **out, const lvlm_manifest *manifest,
                    const lvlm_model_options *options, lvlm_error *err)
{
    lvlm_model *model = lvlm_calloc(1, sizeof *model);
    if (model == NULL) return lvlm_fail_memory(err);
    model->manifest = manifest;
    const int rc = start(model, options, err);
    if (rc < 0) {
        lvlm_model_free(model);
        return rc;
    }
    *out = model;
    return 0;
}

void lvlm_model_free(lvlm_model *model)
{
    if (model == NULL) return;
    if (model->pipeline != NULL) model->engine->free(model->pipeline);
    if (model->manifest == &model->own) lvlm_manifest_free(&model->own);
    lvlm_read_ahead_stop(model->ahead);
    lvlm_checkpoint_close(model->checkpoint);
    lvlm_free(model);
}

const lvlm_manifest *lvlm_model_manifest(const lvlm_model *model)
{
    return model->manifest;
}

const lvlm_engine *lvlm_model_engine(const lvlm_model *model, void **pipeline)
{
    *pipeline = model->pipeline;
    return model->engine;
}

/* A difference that came, went and came back has several rows of one name. */
static bool listed_before(const lvlm_difference *rows, const lvlm_difference *row)
{
    while (rows->behaviour != row->behaviour) rows++;
    return rows < row;
}

const lvlm_difference *lvlm_model_difference(const lvlm_model *model,
                                             const lvlm_difference *previous)
{
    const lvlm_family *const family = model->manifest->family;
    const lvlm_difference *row = previous != NULL ? previous + 1 : family->differences;
    for (; row->behaviour != LVLM_AS_TRAINED; row++)
        if (!listed_before(family->differences, row) &&
            lvlm_reference_applies(family, row->behaviour, model->reference))
            return row;
    return NULL;
}

int lvlm_model_forward(lvlm_model *model, const lvlm_checkpoint *inputs,
                       const char *prefix, const lvlm_stage_sink *sink, lvlm_error *err)
{
    return model->engine->forward(model->pipeline, inputs, prefix, sink, err);
}

int lvlm_model_backward(lvlm_model *model, lvlm_model_step *step,
                        const lvlm_checkpoint *inputs, const char *prefix, double scale,
                        lvlm_error *err)
{
    return model->engine->backward(model->pipeline, step, inputs, prefix, scale, err);
}

int lvlm_model_backward_bytes(lvlm_model *model, uint64_t *out,
                              const lvlm_checkpoint *inputs, const char *prefix,
                              lvlm_error *err)
{
    return model->engine->backward_bytes(model->pipeline, out, inputs, prefix, err);
}

int lvlm_model_images_bytes(lvlm_model *model, uint64_t *out,
                            const lvlm_checkpoint *inputs, const char *prefix,
                            lvlm_error *err)
{
    return model->engine->images_bytes(model->pipeline, out, inputs, prefix, err);
}

bool lvlm_model_gradient(const lvlm_model *model, lvlm_tensor *out, const char *name)
{
    const lvlm_target *t = lvlm_manifest_find(model->manifest, name);
    return t != NULL && model->engine->gradient(model->pipeline, out,
                                                (size_t)(t - model->manifest->targets));
}

void lvlm_model_zero_gradients(lvlm_model *model)
{
    model->engine->zero_gradients(model->pipeline);
}

void *lvlm_model_weight(lvlm_model *model, const char *name)
{
    const lvlm_target *t = lvlm_manifest_find(model->manifest, name);
    if (t == NULL) return NULL;
    return model->engine->weight(model->pipeline,
                                 (size_t)(t - model->manifest->targets));
}

bool lvlm_model_factors(const lvlm_model *model, lvlm_factors *out, size_t i)
{
    return model->engine->factors(model->pipeline, out, i);
}

bool lvlm_model_is_trained(lvlm_model *model, const char *name)
{
    const lvlm_adapter *const adapter = model->adapter;
    size_t part;
    return lvlm_model_weight(model, name) != NULL ||
           (adapter != NULL && lvlm_adapter_find(&part, adapter, name) != NULL);
}

void lvlm_model_trim(lvlm_model *model)
{
    model->engine->trim(model->pipeline);
}

void lvlm_model_set_noise(lvlm_model *model, const lvlm_noise *noise)
{
    model->engine->set_noise(model->pipeline, noise);
}

void lvlm_model_set_dropout(lvlm_model *model, const double *rates)
{
    model->engine->set_dropout(model->pipeline, rates);
}
