/* trainer_history.c - what a run of training was, as its model records it; see
 * trainer_history.h.
 *
 *   base, data, number of steps, settings; which tensors were trained, which frozen */
#include "runtime/tune/trainer_history.h"

#include <assert.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/json.h"
#include "formats/native/history.h"

typedef struct counts {
    size_t of[LVLM_N_PARTS];
} counts;

static bool is_trained(const lvlm_trainer *t, const lvlm_target *target)
{
    if (t->options.lora != NULL) return lvlm_adapter_saves(&t->adapter, target);
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, target->name) == 0) return true;
    return false;
}

static bool is_adapted(const lvlm_trainer *t, const lvlm_target *target)
{
    size_t part;
    return t->options.lora != NULL &&
           lvlm_adapter_find(&part, &t->adapter, target->name) != NULL;
}

/* Parts without any are left out; an object without any is, too. */
static bool add_counts(cJSON *step, const char *member, const counts *n)
{
    cJSON *const json = cJSON_CreateObject();
    bool ok = json != NULL;
    size_t sum = 0;
    for (lvlm_weight_part part = 0; part < LVLM_N_PARTS; part++) {
        sum += n->of[part];
        if (n->of[part] > 0)
            ok = ok && cJSON_AddNumberToObject(json, lvlm_part_name(part),
                                               (double)n->of[part]) != NULL;
    }
    if (sum > 0 && ok) return lvlm_json_set(step, member, json);
    lvlm_json_free(json);
    return ok;
}

/* How many tensors of each part were trained, adapted, and neither. */
static bool add_tensors(cJSON *step, const lvlm_trainer *t)
{
    const lvlm_manifest *const m = lvlm_model_manifest(t->model);
    counts trained = { { 0 } }, adapted = trained, frozen = trained;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const target = &m->targets[i];
        if (!lvlm_target_is_stored(target)) continue;
        counts *const to = is_trained(t, target)   ? &trained
                           : is_adapted(t, target) ? &adapted
                                                   : &frozen;
        to->of[lvlm_part_of(target->name)]++;
    }
    return add_counts(step, "trained", &trained) &&
           add_counts(step, "adapted", &adapted) && add_counts(step, "frozen", &frozen);
}

static bool add_if_known(cJSON *step, const char *member, const char *text)
{
    return text == NULL || *text == '\0' ||
           cJSON_AddStringToObject(step, member, text) != NULL;
}

int trainer_history(cJSON **out, const lvlm_trainer *t, lvlm_error *err)
{
    const lvlm_trainer_options *const o = &t->options;
    cJSON *settings = NULL;
    TRY(lvlm_history_begin(out, LVLM_HISTORY_TRAINED,
                           lvlm_model_manifest(t->model)->checkpoint, err));
    int rc = trainer_settings(&settings, t, err);
    cJSON_DeleteItemFromObjectCaseSensitive(settings, "data");
    if (o->lora != NULL) cJSON_DeleteItemFromObjectCaseSensitive(settings, "stage");
    if (rc == 0 &&
        (!add_if_known(*out, "data", o->data) ||
         !add_if_known(*out, "data_file", o->data_file) ||
         !add_if_known(*out, "batches", o->batches) ||
         cJSON_AddNumberToObject(*out, "steps", (double)t->step) == NULL ||
         !lvlm_json_set_copy(*out, "settings", settings) || !add_tensors(*out, t)))
        rc = lvlm_fail_memory(err);
    if (rc == 0) rc = lvlm_adapter_record(*out, &t->adapter, err);
    lvlm_json_free(settings);
    return rc;
}
