/* schedule.c - the learning rate's factor at a step; see schedule.h. */
#include "runtime/tune/schedule.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const char *const kinds[] = {
    [LVLM_SCHEDULE_CONSTANT] = "constant",
    [LVLM_SCHEDULE_LINEAR] = "linear",
    [LVLM_SCHEDULE_COSINE] = "cosine",
};

int lvlm_schedule_parse(lvlm_schedule_kind *out, const char *text, lvlm_error *err)
{
    *out = LVLM_SCHEDULE_LINEAR;
    for (size_t i = 0; text != NULL && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i], text) != 0) continue;
        *out = (lvlm_schedule_kind)i;
        return 0;
    }
    FAIL_IF(text != NULL, err, LVLM_EUSAGE,
            "--schedule '%s': expected constant, linear or cosine", text);
    return 0;
}

const char *lvlm_schedule_name(lvlm_schedule_kind kind)
{
    assert((size_t)kind < sizeof kinds / sizeof *kinds);
    return kinds[kind];
}

double lvlm_schedule_factor(const lvlm_schedule *s, size_t step)
{
    if (step < s->warmup) return (double)step / (double)s->warmup;
    const size_t left = s->steps > step ? s->steps - step : 0;
    const size_t falling = s->steps > s->warmup ? s->steps - s->warmup : 1;
    const double share = (double)left / (double)falling;
    switch (s->kind) {
    case LVLM_SCHEDULE_CONSTANT: return 1;
    case LVLM_SCHEDULE_LINEAR: return share;
    case LVLM_SCHEDULE_COSINE: return 0.5 * (1 + cos(acos(-1) * (1 - share)));
    }
    return 1;
}
