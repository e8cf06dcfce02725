/* contents_read.c - a file mapped and its tensors read, whatever its container.
 *
 * A new container is added in checkpoint_add_file: anything that yields tensors in a
 * mapped file. */
#include "formats/container/contents_read.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/container/npz.h"
#include "formats/container/safetensors.h"
#include "formats/container/side_file.h"
#include "formats/container/torchfile.h"

/* Append the tensors of file number n_files. */
static int append_tensors(lvlm_checkpoint *cp, const lvlm_tensor *tensors, size_t n,
                          lvlm_error *err)
{
    assert(tensors != NULL || n == 0);
    lvlm_tensor *grown =
        lvlm_realloc(cp->tensors, cp->n_tensors + n + 1, sizeof *grown);
    if (grown == NULL) return lvlm_fail_memory(err);
    cp->tensors = grown;
    for (size_t i = 0; i < n; i++) {
        grown[cp->n_tensors] = tensors[i];
        grown[cp->n_tensors++].file = cp->n_files;
    }
    return 0;
}

int checkpoint_refuse_pointer(const lvlm_infile *map, lvlm_error *err)
{
    FAIL_IF(lvlm_is_pointer(map->bytes, (size_t)map->n_bytes), err, LVLM_EFORMAT,
            LVLM_POINTER_TEXT);
    return 0;
}

/* Without a config.json the metadata of the first file becomes the checkpoint's. */
int checkpoint_add_safetensors(lvlm_checkpoint *cp, const lvlm_infile *map,
                               lvlm_error *err)
{
    lvlm_safetensors st = { 0 };
    TRY(lvlm_safetensors_read(&st, map, cp->headers_only, &cp->arena, err));
    int rc = 0;
    if (cp->tensors == NULL) { /* moved, not copied: there may be a million */
        cp->tensors = st.tensors;
        cp->n_tensors = st.n_tensors;
        st.tensors = NULL;
        cp->header_bytes = st.header_bytes;
        cp->header_in_order = st.metadata_first && st.data_in_order;
    } else {
        rc = append_tensors(cp, st.tensors, st.n_tensors, err);
    }
    if (rc == 0 && cp->metadata == NULL) {
        cp->metadata = st.metadata;
        st.metadata = NULL;
    }
    lvlm_safetensors_free(&st);
    return rc;
}

static lvlm_read how_to_read(const lvlm_checkpoint *cp)
{
    return cp->headers_only ? LVLM_READ_HEADERS
           : cp->in_place   ? LVLM_READ_IN_PLACE
                            : LVLM_READ_ALL;
}

static int add_archive(lvlm_checkpoint *cp, const lvlm_infile *map,
                       int (*read)(lvlm_archive *out, const lvlm_infile *file,
                                   lvlm_read how, lvlm_arena *arena, lvlm_error *err),
                       lvlm_error *err)
{
    lvlm_source_file *const file = &cp->files[cp->n_files];
    lvlm_archive archive;
    TRY(read(&archive, map, how_to_read(cp), &cp->arena, err));
    const int rc = append_tensors(cp, archive.tensors, archive.n_tensors, err);
    file->copies = archive.copies;
    file->compressed = archive.compressed;
    file->zip = archive.zip;
    return rc;
}

bool checkpoint_is_npz(const char *name)
{
    return fnmatch("*.npz", name, 0) == 0;
}

static bool is_torchfile(const char *name, const lvlm_infile *map)
{
    static const char *const patterns[] = { "*.bin", "*.pt", "*.pth", NULL };
    return lvlm_matches(patterns, name) ||
           (fnmatch("*.safetensors", name, 0) != 0 && lvlm_torchfile_is(map));
}

/* Map `path`, called `name`, and read its tensors. `files` has room and is zeroed. */
int checkpoint_add_file(lvlm_checkpoint *cp, const char *path, const char *name,
                        lvlm_error *err)
{
    assert(cp->files != NULL); /* with room */
    lvlm_infile *map = NULL;
    TRY(lvlm_infile_map(&map, path, err));
    int rc = checkpoint_refuse_pointer(map, err);
    if (rc == 0)
        rc = checkpoint_is_npz(name)   ? add_archive(cp, map, lvlm_npz_read, err)
             : is_torchfile(name, map) ? add_archive(cp, map, lvlm_torchfile_read, err)
                                       : checkpoint_add_safetensors(cp, map, err);
    if (rc < 0) {
        lvlm_free(cp->files[cp->n_files].copies);
        lvlm_infile_close(map);
        return lvlm_within(rc, err, "%s: ", path);
    }
    cp->files[cp->n_files].name = name;
    cp->files[cp->n_files++].map = map;
    return 0;
}

int checkpoint_index_names(lvlm_checkpoint *cp, lvlm_error *err)
{
    cp->by_name = lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->by_name);
    if (cp->by_name == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++) cp->by_name[i] = &cp->tensors[i];
    qsort(cp->by_name, cp->n_tensors, sizeof *cp->by_name, lvlm_by_name);
    return 0;
}

int checkpoint_add_single(lvlm_checkpoint *cp, const char *path, const char *name,
                          lvlm_error *err)
{
    assert(cp->files == NULL && cp->n_tensors == 0);
    cp->files = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->files);
    if (cp->files == NULL) return lvlm_fail_memory(err);
    TRY(checkpoint_add_file(cp, path, name, err));
    return checkpoint_index_names(cp, err);
}
