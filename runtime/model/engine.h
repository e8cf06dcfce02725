/* engine.h - the model in one precision, as seen from code that has none.
 *
 * pipeline.c is compiled twice and fills in one of these each time; model.c picks. It
 * is the only name that the joined object of a precision has (real.h). */
#ifndef LVLM_RUNTIME_MODEL_ENGINE_H
#define LVLM_RUNTIME_MODEL_ENGINE_H

#include "runtime/model.h"
#include "runtime/model/step.h"

typedef struct lvlm_engine lvlm_engine;

/* A text and the tokens after it (runtime/generate/session.h), the first member of the
 * precision's own struct. What callers read is up to date after each step. */
struct lvlm_session {
    const lvlm_engine *engine;
    const int64_t *tokens; /* (n_tokens) */
    size_t n_tokens, room;
    uint64_t cache_bytes;
    size_t vocab;       /* tokens that a step accepts are below */
    size_t n_new;       /* tokens of the last step that are kept; 1 before any */
    lvlm_tensor logits; /* after the last of them; those after the others precede it */
};

struct lvlm_engine {
    /* Bind the weights; `manifest` is borrowed. *out is freed with free. */
    int (*open)(void **out, const lvlm_manifest *manifest,
                const lvlm_model_options *options, size_t n_threads, lvlm_error *err);
    int (*forward)(void *pipeline, const lvlm_checkpoint *inputs, const char *prefix,
                   const lvlm_stage_sink *sink, lvlm_error *err);
    int (*backward)(void *pipeline, lvlm_model_step *step,
                    const lvlm_checkpoint *inputs, const char *prefix, double scale,
                    lvlm_error *err);
    int (*backward_bytes)(void *pipeline, uint64_t *out, const lvlm_checkpoint *inputs,
                          const char *prefix, lvlm_error *err); /* as lvlm_model's */
    int (*images_bytes)(void *pipeline, uint64_t *out, const lvlm_checkpoint *inputs,
                        const char *prefix, lvlm_error *err); /* as lvlm_model's */
    /* As lvlm_model_gradient, by index of the manifest's targets. */
    bool (*gradient)(const void *pipeline, lvlm_tensor *out, size_t target);
    void (*zero_gradients)(void *pipeline);
    void *(*weight)(void *pipeline, size_t target); /* as lvlm_model_weight */
    bool (*factors)(const void *pipeline, lvlm_factors *out, size_t i);
    void (*set_noise)(void *pipeline, const lvlm_noise *noise);
    void (*set_dropout)(void *pipeline, const double *rates);
    int (*begin)(struct lvlm_session **out, void *pipeline,
                 const lvlm_checkpoint *inputs, const char *prefix,
                 const lvlm_stage_sink *sink, lvlm_error *err);
    int (*step)(const lvlm_continuation *steps, size_t n, lvlm_error *err);
    void (*keep)(struct lvlm_session *session, size_t n);
    bool (*cached)(const struct lvlm_session *session, lvlm_tensor *keys,
                   lvlm_tensor *values, size_t block);
    void (*end)(struct lvlm_session *session);
    void (*trim)(void *pipeline);
    void (*free)(void *pipeline);
};

extern const lvlm_engine lvlm_engine_f32;
extern const lvlm_engine lvlm_engine_f64;

/* The engine of a model and its pipeline, for runtime/generate. Borrowed. */
const lvlm_engine *lvlm_model_engine(const lvlm_model *model, void **pipeline);

#endif
