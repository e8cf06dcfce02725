/* source_digest.h - a digest of the checkpoint that a native file came from. Every
 * function may be called from several threads at once. */
#ifndef LVLM_FORMATS_CHECKPOINT_SOURCE_DIGEST_H
#define LVLM_FORMATS_CHECKPOINT_SOURCE_DIGEST_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* SHA-256 of a listing of the tensors that the native file `manifest` gives back: for
 * each, in byte order of their names, "NAME DTYPE [d0, d1] SHA256" and a newline; the
 * last of the bytes as they are stored, row-major (GOLDEN.md). Digests that the file
 * records are taken from it, only tensors that conversion took apart are put together
 * and hashed. hex is "" where this is not known: of a model that is not a native file,
 * and of one whose types were changed. */
LVLM_MUST_CHECK int lvlm_source_digest(lvlm_hex_digest hex,
                                       const lvlm_manifest *manifest, lvlm_error *err);

LVLM_END_DECLS

#endif
