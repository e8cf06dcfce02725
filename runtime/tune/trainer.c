/* trainer.c - weights, moments, steps; see trainer.h. Saving: trainer_save.c. */
#include "runtime/tune/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/numeric.h"

/* ---- life ----------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static double rate_of(const lvlm_trainer_options *o, const char *name)
{
    double own = o->lr_text;
    if (starts_with(name, "vision.")) own = o->lr_vision;
    if (starts_with(name, "connector.")) own = o->lr_connector;
    return own > 0 ? own : o->adamw.lr;
}

/* Everything of the model that has values of its own. */
static int list_tensors(lvlm_trainer *t, lvlm_error *err)
{
    const lvlm_manifest *m = lvlm_model_manifest(t->model);
    size_t numel = 0;
    t->tensors = lvlm_calloc(m->n_targets + 1, sizeof *t->tensors);
    if (t->tensors == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *target = &m->targets[i];
        lvlm_tensor gradient;
        float *const w = lvlm_model_weight(t->model, target->name);
        if (w == NULL || !lvlm_model_gradient(t->model, &gradient, target->name))
            continue;
        lvlm_trained *const p = &t->tensors[t->n_tensors++];
        *p = (lvlm_trained){ .name = target->name, .w = w };
        p->g = (const float *)(const void *)gradient.data;
        p->numel = (size_t)lvlm_tensor_numel(&gradient);
        p->lr = rate_of(&t->options, target->name);
        p->decay =
            t->options.decay_all || target->shape.n > 1 ? t->options.adamw.decay : 0;
        numel += p->numel;
    }
    FAIL_IF(t->n_tensors == 0, err, LVLM_EUSAGE, "nothing of this model is trained");
    t->moments = lvlm_calloc(numel, 2 * sizeof *t->moments);
    FAIL_IF(t->moments == NULL, err, LVLM_ENOMEM,
            "out of memory for the moments of %zu weights", numel);
    float *at = t->moments;
    for (size_t i = 0; i < t->n_tensors; i++) {
        t->tensors[i].m = at;
        t->tensors[i].v = at + t->tensors[i].numel;
        at += 2 * t->tensors[i].numel;
    }
    return 0;
}

int lvlm_trainer_open(lvlm_trainer *t, const char *path,
                      const lvlm_trainer_options *options, lvlm_error *err)
{
    *t = (lvlm_trainer){ .options = *options };
    const lvlm_model_options chosen = { .threads = options->threads,
                                        .reference = options->reference,
                                        .trains = lvlm_stage_trains,
                                        .user = &t->options.stage,
                                        .own_weights = true };
    TRY(lvlm_model_open(&t->model, path, &chosen, err));
    return list_tensors(t, err);
}

void lvlm_trainer_close(lvlm_trainer *t)
{
    lvlm_free(t->moments);
    lvlm_free(t->tensors);
    lvlm_model_free(t->model);
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
    const float *const x = (const float *)(const void *)stage->data;
    (void)err;
    for (uint64_t i = 0; !f->found && i < lvlm_tensor_numel(stage); i++)
        if (!isfinite(x[i])) {
            f->found = true;
            (void)snprintf(f->stage, sizeof f->stage, "%s", stage->name);
        }
    return 0;
}

static int refuse_loss(lvlm_trainer *t, const lvlm_checkpoint *batch, double loss,
                       lvlm_error *err)
{
    finder f = { "none", false };
    const lvlm_stage_sink sink = { .take = look, .user = &f };
    TRY(lvlm_model_forward(t->model, batch, "", &sink, err));
    return lvlm_fail(err, LVLM_ECHECK,
                     "step %zu: the loss is %f; the first stage with a value that is "
                     "not finite is %s",
                     t->step + 1, loss, f.stage);
}

int lvlm_trainer_add(lvlm_trainer *t, const lvlm_checkpoint *batch, lvlm_error *err)
{
    lvlm_model_step step;
    if (t->n_targets == 0) {
        lvlm_model_zero_gradients(t->model);
        t->loss = 0;
    }
    TRY(lvlm_model_backward(t->model, &step, batch, "", 1, err));
    if (!isfinite(step.loss)) return refuse_loss(t, batch, step.loss, err);
    t->loss += step.loss;
    t->n_targets += step.n_targets;
    return 0;
}

/* Norm of all mean gradients together. */
static double norm_of(const lvlm_trainer *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n_tensors; i++)
        for (size_t j = 0; j < t->tensors[i].numel; j++)
            sum += (double)t->tensors[i].g[j] * (double)t->tensors[i].g[j];
    return sqrt(sum) / (double)t->n_targets;
}

int lvlm_trainer_step(lvlm_trainer *t, lvlm_trainer_report *report, lvlm_error *err)
{
    FAIL_IF(t->n_targets == 0, err, LVLM_EFORMAT,
            "step %zu: no label of its batches counts", t->step + 1);
    const double norm = norm_of(t), most = t->options.clip;
    FAIL_IF(!isfinite(norm), err, LVLM_ECHECK, "step %zu: the gradient's norm is %f",
            t->step + 1, norm);
    const double factor = lvlm_schedule_factor(&t->options.schedule, t->step);
    double scale = 1 / (double)t->n_targets;
    if (most > 0 && most / (norm + 1e-6) < 1) scale *= most / (norm + 1e-6);
    t->step++;
    for (size_t i = 0; i < t->n_tensors; i++) {
        const lvlm_trained *const p = &t->tensors[i];
        lvlm_adamw o = t->options.adamw;
        o.lr = p->lr * factor;
        o.decay = p->decay;
        o.scale = scale;
        lvlm_adamw_step(p->w, p->m, p->v, p->g, p->numel, t->step, &o);
    }
    *report = (lvlm_trainer_report){ .step = t->step,
                                     .loss = t->loss / (double)t->n_targets,
                                     .grad_norm = norm,
                                     .lr = t->options.adamw.lr * factor,
                                     .n_targets = t->n_targets };
    t->n_targets = 0;
    return 0;
}
