/* position_ids.c - positions that a batch brings along; see position_ids.h. */
#include "runtime/batch/position_ids.h"

#include <assert.h>
#include <string.h>

enum { MOST = (1 << 24) - 1 }; /* float32 holds every whole number up to it */

static const char name[] = "position_ids";

/* ---- reading -------------------------------------------------------------------- */

/* Axes before [B, T]: 1 where there is none, 0 where the shape does not fit. */
static size_t count_axes(const lvlm_tensor *t, const lvlm_inputs *in, size_t axes)
{
    const lvlm_shape *const s = &t->shape;
    if (s->n < 2 || s->n > 3 || s->dims[s->n - 1] != in->T ||
        (s->dims[s->n - 2] != in->B && s->dims[s->n - 2] != 1))
        return 0;
    if (s->n == 2) return 1;
    return axes == 3 && (s->dims[0] == 3 || s->dims[0] == 4) ? (size_t)s->dims[0] : 0;
}

/* Axis number `axis` of the tensor's values, spread over all texts. */
static int spread(int64_t **out, const int64_t *values, const lvlm_tensor *t,
                  const lvlm_input_source *source, const lvlm_inputs *in, size_t axis,
                  size_t n_axes, lvlm_error *err)
{
    const size_t rows = (size_t)t->shape.dims[t->shape.n - 2], cells = in->B * in->T;
    assert(rows == 1 || rows == in->B);
    *out = lvlm_arena_alloc(source->arena, n_axes * cells, sizeof **out);
    if (*out == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n_axes * cells; i++) {
        const size_t b = i / in->T % in->B, from = axis + i / cells;
        (*out)[i] = values[(from * rows + (rows == 1 ? 0 : b)) * in->T + i % in->T];
    }
    return 0;
}

/* ---- texts within a row --------------------------------------------------------- */

/* A token that does not continue what is before it begins a text. */
static int cut(lvlm_inputs *in, const int64_t *at, const lvlm_input_source *source,
               lvlm_notes *notes, lvlm_error *err)
{
    const size_t cells = in->B * in->T;
    size_t n = 0;
    assert(in->begins == NULL && !in->has_mask);
    in->begins = lvlm_arena_alloc(source->arena, cells, sizeof *in->begins);
    if (in->begins == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cells; i++) {
        in->begins[i] = i % in->T != 0 && at[i] != at[i - 1] + 1;
        n += in->begins[i];
    }
    if (n == 0 || in->B == 1) return 0;
    return lvlm_notes_add(notes, err,
                          "%s: start again within one of %zu rows, where another text "
                          "begins for the reference's eager attention, and not for "
                          "flash attention",
                          name, in->B);
}

/* Do tokens of one text go back? */
static bool goes_back(const lvlm_inputs *in, const int64_t *at)
{
    for (size_t i = 0, last = 0; i < in->B * in->T; i++) {
        if (in->real[i] == 0) continue;
        if (last / in->T == i / in->T && at[i] < at[last]) return true;
        last = i;
    }
    return false;
}

static int note_restart(const lvlm_input_spec *spec, bool countable, lvlm_notes *notes,
                        lvlm_error *err)
{
    const char *const why =
        spec->typed  ? "a prefix is seen by all of its row"
        : !countable ? "only the first axis of [4, B, T] does"
                     : "with attention_mask the reference leaves them together";
    return lvlm_notes_add(notes, err,
                          "%s: start again within a row, which does not make texts of "
                          "their own: %s",
                          name, why);
}

int lvlm_position_ids_read(lvlm_inputs *in, const lvlm_input_source *source,
                           const lvlm_input_spec *spec, lvlm_notes *notes,
                           lvlm_error *err)
{
    char got[LVLM_SHAPE_TEXT];
    const lvlm_tensor *const t = lvlm_input_find(source, name);
    const lvlm_input_range range = { -MOST, MOST, 0, NULL };
    int64_t *values, *places;
    assert(in->B > 0 && in->T > 0 && in->real != NULL && in->positions == NULL);
    if (t == NULL || spec->position_axes == 0) return 0;
    const size_t n = count_axes(t, in, spec->position_axes);
    FAIL_IF(n == 0, err, LVLM_EFORMAT, "%s: shape %s, expected [%zu, %zu]%s", t->name,
            lvlm_shape_text(got, &t->shape), in->B, in->T,
            spec->position_axes == 3 ? ", or 3 or 4 of these" : "");
    TRY(lvlm_input_integers(&values, source, t, &t->shape, &range, err));
    in->position_axes = n == 1 ? 1 : 3;
    TRY(spread(&in->positions, values, t, source, in, n == 4, in->position_axes, err));
    TRY(spread(&places, values, t, source, in, 0, 1, err));
    const bool countable = n == (spec->position_axes == 3 ? 4 : 1);
    if (countable && !in->has_mask && !spec->typed)
        return cut(in, places, source, notes, err);
    return goes_back(in, places) ? note_restart(spec, countable, notes, err) : 0;
}
