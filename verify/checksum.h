/* checksum.h - every tensor of a native file against the digest inside. The header's
 * own, the root digest, has been checked at opening. */
#ifndef LVLM_VERIFY_CHECKSUM_H
#define LVLM_VERIFY_CHECKSUM_H

#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_checksum_options {
    size_t threads;
    /* Called for each tensor that is corrupt, from the calling thread, in file
     * order. */
    void (*corrupt)(void *user, const char *name, const char *expected,
                    const char *got);
    /* As lvlm_digests_run has it. */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
    void *progress_user;
} lvlm_checksum_options;

/* Reads every byte of `native`, a native file. *n_corrupt counts the tensors that do
 * not have their digest; 0: the file is what was written. */
LVLM_MUST_CHECK int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                                  const lvlm_checksum_options *options,
                                  lvlm_error *err);

LVLM_END_DECLS

#endif
