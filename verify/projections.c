/* projections.c - looks up the family's projections in a manifest; see
 * projections.h. */
#include "verify/projections.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 128 };

/* The native name of one projection's tensor; "{i}" is the block. */
static const lvlm_target *find(const lvlm_manifest *m, const char *native,
                               uint64_t block, const char *suffix)
{
    char name[NAME_BYTES];
    const char *hole = strstr(native, "{i}");
    const int n = hole == NULL
                      ? snprintf(name, sizeof name, "%s%s", native, suffix)
                      : snprintf(name, sizeof name, "%.*s%" PRIu64 "%s%s",
                                 (int)(hole - native), native, block, hole + 3, suffix);
    assert(n > 0 && (size_t)n < sizeof name);
    (void)n;
    return lvlm_manifest_find(m, name);
}

static const char *form_of(const lvlm_projection *table, const lvlm_target *weight)
{
    switch (weight->state) {
    case LVLM_TARGET_MISSING: return "missing";
    case LVLM_TARGET_IDENTITY: return "identity";
    case LVLM_TARGET_MADE: return "made";
    case LVLM_TARGET_TIED: return "tied";
    default: return table->form;
    }
}

/* The layout of the map in its source. A native file has it in its ledger. */
static const lvlm_transform *layout_of(const lvlm_manifest *m, const lvlm_target *t)
{
    for (size_t i = 0; i < m->ledger.n_entries; i++) {
        const lvlm_ledger_entry *entry = &m->ledger.entries[i];
        if (entry->use == LVLM_USE_USED && strcmp(entry->targets[0], t->name) == 0)
            return &entry->transform;
    }
    return m->checkpoint->kind == LVLM_CHECKPOINT_NATIVE ? &t->hf.transform
                                                         : &t->here.transform;
}

/* Does the source store the map as [in, out]? */
static bool is_transposed(const lvlm_transform *t)
{
    return t->n == 2 && t->select == 0 && t->order[0] == 1;
}

static void add_source(lvlm_projection_state *state, const lvlm_target *target)
{
    if (target == NULL || target->state == LVLM_TARGET_MISSING ||
        target->state == LVLM_TARGET_IDENTITY || target->source_name == NULL)
        return;
    assert(state->n_sources < LVLM_PROJECTION_SOURCES);
    state->sources[state->n_sources++] = target->source_name;
}

static lvlm_projection_state state_of(const lvlm_manifest *m,
                                      const lvlm_projection *table,
                                      const lvlm_target *weight, uint64_t block)
{
    const lvlm_target *bias = find(m, table->native, block, ".bias");
    lvlm_projection_state state = { .table = table,
                                    .form = form_of(table, weight),
                                    .shape = weight->shape,
                                    .name = weight->name,
                                    .transposed = is_transposed(layout_of(m, weight)) };
    state.has_bias = bias != NULL;
    if (bias != NULL && bias->state == LVLM_TARGET_MISSING) state.form = "missing";
    add_source(&state, weight->state == LVLM_TARGET_TIED
                           ? lvlm_manifest_find(m, weight->row->tied_to)
                           : weight);
    add_source(&state, bias);
    return state;
}

/* The number of blocks of all targets. */
static uint64_t block_count(const lvlm_manifest *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].block >= n) n = m->targets[i].block + 1;
    return n;
}

bool lvlm_projections_next(lvlm_projection_state *out, const lvlm_manifest *m,
                           lvlm_projection_cursor *at)
{
    for (;; at->row++, at->block = 0) {
        const lvlm_projection *table = &m->family->projections[at->row];
        if (table->role == NULL) return false;
        if (table->when != NULL && !lvlm_config_says(m->config, table->when)) continue;
        const uint64_t n = strstr(table->native, "{i}") != NULL ? block_count(m) : 1;
        while (at->block < n) {
            const uint64_t block = at->block++;
            const lvlm_target *weight = find(m, table->native, block, ".weight");
            if (weight == NULL) continue;
            *out = state_of(m, table, weight, block);
            return true;
        }
    }
}
