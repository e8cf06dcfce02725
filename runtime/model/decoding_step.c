/* decoding_step.c - tokens after texts, of several sessions in one pass; see
 * decoding.h.
 *
 *   tokens of all -> rows (decoder.h) -> one pass -> logits of each session
 *
 * The memory of a pass is the model's: only one session runs at a time. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/decoding.h"
#include "runtime/ops/linear.h"

_Static_assert((int)LVLM_STEP_TOKENS == (int)LINEAR_ALIKE, "rows of a step");

/* The memory of a step, made again when one has more rows or longer texts. */
struct step_memory {
    decoder_steps steps;
    real *logits; /* (steps.most,V) */
    workspace memory;
    ops_scratch scratch;
    workspace scratch_memory;
    size_t keys; /* that scratch is for */
};

void step_memory_free(struct step_memory *m)
{
    if (m == NULL) return;
    workspace_free(&m->memory);
    workspace_free(&m->scratch_memory);
    lvlm_free(m);
}

static int make_scratch(struct step_memory *m, const pipeline *p, size_t keys,
                        lvlm_error *err)
{
    const size_t n = p->n_threads;
    const size_t numel =
        LARGEST(decoder_step_scratch(&p->text, LVLM_STEP_TOKENS, keys, n),
                head_scratch(&p->head, n), adapters_scratch(&p->adapters, n));
    workspace_free(&m->scratch_memory);
    m->keys = 0;
    TRY(workspace_array(&m->scratch.data, &m->scratch_memory, numel, 1, "scratch",
                        err));
    m->scratch.numel = numel;
    m->scratch.n_threads = n;
    m->scratch.terms = p->terms;
    m->keys = keys;
    return 0;
}

static int make_rows(struct step_memory *m, const pipeline *p, size_t rows,
                     lvlm_error *err)
{
    workspace_free(&m->memory);
    m->steps.most = 0;
    decoder_steps steps;
    TRY(workspace_array(&m->logits, &m->memory, rows, p->head.config.vocab, "logits",
                        err));
    TRY(decoder_steps_make(&steps, &m->memory, &p->text, rows, err));
    m->steps = steps;
    return 0;
}

/* For `rows` rows, each of which attends to at most `keys`. */
static int make_memory(pipeline *p, size_t rows, size_t keys, lvlm_error *err)
{
    if (p->steps == NULL) p->steps = lvlm_calloc(1, sizeof *p->steps);
    if (p->steps == NULL) return lvlm_fail_memory(err);
    if (p->steps->steps.most < rows) TRY(make_rows(p->steps, p, rows, err));
    return p->steps->keys < keys ? make_scratch(p->steps, p, keys, err) : 0;
}

/* ---- rows ----------------------------------------------------------------------- */

static decoding *of(const lvlm_continuation *step)
{
    return (decoding *)step->session;
}

/* May these tokens be appended? Reserves their memory. */
static int check(const lvlm_continuation *step, lvlm_error *err)
{
    decoding *const d = of(step);
    assert(d->cache.rows > 0 && step->n > 0);
    for (size_t i = 0; i < step->n; i++)
        FAIL_IF(step->ids[i] < 0 || (uint64_t)step->ids[i] >= d->base.vocab, err,
                LVLM_EUSAGE, "token %lld, expected 0 to %zu", (long long)step->ids[i],
                d->base.vocab - 1);
    for (size_t axis = 0; axis < 3; axis++)
        FAIL_IF(d->next[axis] + (int64_t)step->n > LVLM_MAX_POSITIONS, err, LVLM_ENOMEM,
                "a text of more than %d positions", LVLM_MAX_POSITIONS);
    TRY(decoding_reserve(d, d->cache.rows + step->n, err));
    return decoding_reserve_logits(d, step->n, err);
}

/* The rows of a session's tokens. */
static void put_rows(decoder_row *rows, const lvlm_continuation *step)
{
    decoding *const d = of(step);
    const size_t window = d->p->text.config.sliding_window;
    const size_t first = d->cache.rows;
    size_t lo = d->window_lo;
    for (size_t i = 0; i < step->n; i++) {
        const size_t column = d->columns[first - 1] + 1 + i;
        decoder_row *const row = &rows[i];
        *row =
            (decoder_row){ .id = step->ids[i], .cache = &d->cache, .row = first + i };
        for (size_t axis = 0; axis < 3; axis++)
            row->positions[axis] = d->next[axis] + (int64_t)i;
        d->columns[row->row] = column;
        while (window > 0 && d->columns[lo] + window <= column) lo++;
        row->window_lo = lo;
        if (i == 0) d->window_lo = lo;
    }
}

/* Append its tokens and copy their logits, (n,V). */
static void append(const lvlm_continuation *step, const real *logits)
{
    decoding *const d = of(step);
    const size_t V = d->p->head.config.vocab;
    memcpy(d->tokens + d->cache.rows, step->ids, step->n * sizeof *d->tokens);
    memcpy(d->logits, logits, step->n * V * sizeof *logits);
    d->cache.rows += step->n;
    for (size_t axis = 0; axis < 3; axis++) d->next[axis] += (int64_t)step->n;
    decoding_publish(d, step->n);
}

/* Texts with images come first, as decoder_step has them. */
static void sort(lvlm_continuation *sorted, const lvlm_continuation *steps, size_t n)
{
    size_t k = 0;
    for (int images = 1; images >= 0; images--)
        for (size_t i = 0; i < n; i++)
            if (of(&steps[i])->cache.has_images == images) sorted[k++] = steps[i];
    assert(k == n);
}

/* Number of rows, and the most keys that one may attend to. */
static int measure(size_t *N, size_t *keys, const lvlm_continuation *steps, size_t n,
                   lvlm_error *err)
{
    *N = 0;
    *keys = 1;
    for (size_t i = 0; i < n; i++) {
        const decoding *const d = of(&steps[i]);
        assert(d->p == of(steps)->p && *N + steps[i].n <= LVLM_STEP_TOKENS);
        TRY(check(&steps[i], err));
        *N += steps[i].n;
        *keys = max_size(*keys, max_size(d->cache.capacity, d->cache.image_rows));
    }
    return 0;
}

int decoding_step(const lvlm_continuation *steps, size_t n, lvlm_error *err)
{
    pipeline *const p = of(steps)->p;
    const size_t V = p->head.config.vocab;
    lvlm_continuation sorted[LVLM_STEP_TOKENS];
    decoder_row rows[LVLM_STEP_TOKENS];
    size_t N, keys, row = 0;
    TRY(measure(&N, &keys, steps, n, err));
    TRY(make_memory(p, N, keys, err));
    struct step_memory *const m = p->steps;
    sort(sorted, steps, n);
    for (size_t i = 0; i < n; row += sorted[i++].n) put_rows(rows + row, &sorted[i]);
    pipeline_evaluates(p);
    TRY(decoder_step(&p->text, &m->steps, rows, N, &m->scratch, err));
    head_project(m->logits, m->steps.normed, &p->head, N, &m->scratch);
    for (size_t i = n; i-- > 0;) {
        row -= sorted[i].n;
        append(&sorted[i], m->logits + row * V);
    }
    return 0;
}

void decoding_keep(struct lvlm_session *session, size_t n)
{
    decoding *const d = (decoding *)session;
    assert(n >= 1 && n <= d->base.n_new);
    const size_t dropped = d->base.n_new - n;
    d->cache.rows -= dropped;
    for (size_t axis = 0; axis < 3; axis++) d->next[axis] -= (int64_t)dropped;
    decoding_publish(d, n);
}
