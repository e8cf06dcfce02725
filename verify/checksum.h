/* checksum.h - compares every tensor of a native file with the digest inside. The root
 * digest, that of the header, is checked when the file is opened. */
#ifndef LVLM_VERIFY_CHECKSUM_H
#define LVLM_VERIFY_CHECKSUM_H

#include "formats/base/run.h"
#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* Called for each tensor that is corrupt, from the calling thread, in file order. */
typedef void (*lvlm_corrupt)(void *user, const char *name, const char *expected,
                             const char *got);

/* Read every byte of `native`, a native file. *n_corrupt counts the tensors with
 * another digest; 0: the file is what was written. `corrupt` may be NULL. */
LVLM_MUST_CHECK int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                                  lvlm_corrupt corrupt, void *user, const lvlm_run *run,
                                  lvlm_error *err);

LVLM_END_DECLS

#endif
