/* replay.h - runs a model on a recording's inputs and compares every stage.
 *
 * A recording (golden) is a .safetensors file: inputs under "in.", expected stages
 * under "out.", gradients of the mean loss under "grad." by the names of the source
 * checkpoint, and in its metadata the reference's versions and whose behaviour it
 * shows ("reference": "trained" or "transformers-X.Y.Z"). Rows of padding tokens are
 * not compared. A stage is within its band when its relative L2 is at most the
 * band's. A recorded value that is not finite proves nothing: its stage fails, whatever
 * is computed. */
#ifndef LVLM_VERIFY_REPLAY_H
#define LVLM_VERIFY_REPLAY_H

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/checkpoint.h"
#include "runtime/model.h"
#include "verify/metrics.h"

LVLM_BEGIN_DECLS

/* Default bands. Stages: 1e-5 in f32 (observed on the fixtures, gcc 12 and OpenBLAS
 * 0.3.21: at most 1e-6); 2e-6 in f64, because references keep rotary tables and
 * softmax in float32 even then. Logits besides: divergence of any row. */
#define LVLM_BAND_F32 1e-5
#define LVLM_BAND_F64 2e-6
#define LVLM_BAND_KL 1e-6
/* Gradients: observed at most 2e-5 in f32 on the recorded families. */
#define LVLM_BAND_GRADIENT 1e-4

enum { LVLM_WORST_ROWS = 5 };

/* One row (a token or a patch) of a stage, among those that differ most. */
typedef struct lvlm_worst_row {
    size_t index[2]; /* [b, t] for text, [image, patch] for vision */
    double relative_l2;
    int64_t token; /* the input id there; -1 where there is none */
} lvlm_worst_row;

typedef enum lvlm_verdict {
    LVLM_VERDICT_OK,
    LVLM_VERDICT_OUT,     /* outside its band */
    LVLM_VERDICT_MISSING, /* recorded, and this model does not compute it */
    LVLM_VERDICT_SHAPE,   /* computed in another shape */
} lvlm_verdict;

/* One stage, in order of computation. */
typedef struct lvlm_replay_stage {
    const char *name; /* "text.blocks.0", "grad.NAME" */
    lvlm_shape shape; /* as recorded */
    lvlm_shape got;   /* as computed */
    lvlm_distance distance;
    double relative_l2;
    double cosine;
    double band;
    double band_kl; /* logits: of max_kl */
    lvlm_verdict verdict;
    lvlm_worst_row worst[LVLM_WORST_ROWS];
    size_t n_worst;
    uint64_t
        n_not_finite;    /* of the recorded values that are compared: the stage fails */
    uint64_t not_finite; /* index of the first of those */
    bool is_logits;
    double max_kl;   /* logits: over rows of real tokens */
    uint64_t n_rows; /* logits: how many those are ... */
    uint64_t n_top1; /* ... and in how many both prefer the same token */
} lvlm_replay_stage;

typedef struct lvlm_replay {
    const char *model;  /* path */
    const char *golden; /* path */
    const char *family;
    const char *reference; /* whose behaviour was computed */
    const char *
        *differences; /* names of the differences from what was trained in force */
    size_t n_differences;
    const cJSON *golden_metadata; /* borrowed from the recording */
    lvlm_hex_digest model_root;   /* root digest of the native file */
    lvlm_hex_digest golden_sha256;
    lvlm_compute compute;
    const lvlm_notes *notes; /* of the options */
    lvlm_replay_stage *stages;
    size_t n_stages;
    size_t n_failed;
    const lvlm_replay_stage *first_bad; /* in order of computation; NULL: none */
    /* owned; not for callers */
    lvlm_checkpoint *recording;
    lvlm_arena arena;
} lvlm_replay;

typedef struct lvlm_replay_options {
    lvlm_compute compute;
    size_t threads;
    const char *reference; /* NULL: what the recording says, else "trained" */
    const char *tolerance; /* path of JSON, { STAGE or GLOB: band, ... }, or NULL */
    bool grads;            /* compare the recorded gradients too, behind the stages */
    void (*progress)(void *user, size_t done, size_t total); /* stages; may be NULL */
    void *user;
    void (*checking)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *checking_user; /* as lvlm_model_options has both */
    lvlm_notes *notes;   /* receives what of model and recording is passed over, and
                          outlives the replay; NULL: none */
} lvlm_replay_options;

/* Compare every tensor of the model with its digest (LVLM_ECHECK names one that is
 * damaged), then run and compare. 0 also when stages are out of band: see n_failed. On
 * success *out must be freed with lvlm_replay_free. */
LVLM_MUST_CHECK int lvlm_replay_run(lvlm_replay *out, const char *model,
                                    const char *golden,
                                    const lvlm_replay_options *options,
                                    lvlm_error *err);
void lvlm_replay_free(lvlm_replay *replay);

/* Can a stage have this name? Also of a pattern, "text.blocks.*". */
bool lvlm_replay_knows(const char *name);

/* "ok", "OUT OF BAND", "missing", "wrong shape". */
const char *lvlm_verdict_name(lvlm_verdict verdict);

LVLM_END_DECLS

#endif
