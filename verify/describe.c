/* describe.c - what a report says of a model; see describe.h. */
#include "verify/describe.h"

#include <string.h>

#include "formats/base/json.h"

int lvlm_replay_describe(lvlm_replay *r, const lvlm_model *model, lvlm_error *err)
{
    const lvlm_manifest *m = lvlm_model_manifest(model);
    const char *root = lvlm_json_string(lvlm_json_get(m->checkpoint->metadata, "root"));
    size_t n = 0;
    r->family = lvlm_arena_strndup(&r->arena, m->family->name, strlen(m->family->name));
    while (m->family->differences[n].name != NULL) n++;
    r->differences = lvlm_arena_alloc(&r->arena, n + 1, sizeof *r->differences);
    if (r->family == NULL || r->differences == NULL) return lvlm_fail_memory(err);
    for (const lvlm_difference *d = NULL;
         (d = lvlm_model_difference(model, d)) != NULL;)
        r->differences[r->n_differences++] = d->name;
    if (root != NULL && strlen(root) == LVLM_DIGEST_HEX)
        memcpy(r->model_root, root, sizeof r->model_root);
    return 0;
}
