/* audit.h - everything that is checked of one native file: the digests in it, its
 * tensors and projections against its family, and its parity with recordings.
 *
 *   checksum, schema, projections, one replay for each recording
 *
 * A check that fails does not keep the others from being made. */
#ifndef LVLM_VERIFY_AUDIT_H
#define LVLM_VERIFY_AUDIT_H

#include "formats/base/run.h"
#include "verify/projection_values.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_check_kind {
    LVLM_CHECK_CHECKSUM,
    LVLM_CHECK_SCHEMA,
    LVLM_CHECK_PROJECTIONS,
    LVLM_CHECK_REPLAY,
} lvlm_check_kind;

typedef enum lvlm_check_state {
    LVLM_CHECK_PASSED,
    LVLM_CHECK_FAILED,
    LVLM_CHECK_ERROR,   /* it could not be made: `error` says why */
    LVLM_CHECK_SKIPPED, /* the file is damaged: it was not tried */
} lvlm_check_state;

typedef struct lvlm_check {
    lvlm_check_kind kind;
    lvlm_check_state state;
    const char *golden;    /* of a replay: the path as it was given; else NULL */
    size_t n, n_failed;    /* tensors, projections or stages */
    const char **problems; /* sentences, except of a replay, whose stages say it */
    size_t n_problems;
    lvlm_error error;
    lvlm_replay replay; /* of a replay that passed or failed */
} lvlm_check;

typedef struct lvlm_audit {
    const char *model;                    /* path */
    lvlm_checkpoint *checkpoint;          /* NULL: its header is damaged */
    lvlm_manifest manifest;               /* of it */
    const lvlm_projection_values *values; /* of its projections, in their order; NULL:
                                             not read */
    lvlm_check *checks;                   /* in the order of their kinds */
    size_t n_checks;
    size_t n_passed;
    const lvlm_check *worst;     /* the first that could not be made, or else the first
                                that failed; NULL: all passed */
    lvlm_replay_options options; /* of the replays */
    lvlm_arena arena;            /* owned; not for callers */
    size_t problem_room;
} lvlm_audit;

typedef struct lvlm_audit_options {
    lvlm_replay_options replay;
    lvlm_run checksum; /* threads and progress of the checksum */
    lvlm_notes *notes; /* as replay.notes */
} lvlm_audit_options;

/* Make every check of the native file `model` with those recordings. 0 also when checks
 * fail or cannot be made: see `worst`. LVLM_EFORMAT if it is not a native file,
 * LVLM_EIO if it cannot be read. On success free *out with lvlm_audit_free. */
LVLM_MUST_CHECK int lvlm_audit_run(lvlm_audit *out, const char *model,
                                   const char *const *goldens, size_t n_goldens,
                                   const lvlm_audit_options *options, lvlm_error *err);
void lvlm_audit_free(lvlm_audit *audit);

/* "checksum", "schema", "projections", "replay". */
const char *lvlm_check_name(lvlm_check_kind kind);
/* "passed", "failed", "error", "skipped". */
const char *lvlm_check_state_name(lvlm_check_state state);

LVLM_END_DECLS

#endif
