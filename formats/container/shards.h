/* shards.h - the files that hold a model: one file, or shards and their index.
 *
 *   model.safetensors               pytorch_model.bin               one file
 *   model.safetensors.index.json    pytorch_model.bin.index.json    "weight_map":
 *                                                                   { TENSOR: FILE }
 *   model-00001-of-00003            pytorch_model-00001-of-00003    named by the index
 *   .safetensors, ...               .bin, ...
 *
 * Not here: opening the files (checkpoint.c). Distinct objects may be used from
 * distinct threads. */
#ifndef LVLM_FORMATS_CONTAINER_SHARDS_H
#define LVLM_FORMATS_CONTAINER_SHARDS_H

#include "formats/base/arena.h"
#include "formats/container/tensor.h"

LVLM_BEGIN_DECLS

#define LVLM_MODEL_FILE "model.safetensors"
#define LVLM_INDEX_FILE "model.safetensors.index.json"
#define LVLM_BIN_FILE "pytorch_model.bin"
#define LVLM_BIN_INDEX_FILE "pytorch_model.bin.index.json"

/* The maximum number of files in an index; the largest released model has under 200. */
enum { LVLM_MAX_SHARDS = 10000 };

typedef struct lvlm_shard_entry {
    const char *tensor;
    size_t file; /* index into files */
} lvlm_shard_entry;

typedef struct lvlm_shards {
    const char **files; /* plain file names, sorted, each once */
    size_t n_files;
    lvlm_shard_entry *entries; /* sorted by tensor name */
    size_t n_entries;
} lvlm_shards;

/* Parse and validate an index. Everything is in `arena`. LVLM_EFORMAT if weight_map is
 * missing, empty or holds anything except plain file names (no '/', no leading '.')
 * that end in `suffix`: ".safetensors" or ".bin". */
LVLM_MUST_CHECK int lvlm_shards_parse(lvlm_shards *out, const char *text,
                                      size_t n_bytes, const char *suffix,
                                      lvlm_arena *arena, lvlm_error *err);

/* Check the index against the files: every entry is in the file that it names, and
 * every tensor has an entry. `by_name` is sorted by name; a tensor's `file` is an index
 * into shards->files. */
LVLM_MUST_CHECK int lvlm_shards_agree(const lvlm_shards *shards,
                                      const lvlm_tensor *const *by_name,
                                      size_t n_tensors, lvlm_error *err);

LVLM_END_DECLS

#endif
