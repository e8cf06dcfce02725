/* recording.h - a file with what a reference computed: inputs, stages, gradients. Its
 * format is formats/GOLDEN.md. */
#ifndef LVLM_VERIFY_REPLAY_RECORDING_H
#define LVLM_VERIFY_REPLAY_RECORDING_H

#include "formats/base/digest.h"
#include "formats/checkpoint/checkpoint.h"
#include "verify/replay/stage_error.h"

LVLM_BEGIN_DECLS

/* Prefixes of the names of its tensors. */
#define LVLM_RECORDED_INPUT "in."
#define LVLM_RECORDED_STAGE "out."
#define LVLM_RECORDED_GRADIENT "grad."
#define LVLM_RECORDED_ROWS "rows."
#define LVLM_RECORDED_BATCH "batch."
#define LVLM_RECORDED_STEP "step."
#define LVLM_RECORDED_WEIGHT "weights."
#define LVLM_RECORDED_ROUND "round."
#define LVLM_RECORDED_CACHE "cache."
#define LVLM_RECORDED_TOKENS "tokens" /* after that of a stage */

typedef struct lvlm_recording {
    const char *path;            /* borrowed from the caller */
    lvlm_checkpoint *checkpoint; /* owned */
    lvlm_hex_digest sha256;      /* of the file */
    /* borrowed; NULL: none */
    const cJSON *metadata;
    const char *family;
    const char
        *reference; /* whose behaviour it shows: "trained", "transformers-X.Y.Z" */
    bool in_double; /* computed in double throughout */
    const char
        *source;   /* digest of the checkpoint (formats/checkpoint/source_digest.h) */
    size_t layers; /* of a model cut to its first decoder blocks; 0: a whole one */
    const char *training;      /* settings of the recorded training steps, JSON */
    const lvlm_tensor *tokens; /* I64 [n], generated ones */
    double penalty;          /* for repetition, that they were chosen with; NAN: that of
                                generation_config.json */
    const lvlm_tensor *ids;  /* I64 or I32 [B, T], or NULL */
    const lvlm_tensor *mask; /* the same */
} lvlm_recording;

/* Open a recording and check everything that can be checked without a model. Unknown
 * metadata and tensors that are not compared are noted in `notes`.
 * LVLM_EFORMAT names what is wrong: a model in place of a recording, no stage, a stage
 * or gradient that is not finite, by its place, row numbers outside of their stage. On
 * success free with lvlm_recording_close. */
LVLM_MUST_CHECK int lvlm_recording_open(lvlm_recording *out, const char *path,
                                        lvlm_notes *notes, lvlm_error *err);
void lvlm_recording_close(lvlm_recording *recording);

/* The recorded values of stage "text.norm", or of "grad.NAME", "step.1.loss" and the
 * like; NULL: none. */
const lvlm_tensor *lvlm_recording_find(const lvlm_recording *recording,
                                       const char *name);
/* The rows of `tensor`, which is one of those. */
lvlm_rows lvlm_recording_rows(const lvlm_recording *recording,
                              const lvlm_tensor *tensor);

/* "text.norm" of "out.text.norm"; gradients, steps, weights and rounds keep their whole
 * name. NULL: none of these. */
const char *lvlm_recorded_name(const lvlm_tensor *tensor);

LVLM_END_DECLS

#endif
