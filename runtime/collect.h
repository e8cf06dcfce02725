/* collect.h - a stage sink that keeps what it takes, for writing it to a file. */
#ifndef LVLM_RUNTIME_COLLECT_H
#define LVLM_RUNTIME_COLLECT_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_stage_list {
    lvlm_tensor
        *stages; /* names and data owned; in order of computation until sorted */
    size_t n;
    size_t capacity;
    bool everything; /* else logits and loss only */
    void (*progress)(void *user, size_t done, size_t total); /* may be NULL */
    void *user;                                              /* of progress */
    void *placed; /* memory of the stage that is being computed */
} lvlm_stage_list;

/* `list` must outlive the sink. */
lvlm_stage_sink lvlm_stage_list_sink(lvlm_stage_list *list);
/* Copy one stage, unless its values are where the sink had them placed. */
LVLM_MUST_CHECK int lvlm_stage_list_add(lvlm_stage_list *list, const lvlm_tensor *stage,
                                        lvlm_error *err);
void lvlm_stage_list_sort(lvlm_stage_list *list); /* by name */
const lvlm_tensor *lvlm_stage_list_find(const lvlm_stage_list *list, const char *name);
void lvlm_stage_list_free(lvlm_stage_list *list);

LVLM_END_DECLS

#endif
