/* digests.h - tensors and the SHA-256 that their own file records of them.
 *
 * A sealed file is a safetensors file whose metadata has
 *
 *   root      SHA-256 of the header, its length included, with these 64 digits read
 *             as '0'
 *   digests   JSON: { NAME: SHA-256 of its bytes, ... } for every tensor, in file order
 *
 * so that no bit of it changes unnoticed: native files, training states and adapters.
 * Tensors are read side by side, each once. */
#ifndef LVLM_FORMATS_DIGESTS_H
#define LVLM_FORMATS_DIGESTS_H

#include "formats/base/digest.h"
#include "formats/checkpoint.h"

LVLM_BEGIN_DECLS

/* ---- writing -------------------------------------------------------------------- */

/* Add both members to `metadata`, an object of texts without them, for a file of these
 * tensors in memory in the order in which lvlm_safetensors_write writes them. */
LVLM_MUST_CHECK int lvlm_seal(cJSON *metadata, const lvlm_tensor *tensors,
                              size_t n_tensors, size_t threads, lvlm_error *err);

/* ---- reading -------------------------------------------------------------------- */

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

/* Are those tensors of a sealed file, of which lvlm_native_check_seal has read the
 * digests, what was written? LVLM_ECHECK names the first tensor that is not, and how
 * many more there are. */
LVLM_MUST_CHECK int lvlm_digests_check(const lvlm_checkpoint *file,
                                       const lvlm_digests_run *run, lvlm_error *err);

/* ---- native files --------------------------------------------------------------- */

/* Does a program that runs the model read this tensor of a native file: weights and
 * side files, and neither what is kept for export nor padding? For `wants`. */
bool lvlm_native_runs_with(const lvlm_tensor *tensor);

/* Check the side files of a native file: their settings, tokenizers and templates
 * decide what is computed. Other checkpoints record no digests and pass. */
LVLM_MUST_CHECK int lvlm_native_check_side_files(const lvlm_checkpoint *checkpoint,
                                                 size_t threads, lvlm_error *err);

LVLM_END_DECLS

#endif
