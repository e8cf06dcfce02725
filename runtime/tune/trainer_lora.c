/* trainer_lora.c - a trainer's adapter: opened, listed, saved, merged.
 *
 *   --lora text, or a PEFT directory -> pairs beside the weights of the mapped model
 *   pairs -> a PEFT directory | the native file with the pairs merged into it */
#include "runtime/tune/trainer_lora.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/random.h"
#include "formats/native/rewrite.h"

/* ---- made ----------------------------------------------------------------------- */

/* Initialise A of a new adapter; B is zero. */
static void draw(const lvlm_trainer *t)
{
    lvlm_factors f;
    for (size_t i = 0; lvlm_model_factors(t->model, &f, i); i++)
        lvlm_lora_draw(f.a, &t->adapter.at[i], t->options.lora->seed);
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
    TRY(lvlm_manifest_open(&t->manifest, &t->checkpoint, path, o->notes, err));
    if (o->adapter != NULL)
        TRY(lvlm_lora_continue(&t->adapter, o->lora, o->adapter, &t->manifest, err));
    else
        TRY(lvlm_lora_begin(&t->adapter, o->lora, &t->manifest, err));
    TRY(note_rank(&t->adapter, o->notes, err));
    const lvlm_model_options chosen = { .threads = o->threads,
                                        .reference = o->reference,
                                        .adapter = &t->adapter,
                                        .check = true,
                                        .checking = o->checking,
                                        .checking_user = o->checking_user,
                                        .progress = o->progress,
                                        .progress_user = o->progress_user,
                                        .checkpointing = o->checkpointing };
    const int rc = lvlm_model_bind(&t->model, &t->manifest, &chosen, err);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", path);
    if (rc == 0 && o->adapter == NULL) draw(t);
    return rc;
}

int trainer_lora_list(lvlm_trainer *t, lvlm_error *err)
{
    for (size_t i = 0; i < 2 * t->adapter.n; i++) {
        const lvlm_module *const m = t->adapter.at[i / 2].module;
        const char *const native = m->parts[0]->name;
        lvlm_factors f;
        lvlm_trained *const p = &t->tensors[t->n_tensors++];
        FAIL_IF(!lvlm_model_factors(t->model, &f, i / 2), err, LVLM_EFORMAT,
                "adapter: the model has no factors for %s", m->name);
        const bool is_b = i % 2 == 1;
        *p = (lvlm_trained){ .w = is_b ? f.b : f.a,
                             .g = is_b ? f.db : f.da,
                             .numel = is_b ? f.b_numel : f.a_numel };
        p->name = lvlm_arena_printf(&t->adapter.arena, "%s.lora_%c", m->name,
                                    is_b ? 'B' : 'A');
        if (p->name == NULL) return lvlm_fail_memory(err);
        p->needs_image =
            lvlm_stage_needs_image(m->parts[0]) && !t->manifest.family->blind_gradients;
        p->lr = trainer_rate(&t->options, native);
        p->decay = t->options.adamw.decay;
    }
    return 0;
}

void trainer_lora_noise(const lvlm_trainer *t)
{
    uint64_t key;
    if (t->options.lora == NULL) return;
    const uint64_t stream = lvlm_random_stream(t->options.lora->seed, "dropout");
    lvlm_random_bits(&key, stream + ((uint64_t)t->step << 24), t->n_batches, 1);
    lvlm_model_set_noise(t->model, key);
}

/* The name that --lora has for a member of adapter_config.json. */
static const char *lora_word(const char *member)
{
    static const struct {
        const char *member, *word;
    } words[] = { { "lora_alpha", "alpha" },
                  { "lora_dropout", "dropout" },
                  { "use_rslora", "rslora" },
                  { "target_modules", "targets" } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].member, member) == 0) return words[i].word;
    return member;
}

/* "lora r", "lora alpha", "lora targets", ... */
int trainer_lora_settings(cJSON *settings, const lvlm_trainer *t, lvlm_error *err)
{
    cJSON *all = NULL;
    const cJSON *item;
    if (t->options.lora == NULL) return 0;
    int rc = lvlm_adapter_settings(&all, &t->adapter, err);
    LVLM_JSON_MEMBERS (item, all) {
        char name[64];
        cJSON *const copy = cJSON_Duplicate(item, true);
        (void)snprintf(name, sizeof name, "lora %s", lora_word(item->string));
        if (copy != NULL && cJSON_AddItemToObject(settings, name, copy)) continue;
        lvlm_json_free(copy);
        rc = lvlm_fail_memory(err);
        break;
    }
    lvlm_json_free(all);
    if (rc < 0) return rc;
    const double seed = (double)t->options.lora->seed;
    return cJSON_AddNumberToObject(settings, "seed", seed) != NULL
               ? 0
               : lvlm_fail_memory(err);
}

/* ---- saved ---------------------------------------------------------------------- */

/* The adapter with the current values of the model. */
typedef struct snapshot {
    lvlm_adapter adapter; /* borrowed, except `at` */
    float **joined; /* (n) B of modules with several parts, rows in order; owned */
} snapshot;

static void snapshot_free(snapshot *s)
{
    for (size_t i = 0; s->joined != NULL && i < s->adapter.n; i++)
        lvlm_free(s->joined[i]);
    lvlm_free(s->joined);
    lvlm_free(s->adapter.at);
}

/* B in the module's row order, from the rows of its parts. */
static float *join(const lvlm_adapted *x, const float *b, size_t n)
{
    lvlm_elements parts[LVLM_MODULE_PARTS];
    const lvlm_transform rows = lvlm_module_rows(x->module, 0, x->r);
    float *const out = lvlm_calloc(n, sizeof *out);
    if (out == NULL) return NULL;
    assert(x->module->n_parts <= LVLM_MODULE_PARTS);
    for (size_t p = 0; p < x->module->n_parts; p++) {
        parts[p] =
            (lvlm_elements){ b, x->module->parts[p]->shape.dims[0] * x->r, sizeof *b };
        b += parts[p].n;
    }
    const bool ok = lvlm_transform_scatter(out, 0, n, &rows, parts, x->module->n_parts);
    assert(ok); /* a module is made of its parts */
    (void)ok;
    return out;
}

static int snapshot_make(snapshot *s, const lvlm_trainer *t, lvlm_error *err)
{
    *s = (snapshot){ .adapter = t->adapter };
    s->adapter.at = lvlm_calloc(t->adapter.n + 1, sizeof *s->adapter.at);
    s->joined = lvlm_calloc(t->adapter.n + 1, sizeof *s->joined);
    if (s->adapter.at == NULL || s->joined == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < t->adapter.n; i++) {
        lvlm_adapted *const x = &s->adapter.at[i];
        lvlm_factors f;
        *x = t->adapter.at[i];
        if (!lvlm_model_factors(t->model, &f, i)) return lvlm_fail_memory(err);
        const float *b = f.b;
        if (x->module->n_parts > 1) {
            b = s->joined[i] = join(x, b, f.b_numel);
            if (b == NULL) return lvlm_fail_memory(err);
        }
        x->a = (lvlm_tensor){ .dtype = LVLM_F32, .shape = x->a.shape, .data = f.a };
        x->b = (lvlm_tensor){ .dtype = LVLM_F32, .shape = x->b.shape };
        x->b.data = (const unsigned char *)b;
    }
    return 0;
}

int lvlm_trainer_save_adapter(const lvlm_trainer *t, lvlm_outdir *dir, lvlm_error *err)
{
    snapshot s;
    assert(t->options.lora != NULL);
    int rc = snapshot_make(&s, t, err);
    if (rc == 0)
        rc = lvlm_checkpoint_unchanged(lvlm_model_manifest(t->model)->checkpoint, err);
    if (rc == 0) rc = lvlm_adapter_save(&s.adapter, dir, err);
    snapshot_free(&s);
    return rc;
}

int lvlm_trainer_save_merged(const lvlm_trainer *t, lvlm_outfile *file,
                             lvlm_fold_cost *cost, lvlm_error *err)
{
    const lvlm_run run = { .threads = t->options.threads };
    snapshot s;
    assert(t->options.lora != NULL);
    int rc = snapshot_make(&s, t, err);
    if (rc == 0) rc = lvlm_fold_save(cost, &s.adapter, t->step, file, &run, err);
    snapshot_free(&s);
    return rc;
}
