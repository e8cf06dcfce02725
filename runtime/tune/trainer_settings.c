/* trainer_settings.c - the options of a run from JSON; see trainer.h. */
#include <math.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/tune/trainer.h"

lvlm_trainer_options lvlm_trainer_defaults(void)
{
    return (lvlm_trainer_options){
        .stage = LVLM_STAGE_FULL,
        .adamw = { .lr = 5e-5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 },
        .clip = 1,
        .schedule = { .kind = LVLM_SCHEDULE_LINEAR },
        .accumulate = 1,
    };
}

/* Numbers from 0, those of `below_1` below 1. */
static int read_number(lvlm_trainer_options *o, bool *known, const cJSON *item,
                       lvlm_error *err)
{
    const struct {
        const char *name;
        double *to;
        bool below_1;
    } numbers[] = {
        { "lr", &o->adamw.lr, false },
        { "lr-vision", &o->lr_part[LVLM_PART_VISION], false },
        { "lr-connector", &o->lr_part[LVLM_PART_CONNECTOR], false },
        { "lr-text", &o->lr_part[LVLM_PART_TEXT], false },
        { "min-lr", &o->min_lr, false },
        { "layer-decay", &o->layer_decay, false },
        { "beta1", &o->adamw.beta1, true },
        { "beta2", &o->adamw.beta2, true },
        { "eps", &o->adamw.eps, false },
        { "weight-decay", &o->adamw.decay, false },
        { "clip", &o->clip, false },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double value = NAN;
        if (strcmp(numbers[i].name, item->string) != 0) continue;
        *known = true;
        FAIL_IF(!lvlm_json_double(&value, item) || !(value >= 0) || isinf(value) ||
                    (numbers[i].below_1 && value >= 1),
                err, LVLM_EFORMAT, "'%s': expected a number from 0%s", item->string,
                numbers[i].below_1 ? ", below 1" : "");
        *numbers[i].to = value;
    }
    return 0;
}

/* The most that a double counts one by one. */
#define MAX_COUNT 0x1p53

static int read_count(size_t *out, const cJSON *item, lvlm_error *err)
{
    uint64_t value;
    FAIL_IF(!lvlm_json_u64(&value, item) || value == 0 || (double)value > MAX_COUNT,
            err, LVLM_EFORMAT, "'%s': expected a whole number from 1", item->string);
    *out = (size_t)value;
    return 0;
}

static int read_word(lvlm_trainer_options *o, bool *known, const cJSON *item,
                     lvlm_error *err)
{
    const char *const word = lvlm_json_string(item);
    const bool decays = strcmp(item->string, "decay") == 0;
    *known = true;
    if (strcmp(item->string, "steps") == 0)
        return read_count(&o->schedule.steps, item, err);
    if (strcmp(item->string, "accumulate") == 0)
        return read_count(&o->accumulate, item, err);
    if (strcmp(item->string, "stage") == 0 && word != NULL)
        return lvlm_stage_parse(&o->stage, word, err);
    if (strcmp(item->string, "schedule") == 0 && word != NULL)
        return lvlm_schedule_parse(&o->schedule.kind, word, err);
    if (decays && word != NULL &&
        (strcmp(word, "all") == 0 || strcmp(word, "matrices") == 0)) {
        o->decay_all = strcmp(word, "all") == 0;
        return 0;
    }
    FAIL_IF(decays, err, LVLM_EFORMAT, "'decay': expected all or matrices");
    *known = strcmp(item->string, "warmup") == 0; /* needs the number of steps */
    return 0;
}

/* A whole number of steps, or a share of them below 1. */
static int read_warmup(lvlm_schedule *s, const cJSON *item, lvlm_error *err)
{
    double value = 0;
    if (item == NULL) return 0;
    FAIL_IF(!lvlm_json_double(&value, item) || !(value >= 0) ||
                value > (double)s->steps || (value >= 1 && value != floor(value)),
            err, LVLM_EFORMAT,
            "'warmup': expected a whole number of the %zu steps, or a share of them "
            "below 1",
            s->steps);
    s->warmup = (size_t)(value < 1 ? ceil(value * (double)s->steps) : value);
    return 0;
}

int lvlm_trainer_options_read(lvlm_trainer_options *out, const cJSON *settings,
                              lvlm_error *err)
{
    const cJSON *item;
    *out = lvlm_trainer_defaults();
    FAIL_IF(!cJSON_IsObject(settings), err, LVLM_EFORMAT,
            "is not an object: expected { \"steps\": 3, \"lr\": 1e-4, ... }");
    LVLM_JSON_MEMBERS (item, settings) {
        bool known = false;
        TRY(read_number(out, &known, item, err));
        if (!known) TRY(read_word(out, &known, item, err));
        FAIL_IF(!known, err, LVLM_EFORMAT,
                "'%.64s' is not a setting of training, which have the names that "
                "lvlm-tune train has for them",
                item->string);
    }
    FAIL_IF(out->schedule.steps == 0, err, LVLM_EFORMAT,
            "does not say how many 'steps' there are");
    FAIL_IF(out->min_lr > out->adamw.lr, err, LVLM_EFORMAT,
            "'min-lr' is above the rate that it is reached from");
    return read_warmup(&out->schedule, lvlm_json_get(settings, "warmup"), err);
}
