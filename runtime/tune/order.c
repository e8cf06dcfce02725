/* order.c - batches of similar lengths in a random order; see order.h. */
#include "runtime/tune/order.h"

#include <assert.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "formats/base/random.h"

/* As in the reference: windows of at most 50 batches and a quarter of the data. */
enum { WINDOW_BATCHES = 50, LEAST_WINDOWS = 4 };

void lvlm_order_make(size_t *order, size_t n, bool shuffled, uint64_t seed,
                     size_t epoch)
{
    const uint64_t stream =
        lvlm_random_scramble(lvlm_random_scramble(seed) + (uint64_t)epoch);
    assert(n > 0);
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n - 1; shuffled && i > 0; i--) {
        uint64_t bits;
        lvlm_random_bits(&bits, stream, i, 1);
        const size_t k = (size_t)(bits % (i + 1)), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

/* ---- lengths -------------------------------------------------------------------- */

typedef struct slot {
    size_t example, length, at; /* at: its place before */
} slot;

/* Longest first; examples of equal length keep their order. */
static int compare(const void *a, const void *b)
{
    const slot *const x = a, *const y = b;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

static int sort_windows(lvlm_order *o, lvlm_error *err)
{
    size_t batches = o->n / (o->batch_size * LEAST_WINDOWS);
    if (batches > WINDOW_BATCHES) batches = WINDOW_BATCHES;
    if (batches == 0) batches = 1;
    const size_t window = batches * o->batch_size;
    slot *const slots = lvlm_calloc(o->n, sizeof *slots);
    if (slots == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < o->n; i++)
        slots[i] = (slot){ o->examples[i], o->lengths[o->examples[i]], i };
    for (size_t first = 0; first < o->n; first += window)
        qsort(slots + first, o->n - first < window ? o->n - first : window,
              sizeof *slots, compare);
    for (size_t i = 0; i < o->n; i++) o->examples[i] = slots[i].example;
    lvlm_free(slots);
    return 0;
}

/* ---- epochs ---------------------------------------------------------------------- */

static int begin_epoch(lvlm_order *o, size_t epoch, lvlm_error *err)
{
    o->epoch = epoch;
    lvlm_order_make(o->examples, o->n, o->shuffled, o->seed, epoch);
    lvlm_order_make(o->batches, o->n_batches, o->shuffled, ~o->seed, epoch);
    return o->shuffled ? sort_windows(o, err) : 0;
}

int lvlm_order_init(lvlm_order *o, lvlm_error *err)
{
    assert(o->n > 0 && o->batch_size > 0);
    assert(o->lengths != NULL || !o->shuffled);
    if (o->batch_size > o->n) o->batch_size = o->n; /* a batch has no example twice */
    o->n_batches = (o->n - 1) / o->batch_size + 1;
    o->examples = lvlm_calloc(o->n, sizeof *o->examples);
    o->batches = lvlm_calloc(o->n_batches, sizeof *o->batches);
    if (o->examples == NULL || o->batches == NULL) return lvlm_fail_memory(err);
    return begin_epoch(o, 0, err);
}

void lvlm_order_free(lvlm_order *o)
{
    lvlm_free(o->examples);
    lvlm_free(o->batches);
    o->examples = o->batches = NULL;
}

int lvlm_order_batch(const size_t **examples, size_t *n, lvlm_order *o, size_t i,
                     lvlm_error *err)
{
    assert(o->examples != NULL && o->n_batches > 0); /* lvlm_order_init */
    if (i / o->n_batches != o->epoch) TRY(begin_epoch(o, i / o->n_batches, err));
    const size_t first = o->batches[i % o->n_batches] * o->batch_size;
    assert(first < o->n);
    *examples = o->examples + first;
    *n = o->n - first < o->batch_size ? o->n - first : o->batch_size;
    return 0;
}
