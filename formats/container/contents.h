/* contents.h - what a checkpoint of any kind holds: tensors in mapped files, the bytes
 * around them, and the files next to them.
 *
 * Containers are read into this type here; checkpoint.h opens one from a path. Distinct
 * objects may be used from distinct threads. One object may be read from many. */
#ifndef LVLM_FORMATS_CONTAINER_CONTENTS_H
#define LVLM_FORMATS_CONTAINER_CONTENTS_H

#include <cjson/cJSON.h>

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/base/infile.h"
#include "formats/base/notes.h"
#include "formats/container/tensor.h"
#include "formats/container/zip.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_checkpoint_kind {
    LVLM_CHECKPOINT_HF,     /* directory with config.json */
    LVLM_CHECKPOINT_NPZ,    /* big_vision's .npz; its config.json is derived */
    LVLM_CHECKPOINT_NATIVE, /* .lvlm */
    LVLM_CHECKPOINT_PLAIN,  /* one file of tensors: no config */
} lvlm_checkpoint_kind;

/* A file that holds tensors. Bytes that belong to no tensor (a safetensors header, a
 * zip's directory) are its frame: spans and frame together are the whole file. A
 * detached tensor (tensor.h) has no span. */
typedef struct lvlm_source_file {
    const char *name; /* inside the directory */
    lvlm_infile *map;
    unsigned char *copies; /* values of detached tensors, or NULL */
    bool compressed;       /* holds deflated tensors: cannot be rebuilt */
    lvlm_zip zip;          /* members of an archive (.npz, .bin); else empty */
} lvlm_source_file;

/* A file beside the tensors: configuration, tokenizer, templates, the shard index. */
typedef struct lvlm_side_file {
    const char *name;
    const unsigned char *bytes;
    uint64_t n_bytes;
} lvlm_side_file;

struct lvlm_native;

typedef struct lvlm_checkpoint {
    lvlm_checkpoint_kind kind;
    const char *path; /* as given by the user; of a model id: its snapshot */
    /* file by file, spans in order of offset, then the detached ones in order of offset
     * and name */
    lvlm_tensor *tensors;
    size_t n_tensors;
    const lvlm_tensor **by_name; /* the same, sorted by name */
    lvlm_source_file *files;
    size_t n_files;
    lvlm_side_file *side_files; /* sorted by name; native: those packed inside */
    size_t n_side_files;

    /* ---- how it was opened ---- */
    bool headers_only, in_place;
    /* borrowed: receives what readers skip, such as files of a directory that are not
     * kept; or NULL */
    lvlm_notes *notes;

    /* ---- HF and NPZ; NULL for the others ---- */
    cJSON *config;    /* config.json */
    bool config_made; /* NPZ: derived from the shapes, not given */
    /* NPZ: a sentence on what had to be assumed, because neither shapes nor released
     * models decide it, or NULL */
    const char *assumed;

    /* ---- native and plain: of the first file if that is safetensors ---- */
    cJSON *metadata;       /* __metadata__, or NULL */
    uint64_t header_bytes; /* its length included */
    bool header_in_order;  /* it lists metadata first, then tensors by offset */
    /* sealed files (digests.h), after the check: one for each of `tensors` */
    lvlm_hex_digest *digests;
    struct lvlm_native *native; /* native: the remainder of its header (native.h) */

    /* ---- owned; not for callers ---- */
    lvlm_arena arena;
    lvlm_infile **side_maps;
    size_t n_side_maps;
} lvlm_checkpoint;

/* LVLM_EIO names a file of the checkpoint (or a side file) that was modified since it
 * was opened (lvlm_infile_unchanged). Output made from it must not be committed. */
LVLM_MUST_CHECK int lvlm_checkpoint_unchanged(const lvlm_checkpoint *checkpoint,
                                              lvlm_error *err);

/* By exact name, O(log n); NULL when there is none. */
const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *checkpoint,
                                        const char *name);
/* A text of `metadata`; NULL when there is none. Borrowed. */
const char *lvlm_checkpoint_meta(const lvlm_checkpoint *checkpoint, const char *key);
const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *checkpoint,
                                                const char *name);

LVLM_END_DECLS

#endif
