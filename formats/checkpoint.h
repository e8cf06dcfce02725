/* checkpoint.h - one type for a checkpoint of any kind.
 *
 *   Hugging Face directory   config.json + model.safetensors, or shards and an index,
 *                            or else the same as pytorch_model.bin (torchfile.h);
 *                            also by its id in the local cache (hub_cache.h)
 *   big_vision .npz          NAME.npz (npz.h), for families that have them; config.json
 *                            is derived from the shapes or given
 *   native file              NAME.lvlm (see native.h)
 *   one .safetensors file    inputs, goldens, gradients
 *   one .bin, .pt, .pth      weights without a configuration, as any other .npz
 *
 * A checkpoint is tensors in mapped files, the bytes around them, and side files. Only
 * deflated arrays are copied and, unless they are read in place, strided tensors of
 * torch and arrays in Fortran order. Nothing is written. Distinct objects may be used
 * from distinct threads. One object may be read from many threads. */
#ifndef LVLM_FORMATS_CHECKPOINT_H
#define LVLM_FORMATS_CHECKPOINT_H

#include <cjson/cJSON.h>

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/base/infile.h"
#include "formats/base/notes.h"
#include "formats/tensor.h"
#include "formats/zip.h"

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
    cJSON *config;    /* HF, NPZ: config.json; native and plain: NULL */
    bool config_made; /* NPZ: derived from the shapes, not given */
    /* NPZ: a sentence on what had to be assumed, because neither shapes nor released
     * models decide it, or NULL */
    const char *assumed;
    cJSON *metadata; /* native and plain: __metadata__, or NULL */
    /* sealed files (digests.h), after the check: one for each of `tensors` */
    lvlm_hex_digest *digests;
    struct lvlm_native *native; /* native: the remainder of its header (native.h) */
    uint64_t
        /* of the first file if that is safetensors, its length included */
        header_bytes;
    bool header_in_order; /* ... and it lists metadata first, then tensors by offset */
    bool headers_only, in_place;
    /* borrowed: receives what readers skip, such as files of a directory that are not
     * kept; or NULL */
    lvlm_notes *notes;
    /* owned below; not for callers */
    lvlm_arena arena;
    lvlm_infile **side_maps;
    size_t n_side_maps;
} lvlm_checkpoint;

typedef struct lvlm_open_options {
    /* names and shapes only: tensor data may be absent */
    bool headers_only;
    /* data may be strided (tensor.h): for callers that read it with lvlm_elements_read
     * and lvlm_transform_gather */
    bool in_place;
    const char *config; /* for an .npz: path of its config.json; NULL: none */
    lvlm_notes *notes;  /* borrowed, must outlive the checkpoint; NULL: none */
} lvlm_open_options;

/* Open a checkpoint of any kind. `options` may be NULL. On success *out must be closed
 * with lvlm_checkpoint_close, which frees tensors, names and side files. LVLM_EIO and
 * LVLM_EFORMAT messages name the file, the tensor and the rule. */
LVLM_MUST_CHECK int lvlm_checkpoint_open(lvlm_checkpoint **out, const char *path,
                                         const lvlm_open_options *options,
                                         lvlm_error *err);
void lvlm_checkpoint_close(lvlm_checkpoint *checkpoint);

/* Check a header in memory by every rule that opening a native file checks. For
 * writers, before they write it. */
LVLM_MUST_CHECK int lvlm_checkpoint_check_native(const void *header, size_t n_bytes,
                                                 lvlm_error *err);

/* Check the data against the source's own checksums: the CRC-32 of an archive's members
 * (.npz, .bin), and the SHA-256 by which the hub's cache names a file. Opening does
 * not, because this reads every byte. LVLM_EFORMAT names the member or file that is
 * corrupt. Sources without checksums pass; a .bin written without them is noted. */
LVLM_MUST_CHECK int lvlm_checkpoint_check(const lvlm_checkpoint *checkpoint,
                                          size_t n_threads, lvlm_error *err);

/* LVLM_EIO names a file of the checkpoint (or a side file) that was modified since it
 * was opened (lvlm_infile_unchanged). Output made from it must not be committed. */
LVLM_MUST_CHECK int lvlm_checkpoint_unchanged(const lvlm_checkpoint *checkpoint,
                                              lvlm_error *err);

/* By exact name, O(log n); NULL when there is none. */
const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *checkpoint,
                                        const char *name);
const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *checkpoint,
                                                const char *name);

LVLM_END_DECLS

#endif
