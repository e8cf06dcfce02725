/* resolution.h - a native file opened for pictures of another size. */
#ifndef LVLM_FORMATS_RESHAPE_RESOLUTION_H
#define LVLM_FORMATS_RESHAPE_RESOLUTION_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* Open the native file at `path` and build its manifest, as lvlm_manifest_open does. If
 * `pixels`, of a picture's side, is neither 0 nor what the model takes, everything is
 * as in the file that lvlm-convert change --resolution writes: tables of positions
 * interpolated (in memory), configuration, files of the picture's processor,
 * provenance, digests. LVLM_EFORMAT: the family has no table of positions, or takes no
 * pictures of that size. */
LVLM_MUST_CHECK int lvlm_resolution_open(lvlm_manifest *out,
                                         lvlm_checkpoint **checkpoint, const char *path,
                                         uint64_t pixels, lvlm_notes *notes,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
