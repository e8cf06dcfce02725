/* contents.c - frees a checkpoint's contents and finds tensors and files in them. */
#include "formats/container/contents.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/contents_read.h"

void checkpoint_free(lvlm_checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_files; i++) {
        lvlm_infile_close(cp->files[i].map);
        lvlm_free(cp->files[i].copies);
    }
    for (size_t i = 0; i < cp->n_side_maps; i++) lvlm_infile_close(cp->side_maps[i]);
    lvlm_json_free(cp->config);
    lvlm_json_free(cp->metadata);
    lvlm_free(cp->tensors);
    lvlm_arena_free(&cp->arena);
    lvlm_free(cp);
}

/* ---- changes -------------------------------------------------------------------- */

int lvlm_checkpoint_unchanged(const lvlm_checkpoint *cp, lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_files; i++)
        TRY(lvlm_infile_unchanged(cp->files[i].map, err));
    for (size_t i = 0; i < cp->n_side_maps; i++)
        TRY(lvlm_infile_unchanged(cp->side_maps[i], err));
    return 0;
}

/* ---- finding -------------------------------------------------------------------- */

static int name_of_tensor(const void *name, const void *tensor)
{
    return strcmp(name, (*(const lvlm_tensor *const *)tensor)->name);
}

const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *cp, const char *name)
{
    if (cp->n_tensors == 0) return NULL;
    const lvlm_tensor *const *found =
        bsearch(name, cp->by_name, cp->n_tensors, sizeof *cp->by_name, name_of_tensor);
    return found != NULL ? *found : NULL;
}

const char *lvlm_checkpoint_meta(const lvlm_checkpoint *cp, const char *key)
{
    return lvlm_json_string(lvlm_json_get(cp->metadata, key));
}

static int name_of_side_file(const void *name, const void *side)
{
    return strcmp(name, ((const lvlm_side_file *)side)->name);
}

const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *cp,
                                                const char *name)
{
    if (cp->n_side_files == 0) return NULL;
    return bsearch(name, cp->side_files, cp->n_side_files, sizeof *cp->side_files,
                   name_of_side_file);
}
