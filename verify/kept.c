/* kept.c - copies of stages; see kept.h. */
#include "verify/kept.h"

#include <string.h>

#include "formats/base/alloc.h"

int lvlm_kept_add(lvlm_kept *kept, const lvlm_tensor *stage, lvlm_error *err)
{
    const size_t n_bytes = (size_t)stage->n_bytes, name_bytes = strlen(stage->name) + 1;
    lvlm_kept_stage *const more = lvlm_realloc(kept->stages, kept->n + 1, sizeof *more);
    if (more == NULL) return lvlm_fail_memory(err);
    kept->stages = more;
    /* data first: it is aligned for every type */
    unsigned char *const block = lvlm_malloc(n_bytes + name_bytes);
    if (block == NULL) return lvlm_fail_memory(err);
    memcpy(block, stage->data, n_bytes);
    memcpy(block + n_bytes, stage->name, name_bytes);
    lvlm_kept_stage *const copy = &kept->stages[kept->n++];
    *copy = (lvlm_kept_stage){ *stage, block };
    copy->tensor.data = block;
    copy->tensor.name = (const char *)(block + n_bytes);
    kept->n_bytes += n_bytes;
    return 0;
}

const lvlm_tensor *lvlm_kept_find(const lvlm_kept *kept, const char *name)
{
    for (size_t i = 0; i < kept->n; i++)
        if (strcmp(kept->stages[i].tensor.name, name) == 0)
            return &kept->stages[i].tensor;
    return NULL;
}

void lvlm_kept_free(lvlm_kept *kept)
{
    for (size_t i = 0; i < kept->n; i++) lvlm_free(kept->stages[i].block);
    lvlm_free(kept->stages);
    *kept = (lvlm_kept){ 0 };
}
