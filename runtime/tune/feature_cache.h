/* feature_cache.h - features of a frozen tower in a folder, kept over epochs and runs.
 *
 *   DIR/KEY.safetensors   F32 or F64 [rows, width], a sealed file (digests.h)
 *   KEY                   SHA-256 of the images of a batch as the tower gets them, and
 *                         of all else that decides their features: the tower's tensors,
 *                         configuration, reference, precision, kernel, version
 *
 * All images of a batch are one file, because what else is multiplied with an image may
 * round it otherwise: features from the folder are those that would be computed, bit
 * for bit. Files appear whole or not at all, so several runs may share a folder. */
#ifndef LVLM_RUNTIME_TUNE_FEATURE_CACHE_H
#define LVLM_RUNTIME_TUNE_FEATURE_CACHE_H

#include "formats/base/digest.h"
#include "runtime/model.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_feature_cache {
    lvlm_feature_store store; /* for lvlm_model_options.features */
    const char *dir;          /* borrowed */
    lvlm_notes *notes;        /* borrowed; receives files that are damaged, and a folder
                                 that cannot be written; or NULL */
    lvlm_hex_digest settings; /* of all that is not the images */
    lvlm_hex_digest key;      /* of the images that were looked for last */
    size_t n_hits, n_misses;  /* batches with images; */
    size_t n_damaged;         /* so many of those computed had a damaged file */
    bool full;                /* writing failed: nothing more is kept */
} lvlm_feature_cache;

/* Make the folder if it is not there. Nothing is to be freed; `out` must not move while
 * a model uses its store. */
LVLM_MUST_CHECK int lvlm_feature_cache_open(lvlm_feature_cache *out, const char *dir,
                                            lvlm_notes *notes, lvlm_error *err);
/* Before the first pass of `model`, a native file opened with these options. */
LVLM_MUST_CHECK int lvlm_feature_cache_begin(lvlm_feature_cache *cache,
                                             const lvlm_model *model,
                                             const lvlm_model_options *options,
                                             lvlm_error *err);

LVLM_END_DECLS

#endif
