/* execute.c - worker threads that stream tensors from input to output.
 *
 *   next tensor -> fetch from inputs, or `write` -> sink: [ change dtype ] -> hash ->
 *                                                         write at its offset
 *
 * Each worker has two buffers of CHUNK bytes; inputs are mapped, and strided ones are
 * gathered in place. Memory does not grow with the model: what was read of a mapped
 * file is released. */
#include "formats/container/execute.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/workers.h"
#include "formats/container/numeric.h"

/* Fits a core's L2 cache together with the input, so that hashing reads what was just
 * copied from cache. */
enum { CHUNK = 256 * 1024 };

/* Pages of an input that is copied in order are released in runs of this many bytes. */
#define RELEASED_BYTES ((uint64_t)8 << 20)

typedef struct work {
    lvlm_plan *plan;
    lvlm_outfile *file;
    uint64_t at;
    const lvlm_run *run;
    size_t *order; /* steps, largest first */
    atomic_ullong done;
} work;

struct lvlm_sink {
    work *work;            /* NULL: into memory, */
    unsigned char *memory; /* the step's bytes */
    lvlm_step *step;
    uint64_t at, end; /* in the file, or in memory */
    lvlm_digest digest;
    unsigned char *converted; /* CHUNK bytes */
};

/* ---- the sink ------------------------------------------------------------------- */

/* Bytes of the output, hashed and written. They are not in a mapped file: the bytes
 * hashed must be the bytes written, even if the input is modified meanwhile. */
static void put_bytes(lvlm_sink *sink, const void *bytes, size_t n_bytes)
{
    assert(sink->at + n_bytes <= sink->end);
    work *const w = sink->work;
    if (w == NULL) {
        memcpy(sink->memory + sink->at, bytes, n_bytes);
        lvlm_digest_update(&sink->digest, bytes, n_bytes);
        sink->at += n_bytes;
        return;
    }
    lvlm_outfile_write_at(w->file, sink->at, bytes, n_bytes, &sink->digest);
    sink->at += n_bytes;
    const uint64_t done = atomic_fetch_add(&w->done, n_bytes) + n_bytes;
    if (w->run->progress != NULL)
        w->run->progress(w->run->user, done, w->plan->n_bytes);
}

void lvlm_sink_put(lvlm_sink *sink, lvlm_dtype from, const void *values, size_t n)
{
    lvlm_step *const step = sink->step;
    const lvlm_dtype to = step->out.dtype;
    const size_t narrow = lvlm_dtype_bytes(from), wide = lvlm_dtype_bytes(to);
    const size_t room = CHUNK / wide;
    const unsigned char *at = values;
    if (from == to) {
        put_bytes(sink, values, n * wide);
        return;
    }
    for (size_t some; n > 0; n -= some, at += some * narrow) {
        some = n < room ? n : room;
        lvlm_convert_values(sink->converted, to, at, from, some);
        lvlm_narrowing_count(&step->narrowing, sink->converted, to, at, from, some);
        put_bytes(sink, sink->converted, some * wide);
    }
}

/* ---- one tensor ----------------------------------------------------------------- */

/* Bytes [first, first + count) of the concatenated inputs. */
static void join(const lvlm_step *step, uint64_t first, uint64_t count,
                 unsigned char *to)
{
    for (size_t i = 0; i < step->n_inputs && count > 0; i++) {
        const lvlm_tensor *input = step->inputs[i];
        if (first >= input->n_bytes) {
            first -= input->n_bytes;
            continue;
        }
        const uint64_t left = input->n_bytes - first,
                       some = left < count ? left : count;
        memcpy(to, input->data + first, (size_t)some);
        to += some;
        count -= some;
        first = 0;
    }
}

/* Output elements [first, first + count) of a step, in the input's dtype. Unchanged
 * data is copied too, see put_bytes. */
static int fetch(const lvlm_step *step, uint64_t first, uint64_t count, void *buffer,
                 lvlm_error *err)
{
    lvlm_elements elements;
    bool ok = true;
    const lvlm_tensor *input = step->n_inputs > 0 ? step->inputs[0] : NULL;
    switch (step->kind) {
    case LVLM_STEP_COPY:
        elements = lvlm_tensor_elements(input);
        lvlm_elements_read(buffer, first, count, &elements);
        break;
    case LVLM_STEP_GATHER:
        ok = lvlm_transform_gather(buffer, first, count, &step->transform,
                                   lvlm_tensor_elements(input));
        break;
    case LVLM_STEP_SCATTER:
        ok = lvlm_transform_scatter(buffer, first, count, &step->transform, step->parts,
                                    step->n_inputs);
        break;
    case LVLM_STEP_JOIN: join(step, first, count, buffer); break;
    case LVLM_STEP_ZEROS: memset(buffer, 0, (size_t)count); break;
    case LVLM_STEP_WRITTEN: assert(0 && "has no input to fetch"); break;
    }
    FAIL_IF(!ok, err, LVLM_EFORMAT, "tensor '%s': does not have the size of its layout",
            step->out.name);
    return 0;
}

static lvlm_dtype input_dtype(const lvlm_step *step)
{
    return step->n_inputs > 0 ? step->inputs[0]->dtype : step->out.dtype;
}

static int check_output(const lvlm_sink *sink, lvlm_error *err)
{
    return sink->work != NULL ? lvlm_outfile_check(sink->work->file, err) : 0;
}

/* Release the pages of an input that is read in order, from byte *released up to
 * byte `read`, if they are many. */
static void release_run(uint64_t *released, const lvlm_step *step, uint64_t read)
{
    const bool in_order =
        step->kind == LVLM_STEP_COPY && step->inputs[0]->stride == NULL;
    if (!in_order || read - *released < RELEASED_BYTES) return;
    lvlm_tensor_done_with(step->inputs[0], *released, read - *released);
    *released = read;
}

/* Everything that is made of inputs. */
static int stream_inputs(lvlm_sink *sink, unsigned char *buffer, lvlm_error *err)
{
    const lvlm_step *const step = sink->step;
    assert(step->kind != LVLM_STEP_WRITTEN);
    const lvlm_dtype from = input_dtype(step);
    const uint64_t numel = lvlm_tensor_numel(&step->out);
    const uint64_t per_chunk = CHUNK / lvlm_dtype_bytes(from);
    uint64_t released = 0;
    for (uint64_t at = 0; at < numel; at += per_chunk) {
        const uint64_t count = numel - at < per_chunk ? numel - at : per_chunk;
        TRY(fetch(step, at, count, buffer, err));
        lvlm_sink_put(sink, from, buffer, (size_t)count);
        TRY(check_output(sink, err));
        release_run(&released, step, (at + count) * lvlm_dtype_bytes(from));
    }
    return 0;
}

/* buffers (2 CHUNK) */
static int stream_step(lvlm_sink *sink, unsigned char *buffers, lvlm_error *err)
{
    lvlm_step *const step = sink->step;
    sink->digest = lvlm_digest_start();
    sink->converted = buffers + CHUNK;
    int rc = step->kind == LVLM_STEP_WRITTEN ? step->write(step->user, step, sink, err)
                                             : stream_inputs(sink, buffers, err);
    assert(rc < 0 || sink->at == sink->end);
    if (rc == 0) rc = check_output(sink, err);
    if (rc == 0) rc = lvlm_digest_finish(&sink->digest, step->digest, err);
    lvlm_digest_free(&sink->digest);
    return rc;
}

/* Check the digests that the step expects of its inputs. Unchanged data was already
 * hashed while it was copied. */
static int check_inputs(const lvlm_step *step, lvlm_error *err)
{
    const bool unchanged = lvlm_step_keeps_bytes(step);
    for (size_t i = 0; i < step->n_inputs && step->expect != NULL; i++) {
        const lvlm_tensor *input = step->inputs[i];
        lvlm_hex_digest hex;
        if (unchanged)
            memcpy(hex, step->digest, sizeof hex);
        else
            TRY(lvlm_digest_bytes(hex, input->data, (size_t)input->n_bytes, err));
        FAIL_IF(strcmp(hex, step->expect[i]) != 0, err, LVLM_ECHECK,
                "tensor '%s' is corrupt: its SHA-256 is %s, recorded is %s",
                input->name, hex, step->expect[i]);
    }
    return 0;
}

static int run_sink(lvlm_sink *sink, lvlm_error *err)
{
    unsigned char *const buffers = lvlm_malloc(2 * CHUNK);
    if (buffers == NULL) return lvlm_fail_memory(err);
    int rc = stream_step(sink, buffers, err);
    if (rc == 0) rc = check_inputs(sink->step, err);
    for (size_t i = 0; i < sink->step->n_inputs; i++) {
        const lvlm_tensor *const input = sink->step->inputs[i];
        lvlm_tensor_done_with(input, 0, input->n_bytes);
    }
    lvlm_free(buffers);
    return rc;
}

int lvlm_execute_step(unsigned char *out, lvlm_step *step, lvlm_error *err)
{
    lvlm_sink sink = { .memory = out, .step = step, .end = step->out.n_bytes };
    return run_sink(&sink, err);
}

/* ---- workers -------------------------------------------------------------------- */

static int run_step(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    lvlm_step *const step = &w->plan->steps[w->order[i]];
    const uint64_t start = w->at + step->out.offset;
    lvlm_sink sink = {
        .work = w, .step = step, .at = start, .end = start + step->out.n_bytes
    };
    return run_sink(&sink, err);
}

static int larger_first(const void *a, const void *b, void *user)
{
    const lvlm_step *steps = user;
    const size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const uint64_t x = steps[i].out.n_bytes, y = steps[j].out.n_bytes;
    if (x != y) return x > y ? -1 : 1;
    return i < j ? -1 : i > j;
}

int lvlm_execute(lvlm_plan *plan, lvlm_outfile *file, uint64_t at, const lvlm_run *run,
                 lvlm_error *err)
{
    assert(plan->steps != NULL || plan->n_steps == 0);
    assert(run->threads > 0);
    work w = { .plan = plan, .file = file, .at = at, .run = run };
    w.order = lvlm_malloc((plan->n_steps + 1) * sizeof *w.order);
    if (w.order == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < plan->n_steps; i++) w.order[i] = i;
    qsort_r(w.order, plan->n_steps, sizeof *w.order, larger_first, plan->steps);
    const int rc = lvlm_workers_each(run->threads, plan->n_steps, run_step, &w, err);
    lvlm_free(w.order);
    return rc;
}
