/* spelling.c - rows of a tensor by their numbers in the checkpoint that was converted;
 * see trial.h. */
#include <string.h>

#include "verify/cause/trial.h"

/* The source tensor that a target is part of, and its number there; NULL: none. */
static const lvlm_ledger_entry *entry_of(const lvlm_manifest *m, const lvlm_target *t,
                                         size_t *part)
{
    for (size_t i = 0; i < m->ledger.n_entries; i++) {
        const lvlm_ledger_entry *const e = &m->ledger.entries[i];
        for (*part = 0; *part < e->n_targets; ++*part)
            if (strcmp(e->targets[*part], t->name) == 0) return e;
    }
    return NULL;
}

/* Where a value of the native tensor is in its source. */
static uint64_t source_index(const lvlm_transform *t, uint64_t index)
{
    uint64_t at[LVLM_MAX_DIMS] = { 0 }, out = 0;
    const size_t n = t->select > 0 ? t->n - 1 : t->n;
    for (size_t i = n; i-- > 0;) {
        at[t->order[i]] = index % t->axes[t->order[i]];
        index /= t->axes[t->order[i]];
    }
    if (t->select > 0) at[t->select - 1] = t->index;
    for (size_t i = 0; i < t->n; i++) out = out * t->axes[i] + at[i];
    return out;
}

/* Where the rows begin in the source, if they are rows there, one after another. */
static bool find_row(uint64_t *out, const lvlm_ledger_entry *e, size_t part,
                     const lvlm_target *t, uint64_t first, uint64_t last)
{
    lvlm_transform transform = e->transform;
    uint64_t numel = 0, all = 0;
    *out = first;
    if (lvlm_transform_is_keep(&transform)) return true;
    transform.index = part;
    if (!lvlm_shape_numel(&numel, &t->shape) || e->source.shape.n == 0 ||
        !lvlm_shape_numel(&all, &e->source.shape))
        return false;
    const uint64_t width = numel / t->shape.dims[0];
    const uint64_t C = all / e->source.shape.dims[0];
    const uint64_t from = source_index(&transform, first * width);
    const uint64_t to = source_index(&transform, (last + 1) * width - 1);
    *out = from / C;
    return width == C && from % C == 0 && to + 1 - from == (last + 1 - first) * C;
}

/* The tensor of the source that has rows [first, last] of t, and where the first is in
 * it; else t itself. */
static const char *source_rows(unsigned long long *from, const cause_session *s,
                               const lvlm_target *t, size_t first, size_t last)
{
    size_t part;
    uint64_t row;
    const lvlm_ledger_entry *const e = entry_of(s->manifest, t, &part);
    const bool there = e != NULL && find_row(&row, e, part, t, first, last);
    *from = there ? row : first;
    return there ? e->source.name : t->name;
}

const char *cause_rows(cause_session *s, const lvlm_target *t, size_t first,
                       size_t last)
{
    unsigned long long from;
    const char *const name = source_rows(&from, s, t, first, last);
    return first == last ? lvlm_arena_printf(&s->arena, "row %llu of %s", from, name)
                         : lvlm_arena_printf(&s->arena, "rows %llu to %llu of %s", from,
                                             from + (last - first), name);
}

const char *cause_row_pair(cause_session *s, const lvlm_target *t, size_t a, size_t b)
{
    unsigned long long one, two;
    const char *const name = source_rows(&one, s, t, a, a);
    (void)source_rows(&two, s, t, b, b);
    return lvlm_arena_printf(&s->arena, "rows %llu and %llu of %s",
                             one < two ? one : two, one < two ? two : one, name);
}
