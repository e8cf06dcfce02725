/* checksum.h - every tensor of a native file, and the file, against the digests
 * inside. */
#ifndef LVLM_VERIFY_CHECKSUM_H
#define LVLM_VERIFY_CHECKSUM_H

#include "formats/checkpoint.h"

typedef struct lvlm_checksum_options {
    size_t threads;
    /* Told of each thing that is corrupt: a tensor's name, or "header". From the
     * calling thread, in file order. */
    void (*corrupt)(void *user, const char *name, const char *expected,
                    const char *got);
    void (*progress)(void *user, uint64_t n_bytes); /* from any thread; may be NULL */
    void *user;
    void *progress_user;
} lvlm_checksum_options;

/* Reads every byte. *n_corrupt counts what does not fit; 0: the file is what was
 * written. A tensor without a digest, and a digest without a tensor, count as
 * corrupt. */
LVLM_MUST_CHECK int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                                  const lvlm_checksum_options *options,
                                  lvlm_error *err);

#endif
