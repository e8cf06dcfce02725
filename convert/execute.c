/* execute.c - worker threads that stream tensors from input to output.
 *
 *   next tensor -> [ gather | make ] -> [ change dtype ] -> hash -> write at its offset
 *
 * Each worker has two buffers of CHUNK bytes; inputs are mapped, and strided ones are
 * gathered in place. Memory does not grow with the model. */
#include "convert/execute.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "convert/make.h"
#include "formats/base/alloc.h"
#include "formats/base/workers.h"
#include "formats/container/numeric.h"

/* Fits a core's L2 cache together with the input, so that hashing reads what was just
 * copied from cache. */
enum { CHUNK = 256 * 1024 };

typedef struct work {
    lvlm_plan *plan;
    lvlm_outfile *file;
    const lvlm_execute_options *options;
    size_t *order; /* steps, largest first */
    atomic_ullong done;
} work;

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
 * data is copied too: the bytes hashed must be the bytes written, even if the mapped
 * input is modified meanwhile. */
static int fetch(const lvlm_step *step, uint64_t first, uint64_t count, void *buffer,
                 lvlm_error *err)
{
    lvlm_elements elements;
    bool ok = true;
    const lvlm_tensor *input = step->n_inputs > 0 ? step->inputs[0] : NULL;
    const size_t element =
        input != NULL ? lvlm_dtype_bytes(input->dtype) : sizeof(float);
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
    case LVLM_STEP_MADE:
        lvlm_init_values(buffer, first, count, &step->init, &step->out);
        break;
    case LVLM_STEP_ZEROS: memset(buffer, 0, (size_t)count * element); break;
    }
    FAIL_IF(!ok, err, LVLM_EFORMAT, "tensor '%s': does not have the size of its layout",
            step->out.name);
    return 0;
}

static lvlm_dtype input_dtype(const lvlm_step *step)
{
    if (step->n_inputs > 0) return step->inputs[0]->dtype;
    return step->kind == LVLM_STEP_MADE ? LVLM_F32 : step->out.dtype;
}

static int stream_step(work *w, lvlm_step *step, unsigned char *buffer,
                       unsigned char *converted, lvlm_error *err)
{
    const lvlm_dtype from = input_dtype(step), to = step->out.dtype;
    const uint64_t numel = lvlm_tensor_numel(&step->out);
    const uint64_t start = w->options->at + step->out.offset;
    const size_t narrow = lvlm_dtype_bytes(from), wide = lvlm_dtype_bytes(to);
    const uint64_t per_chunk = CHUNK / (narrow > wide ? narrow : wide);
    lvlm_digest digest = LVLM_DIGEST_INIT;
    int rc = lvlm_digest_start(&digest, err);

    for (uint64_t at = 0; at < numel && rc == 0; at += per_chunk) {
        const uint64_t count = numel - at < per_chunk ? numel - at : per_chunk;
        const size_t n_bytes = (size_t)count * lvlm_dtype_bytes(to);
        const void *bytes = buffer;
        if ((rc = fetch(step, at, count, buffer, err)) < 0) break;
        if (from != to) {
            lvlm_convert_values(converted, to, buffer, from, (size_t)count);
            lvlm_narrowing_count(&step->narrowing, converted, to, buffer, from,
                                 (size_t)count);
            bytes = converted;
        }
        lvlm_outfile_write_at(w->file, start + at * lvlm_dtype_bytes(to), bytes,
                              n_bytes, &digest);
        if ((rc = lvlm_outfile_check(w->file, err)) < 0) break;
        const uint64_t done = atomic_fetch_add(&w->done, n_bytes) + n_bytes;
        if (w->options->progress != NULL) w->options->progress(w->options->user, done);
    }
    if (rc == 0) rc = lvlm_digest_finish(&digest, step->digest, err);
    lvlm_digest_free(&digest);
    return rc;
}

/* Check the digests that the step expects of its inputs. Unchanged data was already
 * hashed while it was copied. */
static int check_inputs(const lvlm_step *step, lvlm_error *err)
{
    const bool unchanged =
        step->kind == LVLM_STEP_COPY && input_dtype(step) == step->out.dtype;
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

/* ---- workers -------------------------------------------------------------------- */

static int run_step(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    lvlm_step *const step = &w->plan->steps[w->order[i]];
    unsigned char *const buffers = lvlm_malloc(2 * CHUNK);
    if (buffers == NULL) return lvlm_fail_memory(err);
    int rc = stream_step(w, step, buffers, buffers + CHUNK, err);
    if (rc == 0) rc = check_inputs(step, err);
    lvlm_free(buffers);
    return rc;
}

static int larger_first(const void *a, const void *b, void *user)
{
    const lvlm_step *steps = user;
    const size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const uint64_t x = steps[i].out.n_bytes, y = steps[j].out.n_bytes;
    if (x != y) return x > y ? -1 : 1;
    return i < j ? -1 : i > j;
}

int lvlm_execute(lvlm_plan *plan, lvlm_outfile *file,
                 const lvlm_execute_options *options, lvlm_error *err)
{
    work w = { .plan = plan, .file = file, .options = options };
    w.order = lvlm_malloc((plan->n_steps + 1) * sizeof *w.order);
    if (w.order == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < plan->n_steps; i++) w.order[i] = i;
    qsort_r(w.order, plan->n_steps, sizeof *w.order, larger_first, plan->steps);
    const int rc =
        lvlm_workers_each(options->threads, plan->n_steps, run_step, &w, err);
    lvlm_free(w.order);
    return rc;
}
