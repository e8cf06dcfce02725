/* dataset_batch.c - batches of a file of training data, one by one and as a source; see
 * dataset.h. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/tune/data/dataset.h"
#include "runtime/tune/data/dataset_parts.h"
#include "runtime/tune/data/prefetch.h"

enum { MAX_NAME = 1 << 16, MAX_NAMED = 8 }; /* bytes and lines of a batch's name */

/* ---- one batch ------------------------------------------------------------------ */

/* A batch in the making, of those of its examples that can be used. */
typedef struct maker {
    lvlm_dataset *d;
    lvlm_dataset_batch *out;
    lvlm_example *examples; /* (n) */
    lvlm_example **list;    /* (n_list) those that can be used ... */
    size_t *values;         /* ... and where in the file they are */
    size_t n, n_list;
} maker;

static int add_note(maker *m, size_t value, const char *bad, lvlm_error *err)
{
    lvlm_arena *const arena = &m->out->arena;
    lvlm_dataset_note *const note = lvlm_arena_alloc(arena, 1, sizeof *note);
    if (note == NULL) return lvlm_fail_memory(err);
    note->value = value;
    if (bad != NULL) {
        note->bad = lvlm_arena_strndup(arena, bad, strlen(bad));
        if (note->bad == NULL) return lvlm_fail_memory(err);
    }
    if (m->out->last != NULL)
        m->out->last->next = note;
    else
        m->out->notes = note;
    m->out->last = note;
    return 0;
}

/* Example `at` of the list cannot be used, because of `why`: note it, or fail. */
static int drop(maker *m, size_t at, int rc, const lvlm_error *why, lvlm_error *err)
{
    if (!dataset_may_skip(m->d, rc)) {
        if (err != NULL) *err = *why;
        return rc;
    }
    assert(at < m->n_list);
    TRY(add_note(m, m->values[at], why->text, err));
    m->n_list--;
    for (size_t i = at; i < m->n_list; i++) {
        m->list[i] = m->list[i + 1];
        m->values[i] = m->values[i + 1];
    }
    return 0;
}

static int read_examples(maker *m, const size_t *examples, lvlm_error *err)
{
    for (size_t i = 0; i < m->n; i++) {
        const size_t value = m->d->values[examples[i]], at = m->n_list++;
        lvlm_error why;
        m->list[at] = &m->examples[i];
        m->values[at] = value;
        const int rc = dataset_read_example(m->list[at], m->d, value, &why);
        if (rc < 0) TRY(drop(m, at, rc, &why, err));
    }
    return 0;
}

/* Retry without the example that cannot be used. */
static int encode(maker *m, lvlm_error *err)
{
    while (m->n_list > 0) {
        lvlm_error why;
        size_t bad;
        const int rc = lvlm_encode(&m->out->encoded, &bad, m->d->encoder, m->list,
                                   m->n_list, &why);
        if (rc == 0) return 0;
        if (bad == m->n_list) {
            if (err != NULL) *err = why;
            return rc;
        }
        lvlm_jsonl_prefix(&why, &m->d->file, m->values[bad]);
        TRY(drop(m, bad, rc, &why, err));
    }
    return 0;
}

/* "data.jsonl lines 3, 17". */
static int name_batch(maker *m, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_NAME);
    lvlm_strbuf_printf(&text, "%s line%s", m->d->file.file->path,
                       m->n_list == 1 ? "" : "s");
    for (size_t i = 0; i < m->n_list && i < MAX_NAMED; i++)
        lvlm_strbuf_printf(&text, "%s%" PRIu32, i > 0 ? ", " : " ",
                           m->d->file.values[m->values[i]].line);
    if (m->n_list > MAX_NAMED)
        lvlm_strbuf_printf(&text, " and %zu more", m->n_list - MAX_NAMED);
    int rc = lvlm_strbuf_check(&text, err);
    if (rc == 0) {
        m->out->name = lvlm_arena_strndup(&m->out->arena, text.text, text.length);
        if (m->out->name == NULL) rc = lvlm_fail_memory(err);
    }
    lvlm_strbuf_free(&text);
    return rc;
}

static int make(maker *m, const size_t *examples, lvlm_error *err)
{
    TRY(read_examples(m, examples, err));
    TRY(encode(m, err));
    if (m->n_list == 0) return 0;
    for (size_t i = 0; i < m->n_list; i++)
        if (m->out->encoded->cut[i]) TRY(add_note(m, m->values[i], NULL, err));
    return name_batch(m, err);
}

/* Batch number `i` into *out, whose notes stay. */
static int make_batch(lvlm_dataset_batch *out, lvlm_dataset *d, size_t i,
                      lvlm_error *err)
{
    lvlm_arena scratch = LVLM_ARENA_INIT;
    maker m = { .d = d, .out = out };
    const size_t *examples;
    int rc;
    TRY(lvlm_order_batch(&examples, &m.n, &d->order, i, err));
    m.examples = lvlm_arena_alloc(&scratch, m.n, sizeof *m.examples);
    m.list = lvlm_arena_alloc(&scratch, m.n, sizeof *m.list);
    m.values = lvlm_arena_alloc(&scratch, m.n, sizeof *m.values);
    if (m.examples != NULL && m.list != NULL && m.values != NULL) {
        rc = make(&m, examples, err);
        for (size_t k = 0; k < m.n; k++) lvlm_example_free(&m.examples[k]);
    } else {
        rc = lvlm_fail_memory(err);
    }
    lvlm_arena_free(&scratch);
    return rc;
}

/* The first of the batches i, i + 1, ... i + n - 1 that has a usable example, or the
 * last one. */
static int make_some(lvlm_dataset_batch **out, lvlm_dataset *d, size_t i, size_t n,
                     lvlm_error *err)
{
    lvlm_dataset_batch *const b = lvlm_calloc(1, sizeof *b);
    if (b == NULL) return lvlm_fail_memory(err);
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < n && b->encoded == NULL; k++)
        rc = make_batch(b, d, i + k, err);
    if (rc < 0)
        lvlm_dataset_batch_free(b);
    else
        *out = b;
    return rc;
}

int lvlm_dataset_make(lvlm_dataset_batch **out, lvlm_dataset *dataset, size_t i,
                      lvlm_error *err)
{
    return make_some(out, dataset, i, 1, err);
}

void lvlm_dataset_batch_free(lvlm_dataset_batch *batch)
{
    if (batch == NULL) return;
    lvlm_encoded_free(batch->encoded);
    lvlm_arena_free(&batch->arena);
    lvlm_free(batch);
}

void lvlm_dataset_note_batch(lvlm_dataset *d, const lvlm_dataset_batch *batch)
{
    for (const lvlm_dataset_note *n = batch->notes; n != NULL; n = n->next) {
        if (n->bad != NULL) {
            dataset_leave_out(d, n->value, n->bad);
        } else if (!(d->noted[n->value] & DATASET_NOTED_CUT)) {
            d->noted[n->value] |= DATASET_NOTED_CUT;
            d->counts.cut++;
        }
    }
}

int lvlm_dataset_check(lvlm_dataset *d, lvlm_error *err)
{
    bool any = false;
    for (size_t i = 0; i < d->order.n_batches; i++) {
        lvlm_dataset_batch *batch = NULL;
        TRY(lvlm_dataset_make(&batch, d, i, err));
        lvlm_dataset_note_batch(d, batch);
        any |= batch->encoded != NULL;
        lvlm_dataset_batch_free(batch);
    }
    FAIL_IF(!any, err, LVLM_EFORMAT, "%s: none of its examples can be used",
            d->file.file->path);
    return 0;
}

/* ---- as a source ---------------------------------------------------------------- */

typedef struct source {
    lvlm_dataset *d;
    size_t depth;
    lvlm_prefetch *ahead;      /* NULL: before the first seek */
    lvlm_dataset_batch *taken; /* what was handed out last */
} source;

static int make_item(void **item, void *user, size_t i, lvlm_error *err)
{
    lvlm_dataset *const d = user;
    lvlm_dataset_batch *made = NULL;
    TRY(make_some(&made, d, i, d->order.n_batches, err));
    *item = made;
    return 0;
}

static void drop_item(void *item)
{
    lvlm_dataset_batch_free(item);
}

static int source_seek(void *self, size_t i, lvlm_error *err)
{
    source *const s = self;
    const lvlm_prefetch_work work = { .make = make_item,
                                      .drop = drop_item,
                                      .user = s->d,
                                      .first = i,
                                      .end = SIZE_MAX,
                                      .depth = s->depth };
    lvlm_prefetch_stop(s->ahead);
    s->ahead = NULL;
    return lvlm_prefetch_start(&s->ahead, &work, err);
}

static int source_next(void *self, lvlm_batch *out, lvlm_error *err)
{
    source *const s = self;
    void *item = NULL;
    lvlm_dataset_batch_free(s->taken);
    s->taken = NULL;
    if (s->ahead == NULL) TRY(source_seek(s, 0, err));
    TRY(lvlm_prefetch_take(&item, s->ahead, err));
    s->taken = item;
    lvlm_dataset_note_batch(s->d, s->taken);
    FAIL_IF(s->taken->encoded == NULL, err, LVLM_EFORMAT,
            "%s: none of its examples can be used", s->d->file.file->path);
    *out = (lvlm_batch){ &s->taken->encoded->batch, s->taken->name };
    return 0;
}

static void source_close(void *self)
{
    source *const s = self;
    if (s == NULL) return;
    lvlm_prefetch_stop(s->ahead);
    lvlm_dataset_batch_free(s->taken);
    lvlm_free(s);
}

/* The batch of the first epoch whose examples are longest together. */
static int find_largest(size_t *largest, lvlm_dataset *d, lvlm_error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < d->order.n_batches; i++) {
        const size_t *examples;
        size_t n, sum = 0;
        TRY(lvlm_order_batch(&examples, &n, &d->order, i, err));
        for (size_t k = 0; k < n; k++) sum += d->lengths[examples[k]];
        if (sum > most) {
            most = sum;
            *largest = i;
        }
    }
    return 0;
}

int lvlm_dataset_source(lvlm_batch_source *out, lvlm_dataset *dataset, size_t depth,
                        lvlm_error *err)
{
    source *const s = lvlm_calloc(1, sizeof *s);
    if (s == NULL) return lvlm_fail_memory(err);
    *s = (source){ .d = dataset, .depth = depth };
    *out = (lvlm_batch_source){ .n = dataset->order.n_batches,
                                .held = depth + 1,
                                .self = s,
                                .seek = source_seek,
                                .next = source_next,
                                .close = source_close };
    memcpy(out->id, dataset->id, sizeof out->id);
    const int rc = find_largest(&out->largest, dataset, err);
    if (rc < 0) lvlm_batch_source_close(out);
    return rc;
}
