/* torch_storages.h - the object in a file of torch.save, and where the storages that it
 * refers to are. Private to torchfile.c. */
#ifndef LVLM_FORMATS_TORCH_STORAGES_H
#define LVLM_FORMATS_TORCH_STORAGES_H

#include "formats/base/infile.h"
#include "formats/pickle.h"
#include "formats/zip.h"

LVLM_BEGIN_DECLS

/* One storage as a persistent id names it; the same one may be named many times. */
typedef struct torch_storage {
    const char *key; /* n_key bytes */
    size_t n_key;
    size_t element; /* bytes of one of its elements */
    uint64_t numel;
    uint64_t first;  /* legacy views of a storage: its first element there ... */
    uint64_t n_view; /* ... and how many; else 0 and numel */
    uint64_t offset; /* in the file; of the whole storage */
    bool placed;
    lvlm_dtype dtype;
    bool untyped; /* the tensor says what it is */
} torch_storage;

typedef struct torch_object {
    lvlm_pickle pickle;
    torch_storage *storages; /* one for each persistent id of the pickle, all placed */
    lvlm_zip zip;            /* the archive's members; of the legacy form none */
} torch_object;

/* PROTO, and then LONG1 of ten bytes, in a frame of 13 bytes or in none. Read as the
 * length of a safetensors header, both are over its limit. */
bool torch_is_legacy(const lvlm_infile *file);

/* Read the object of a file of either form; everything is in `arena` and `file`, the
 * archive's members in `members`. Every storage has its bytes inside the file.
 * LVLM_EFORMAT names what is wrong. */
LVLM_MUST_CHECK int torch_object_read(torch_object *out, const lvlm_infile *file,
                                      lvlm_arena *arena, lvlm_arena *members,
                                      lvlm_error *err);

/* A whole number that is not negative. */
bool torch_whole_number(uint64_t *out, const lvlm_pickle_value *v);

LVLM_END_DECLS

#endif
