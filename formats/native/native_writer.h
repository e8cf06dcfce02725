/* native_writer.h - the one way to write a native file.
 *
 *   open     composes the header and validates it with the function that opens native
 *            files: an invalid file is refused before a byte is written
 *   ...      the caller writes tensor i at starts[i] of `file`, from any thread, and
 *            puts its SHA-256 into digests[i]
 *   finish   writes the header with the digests and commits the file
 *   close    frees the writer; the caller still owns the file
 */
#ifndef LVLM_FORMATS_NATIVE_NATIVE_WRITER_H
#define LVLM_FORMATS_NATIVE_NATIVE_WRITER_H

#include "formats/base/outfile.h"
#include "formats/native/native.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_native_writer {
    lvlm_outfile *file;       /* borrowed */
    uint64_t *starts;         /* (n_tensors) offset of each tensor */
    lvlm_hex_digest *digests; /* (n_tensors) set by the caller */
    lvlm_native_meta meta;    /* may change before finish, but not in length */
    /* not for callers */
    const lvlm_tensor *tensors;
    size_t n_tensors;
    size_t header_bytes;
} lvlm_native_writer;

/* `tensors` (name, dtype and shape, in file order, pads included) and the strings of
 * `meta` are borrowed until finish. `file` must be empty. LVLM_EFORMAT: the header
 * would be invalid. Close the writer after success and failure. */
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
