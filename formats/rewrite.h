/* rewrite.h - a native file written again with other values in some of its tensors.
 *
 *   header | every tensor at its place, in its type | header again, with the digests
 *
 * What training and merging leave. The source's tensors are held against their digests
 * on the way. Several threads, each with a tensor of its own; nothing grows with the
 * model. */
#ifndef LVLM_FORMATS_REWRITE_H
#define LVLM_FORMATS_REWRITE_H

#include "formats/base/outfile.h"
#include "formats/native.h"

LVLM_BEGIN_DECLS

/* Where the bytes of one tensor go. */
typedef struct lvlm_rewrite_sink lvlm_rewrite_sink;

typedef struct lvlm_rewrite {
    const lvlm_checkpoint *source; /* a native file */
    const lvlm_checkpoint *other;  /* where new values come from; may be NULL */
    const cJSON *provenance;       /* of the new one; all else is the source's */
    /* Does this tensor get other values? */
    bool (*changes)(void *user, const lvlm_tensor *tensor);
    /* Those, tensor->n_bytes in its own type, front to back by lvlm_rewrite_put. From
     * any thread. */
    int (*write)(void *user, const lvlm_tensor *tensor, lvlm_rewrite_sink *sink,
                 lvlm_error *err);
    /* Called once, after the last tensor and before the file appears, with what all of
     * them together have shown: a negative code is the result. May be NULL. */
    int (*finish)(void *user, lvlm_error *err);
    void *user;
    size_t threads; /* at least 1 */
    /* Told how many bytes of tensors are written, from any thread; may be NULL. */
    void (*progress)(void *user, uint64_t n_bytes);
    void *progress_user;
} lvlm_rewrite;

/* Write the new file and commit it; `root` receives its root digest. LVLM_ECHECK names
 * a tensor of the source that is corrupt, LVLM_EIO a file that was written to
 * meanwhile. */
LVLM_MUST_CHECK int lvlm_rewrite_run(const lvlm_rewrite *rewrite, lvlm_outfile *file,
                                     lvlm_hex_digest root, lvlm_error *err);

/* The next bytes of the tensor. Errors are told by lvlm_rewrite_run. */
void lvlm_rewrite_put(lvlm_rewrite_sink *sink, const void *bytes, size_t n_bytes);

/* ---- what was done to the values ------------------------------------------------ */

/* Members of the provenance. */
#define LVLM_PROVENANCE_STEPS "trained_steps"      /* how many, all runs together */
#define LVLM_PROVENANCE_ADAPTERS "merged_adapters" /* how many were folded in */

/* Add `n` to such a member, which begins at 0. */
LVLM_MUST_CHECK int lvlm_provenance_add(cJSON *provenance, const char *member,
                                        uint64_t n, lvlm_error *err);
/* Are the values others than those that were converted? */
bool lvlm_provenance_changed(const cJSON *provenance);

LVLM_END_DECLS

#endif
