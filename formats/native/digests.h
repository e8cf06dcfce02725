/* digests.h - checks tensors against the SHA-256 that their file records.
 *
 * A sealed file is a safetensors file whose metadata has
 *
 *   root      SHA-256 of the header, its length included, with these 64 digits read
 *             as '0'
 *   digests   JSON: { NAME: SHA-256 of its bytes, ... } for every tensor, in file order
 *
 * so that no bit of it changes unnoticed. Native files, training states and adapters
 * are sealed. Tensors are hashed in parallel, each read once. */
#ifndef LVLM_FORMATS_NATIVE_DIGESTS_H
#define LVLM_FORMATS_NATIVE_DIGESTS_H

#include "formats/base/digest.h"
#include "formats/base/run.h"
#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

/* ---- writing -------------------------------------------------------------------- */

/* Add both members to `metadata`, an object of strings that has neither. `tensors` are
 * in memory, in the order in which lvlm_safetensors_write writes them. */
LVLM_MUST_CHECK int lvlm_seal(cJSON *metadata, const lvlm_tensor *tensors,
                              size_t n_tensors, size_t threads, lvlm_error *err);

/* ---- reading -------------------------------------------------------------------- */

/* Selects tensors; NULL: all of them. */
typedef bool (*lvlm_selects)(const lvlm_tensor *tensor);

/* The digests of the selected tensors of `file`. The progress counts the bytes read.
 * out (file->n_tensors) */
LVLM_MUST_CHECK int lvlm_digests_compute(lvlm_hex_digest *out,
                                         const lvlm_checkpoint *file,
                                         lvlm_selects selects, const lvlm_run *run,
                                         lvlm_error *err);

/* Compare those tensors of a sealed file with their digests, which
 * lvlm_native_check_seal has read. LVLM_ECHECK names the first that differs and how
 * many more do. */
LVLM_MUST_CHECK int lvlm_digests_check(const lvlm_checkpoint *file,
                                       lvlm_selects selects, const lvlm_run *run,
                                       lvlm_error *err);

/* ---- native files --------------------------------------------------------------- */

/* Is this tensor of a native file needed to run the model? True for weights and side
 * files, false for tensors kept for export and padding. An lvlm_selects. */
bool lvlm_native_runs_with(const lvlm_tensor *tensor);

/* Check the side files of a native file: settings, tokenizers and templates decide what
 * is computed. Other checkpoints have no digests and pass. */
LVLM_MUST_CHECK int lvlm_native_check_side_files(const lvlm_checkpoint *checkpoint,
                                                 size_t threads, lvlm_error *err);

LVLM_END_DECLS

#endif
