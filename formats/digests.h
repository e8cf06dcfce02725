/* digests.h - tensors checked against the SHA-256 that their own file records of them.
 *
 * Native files, training states and adapters record one per tensor, in a JSON object
 * { NAME: 64 hexadecimal digits }. Tensors are read side by side, each once. */
#ifndef LVLM_FORMATS_DIGESTS_H
#define LVLM_FORMATS_DIGESTS_H

#include "formats/base/digest.h"
#include "formats/checkpoint.h"

typedef char lvlm_hex_digest[LVLM_DIGEST_HEX + 1];

typedef struct lvlm_digests_run {
    size_t threads;                           /* at least 1 */
    bool (*wants)(const lvlm_tensor *tensor); /* which are read; NULL: all of them */
    /* Called with the bytes that are read, of how many, from any thread; or NULL. */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *user; /* of progress */
} lvlm_digests_run;

/* The digests of the tensors of `file` that `run` wants.  out (file->n_tensors) */
LVLM_MUST_CHECK int lvlm_digests_compute(lvlm_hex_digest *out,
                                         const lvlm_checkpoint *file,
                                         const lvlm_digests_run *run, lvlm_error *err);

/* Are those tensors what `recorded` says? LVLM_ECHECK names the file and the first
 * tensor that has another digest, or none recorded, and how many more there are.
 * Lookups are fast where `recorded` has the tensors in file order. */
LVLM_MUST_CHECK int lvlm_digests_check(const lvlm_checkpoint *file,
                                       const cJSON *recorded,
                                       const lvlm_digests_run *run, lvlm_error *err);

/* The same for a native file and the digests in its header. */
LVLM_MUST_CHECK int lvlm_native_check_tensors(const lvlm_checkpoint *native,
                                              const lvlm_digests_run *run,
                                              lvlm_error *err);

/* The side files of a native file only, whose settings, tokenizers and templates decide
 * what is computed. Other checkpoints record no digests and pass. */
LVLM_MUST_CHECK int lvlm_native_check_side_files(const lvlm_checkpoint *checkpoint,
                                                 size_t threads, lvlm_error *err);

/* Does a program that runs the model read this tensor of a native file: weights and
 * side files, and neither what is kept for export nor padding? For `wants`. */
bool lvlm_native_runs_with(const lvlm_tensor *tensor);

#endif
