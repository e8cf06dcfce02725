/* torchfile.h - reads files of torch.save without Python: .bin, .pt, .pth
 *
 *   zip form (since torch 1.6)          legacy form
 *   NAME/data.pkl   the object          pickle: magic number
 *   NAME/byteorder  "little"            pickle: protocol, 1001
 *   NAME/data/KEY   each storage        pickle: { "little_endian": True, ... }
 *                                       pickle: the object
 *                                       pickle: [KEY, ...]
 *                                       for each KEY: i64 elements | storage
 *
 * The object is a state dict, { name: tensor }, or holds one as "state_dict", "model"
 * or "module". Values that are not tensors (numbers, texts, lists: an epoch, a learning
 * rate) and everything next to a wrapped state dict are skipped. Parameters are read as
 * their tensors. Nothing in the pickle is executed (pickle.h).
 *
 * A tensor that is contiguous and overlaps no earlier tensor is a span of the file, as
 * in safetensors. Any other is detached (tensor.h): it shares its storage, or is a
 * strided view of it (a transposed matrix), whose values are copied in order unless it
 * is read in place. Distinct objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_CONTAINER_TORCHFILE_H
#define LVLM_FORMATS_CONTAINER_TORCHFILE_H

#include "formats/container/archive_tensors.h"

LVLM_BEGIN_DECLS

/* Does the file begin like one of the two forms? */
bool lvlm_torchfile_is(const lvlm_infile *file);

/* Read `file`, which must be whole. Names are in `arena`, data in `file` or `copies`.
 * `how`: see tensor.h. Copies take at most as many bytes as the file. LVLM_EFORMAT
 * names the member, the tensor and the rule, or the function that the pickle calls and
 * no state dict needs. */
LVLM_MUST_CHECK int lvlm_torchfile_read(lvlm_archive *out, const lvlm_infile *file,
                                        lvlm_read how, lvlm_arena *arena,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
