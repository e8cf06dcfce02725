/* dataset_source.c - a dataset as a source of batches; see dataset.h. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/tune/data/dataset.h"
#include "runtime/tune/data/prefetch.h"

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
    TRY(lvlm_dataset_make(&made, d, i, d->order.n_batches, err));
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
    assert(s->d->order.n_batches > 0);
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
    assert(dataset->n > 0); /* lvlm_dataset_open */
    *out = (lvlm_batch_source){ .n = dataset->order.n_batches,
                                .held = depth + 1,
                                .self = s,
                                .seek = source_seek,
                                .next = source_next,
                                .close = source_close };
    memcpy(out->id, dataset->id, sizeof out->id);
    memcpy(out->file, dataset->sha256, sizeof out->file);
    memcpy(out->how, dataset->how, sizeof out->how);
    const int rc = find_largest(&out->largest, dataset, err);
    if (rc < 0) lvlm_batch_source_close(out);
    return rc;
}
