/* replay.h - runs a model on a recording's inputs and compares every stage.
 *
 * A recording in double (recording.h) is compared with a computation in double. The two
 * agree to the last few bits at every stage and gradient, so that the lowest bit of one
 * weight is noticed: the proof is exact. Float32 has bands wide enough for rounding
 * (bands.h). A stage beyond its band is computed a second time, to distinguish rounding
 * from a difference: a float32 stage in double, a double one with the last bit of every
 * input changed. Rows of padding are not compared. */
#ifndef LVLM_VERIFY_REPLAY_REPLAY_H
#define LVLM_VERIFY_REPLAY_REPLAY_H

#include "formats/base/arena.h"
#include "runtime/model.h"
#include "verify/replay/places.h"
#include "verify/replay/recording.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_verdict {
    LVLM_VERDICT_OK,       /* within its band */
    LVLM_VERDICT_EXACT,    /* within the band of double against double */
    LVLM_VERDICT_ROUNDING, /* outside of its band, by rounding */
    LVLM_VERDICT_OUT,      /* outside of its band */
    LVLM_VERDICT_MISSING,  /* recorded, and this model does not compute it */
    LVLM_VERDICT_SHAPE,    /* computed in another shape */
    LVLM_VERDICT_VACUOUS,  /* it agrees, and would with many another model: no row is
                              compared, or all are constant or the same */
} lvlm_verdict;

/* The error of a stage that fails, in two: the one that it was given, and its own, when
 * it is computed by itself from recorded rows (own.h). Of a gradient that is
 * wrong by itself (cause/cause.h) `own` is its error, and `known` false. */
typedef struct lvlm_replay_share {
    bool known;       /* else there is nothing below */
    double own;       /* its error then, as stage->error */
    bool is_cause;    /* that is beyond the band */
    double given;     /* the error in the whole pass of stage `from`; 0: the inputs */
    const char *from; /* the nearest recorded stage before it; NULL: the inputs */
    bool is_direct;   /* no stage lies between: the error is of this stage and of no
                         other */
    bool met;         /* for own.c */
} lvlm_replay_share;

/* One stage, in order of computation, or one gradient. */
typedef struct lvlm_replay_stage {
    const char *name; /* "text.blocks.0", "grad.NAME" */
    bool is_gradient; /* or change of a weight: judged as a whole, not by rows */
    bool is_logits;
    const lvlm_tensor *recorded;
    lvlm_rows rows;
    lvlm_shape shape; /* as recorded */
    lvlm_shape got;   /* as computed */
    lvlm_stage_error found;
    double error; /* decides the verdict: of a stage found.error, by rows; of a gradient
                     its relative L2, whose norm counts as at least `least` */
    double least; /* a gradient below it is only rounding */
    double relative_l2; /* over all values together; of a gradient the same as error */
    double cosine;
    double band, band_kl; /* the latter of found.max_kl, of logits */
    bool band_given;      /* by a tolerance file: it decides, no second look is taken */
    lvlm_verdict verdict;
    /* If a second look was taken: errors of the recording and of our other computation
     * against our own double. */
    bool looked_again;
    double recorded_error, own_error;
    double explained; /* what rounding explains of the former */
    lvlm_replay_share share;
} lvlm_replay_stage;

/* Types that are coarser than float32, "bf16" or "f16"; NULL: none (coarse.h). */
typedef struct lvlm_coarse {
    const char *recording; /* in which the reference computed */
    const char *how;       /* that is known of it */
    const char *model;     /* to which weights were rounded at conversion ... */
    uint64_t n_rounded;    /* ... and how many values changed */
} lvlm_coarse;

/* A round that chooses another token than the recorded one. */
typedef struct lvlm_other_token {
    size_t round;
    int64_t recorded, computed;
    /* How far the logit of the one that is chosen is above that of the other, in the
     * recording (NAN: its logits are not recorded) and here. */
    double recorded_gap, computed_gap;
    bool is_tie; /* both are about 0: rounding decides */
} lvlm_other_token;

typedef struct lvlm_replay_tokens {
    size_t n; /* rounds; 0: none are recorded */
    size_t n_others, n_ties;
    lvlm_other_token first; /* difference, else near tie, if n_others > 0 */
} lvlm_replay_tokens;

typedef struct lvlm_replay {
    const char *model;  /* path */
    const char *golden; /* path */
    lvlm_recording recording;
    const char *family;
    const char *reference; /* whose behaviour was computed */
    /* Differences of `reference` from what was trained, and from what the recording
     * shows, if it names its reference. */
    const lvlm_difference **differences, **from_recorded;
    size_t n_differences, n_from_recorded;
    /* Of a failure whose recording does not say whose behaviour it shows: the reference
     * that agrees at every stage, or NULL, and how many were tried. */
    const char *agrees_with;
    size_t n_tried;
    lvlm_places places;
    lvlm_hex_digest model_root; /* root digest of the native file */
    lvlm_hex_digest source;     /* of the checkpoint that it exports to, if the
                                   recording has a digest; "": not known */
    lvlm_compute compute;
    size_t layers; /* only the first decoder blocks; 0: all */
    lvlm_coarse coarse;
    bool is_exact;   /* recorded in double and computed in double */
    bool is_measure; /* no recording: the reference is our own double (precision.h) */
    lvlm_replay_tokens tokens;
    const struct lvlm_cause *why; /* of cause (cause/cause.h); NULL: none */
    const lvlm_notes *notes;      /* of the options */
    /* What is left unproven, in sentences: values that were not compared, and parts of
     * the model that the inputs do not exercise. Owned. */
    lvlm_notes not_compared, not_exercised;
    const char **skipped; /* stages that the model computes, not recorded */
    size_t n_skipped, skipped_room;
    bool lacks_skipped; /* there was no memory for some of them */
    lvlm_replay_stage *stages;
    size_t n_stages;
    size_t n_failed;
    const lvlm_replay_stage *first_bad; /* in order of computation; NULL: none */
    const lvlm_replay_stage *cause; /* the first stage with an error of its own beyond
                                       its band; NULL: none, or nothing fails */
    lvlm_arena arena;               /* owned; not for callers */
} lvlm_replay;

/* What a replay that fails finds out besides; each is more work than the next. */
typedef enum lvlm_replay_depth {
    LVLM_REPLAY_CAUSE,    /* the mistake: replay->why */
    LVLM_REPLAY_OWN,      /* which stages have errors of their own: replay->cause */
    LVLM_REPLAY_VERDICTS, /* nothing */
} lvlm_replay_depth;

typedef struct lvlm_replay_options {
    const lvlm_compute *compute; /* NULL: in double where the recording is, else f32 */
    size_t threads;
    const char *reference; /* NULL: what the recording says, else "trained" */
    const char *tolerance; /* path of JSON, { STAGE or GLOB: band, ... }, or NULL */
    size_t layers; /* only the first decoder blocks; 0: as many as the recording has */
    bool grads;    /* compare the recorded gradients too, after the stages */
    bool steps;    /* train the recorded steps too, after everything else */
    lvlm_replay_depth depth;
    bool checked; /* tensors were just compared with their digests: not again */
    void (*progress)(void *user, size_t done, size_t total); /* stages; may be NULL */
    void *user;
    void (*checking)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *checking_user; /* as lvlm_model_options has both */
    lvlm_notes *notes;   /* receives notes on model and recording, and outlives the
                          replay; NULL: none */
} lvlm_replay_options;

/* Compare every tensor of the model with its digest (LVLM_ECHECK names one that is
 * damaged), then run and compare. 0 also when stages are out of band: see n_failed. On
 * success *out must be freed with lvlm_replay_free. */
LVLM_MUST_CHECK int lvlm_replay_run(lvlm_replay *out, const char *model,
                                    const char *golden,
                                    const lvlm_replay_options *options,
                                    lvlm_error *err);
void lvlm_replay_free(lvlm_replay *replay);

/* Does the recording say that it is of another family than the model? */
bool lvlm_replay_is_foreign(const lvlm_replay *replay);

/* Can a stage have this name, or match this pattern ("text.blocks.*")? */
bool lvlm_replay_knows(const char *name);

/* "ok", "exact", "rounding", "OUT OF BAND", "missing", "wrong shape", "vacuous". */
const char *lvlm_verdict_name(lvlm_verdict verdict);
bool lvlm_verdict_passes(lvlm_verdict verdict);
/* Did the stage have values to compare? */
bool lvlm_verdict_compared(lvlm_verdict verdict);

LVLM_END_DECLS

#endif
