/* zero_gradients.c - gradients that are zero everywhere, and why; see
 * zero_gradients.h.
 *
 * Causes are tried from the nearest to the farthest: no image, the gate of the weight's
 * own branch, every gate between image and text, a zero map after it. */
#include "runtime/tune/zero_gradients.h"

#include <assert.h>
#include <string.h>

#include "formats/base/text.h"
#include "runtime/part.h"
#include "runtime/tune/stage.h"

/* Of any floating-point type; -0 is zero too. */
static bool is_zero(const lvlm_tensor *t)
{
    const size_t element = lvlm_dtype_bytes(t->dtype);
    assert(element > 0);
    for (uint64_t i = 0; i < t->n_bytes; i++) {
        const bool has_sign = i % element == element - 1;
        if ((t->data[i] & (has_sign ? 0x7f : 0xff)) != 0) return false;
    }
    return true;
}

static bool is_zero_weight(const lvlm_target *t)
{
    return t->here.tensor != NULL && t->here.tensor->data != NULL &&
           is_zero(t->here.tensor);
}

/* Is it another weight of the same block? */
static bool is_neighbour(const lvlm_target *a, const lvlm_target *b)
{
    return a != b && a->block == b->block &&
           strcmp(a->section->native, b->section->native) == 0;
}

/* ---- gates ---------------------------------------------------------------------- */

/* "attn_gate" and "mlp_gate" of a block, "positions.gate" of a table. */
static bool is_gate(const lvlm_target *t)
{
    uint64_t numel = 0;
    return lvlm_shape_numel(&numel, &t->shape) && numel == 1 &&
           lvlm_ends_with(t->row->native, "gate");
}

/* Does the gate scale this weight's gradient? Both are of one section. */
static bool governs(const char *gate, const char *native)
{
    if (strcmp(gate, "attn_gate") == 0)
        return lvlm_starts_with(native, "attn.") ||
               lvlm_starts_with(native, "cross.") || lvlm_starts_with(native, "norm1.");
    if (strcmp(gate, "mlp_gate") == 0)
        return lvlm_starts_with(native, "mlp.") || lvlm_starts_with(native, "norm2.");
    const size_t stem = strlen(gate) - strlen("gate");
    return stem > 0 && strncmp(native, gate, stem) == 0;
}

static const char *closed_gate(const lvlm_manifest *m, const lvlm_target *t)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const g = &m->targets[i];
        if (is_neighbour(g, t) && is_gate(g) &&
            governs(g->row->native, t->row->native) && is_zero_weight(g))
            return g->row->native;
    }
    return NULL;
}

/* Is there cross-attention, with all of its gates closed? */
static bool all_closed(const lvlm_manifest *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const g = &m->targets[i];
        if (lvlm_part_of(g->name) != LVLM_PART_TEXT ||
            strcmp(g->row->native, "attn_gate") != 0)
            continue;
        if (!is_zero_weight(g)) return false;
        n++;
    }
    return n > 0;
}

/* ---- causes --------------------------------------------------------------------- */

/* The first map between vision and text whose weight is zero, other than `t`. */
static const char *zero_map(const lvlm_manifest *m, const lvlm_target *t)
{
    for (const lvlm_projection *p = m->family->projections; p->role != NULL; p++) {
        const lvlm_target *const map = lvlm_manifest_projection(m, p);
        if (map != NULL && map != t && lvlm_part_of(map->name) == LVLM_PART_CONNECTOR &&
            is_zero_weight(map))
            return map->name;
    }
    return NULL;
}

/* A zero matrix in the same block. */
static const char *zero_neighbour(const lvlm_manifest *m, const lvlm_target *t)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const other = &m->targets[i];
        if (is_neighbour(other, t) && other->shape.n > 1 && is_zero_weight(other))
            return other->name;
    }
    return NULL;
}

static const char *cause_of(lvlm_zero_gradients *z, const lvlm_manifest *m,
                            const lvlm_target *t, const lvlm_model_step *step)
{
    const bool sees = lvlm_part_of(t->name) != LVLM_PART_TEXT;
    const char *name;
    if (lvlm_stage_needs_image(t) && step->n_images == 0)
        return "the batch holds no image";
    if ((name = closed_gate(m, t)) != NULL)
        return lvlm_arena_printf(&z->arena, "%s is closed (0)", name);
    if (sees && all_closed(m)) return "every gate of cross-attention is closed (0)";
    if (sees && (name = zero_map(m, t)) != NULL)
        return lvlm_arena_printf(&z->arena,
                                 "%s is zero: nothing of an image reaches "
                                 "the text",
                                 name);
    if ((name = zero_neighbour(m, t)) != NULL)
        return lvlm_arena_printf(&z->arena, "%s is zero", name);
    return "no label of the batch depends on it";
}

/* ---- groups --------------------------------------------------------------------- */

static lvlm_zero_group *group_of(lvlm_zero_gradients *z, lvlm_weight_part part,
                                 const char *cause, size_t capacity)
{
    const char *const name = lvlm_part_name(part);
    for (size_t i = 0; i < z->n_groups; i++)
        if (strcmp(z->groups[i].part, name) == 0 &&
            strcmp(z->groups[i].cause, cause) == 0)
            return &z->groups[i];
    assert(z->n_groups < capacity);
    lvlm_zero_group *const g = &z->groups[z->n_groups];
    *g = (lvlm_zero_group){ .part = name, .cause = cause };
    g->names = lvlm_arena_alloc(&z->arena, capacity, sizeof *g->names);
    if (g->names == NULL) return NULL;
    z->n_groups++;
    return g;
}

int lvlm_zero_gradients_find(lvlm_zero_gradients *out, const lvlm_model *model,
                             const lvlm_model_step *step, lvlm_error *err)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    assert(m->family != NULL && step != NULL);
    size_t n_trained[LVLM_N_PARTS] = { 0 };
    *out = (lvlm_zero_gradients){ .arena = LVLM_ARENA_INIT };
    out->groups = lvlm_arena_alloc(&out->arena, m->n_targets + 1, sizeof *out->groups);
    if (out->groups == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        const lvlm_weight_part part = lvlm_part_of(t->name);
        lvlm_tensor gradient;
        if (!lvlm_model_gradient(model, &gradient, t->name)) continue;
        n_trained[part]++;
        if (!is_zero(&gradient)) continue;
        const char *const cause = cause_of(out, m, t, step);
        lvlm_zero_group *const g =
            cause != NULL ? group_of(out, part, cause, m->n_targets) : NULL;
        if (g == NULL) return lvlm_fail_memory(err);
        g->names[g->n++] = t->name;
    }
    for (size_t i = 0; i < out->n_groups; i++)
        out->groups[i].n_trained = n_trained[lvlm_part_of(out->groups[i].names[0])];
    return 0;
}

void lvlm_zero_gradients_free(lvlm_zero_gradients *zeros)
{
    lvlm_arena_free(&zeros->arena);
    *zeros = (lvlm_zero_gradients){ 0 };
}
