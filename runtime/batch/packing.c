/* packing.c - from cells to rows; see packing.h. */
#include "runtime/batch/packing.h"

#include <assert.h>

#include "runtime/batch/mask.h"

/* Arrays for N rows; false when out of memory. */
static bool allocate(lvlm_packing *p, bool window, bool targets)
{
    lvlm_arena *const a = &p->arena;
    const size_t N = p->N;
    if ((p->cell = lvlm_arena_alloc(a, N, sizeof *p->cell)) == NULL ||
        (p->ids = lvlm_arena_alloc(a, N, sizeof *p->ids)) == NULL ||
        (p->image_row = lvlm_arena_alloc(a, N, sizeof *p->image_row)) == NULL ||
        (p->types = lvlm_arena_alloc(a, N, sizeof *p->types)) == NULL ||
        (p->positions = lvlm_arena_alloc(a, p->axes * N, sizeof *p->positions)) ==
            NULL ||
        (p->texts = lvlm_arena_alloc(a, N + 1, sizeof *p->texts)) == NULL ||
        (p->lo = lvlm_arena_alloc(a, N, sizeof *p->lo)) == NULL ||
        (p->hi = lvlm_arena_alloc(a, N, sizeof *p->hi)) == NULL)
        return false;
    if (window && (p->window_lo = lvlm_arena_alloc(a, N, sizeof *p->lo)) == NULL)
        return false;
    return !targets ||
           ((p->targets = lvlm_arena_alloc(a, N, sizeof *p->targets)) != NULL &&
            (p->predicting = lvlm_arena_alloc(a, N, sizeof *p->predicting)) != NULL);
}

/* Is padding seen? Only a batch that trains has types and labels. */
static bool packs_padding(const lvlm_inputs *in, const lvlm_packing_options *options)
{
    return options->prefix.padding_is_prefix && in->has_types && in->has_labels &&
           !options->causal;
}

static bool is_row(const lvlm_inputs *in, const lvlm_packing_options *options, size_t i)
{
    return in->real[i] != 0 || packs_padding(in, options);
}

static int64_t type_of(const lvlm_inputs *in, const lvlm_packing_options *options,
                       size_t i)
{
    const lvlm_prefix_rules *const rules = &options->prefix;
    if (options->causal || (rules->untyped_is_suffix && !in->has_types)) return 1;
    return rules->unlabelled_is_prefix && !in->has_labels ? 0 : in->types[i];
}

/* Rows that count as prefix are seen by those before a suffix, which do not see it. */
static int check_padding(const lvlm_inputs *in, const lvlm_packing_options *options,
                         lvlm_error *err)
{
    for (size_t i = 1; packs_padding(in, options) && i < in->B * in->T; i++)
        FAIL_IF(i % in->T != 0 && in->real[i] == 0 && in->types[i] == 0 &&
                    in->types[i - 1] != 0,
                err, LVLM_EFORMAT,
                "attention_mask[%zu, %zu]: padding after a text, which this reference "
                "lets the prefix see: not computed; pad before it",
                i / in->T, i % in->T);
    return 0;
}

/* The target of cell i: the label of the next one. */
static int64_t target_of(const lvlm_inputs *in, size_t i)
{
    return (i + 1) % in->T != 0 ? in->labels[i + 1] : LVLM_IGNORE_LABEL;
}

/* Of cell i on one axis. */
static int64_t position_of(const lvlm_inputs *in, const lvlm_packing_options *options,
                           size_t axis, size_t i)
{
    if (in->positions == NULL) return (int64_t)(i % in->T) + options->first_position;
    return in->positions[(axis < in->position_axes ? axis : 0) * in->B * in->T + i];
}

static void fill_rows(lvlm_packing *p, const lvlm_inputs *in,
                      const lvlm_packing_options *options)
{
    for (size_t i = 0, n = 0; i < in->B * in->T; i++) {
        if (!is_row(in, options, i)) continue;
        p->cell[n] = i;
        p->ids[n] = in->image_row[i] >= 0 ? -1 : in->ids[i];
        p->image_row[n] = in->image_row[i];
        p->types[n] = type_of(in, options, i);
        for (size_t axis = 0; axis < p->axes; axis++)
            p->positions[axis * p->N + n] = position_of(in, options, axis, i);
        if (p->targets != NULL) {
            p->targets[n] = target_of(in, i);
            if (p->targets[n] != LVLM_IGNORE_LABEL) p->predicting[p->n_targets++] = n;
        }
        assert(n == 0 || p->cell[n - 1] < i);
        n++;
    }
}

/* The end of the text that begins with row `first`. */
static size_t text_end(const lvlm_packing *p, const lvlm_inputs *in, size_t first)
{
    size_t end = first + 1;
    assert(first < p->N);
    while (end < p->N && p->cell[end] / p->T == p->cell[first] / p->T &&
           (in->begins == NULL || !in->begins[p->cell[end]]))
        end++;
    return end;
}

static void fill_texts(lvlm_packing *p, const lvlm_inputs *in)
{
    p->texts[0] = 0;
    for (size_t first = 0; first < p->N; first = p->texts[p->n_texts])
        p->texts[++p->n_texts] = text_end(p, in, first);
}

static void fill_ranges(lvlm_packing *p, const lvlm_packing_options *options)
{
    for (size_t i = 0; i < p->n_texts; i++) {
        const size_t first = p->texts[i], end = p->texts[i + 1];
        lvlm_mask_prefix_lm(p->lo, p->hi, p->types, first, end);
        if (p->window_lo == NULL) continue;
        for (size_t n = first; n < end; n++) p->window_lo[n] = p->lo[n];
        lvlm_mask_window(p->window_lo, options->window_cuts_prefix ? NULL : p->types,
                         p->cell, options->window, first, end);
    }
}

int lvlm_packing_make(lvlm_packing *out, const lvlm_inputs *inputs,
                      const lvlm_packing_options *options, lvlm_error *err)
{
    assert(options->axes == 1 || options->axes == 3);
    assert(inputs->B > 0 && inputs->T > 0 && inputs->image_row != NULL);
    *out = (lvlm_packing){ .B = inputs->B, .T = inputs->T, .axes = options->axes };
    TRY(check_padding(inputs, options, err));
    for (size_t i = 0; i < inputs->B * inputs->T; i++)
        out->N += is_row(inputs, options, i);
    FAIL_IF(!allocate(out, options->window != 0, inputs->labels != NULL), err,
            LVLM_ENOMEM, "out of memory for a batch of %zu tokens", out->N);
    fill_rows(out, inputs, options);
    fill_texts(out, inputs);
    assert(out->texts[out->n_texts] == out->N);
    fill_ranges(out, options);
    return 0;
}

size_t lvlm_packing_beyond(const lvlm_packing *p, int64_t most)
{
    size_t n_beyond = 0;
    for (size_t n = 0; n < p->N; n++) {
        bool beyond = false;
        for (size_t axis = 0; axis < p->axes; axis++)
            beyond |= p->positions[axis * p->N + n] >= most;
        n_beyond += beyond;
    }
    return n_beyond;
}

void lvlm_packing_free(lvlm_packing *packing)
{
    lvlm_arena_free(&packing->arena);
}
