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

#include "formats/container/archive_tensors.h"

LVLM_BEGIN_DECLS

/* Read `file`, which must be whole. Names are in `arena`, data in `file` or `copies`.
 * `how`: see tensor.h; a deflated member is inflated unless only headers are read.
 * LVLM_EFORMAT names the member and the rule. Arrays of Python objects are refused
 * because they are pickles. */
LVLM_MUST_CHECK int lvlm_npz_read(lvlm_archive *out, const lvlm_infile *file,
                                  lvlm_read how, lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
