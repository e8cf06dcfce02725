/* calibrate.h - bands for a model from repeated recordings: how far these are from each
 * other and from our own computation, and whether a band that covers both would hide an
 * error.
 *
 *   recordings -> replay each -> distance from ours
 *              -> those of the same inputs, pairwise -> spread
 *   model      -> one matrix of each stage rounded (plant.h) -> what must not be hidden
 *   band = four times the larger of the first two, twice for recordings in bf16 or f16;
 *          refused where it reaches the third */
#ifndef LVLM_VERIFY_REPLAY_CALIBRATE_H
#define LVLM_VERIFY_REPLAY_CALIBRATE_H

#include "formats/base/strbuf.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Room over what was seen; less where it is large and follows from the type. */
#define LVLM_CALIBRATE_ROOM 4.0
#define LVLM_CALIBRATE_ROOM_COARSE 2.0

/* A stage, or a gradient, that at least one recording has. */
typedef struct lvlm_calibrated {
    const char *name;
    size_t n;        /* recordings that have it */
    size_t n_pairs;  /* pairs of the same inputs that were compared */
    double spread;   /* the largest error between two of those */
    double distance; /* the largest error against our own computation */
    double planted;  /* the smallest planted error; NAN: none could be planted */
    double band;
    bool refused; /* the band would hide the planted error */
} lvlm_calibrated;

typedef struct lvlm_calibration {
    const char *model; /* path */
    size_t n_recordings;
    lvlm_calibrated *at; /* in order of computation, as the first recording has it */
    size_t n;
    size_t n_refused;
    bool has_logits;
    double kl, band_kl; /* the largest divergence of a row of logits, and its band */
    lvlm_arena arena;   /* owned; not for callers */
} lvlm_calibration;

/* options->tolerance must be NULL. LVLM_EUSAGE: recordings in double and others, or in
 * bf16 and others, whose bands have nothing in common. LVLM_ECHECK: a recording has a
 * stage that the model does not compute, or in another shape. On success free with
 * lvlm_calibration_free. */
LVLM_MUST_CHECK int lvlm_calibrate(lvlm_calibration *out, const char *model,
                                   const char *const *goldens, size_t n_goldens,
                                   const lvlm_replay_options *options, lvlm_error *err);
void lvlm_calibration_free(lvlm_calibration *calibration);

/* The bands as replay reads them from a file of --tolerance. */
void lvlm_calibration_print(lvlm_strbuf *out, const lvlm_calibration *calibration);

LVLM_END_DECLS

#endif
