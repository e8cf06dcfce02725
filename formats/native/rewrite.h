/* rewrite.h - writes a copy of a native file with new values in some of its tensors,
 * for training and merging. Distinct objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_NATIVE_REWRITE_H
#define LVLM_FORMATS_NATIVE_REWRITE_H

#include "formats/native/native_writer.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_rewrite {
    const lvlm_checkpoint *source; /* a native file */
    const lvlm_checkpoint *other;  /* holds the new values; may be NULL */
    const cJSON *provenance;       /* of the new file; all else is copied */
    /* Does this tensor get new values? */
    bool (*changes)(void *user, const lvlm_tensor *tensor);
    lvlm_write write;          /* puts them; step->inputs[0] is the source's tensor */
    lvlm_native_finish finish; /* or NULL */
    void *user;
} lvlm_rewrite;

/* Write the new file and commit it; `root` receives its root digest. The source's
 * tensors are checked against their digests while they are copied. LVLM_ECHECK names a
 * corrupt one, LVLM_EIO a file that was modified meanwhile. */
LVLM_MUST_CHECK int lvlm_rewrite_run(lvlm_hex_digest root, lvlm_outfile *file,
                                     const lvlm_rewrite *rewrite, const lvlm_run *run,
                                     lvlm_error *err);

/* ---- what was done to the values ------------------------------------------------ */

/* The source of a LLaVA as its makers save it, whose folder is given back. */
#define LVLM_PROVENANCE_MAKERS "llava of its makers"
/* Members of the provenance. */
#define LVLM_PROVENANCE_STEPS "trained_steps"      /* total over all runs */
#define LVLM_PROVENANCE_ADAPTERS "merged_adapters" /* number folded in */
#define LVLM_PROVENANCE_EXCHANGED "exchanged"   /* tensors of each part from another */
#define LVLM_PROVENANCE_RESOLUTION "resolution" /* pixels of a side, from and to */
#define LVLM_PROVENANCE_RESHAPED "reshaped"     /* tensors of another shape, in all */

/* Add `n` to such a member; 0 if it is absent. */
LVLM_MUST_CHECK int lvlm_provenance_add(cJSON *provenance, const char *member,
                                        uint64_t n, lvlm_error *err);
/* Do the values differ from those that were converted? */
bool lvlm_provenance_changed(const cJSON *provenance);
/* Do shapes, so that the source's files have no place for them? */
bool lvlm_provenance_reshaped(const cJSON *provenance);

LVLM_END_DECLS

#endif
