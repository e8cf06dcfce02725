/* trainer.c - weights, moments, steps; see trainer.h. Saving: trainer_save.c,
 * trainer_state.c. */
#include "runtime/tune/trainer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/processors.h"
#include "formats/base/random.h"
#include "formats/container/finite.h"
#include "runtime/tune/decay.h"
#include "runtime/tune/layer_decay.h"
#include "runtime/tune/trainer_lora.h"

/* ---- life ----------------------------------------------------------------------- */

void trainer_set_rates(const lvlm_trainer *t, lvlm_trained *p,
                       const lvlm_target *target)
{
    const lvlm_trainer_options *const o = &t->options;
    const lvlm_family *const family = lvlm_model_manifest(t->model)->family;
    const double own = o->lr_part[lvlm_part_of(target->name)];
    assert(own >= 0);
    p->lr = own > 0 ? own : o->adamw.lr;
    if (o->layer_decay > 0)
        p->lr *=
            lvlm_layer_factor(lvlm_model_manifest(t->model), target, o->layer_decay);
    p->decay = o->adamw.decay;
    p->needs_image = lvlm_stage_needs_image(target) && !family->blind_gradients;
}

/* List every weight that the model owns. */
static void list_weights(lvlm_trainer *t)
{
    const lvlm_manifest *m = lvlm_model_manifest(t->model);
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *target = &m->targets[i];
        lvlm_tensor gradient;
        void *const w = lvlm_model_weight(t->model, target->name);
        if (w == NULL || !lvlm_model_gradient(t->model, &gradient, target->name))
            continue;
        lvlm_trained *const p = &t->tensors[t->n_tensors++];
        *p = (lvlm_trained){ .name = target->name,
                             .of = { .w = w, .g = gradient.data } };
        p->of.n = (size_t)lvlm_tensor_numel(&gradient);
        trainer_set_rates(t, p, target);
        if (!t->options.decay_all && !lvlm_decays(m, target)) p->decay = 0;
    }
}

static int list_tensors(lvlm_trainer *t, lvlm_error *err)
{
    const size_t most = lvlm_model_manifest(t->model)->n_targets + 2 * t->adapter.n;
    size_t numel = 0;
    t->tensors = lvlm_calloc(most + 1, sizeof *t->tensors);
    if (t->tensors == NULL) return lvlm_fail_memory(err);
    list_weights(t);
    TRY(trainer_lora_list(t, err));
    assert(t->n_tensors <= most);
    for (size_t i = 0; i < t->n_tensors; i++) numel += t->tensors[i].of.n;
    FAIL_IF(t->n_tensors == 0, err, LVLM_EUSAGE, "nothing of this model is trained");
    const size_t bytes = lvlm_dtype_bytes(t->dtype);
    t->moments = lvlm_calloc(numel, 2 * bytes);
    FAIL_IF(t->moments == NULL, err, LVLM_ENOMEM,
            "out of memory for the moments of %zu weights", numel);
    unsigned char *at = t->moments;
    for (size_t i = 0; i < t->n_tensors; i++) {
        lvlm_adamw_arrays *const a = &t->tensors[i].of;
        a->dtype = t->dtype;
        a->m = at;
        a->v = at + a->n * bytes;
        at += 2 * a->n * bytes;
    }
    return 0;
}

/* Open the model to train its own weights. */
static int open_model(lvlm_trainer *t, const char *path, lvlm_error *err)
{
    lvlm_model_options chosen = t->options.model;
    chosen.trains = lvlm_stage_trains;
    chosen.user = &t->options.stage;
    chosen.own_weights = chosen.check = true;
    return lvlm_model_open(&t->model, path, &chosen, err);
}

int lvlm_trainer_open(lvlm_trainer *t, const char *path,
                      const lvlm_trainer_options *options, lvlm_error *err)
{
    assert(options->model.adapter == NULL && options->model.trains == NULL);
    assert(options->min_lr >= 0 && options->min_lr <= options->adamw.lr);
    *t = (lvlm_trainer){ .options = *options };
    t->dtype = options->model.compute == LVLM_COMPUTE_F64 ? LVLM_F64 : LVLM_F32;
    if (options->min_lr > 0)
        t->options.schedule.least = options->min_lr / options->adamw.lr;
    if (options->model.threads == 0) t->options.model.threads = lvlm_processors();
    TRY(options->lora != NULL ? trainer_lora_open(t, path, err)
                              : open_model(t, path, err));
    const lvlm_manifest *const manifest = lvlm_model_manifest(t->model);
    TRY(lvlm_within(lvlm_dropout_rates(t->dropout, &t->options.dropout, manifest, err),
                    err, "%s: ", path));
    lvlm_model_set_dropout(t->model, t->dropout);
    return list_tensors(t, err);
}

void lvlm_trainer_close(lvlm_trainer *t)
{
    lvlm_free(t->moments);
    lvlm_free(t->tensors);
    lvlm_model_free(t->model);
    lvlm_adapter_free(&t->adapter);
    lvlm_manifest_free(&t->manifest);
    lvlm_checkpoint_close(t->checkpoint);
    *t = (lvlm_trainer){ 0 };
}

/* ---- steps ---------------------------------------------------------------------- */

enum { STAGE_BYTES = 64 };

/* The first stage with a value that is not finite. */
typedef struct finder {
    char stage[STAGE_BYTES];
    bool found;
} finder;

static int look(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    finder *const f = user;
    (void)err;
    if (f->found || lvlm_not_finite(stage->dtype, stage->data,
                                    (size_t)lvlm_tensor_numel(stage)) == 0)
        return 0;
    f->found = true;
    (void)snprintf(f->stage, sizeof f->stage, "%s", stage->name);
    return 0;
}

/* Logits of a whole batch may be larger than everything else. */
static bool is_small(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "logits") != 0;
}

static int refuse_loss(lvlm_trainer *t, const lvlm_checkpoint *batch,
                       const char *prefix, double loss, lvlm_error *err)
{
    finder f = { "none", false };
    const lvlm_stage_sink sink = { .take = look, .wants = is_small, .user = &f };
    TRY(lvlm_model_forward(t->model, batch, prefix, &sink, err));
    return lvlm_fail(err, LVLM_ECHECK,
                     "the loss is %s; the first stage with a value that is not finite "
                     "is %s",
                     lvlm_not_finite_word(loss), f.stage);
}

static int add(lvlm_trainer *t, const lvlm_checkpoint *batch, const char *prefix,
               lvlm_error *err)
{
    lvlm_model_step found;
    TRY(lvlm_model_backward(t->model, &found, batch, prefix, 1, err));
    if (!isfinite(found.loss)) return refuse_loss(t, batch, prefix, found.loss, err);
    t->sum.loss += found.loss;
    t->sum.n_targets += found.n_targets;
    t->sum.n_tokens += found.n_tokens;
    t->sum.n_texts += found.n_texts;
    t->sum.n_images += found.n_images;
    t->sum.sees |= found.sees;
    return 0;
}

/* What dropout draws from in the next batch, which is one more of this step. */
static void set_noise(const lvlm_trainer *t)
{
    const uint64_t stream = lvlm_random_stream(t->options.seed, "dropout of a model");
    lvlm_noise noise = { .adapter = trainer_lora_noise(t),
                         .texts = t->sum.n_texts,
                         .images = t->sum.n_images };
    lvlm_random_bits(&noise.step, stream, t->step, 1);
    lvlm_model_set_noise(t->model, &noise);
}

int lvlm_trainer_add(lvlm_trainer *t, const lvlm_checkpoint *batch, const char *prefix,
                     lvlm_error *err)
{
    assert(t->model != NULL && batch != NULL && prefix != NULL);
    if (t->n_batches == 0) {
        lvlm_model_zero_gradients(t->model);
        t->sum = (lvlm_model_step){ 0 };
    }
    set_noise(t);
    t->n_batches++;
    const int rc = add(t, batch, prefix, err);
    if (rc < 0) t->n_batches = 0; /* gradients may be incomplete */
    return rc;
}

/* The norm of all mean gradients together. */
static double norm_of(const lvlm_trainer *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n_tensors; i++)
        sum += lvlm_sum_of_squares(t->dtype, t->tensors[i].of.g, t->tensors[i].of.n);
    assert(t->sum.n_targets > 0);
    return sqrt(sum) / (double)t->sum.n_targets;
}

static int refuse_norm(const lvlm_trainer *t, double norm, lvlm_error *err)
{
    const char *first = "none, their squares are too large";
    /* a backward pass begins with the last one */
    for (size_t i = 0; i < t->n_tensors; i++)
        if (lvlm_not_finite(t->dtype, t->tensors[i].of.g, t->tensors[i].of.n) > 0)
            first = t->tensors[i].name;
    return lvlm_fail(err, LVLM_ECHECK,
                     "the norm of the gradients is %s; the first gradient with a value "
                     "that is not finite is that of %s",
                     lvlm_not_finite_word(norm), first);
}

int lvlm_trainer_step(lvlm_trainer *t, lvlm_trainer_report *report, lvlm_error *err)
{
    const size_t n_targets = t->n_batches > 0 ? t->sum.n_targets : 0;
    t->n_batches = 0; /* also after a failure */
    FAIL_IF(n_targets == 0, err, LVLM_EFORMAT, "no label of its batches counts");
    const double norm = norm_of(t), most = t->options.clip;
    assert(most >= 0);
    if (!isfinite(norm)) return refuse_norm(t, norm, err);
    const double factor = lvlm_schedule_factor(&t->options.schedule, t->step);
    double scale = 1 / (double)n_targets;
    if (most > 0 && most / (norm + 1e-6) < 1) scale *= most / (norm + 1e-6);
    for (size_t i = 0; i < t->n_tensors; i++) {
        lvlm_trained *const p = &t->tensors[i];
        lvlm_adamw o = t->options.adamw;
        if (p->needs_image && !t->sum.sees) continue; /* as torch: it has no gradient */
        o.lr = p->lr * factor;
        o.decay = p->decay;
        o.scale = scale;
        lvlm_adamw_step(&p->of, ++p->steps, &o);
    }
    TRY(lvlm_trainer_check(t, err));
    t->step++;
    *report = (lvlm_trainer_report){ .step = t->step,
                                     .loss = t->sum.loss / (double)n_targets,
                                     .grad_norm = norm,
                                     .lr = t->options.adamw.lr * factor,
                                     .n_targets = n_targets,
                                     .n_tokens = t->sum.n_tokens,
                                     .n_images = t->sum.n_images };
    return 0;
}
