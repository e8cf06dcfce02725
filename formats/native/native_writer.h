/* native_writer.h - the one way to write a native file.
 *
 *   1. compose the header and check it with the function that opens native files: an
 *      invalid file is refused before a byte is written
 *   2. execute the plan of its tensors, which are hashed while they are written
 *   3. check that the files that they came from did not change meanwhile
 *   4. write the header with the digests and commit the file
 *
 * Conversion, training and merging all write through it. lvlm_native_view opens such a
 * file without writing it. */
#ifndef LVLM_FORMATS_NATIVE_NATIVE_WRITER_H
#define LVLM_FORMATS_NATIVE_NATIVE_WRITER_H

#include "formats/base/outfile.h"
#include "formats/base/run.h"
#include "formats/container/plan.h"
#include "formats/native/native.h"

LVLM_BEGIN_DECLS

/* The header's members besides tensors. All are JSON text except the family. */
typedef struct lvlm_native_meta {
    const char *family;
    const char *config;
    const char *provenance;
    const char *ledger;
} lvlm_native_meta;

/* Called once after step 2, by the calling thread. It may replace strings of `meta` by
 * others of the same length. A negative code aborts with that code. */
typedef int (*lvlm_native_finish)(void *user, lvlm_native_meta *meta, lvlm_error *err);

enum { LVLM_NATIVE_SOURCES = 3 };

/* What to write. Everything is borrowed. */
typedef struct lvlm_native_parts {
    lvlm_native_meta meta;
    lvlm_plan *plan; /* every tensor in file order, pads included */
    /* the files that the tensors come from; NULL: none */
    const lvlm_checkpoint *sources[LVLM_NATIVE_SOURCES];
    lvlm_native_finish finish; /* or NULL */
    void *user;
} lvlm_native_parts;

/* Append the padding that a tensor of that type and shape needs at the plan's end.
 * *n_pads counts pads. */
LVLM_MUST_CHECK int lvlm_native_add_pad(lvlm_plan *plan, size_t *n_pads,
                                        const lvlm_tensor *next, lvlm_error *err);

/* Write the file and commit it; `file` must be empty. `root` receives the root digest.
 * LVLM_EFORMAT: it would be invalid. LVLM_ECHECK and LVLM_EIO as lvlm_execute and
 * lvlm_checkpoint_unchanged. */
LVLM_MUST_CHECK int lvlm_native_write(lvlm_hex_digest root, lvlm_outfile *file,
                                      const lvlm_native_parts *parts,
                                      const lvlm_run *run, lvlm_error *err);

/* What opening that file would give, without writing it: what is copied as it is stays
 * where the source has it, everything else is computed into memory now. On success the
 * mapped file of `source`, a native file and the only one, belongs to *out; close both.
 * `finish` is not called. Errors as lvlm_native_write. */
LVLM_MUST_CHECK int lvlm_native_view(lvlm_checkpoint **out, lvlm_checkpoint *source,
                                     const lvlm_native_meta *meta, lvlm_plan *plan,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
