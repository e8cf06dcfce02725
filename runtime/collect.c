/* collect.c - a stage sink that keeps what it takes. */
#include "runtime/collect.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/list.h"

static bool wants(void *user, const char *name)
{
    const lvlm_stage_list *const list = user;
    return list->everything || strcmp(name, "logits") == 0 || strcmp(name, "loss") == 0;
}

/* One allocation per stage: its data, then its name. */
static void *make_block(const lvlm_tensor *stage)
{
    const size_t name_bytes = strlen(stage->name) + 1;
    unsigned char *const block = lvlm_malloc((size_t)stage->n_bytes + name_bytes);
    if (block != NULL) memcpy(block + stage->n_bytes, stage->name, name_bytes);
    return block;
}

int lvlm_stage_list_add(lvlm_stage_list *list, const lvlm_tensor *stage,
                        lvlm_error *err)
{
    TRY(lvlm_list_room(&list->stages, &list->capacity, list->n, sizeof *list->stages,
                       err));
    const bool is_placed = list->placed != NULL && stage->data == list->placed;
    unsigned char *const block = is_placed ? list->placed : make_block(stage);
    FAIL_IF(block == NULL, err, LVLM_ENOMEM, "stage %s: out of memory", stage->name);
    if (is_placed)
        list->placed = NULL;
    else
        memcpy(block, stage->data, (size_t)stage->n_bytes);
    lvlm_tensor *const kept = &list->stages[list->n++];
    *kept = *stage;
    kept->data = block;
    kept->name = (const char *)(block + stage->n_bytes);
    return 0;
}

static void *place(void *user, const lvlm_tensor *stage)
{
    lvlm_stage_list *const list = user;
    lvlm_free(list->placed);
    list->placed = make_block(stage);
    return list->placed;
}

static int take(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    return lvlm_stage_list_add(user, stage, err);
}

static void progress(void *user, size_t done, size_t total)
{
    const lvlm_stage_list *list = user;
    if (list->progress != NULL) list->progress(list->user, done, total);
}

lvlm_stage_sink lvlm_stage_list_sink(lvlm_stage_list *list)
{
    return (lvlm_stage_sink){
        .take = take, .wants = wants, .user = list, .progress = progress, .place = place
    };
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const lvlm_tensor *)a)->name, ((const lvlm_tensor *)b)->name);
}

void lvlm_stage_list_sort(lvlm_stage_list *list)
{
    if (list->n > 0) qsort(list->stages, list->n, sizeof *list->stages, by_name);
}

const lvlm_tensor *lvlm_stage_list_find(const lvlm_stage_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->stages[i].name, name) == 0) return &list->stages[i];
    return NULL;
}

void lvlm_stage_list_free(lvlm_stage_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        /* the block is ours: take() made it and nothing else points into it */
        union {
            const unsigned char *borrowed;
            void *owned;
        } block;
        block.borrowed = list->stages[i].data;
        lvlm_free(block.owned);
    }
    lvlm_free(list->placed);
    lvlm_free(list->stages);
    memset(list, 0, sizeof *list);
}
