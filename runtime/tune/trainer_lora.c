/* trainer_lora.c - a trainer's adapter: opened, listed, saved, merged.
 *
 *   --lora text, or a PEFT directory -> pairs beside the weights of the mapped model
 *     (modules that are saved whole are weights of the model, in memory)
 *   pairs -> a PEFT directory | the native file with the pairs merged into it */
#include "runtime/tune/trainer_lora.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/random.h"
#include "formats/container/numeric.h"
#include "formats/native/rewrite.h"
#include "formats/reshape/resolution.h"
#include "runtime/tune/trainer_history.h"

/* ---- made ----------------------------------------------------------------------- */

/* Initialise A of a new adapter; B is zero. */
static void draw(const lvlm_trainer *t)
{
    lvlm_factors f;
    assert(t->options.lora != NULL && t->options.adapter == NULL);
    for (size_t i = 0; lvlm_model_factors(t->model, &f, i); i++)
        lvlm_lora_draw(t->dtype, f.a, &t->adapter.at[i], t->options.seed);
}

/* A rank above that of a full matrix costs memory and learns nothing more. */
static int note_rank(const lvlm_adapter *adapter, lvlm_notes *notes, lvlm_error *err)
{
    for (size_t i = 0; i < adapter->n; i++) {
        const lvlm_adapted *const a = &adapter->at[i];
        const uint64_t in = a->a.shape.dims[1], out = a->b.shape.dims[0];
        if (a->r > in || a->r > out)
            return lvlm_notes_add(
                notes, err,
                "--lora r=%zu: %s is %" PRIu64 " x %" PRIu64
                ", and no change of it has a higher rank than %" PRIu64,
                a->r, a->module->name, out, in, in < out ? in : out);
    }
    return 0;
}

int trainer_lora_open(lvlm_trainer *t, const char *path, lvlm_error *err)
{
    const lvlm_trainer_options *const o = &t->options;
    lvlm_model_options chosen = o->model;
    TRY(lvlm_resolution_open(&t->manifest, &t->checkpoint, path, o->model.resolution,
                             o->model.notes, err));
    TRY(lvlm_lora_open(&t->adapter, o->lora, o->adapter, &t->manifest, err));
    TRY(note_rank(&t->adapter, o->model.notes, err));
    chosen.adapter = &t->adapter;
    chosen.check = true;
    const int rc = lvlm_model_bind(&t->model, &t->manifest, &chosen, err);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", path);
    if (rc == 0 && o->adapter == NULL) draw(t);
    return rc;
}

int trainer_lora_list(lvlm_trainer *t, lvlm_error *err)
{
    for (size_t i = 0; i < 2 * t->adapter.n; i++) {
        const lvlm_module *const m = t->adapter.at[i / 2].module;
        const bool is_b = i % 2 == 1;
        lvlm_factors f;
        lvlm_trained *const p = &t->tensors[t->n_tensors++];
        FAIL_IF(!lvlm_model_factors(t->model, &f, i / 2), err, LVLM_EFORMAT,
                "adapter: the model has no factors for %s", m->name);
        *p = (lvlm_trained){ .of = { .w = is_b ? f.b : f.a,
                                     .g = is_b ? f.db : f.da,
                                     .n = is_b ? f.b_numel : f.a_numel } };
        p->name = lvlm_arena_printf(&t->adapter.arena, "%s.lora_%c", m->name,
                                    is_b ? 'B' : 'A');
        if (p->name == NULL) return lvlm_fail_memory(err);
        trainer_set_rates(t, p, m->parts[0]);
    }
    return 0;
}

uint64_t trainer_lora_noise(const lvlm_trainer *t)
{
    uint64_t key;
    if (t->options.lora == NULL) return 0;
    const uint64_t stream = lvlm_random_stream(t->options.seed, "dropout");
    lvlm_random_bits(&key, stream + ((uint64_t)t->step << 24), t->n_batches, 1);
    return key;
}

/* The name that --lora has for a member of adapter_config.json. */
static const char *lora_word(const char *member)
{
    static const char *const words[][2] = { { "lora_alpha", "alpha" },
                                            { "lora_dropout", "dropout" },
                                            { "use_rslora", "rslora" },
                                            { "target_modules", "targets" },
                                            { "modules_to_save", "save" } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i][0], member) == 0) return words[i][1];
    return member;
}

/* "lora r", "lora alpha", "lora targets", ... */
int trainer_lora_settings(cJSON *settings, const lvlm_trainer *t, lvlm_error *err)
{
    cJSON *all = NULL;
    const cJSON *item;
    if (t->options.lora == NULL) return 0;
    bool ok = lvlm_adapter_settings(&all, &t->adapter, err) == 0;
    LVLM_JSON_MEMBERS (item, all) {
        char name[64];
        (void)snprintf(name, sizeof name, "lora %s", lora_word(item->string));
        ok = ok && lvlm_json_set_copy(settings, name, item);
    }
    lvlm_json_free(all);
    return ok ? 0 : lvlm_fail_memory(err);
}

/* ---- saved ---------------------------------------------------------------------- */

/* Trained values as float32, the type of a saved adapter. NULL: out of memory. */
static const void *narrow(const lvlm_trainer *t, const void *values, size_t n,
                          lvlm_arena *arena)
{
    if (t->dtype == LVLM_F32) return values;
    float *const out = lvlm_arena_alloc(arena, n + 1, sizeof *out);
    if (out != NULL) lvlm_convert_values(out, LVLM_F32, values, t->dtype, n);
    return out;
}

/* A tensor of Hugging Face's model from its parts. NULL: out of memory. */
static float *join(const lvlm_transform *map, const lvlm_elements *parts,
                   size_t n_parts, lvlm_arena *arena)
{
    uint64_t n = 0;
    assert(n_parts > 0 && n_parts <= LVLM_MODULE_PARTS);
    for (size_t p = 0; p < n_parts; p++) n += parts[p].n;
    float *const out = lvlm_arena_alloc(arena, (size_t)n, sizeof *out);
    if (out == NULL) return NULL;
    const bool ok = lvlm_transform_scatter(out, 0, (size_t)n, map, parts, n_parts);
    assert(ok); /* it is made of its parts */
    (void)ok;
    return out;
}

/* B in the module's row order, from the rows of its parts. */
static const float *join_rows(const lvlm_adapted *x, const float *b, lvlm_arena *arena)
{
    lvlm_elements parts[LVLM_MODULE_PARTS];
    const lvlm_transform rows = lvlm_module_rows(x->module, 0, x->r);
    if (x->module->n_parts == 1) return b;
    for (size_t p = 0; p < x->module->n_parts; p++) {
        parts[p] =
            (lvlm_elements){ b, x->module->parts[p]->shape.dims[0] * x->r, sizeof *b };
        b += parts[p].n;
    }
    return join(&rows, parts, x->module->n_parts, arena);
}

/* The values of a tensor that is saved whole, in Hugging Face's layout. */
static const void *join_saved(const lvlm_trainer *t, const lvlm_saved *saved,
                              lvlm_arena *arena)
{
    lvlm_elements parts[LVLM_MODULE_PARTS];
    const lvlm_transform *const map = &saved->parts[0]->hf.transform;
    for (size_t p = 0; p < saved->n_parts; p++) {
        const lvlm_target *const own = saved->parts[p];
        const bool tied = own->state == LVLM_TARGET_TIED;
        const char *const name = tied ? own->row->tied_to : own->name;
        const void *const values = lvlm_model_weight(t->model, name);
        parts[p] = (lvlm_elements){ .bytes = sizeof(float) };
        assert(values != NULL);
        if (!lvlm_shape_numel(&parts[p].n, &own->shape)) return NULL;
        parts[p].at = narrow(t, values, (size_t)parts[p].n, arena);
        if (parts[p].at == NULL) return NULL;
    }
    if (lvlm_transform_is_keep(map)) return parts[0].at;
    return join(map, parts, saved->n_parts, arena);
}

static int take_saved(lvlm_adapter *out, const lvlm_trainer *t, lvlm_arena *arena,
                      lvlm_error *err)
{
    const lvlm_adapter *const from = &t->adapter;
    out->saved = lvlm_arena_alloc(arena, from->n_saved + 1, sizeof *out->saved);
    if (out->saved == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < from->n_saved; i++) {
        lvlm_saved *const x = &out->saved[i];
        *x = from->saved[i];
        x->value = (lvlm_tensor){ .dtype = LVLM_F32, .shape = x->value.shape };
        x->value.data = join_saved(t, x, arena);
        if (x->value.data == NULL ||
            !lvlm_shape_bytes(&x->value.n_bytes, &x->value.shape, LVLM_F32))
            return lvlm_fail_memory(err);
    }
    return 0;
}

/* The adapter with the current values of the model: what is not the trainer's is in the
 * arena. */
static int take_snapshot(lvlm_adapter *out, const lvlm_trainer *t, lvlm_arena *arena,
                         lvlm_error *err)
{
    assert(t->options.lora != NULL);
    *out = t->adapter;
    out->at = lvlm_arena_alloc(arena, t->adapter.n + 1, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < t->adapter.n; i++) {
        lvlm_adapted *const x = &out->at[i];
        lvlm_factors f;
        *x = t->adapter.at[i];
        if (!lvlm_model_factors(t->model, &f, i)) return lvlm_fail_memory(err);
        const void *const a = narrow(t, f.a, f.a_numel, arena);
        const void *const whole = narrow(t, f.b, f.b_numel, arena);
        if (a == NULL || whole == NULL) return lvlm_fail_memory(err);
        const float *const b = join_rows(x, whole, arena);
        if (b == NULL) return lvlm_fail_memory(err);
        x->a = (lvlm_tensor){ .dtype = LVLM_F32, .shape = x->a.shape, .data = a };
        x->b = (lvlm_tensor){ .dtype = LVLM_F32, .shape = x->b.shape };
        x->b.data = (const unsigned char *)b;
    }
    return take_saved(out, t, arena, err);
}

int lvlm_trainer_save_adapter(const lvlm_trainer *t, lvlm_outdir *dir, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_adapter now;
    int rc = take_snapshot(&now, t, &arena, err);
    if (rc == 0)
        rc = lvlm_checkpoint_unchanged(lvlm_model_manifest(t->model)->checkpoint, err);
    if (rc == 0) rc = lvlm_adapter_save(&now, dir, err);
    lvlm_arena_free(&arena);
    return rc;
}

int lvlm_trainer_save_merged(const lvlm_trainer *t, lvlm_outfile *file,
                             lvlm_fold_cost *cost, lvlm_error *err)
{
    const lvlm_run run = { .threads = t->options.model.threads };
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_adapter now;
    cJSON *step = NULL;
    int rc = take_snapshot(&now, t, &arena, err);
    if (rc == 0) rc = trainer_history(&step, t, err);
    if (rc == 0) rc = lvlm_fold_save(cost, &now, step, file, &run, err);
    lvlm_json_free(step);
    lvlm_arena_free(&arena);
    return rc;
}
