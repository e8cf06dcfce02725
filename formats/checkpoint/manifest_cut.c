/* manifest_cut.c - a model without its last decoder blocks; see manifest.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/checkpoint/manifest.h"

#define LAYERS "text.layers"

/* Lists of blocks, of which only those below `layers` stay. */
static const char *const lists[] = { "cross_layers", "window_layers" };

static void cut_lists(cJSON *text, uint64_t layers)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cJSON *const list = cJSON_GetObjectItemCaseSensitive(text, lists[i]);
        for (size_t at = lvlm_json_count(list); at-- > 0;) {
            uint64_t block;
            if (lvlm_json_u64(&block, lvlm_json_item(list, at)) && block >= layers)
                cJSON_DeleteItemFromArray(list, (int)at);
        }
    }
}

static bool is_cut(const lvlm_target *t, uint64_t layers)
{
    const char *const count = t->section->count;
    return count != NULL && strcmp(count, LAYERS) == 0 && t->block >= layers;
}

int lvlm_manifest_cut(lvlm_manifest *m, uint64_t layers, lvlm_error *err)
{
    cJSON *const text = cJSON_GetObjectItemCaseSensitive(m->config, "text");
    cJSON *const count = cJSON_GetObjectItemCaseSensitive(text, "layers");
    uint64_t all = 0;
    (void)lvlm_json_u64(&all, count);
    FAIL_IF(layers == 0 || layers > all, err, LVLM_EFORMAT,
            "cannot be cut to %" PRIu64 " decoder blocks: it has %" PRIu64, layers,
            all);
    cut_lists(text, layers);
    m->is_cut = layers < all;
    cJSON_SetNumberValue(count, (double)layers);
    size_t n = 0;
    for (size_t i = 0; i < m->n_targets; i++)
        if (!is_cut(&m->targets[i], layers)) m->targets[n++] = m->targets[i];
    m->n_targets = n;
    for (size_t i = 0; i < n; i++) m->by_name[i] = &m->targets[i];
    qsort(m->by_name, n, sizeof *m->by_name, lvlm_by_name);
    return 0;
}
