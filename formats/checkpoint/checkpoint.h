/* checkpoint.h - one type for a checkpoint of any kind.
 *
 *   Hugging Face directory   config.json + model.safetensors, or shards and an index,
 *                            or else the same as pytorch_model.bin (torchfile.h);
 *                            also by its id in the local cache (hub_cache.h)
 *   big_vision .npz          NAME.npz (npz.h), for families that have them; config.json
 *                            is derived from the shapes or given
 *   native file              NAME.lvlm (see native.h)
 *   one .safetensors file    inputs, goldens, gradients
 *   one .bin, .pt, .pth      weights without a configuration, as any other .npz
 *
 * A checkpoint is tensors in mapped files, the bytes around them, and side files. Only
 * deflated arrays are copied and, unless they are read in place, strided tensors of
 * torch and arrays in Fortran order. Nothing is written. Distinct objects may be used
 * from distinct threads. One object may be read from many threads. */
#ifndef LVLM_FORMATS_CHECKPOINT_CHECKPOINT_H
#define LVLM_FORMATS_CHECKPOINT_CHECKPOINT_H

#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_open_options {
    /* names and shapes only: tensor data may be absent */
    bool headers_only;
    /* data may be strided (tensor.h): for callers that read it with lvlm_elements_read
     * and lvlm_transform_gather */
    bool in_place;
    const char *config; /* for an .npz: path of its config.json; NULL: none */
    lvlm_notes *notes;  /* borrowed, must outlive the checkpoint; NULL: none */
} lvlm_open_options;

/* Open a checkpoint of any kind. `options` may be NULL. On success *out must be closed
 * with lvlm_checkpoint_close, which frees tensors, names and side files. LVLM_EIO and
 * LVLM_EFORMAT messages name the file, the tensor and the rule. */
LVLM_MUST_CHECK int lvlm_checkpoint_open(lvlm_checkpoint **out, const char *path,
                                         const lvlm_open_options *options,
                                         lvlm_error *err);
void lvlm_checkpoint_close(lvlm_checkpoint *checkpoint);

/* Check the data against the source's own checksums: the CRC-32 of an archive's members
 * (.npz, .bin), and the SHA-256 by which the hub's cache names a file. Opening does
 * not, because this reads every byte. LVLM_EFORMAT names the member or file that is
 * corrupt. Sources without checksums pass; a .bin written without them is noted. */
LVLM_MUST_CHECK int lvlm_checkpoint_check(const lvlm_checkpoint *checkpoint,
                                          size_t n_threads, lvlm_error *err);

LVLM_END_DECLS

#endif
