/* stage.c - which weights a stage of training trains; see stage.h. */
#include "runtime/tune/stage.h"

#include <assert.h>
#include <fnmatch.h>

#include "runtime/part.h"

static const struct {
    const char *name;
    bool trains[LVLM_N_PARTS]; /* vision, connector, text */
} stages[LVLM_N_STAGES] = {
    [LVLM_STAGE_1] = { "1", { true, true, false } },
    [LVLM_STAGE_2] = { "2", { true, true, true } },
    [LVLM_STAGE_3] = { "3", { false, true, true } },
    [LVLM_STAGE_FULL] = { "full", { true, true, true } },
    [LVLM_STAGE_CONNECTOR] = { "connector", { false, true, false } },
};

int lvlm_stage_parse(lvlm_stage *out, const char *text, lvlm_error *err)
{
    if (text == NULL) text = stages[LVLM_STAGE_FULL].name;
    for (*out = 0; *out < LVLM_N_STAGES; ++*out)
        if (strcmp(stages[*out].name, text) == 0) return 0;
    return lvlm_fail(err, LVLM_EUSAGE,
                     "--stage '%s': expected 1, 2, 3, full or connector", text);
}

const char *lvlm_stage_name(lvlm_stage stage)
{
    assert(stage < LVLM_N_STAGES);
    return stages[stage].name;
}

static bool means(const lvlm_stage_rule *rule, const lvlm_target *t)
{
    const char *const blocks = t->section->only_blocks;
    if (fnmatch(rule->glob, t->name, 0) != 0) return false;
    return rule->blocks == NULL ||
           (blocks != NULL && strcmp(rule->blocks, blocks) == 0);
}

bool lvlm_stage_trains(void *stage, const lvlm_manifest *manifest,
                       const lvlm_target *target)
{
    const lvlm_stage s = *(const lvlm_stage *)stage;
    const lvlm_stage_rule *rule = manifest->family->stage_rules;
    assert(s < LVLM_N_STAGES);
    bool trained = stages[s].trains[lvlm_part_of(target->name)];
    for (; rule != NULL && rule->stages != NULL; rule++)
        if (lvlm_is_listed(rule->stages, stages[s].name) && means(rule, target))
            trained = rule->trained;
    return trained;
}

bool lvlm_stage_needs_image(const lvlm_target *t)
{
    if (lvlm_part_of(t->name) != LVLM_PART_TEXT) return true;
    return t->section->only_blocks != NULL; /* cross-attention blocks */
}
