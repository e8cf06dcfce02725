/* torch_storages.h - the object in a file of torch.save and the location of its
 * storages. Private to torchfile.c. */
#ifndef LVLM_FORMATS_CONTAINER_TORCH_STORAGES_H
#define LVLM_FORMATS_CONTAINER_TORCH_STORAGES_H

#include "formats/base/infile.h"
#include "formats/container/pickle.h"
#include "formats/container/zip.h"

LVLM_BEGIN_DECLS

/* One storage as named by a persistent id; several ids may name the same one. */
typedef struct torch_storage {
    const char *key; /* n_key bytes */
    size_t n_key;
    size_t element; /* bytes per element */
    uint64_t numel;
    uint64_t first;  /* legacy views of a storage: the first element ... */
    uint64_t n_view; /* ... and their number; else 0 and numel */
    uint64_t offset; /* of the whole storage, in the file */
    bool placed;
    lvlm_dtype dtype;
    bool untyped; /* the tensor has the dtype */
} torch_storage;

typedef struct torch_object {
    lvlm_pickle pickle;
    torch_storage *storages; /* one per persistent id of the pickle, all placed */
    lvlm_zip zip;            /* the archive's members; legacy form: empty */
} torch_object;

/* PROTO, then LONG1 of ten bytes, in a frame of 13 bytes or without a frame. Read as
 * the length of a safetensors header, both exceed its limit. */
bool torch_is_legacy(const lvlm_infile *file);

/* Read the object of a file of either form. Everything is in `arena` and `file`, the
 * archive's members in `members`. Every storage is inside the file. LVLM_EFORMAT names
 * what is wrong. */
LVLM_MUST_CHECK int torch_object_read(torch_object *out, const lvlm_infile *file,
                                      lvlm_arena *arena, lvlm_arena *members,
                                      lvlm_error *err);

/* Is `v` a whole number that is not negative? */
bool torch_whole_number(uint64_t *out, const lvlm_pickle_value *v);

LVLM_END_DECLS

#endif
