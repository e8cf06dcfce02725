/* projections.c - reads the family's list of projections against a manifest. */
#include "verify/projections.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

size_t lvlm_projections_count(const lvlm_manifest *m)
{
    size_t n = 0;
    while (m->family->projections[n].role != NULL) n++;
    return n;
}

static const lvlm_target *find(const lvlm_manifest *m, const char *native,
                               const char *suffix)
{
    char name[128];
    const int n = snprintf(name, sizeof name, "%s%s", native, suffix);
    assert(n > 0 && (size_t)n < sizeof name);
    (void)n;
    return lvlm_manifest_find(m, name);
}

static const char *form_of(const lvlm_projection *table, const lvlm_target *weight)
{
    switch (weight->state) {
    case LVLM_TARGET_MISSING: return "missing";
    case LVLM_TARGET_MADE: return "made";
    case LVLM_TARGET_TIED: return "tied";
    default: return table->form;
    }
}

/* Does the source hold the map as [in, out]? */
static bool is_transposed(const lvlm_transform *t)
{
    return t->n == 2 && t->select == 0 && t->order[0] == 1;
}

static void add_source(lvlm_projection_state *state, const lvlm_target *target)
{
    if (target == NULL || target->state == LVLM_TARGET_MISSING ||
        target->source_name == NULL)
        return;
    state->sources[state->n_sources++] = target->source_name;
}

lvlm_projection_state lvlm_projections_get(const lvlm_manifest *m, size_t i)
{
    const lvlm_projection *table = &m->family->projections[i];
    const lvlm_target *weight = find(m, table->native, ".weight");
    const lvlm_target *bias = find(m, table->native, ".bias");
    assert(weight != NULL); /* the table names its own tensors */
    lvlm_projection_state state = { .table = table,
                                    .form = form_of(table, weight),
                                    .shape = weight->shape,
                                    .name = weight->name,
                                    .transposed = is_transposed(&weight->transform) };
    state.has_bias = bias != NULL;
    if (bias != NULL && bias->state == LVLM_TARGET_MISSING) state.form = "missing";
    add_source(&state, weight->state == LVLM_TARGET_TIED
                           ? lvlm_manifest_find(m, weight->row->tied_to)
                           : weight);
    add_source(&state, bias);
    return state;
}
