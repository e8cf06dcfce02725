/* slope_labels.c - a recording's inputs with other labels; see slope_labels.h. */
#include "verify/cause/slope_labels.h"

#include <string.h>

#include "formats/base/text.h"
#include "verify/replay/recording.h"

/* ---- texts ----------------------------------------------------------------------- */

bool texts_is_real(const texts *t, size_t i)
{
    return t->mask == NULL || lvlm_input_integer(t->mask, i) != 0;
}

int64_t texts_label(const texts *t, size_t b, size_t at)
{
    return at < t->T ? lvlm_input_integer(t->labels, b * t->T + at) : LVLM_IGNORE_LABEL;
}

static void count(texts *t)
{
    for (size_t i = 0; i < t->B * t->T; i++) {
        const size_t b = i / t->T, at = i % t->T;
        const bool counts = texts_label(t, b, at) != LVLM_IGNORE_LABEL;
        t->n_tokens += texts_is_real(t, i);
        t->n_first += counts && at == 0;
        t->n_labels += counts && at != 0;
        t->of_text[b] += counts && at != 0;
    }
    for (size_t b = 0; b < t->B; b++)
        if (t->of_text[b] > 0) t->counted[t->n_counted++] = b;
}

int texts_read(texts *out, slopes *l, lvlm_error *err)
{
    const lvlm_recording *const rec = &l->s.replay->recording;
    const lvlm_input_source source = { rec->checkpoint, LVLM_RECORDED_INPUT,
                                       &l->s.arena };
    lvlm_input_spec spec;
    *out = (texts){ .ids = rec->ids, .mask = rec->mask };
    out->labels = lvlm_input_find(&source, "labels");
    if (out->ids == NULL || out->labels == NULL ||
        !lvlm_shape_equal(&out->ids->shape, &out->labels->shape) ||
        lvlm_input_spec_read(&spec, l->s.manifest->config, NULL) < 0)
        return 0;
    out->B = (size_t)out->ids->shape.dims[0];
    out->T = (size_t)out->ids->shape.dims[1];
    out->image = spec.image_token;
    out->of_text = lvlm_arena_alloc(&l->s.arena, out->B + 1, sizeof *out->of_text);
    out->counted = lvlm_arena_alloc(&l->s.arena, out->B + 1, sizeof *out->counted);
    if (out->of_text == NULL || out->counted == NULL) return lvlm_fail_memory(err);
    count(out);
    return 0;
}

/* ---- other labels ---------------------------------------------------------------- */

/* The same values in rows of W. */
static int widen(lvlm_tensor *t, const texts *x, size_t W, lvlm_arena *arena,
                 lvlm_error *err)
{
    const size_t row = x->B > 0 ? (size_t)t->n_bytes / x->B : 0, cell = row / x->T;
    unsigned char *const wide = lvlm_arena_alloc(arena, x->B * W + 1, cell);
    if (wide == NULL) return lvlm_fail_memory(err);
    for (size_t b = 0; b < x->B; b++)
        memcpy(wide + b * W * cell, t->data + b * row, row);
    t->shape.dims[1] = W;
    t->data = wide;
    t->n_bytes = x->B * W * cell;
    return 0;
}

static bool is_of_texts(const lvlm_tensor *t, const texts *x)
{
    return lvlm_starts_with(t->name, LVLM_RECORDED_INPUT) && t->shape.n >= 2 &&
           t->shape.dims[0] == x->B && t->shape.dims[1] == x->T &&
           !lvlm_dtype_is_weight(t->dtype);
}

int relabel(relabelled *out, const texts *t, const lvlm_checkpoint *in, lvlm_error *err)
{
    lvlm_arena *const arena = &out->arena;
    *out = (relabelled){ .inputs = *in, .arena = LVLM_ARENA_INIT };
    out->W = t->mask != NULL ? t->T + 1 : t->T;
    out->labels = lvlm_arena_alloc(arena, t->B * out->W + 1, sizeof *out->labels);
    lvlm_tensor *const list = lvlm_arena_alloc(arena, in->n_tensors, sizeof *list);
    out->inputs.by_name = lvlm_arena_alloc(arena, in->n_tensors, sizeof(lvlm_tensor *));
    if (out->labels == NULL || list == NULL || out->inputs.by_name == NULL)
        return lvlm_fail_memory(err);
    out->inputs.tensors = list;
    for (size_t i = 0; i < in->n_tensors; i++) {
        list[i] = in->tensors[i];
        out->inputs.by_name[i] = list + (in->by_name[i] - in->tensors);
        if (is_of_texts(&list[i], t)) TRY(widen(&list[i], t, out->W, arena, err));
        if (&in->tensors[i] != t->labels) continue;
        list[i].dtype = LVLM_I64;
        list[i].n_bytes = t->B * out->W * sizeof *out->labels;
        list[i].data = (const unsigned char *)out->labels;
    }
    return 0;
}

/* ---- passes ---------------------------------------------------------------------- */

int relabelled_begin(slopes *l, lvlm_error *err)
{
    if (l->other == NULL) return slopes_bind(l, &l->other, l->s.manifest, NULL, err);
    lvlm_model_zero_gradients(l->other);
    return 0;
}

int relabelled_pass(slopes *l, bool *done, const relabelled *x, double scale,
                    lvlm_error *err)
{
    lvlm_error ignored = { .text = "" };
    const int rc = slopes_pass(l, l->other, &x->inputs, scale, &ignored);
    *done = rc == 0;
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : 0;
}
