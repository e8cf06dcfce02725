/* composed.h - models in memory whose tower, connector and decoder are of three
 * families, with random weights. For tests; asserts on failure.
 *
 *   three config.json texts -> three models -> the vision part of the first, the
 *   connector of the second, text and tokens of the third, in native names */
#ifndef LVLM_TESTS_RUNTIME_COMPOSED_H
#define LVLM_TESTS_RUNTIME_COMPOSED_H

#include "tests/runtime/synthetic.h"

/* Replaces or adds the section `name` of a canonical configuration. */
static inline void composed_section(cJSON *config, const cJSON *from, const char *name)
{
    cJSON *const copy = cJSON_Duplicate(lvlm_json_get(from, name), true);
    assert(copy != NULL);
    cJSON_DeleteItemFromObjectCaseSensitive(config, name);
    cJSON_AddItemToObject(config, name, copy);
}

/* Settings over those of the parts, by section: {"vision": {"merge": 2}}. */
static inline void composed_settings(cJSON *config, const char *settings)
{
    lvlm_error err;
    cJSON *all = NULL;
    const cJSON *section, *item;
    const int rc = lvlm_json_parse(&all, settings, strlen(settings), &err);
    assert(rc == 0);
    LVLM_JSON_MEMBERS (section, all) {
        cJSON *const to = cJSON_GetObjectItemCaseSensitive(config, section->string);
        LVLM_JSON_MEMBERS (item, section) {
            cJSON_DeleteItemFromObjectCaseSensitive(to, item->string);
            cJSON_AddItemToObject(to, item->string, cJSON_Duplicate(item, true));
        }
    }
    lvlm_json_free(all);
    (void)rc;
}

/* Adds a target of one of the models, with random values and the composed shape. */
static inline void composed_target(synthetic *out, const lvlm_target *from,
                                   uint32_t *state)
{
    lvlm_manifest *const m = &out->manifest;
    lvlm_target *const t = &m->targets[m->n_targets++];
    *t = *from;
    t->name = lvlm_arena_strndup(&out->arena, from->name, strlen(from->name));
    const bool said = lvlm_shape_resolve(&t->shape, t->row->shape, m->config);
    assert(said && t->name != NULL);
    (void)said;
    t->here.transform = (lvlm_transform){ 0 };
    t->here.shape = t->shape;
    t->here.wrong_shape = false;
    if (t->state == LVLM_TARGET_TIED) return;
    const bool square = t->shape.n == 2 && t->shape.dims[0] == t->shape.dims[1];
    t->state =
        t->row->identity_if_square && square ? LVLM_TARGET_IDENTITY : LVLM_TARGET_FOUND;
    t->here.tensor = NULL;
    if (t->state == LVLM_TARGET_IDENTITY) return;
    synthetic_put_random(out, t->name, &t->shape, 0.25f, state);
    t->here.tensor = &out->tensors[out->checkpoint.n_tensors - 1];
}

static inline int composed_order(const void *a, const void *b)
{
    return strcmp((*(lvlm_target *const *)a)->name, (*(lvlm_target *const *)b)->name);
}

/* Puts the targets in the order of their names. */
static inline void composed_sort(lvlm_manifest *m)
{
    for (size_t i = 0; i < m->n_targets; i++) m->by_name[i] = &m->targets[i];
    qsort(m->by_name, m->n_targets, sizeof *m->by_name, composed_order);
}

enum { COMPOSED_MORE = 8 };

/* Adds a tensor of random values that none of the families has, or that has another
 * shape there; at most COMPOSED_MORE of them. */
static inline void composed_add(synthetic *out, const char *name, lvlm_shape shape)
{
    static const lvlm_row row = { .native = "of no family" };
    lvlm_manifest *const m = &out->manifest;
    uint32_t state = 13;
    size_t i = 0;
    while (i < m->n_targets && strcmp(m->targets[i].name, name) != 0) i++;
    lvlm_target *const t = &m->targets[i];
    if (i == m->n_targets) {
        *t = m->targets[0];
        t->row = &row;
        m->n_targets++;
    }
    synthetic_put_random(out, name, &shape, 0.25f, &state);
    t->here.tensor = lvlm_checkpoint_find(&out->checkpoint, name);
    t->name = t->here.tensor->name;
    t->shape = shape;
    t->state = LVLM_TARGET_FOUND;
    composed_sort(m);
}

/* Free with synthetic_free. */
static inline void composed_model(synthetic *out, const char *vision,
                                  const char *connector, const char *text,
                                  const char *settings)
{
    static const char *const prefixes[3] = { "vision.", "connector.", "text." };
    const char *const configs[3] = { vision, connector, text };
    static synthetic parts[3];
    lvlm_manifest *const m = &out->manifest;
    size_t most = COMPOSED_MORE;
    uint32_t state = 11;
    for (size_t i = 0; i < 3; i++) {
        memset(&parts[i], 0, sizeof parts[i]);
        synthetic_model(&parts[i], configs[i]);
        most += parts[i].manifest.n_targets;
    }
    memset(out, 0, sizeof *out);
    out->checkpoint.kind = LVLM_CHECKPOINT_NATIVE; /* nothing is transformed */
    out->checkpoint.path = "composed";
    m->checkpoint = &out->checkpoint;
    m->family = parts[2].manifest.family;
    m->config = cJSON_Duplicate(parts[2].manifest.config, true);
    composed_section(m->config, parts[0].manifest.config, "vision");
    composed_section(m->config, parts[1].manifest.config, "connector");
    composed_settings(m->config, settings);
    m->targets = lvlm_arena_alloc(&m->arena, most, sizeof *m->targets);
    m->by_name = lvlm_arena_alloc(&m->arena, most, sizeof(lvlm_target *));
    assert(m->targets != NULL && m->by_name != NULL);
    for (size_t i = 0; i < 3; i++) {
        const lvlm_manifest *const part = &parts[i].manifest;
        for (size_t j = 0; j < part->n_targets; j++)
            if (strncmp(part->targets[j].name, prefixes[i], strlen(prefixes[i])) == 0)
                composed_target(out, &part->targets[j], &state);
    }
    composed_sort(m);
    for (size_t i = 0; i < 3; i++) synthetic_free(&parts[i]);
}

#endif
