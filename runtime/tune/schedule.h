/* schedule.h - the factor of the learning rate at a step, as in the reference's
 * schedulers. */
#ifndef LVLM_RUNTIME_TUNE_SCHEDULE_H
#define LVLM_RUNTIME_TUNE_SCHEDULE_H

#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_schedule_kind {
    LVLM_SCHEDULE_CONSTANT,
    LVLM_SCHEDULE_LINEAR, /* down to `least` */
    LVLM_SCHEDULE_COSINE, /* half a wave, down to `least` */
    LVLM_N_SCHEDULES,
} lvlm_schedule_kind;

typedef struct lvlm_schedule {
    lvlm_schedule_kind kind;
    size_t warmup, steps; /* rising from 0 over the first `warmup` of `steps` */
    double least;         /* the last factor, from 0 to 1 */
} lvlm_schedule;

/* "constant", "linear", "cosine"; LVLM_EUSAGE otherwise. NULL: linear. */
LVLM_MUST_CHECK int lvlm_schedule_parse(lvlm_schedule_kind *out, const char *text,
                                        lvlm_error *err);
const char *lvlm_schedule_name(lvlm_schedule_kind kind);
/* The factor of step number `step`, from 0. */
double lvlm_schedule_factor(const lvlm_schedule *schedule, size_t step);

LVLM_END_DECLS

#endif
