/* schedule.c - the learning rate's factor at a step; see schedule.h. */
#include "runtime/tune/schedule.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const char *const kinds[LVLM_N_SCHEDULES] = {
    [LVLM_SCHEDULE_CONSTANT] = "constant",
    [LVLM_SCHEDULE_LINEAR] = "linear",
    [LVLM_SCHEDULE_COSINE] = "cosine",
};

int lvlm_schedule_parse(lvlm_schedule_kind *out, const char *text, lvlm_error *err)
{
    if (text == NULL) text = kinds[LVLM_SCHEDULE_LINEAR];
    for (*out = 0; *out < LVLM_N_SCHEDULES; ++*out)
        if (strcmp(kinds[*out], text) == 0) return 0;
    return lvlm_fail(err, LVLM_EUSAGE,
                     "--schedule '%s': expected constant, linear or cosine", text);
}

const char *lvlm_schedule_name(lvlm_schedule_kind kind)
{
    assert(kind < LVLM_N_SCHEDULES);
    return kinds[kind];
}

double lvlm_schedule_factor(const lvlm_schedule *s, size_t step)
{
    assert(s->kind < LVLM_N_SCHEDULES);
    assert(s->least >= 0 && s->least <= 1);
    if (step < s->warmup) return (double)step / (double)s->warmup;
    const size_t left = s->steps > step ? s->steps - step : 0;
    const size_t falling = s->steps > s->warmup ? s->steps - s->warmup : 1;
    const double share = (double)left / (double)falling;
    if (s->kind == LVLM_SCHEDULE_CONSTANT) return 1;
    const double falls = s->kind == LVLM_SCHEDULE_LINEAR
                             ? share
                             : 0.5 * (1 + cos(acos(-1) * (1 - share)));
    return s->least + (1 - s->least) * falls;
}
