/* checkpoint.h - one type for a checkpoint of any kind.
 *
 *   Hugging Face directory   config.json + model.safetensors, or shards and an index,
 *                            or else the same as pytorch_model.bin (torchfile.h);
 *                            also by its id in the local cache (hub_cache.h)
 *   big_vision .npz          NAME.npz (npz.h) of a family that has them; config.json is
 *                            made from the shapes, or given
 *   native file              NAME.lvlm (see native.h)
 *   one .safetensors file    inputs, goldens, gradients
 *   one .bin, .pt, .pth      weights without a configuration, as any other .npz
 *
 * A checkpoint is tensors in mapped files, the bytes around them, and side files.
 * Nothing is copied but deflated arrays and, unless they are read in place, strided
 * tensors of torch and arrays in Fortran order. Nothing is written.
 * Distinct objects may be used from distinct threads; one object may be read from
 * many. */
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
    LVLM_CHECKPOINT_NPZ,    /* big_vision's .npz; with a config.json as if it had one */
    LVLM_CHECKPOINT_NATIVE, /* .lvlm */
    LVLM_CHECKPOINT_PLAIN,  /* one file of tensors: no config */
} lvlm_checkpoint_kind;

/* A file that holds tensors. Its bytes that belong to no tensor (a safetensors header,
 * a zip's directory) are its frame; spans and frame together are the whole file. A
 * detached tensor (tensor.h) has no span. */
typedef struct lvlm_source_file {
    const char *name; /* inside the directory */
    lvlm_infile *map;
    unsigned char *copies; /* values of its detached tensors, or NULL */
    bool compressed;       /* holds deflated tensors: is not rebuilt byte for byte */
    lvlm_zip zip;          /* of an archive (.npz, .bin): its members; else empty */
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
    const char *path;     /* as the user gave it; of an id: its snapshot */
    lvlm_tensor *tensors; /* file by file, spans in order of offset, then the detached
                             ones in order of offset and name */
    size_t n_tensors;
    const lvlm_tensor **by_name; /* the same, sorted by name */
    lvlm_source_file *files;
    size_t n_files;
    lvlm_side_file *side_files; /* sorted by name; native: what it carries inside */
    size_t n_side_files;
    cJSON *config;       /* HF, NPZ: config.json; native and plain: NULL */
    bool config_made;    /* NPZ: from the shapes, not given */
    const char *assumed; /* NPZ: a sentence on what neither shapes nor released models
                            decide, or NULL */
    cJSON *metadata;     /* native and plain: __metadata__, or NULL */
    /* sealed files (digests.h), once that was checked: of each of `tensors` */
    lvlm_hex_digest *digests;
    struct lvlm_native *native; /* native: what else its header says (native.h) */
    uint64_t
        header_bytes;     /* of a first file that is safetensors, its length included */
    bool header_in_order; /* ... which lists metadata first, then the data in order */
    bool headers_only, in_place;
    lvlm_notes *notes; /* borrowed: where readers put what they pass over, such as
                          files of a directory that are not kept; or NULL */
    /* owned below; not for callers */
    lvlm_arena arena;
    lvlm_infile **side_maps;
    size_t n_side_maps;
} lvlm_checkpoint;

typedef struct lvlm_open_options {
    bool
        headers_only; /* tensor data need not be there: a dry run on names and shapes */
    bool in_place;    /* data may be strided (tensor.h): for who reads it by
                      lvlm_elements_read and lvlm_transform_forward */
    const char *config; /* for an .npz: the config.json that goes with it; NULL: none */
    lvlm_notes *notes;  /* of the caller, outlives the checkpoint; NULL: none */
} lvlm_open_options;

/* Open whatever `path` is. `options` may be NULL. On success *out must be closed with
 * lvlm_checkpoint_close; tensors, names and side files die with it. LVLM_EIO and
 * LVLM_EFORMAT messages name the file, the tensor and the rule. */
LVLM_MUST_CHECK int lvlm_checkpoint_open(lvlm_checkpoint **out, const char *path,
                                         const lvlm_open_options *options,
                                         lvlm_error *err);
void lvlm_checkpoint_close(lvlm_checkpoint *checkpoint);

/* Is this header, in memory, that of a native file? All rules are checked, as when the
 * file is opened. For whoever is going to write it. */
LVLM_MUST_CHECK int lvlm_checkpoint_check_native(const void *header, size_t n_bytes,
                                                 lvlm_error *err);

/* Check the data against the checksums that the source has, which opening does not, for
 * it reads all of them: the CRC-32 of an archive's members (.npz, .bin), the SHA-256
 * that the hub's cache names a file by. LVLM_EFORMAT names the member or file that is
 * corrupt. Others have no checksums and pass; a .bin that was written without is
 * noted. */
LVLM_MUST_CHECK int lvlm_checkpoint_check(const lvlm_checkpoint *checkpoint,
                                          size_t n_threads, lvlm_error *err);

/* LVLM_EIO names a file of the checkpoint, side files too, that has been written to
 * since it was opened (lvlm_infile_unchanged): what was made of it is not committed. */
LVLM_MUST_CHECK int lvlm_checkpoint_unchanged(const lvlm_checkpoint *checkpoint,
                                              lvlm_error *err);

/* By exact name, O(log n); NULL when there is none. */
const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *checkpoint,
                                        const char *name);
const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *checkpoint,
                                                const char *name);

LVLM_END_DECLS

#endif
