/* native_writer.h - the one way to write a native file.
 *
 *   open     composes the header and has it read by the function that opens native
 *            files: what could not be opened again is refused before a byte is written
 *   ...      the caller writes tensor i at starts[i] of `file`, from any thread, and
 *            puts its SHA-256 into digests[i]
 *   finish   the header with the digests; the file is committed
 *   close    frees what the writer holds; the file stays the caller's
 */
#ifndef LVLM_FORMATS_NATIVE_WRITER_H
#define LVLM_FORMATS_NATIVE_WRITER_H

#include "formats/base/outfile.h"
#include "formats/native.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_native_writer {
    lvlm_outfile *file;       /* borrowed */
    uint64_t *starts;         /* (n_tensors) where each begins */
    lvlm_hex_digest *digests; /* (n_tensors) set by the caller */
    lvlm_native_meta meta; /* may change before finish, to texts of the same length */
    /* not for callers */
    const lvlm_tensor *tensors;
    size_t n_tensors;
    size_t header_bytes;
} lvlm_native_writer;

/* `tensors` (name, dtype and shape, in file order, pads included) and the texts of
 * `meta` are borrowed until finish; `file` has nothing in it. LVLM_EFORMAT: they do not
 * make a native file. To be closed after success and failure. */
LVLM_MUST_CHECK int lvlm_native_writer_open(lvlm_native_writer *out,
                                            const lvlm_native_meta *meta,
                                            const lvlm_tensor *tensors,
                                            size_t n_tensors, lvlm_outfile *file,
                                            lvlm_error *err);
/* `root` receives the root digest. */
LVLM_MUST_CHECK int lvlm_native_writer_finish(lvlm_native_writer *writer,
                                              lvlm_hex_digest root, lvlm_error *err);
void lvlm_native_writer_close(lvlm_native_writer *writer);

LVLM_END_DECLS

#endif
