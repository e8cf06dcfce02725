/* contents.c - frees a checkpoint's contents and finds tensors and files in them. */
#include "formats/container/contents.h"

#include <assert.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
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

const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *cp, const char *name)
{
    assert(cp->by_name != NULL || cp->n_tensors == 0);
    return lvlm_find_name(name, cp->by_name, cp->n_tensors);
}

const char *lvlm_checkpoint_meta(const lvlm_checkpoint *cp, const char *key)
{
    return lvlm_json_string(lvlm_json_get(cp->metadata, key));
}

const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *cp,
                                                const char *name)
{
    assert(cp->side_files != NULL || cp->n_side_files == 0);
    if (cp->n_side_files == 0) return NULL;
    return bsearch(&name, cp->side_files, cp->n_side_files, sizeof *cp->side_files,
                   lvlm_by_text);
}
