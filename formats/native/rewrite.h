/* rewrite.h - writes a copy of a native file with new values in some of its tensors.
 *
 *   header | every tensor, same offset and type | the header again, with digests
 *
 * Used by training and merging. The source's tensors are checked against their digests
 * while they are copied. Each thread writes one tensor at a time; memory does not grow
 * with the model. */
#ifndef LVLM_FORMATS_NATIVE_REWRITE_H
#define LVLM_FORMATS_NATIVE_REWRITE_H

#include "formats/base/outfile.h"
#include "formats/native/native.h"

LVLM_BEGIN_DECLS

/* Destination of one tensor's bytes. */
typedef struct lvlm_rewrite_sink lvlm_rewrite_sink;

typedef struct lvlm_rewrite {
    const lvlm_checkpoint *source; /* a native file */
    const lvlm_checkpoint *other;  /* holds the new values; may be NULL */
    const cJSON *provenance;       /* of the new file; all else is copied */
    /* Does this tensor get new values? */
    bool (*changes)(void *user, const lvlm_tensor *tensor);
    /* Produce them: tensor->n_bytes bytes in its own type, in order, by
     * lvlm_rewrite_put. Called from any thread. */
    int (*write)(void *user, const lvlm_tensor *tensor, lvlm_rewrite_sink *sink,
                 lvlm_error *err);
    /* Called once, after the last tensor and before the commit. A negative code aborts
     * with that code. May be NULL. */
    int (*finish)(void *user, lvlm_error *err);
    void *user;
    size_t threads; /* at least 1 */
    /* Called from any thread with the number of tensor bytes written since the last
     * call. May be NULL. */
    void (*progress)(void *user, uint64_t n_bytes);
    void *progress_user;
} lvlm_rewrite;

/* Write the new file and commit it; `root` receives its root digest. LVLM_ECHECK names
 * a corrupt tensor of the source, LVLM_EIO a file that was modified meanwhile. */
LVLM_MUST_CHECK int lvlm_rewrite_run(const lvlm_rewrite *rewrite, lvlm_outfile *file,
                                     lvlm_hex_digest root, lvlm_error *err);

/* Write the next bytes of the tensor. Errors are returned by lvlm_rewrite_run. */
void lvlm_rewrite_put(lvlm_rewrite_sink *sink, const void *bytes, size_t n_bytes);

/* ---- what was done to the values ------------------------------------------------ */

/* Members of the provenance. */
#define LVLM_PROVENANCE_STEPS "trained_steps"      /* total over all runs */
#define LVLM_PROVENANCE_ADAPTERS "merged_adapters" /* number folded in */

/* Add `n` to such a member; 0 if it is absent. */
LVLM_MUST_CHECK int lvlm_provenance_add(cJSON *provenance, const char *member,
                                        uint64_t n, lvlm_error *err);
/* Do the values differ from those that were converted? */
bool lvlm_provenance_changed(const cJSON *provenance);

LVLM_END_DECLS

#endif
