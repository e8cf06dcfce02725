/* npz.h - what numpy.savez wrote: a zip archive with one KEY.npy for each array.
 *
 *   KEY.npy   "\x93NUMPY" | version, 2 bytes | header length | header | elements
 *   header    a dictionary literal of Python:
 *             {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
 *
 * The tensor's name is KEY. Two-byte void ('|V2') is bf16, which numpy has no name for.
 *
 * A stored member in C order is a span of the file, like a tensor of safetensors. Any
 * other tensor is detached (tensor.h) and its values are copied at once, when the file
 * is opened: a member in Fortran order is transposed, unless it is read in place, and
 * its bytes stay in the file's frame; a deflated member is inflated and checked against
 * its CRC-32, and `compressed` is set: such a file cannot be rebuilt byte for byte.
 * big_vision never deflates, so lazy inflation would gain nothing. Distinct objects may
 * be used from distinct threads. */
#ifndef LVLM_FORMATS_CONTAINER_NPZ_H
#define LVLM_FORMATS_CONTAINER_NPZ_H

#include "formats/base/arena.h"
#include "formats/base/infile.h"
#include "formats/container/tensor.h"
#include "formats/container/zip.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_npz {
    /* spans in order of offset, then the detached ones in order of offset; `file` is
     * 0 */
    lvlm_tensor *tensors;
    size_t n_tensors;
    /* its members; the CRC-32 of stored ones is not yet checked (lvlm_zip_check) */
    lvlm_zip zip;
    bool compressed;       /* a member is deflated */
    unsigned char *copies; /* values of detached tensors, or NULL; owned here */
} lvlm_npz;

/* Read `file`, which must be whole. Names are in `arena`, data in `file` or `copies`.
 * `how`: see tensor.h; a deflated member is inflated unless only headers are read.
 * LVLM_EFORMAT names the member and the rule. Arrays of Python objects are refused
 * because they are pickles. Free with lvlm_npz_free. */
LVLM_MUST_CHECK int lvlm_npz_read(lvlm_npz *out, const lvlm_infile *file, lvlm_read how,
                                  lvlm_arena *arena, lvlm_error *err);
void lvlm_npz_free(lvlm_npz *npz);

LVLM_END_DECLS

#endif
