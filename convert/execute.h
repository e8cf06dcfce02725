/* execute.h - carries out a plan: one pass over the inputs, in constant memory.
 *
 * Threads take whole tensors, the largest first; each tensor passes through a small
 * buffer from mapped input to hash to output, so reading, hashing and writing
 * overlap. */
#ifndef LVLM_CONVERT_EXECUTE_H
#define LVLM_CONVERT_EXECUTE_H

#include "convert/plan.h"
#include "formats/base/outfile.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_execute_options {
    size_t threads; /* at least 1 */
    uint64_t at;    /* where in the output file the plan's offset 0 is */
    /* Told how many output bytes are done, from any thread; may be NULL. */
    void (*progress)(void *user, uint64_t n_bytes);
    void *user;
} lvlm_execute_options;

/* Write every step to `file` and set its digest. LVLM_ECHECK names a tensor whose input
 * does not have the digest that the step expects. Errors of writing stick to `file` and
 * are reported by its commit. */
LVLM_MUST_CHECK int lvlm_execute(lvlm_plan *plan, lvlm_outfile *file,
                                 const lvlm_execute_options *options, lvlm_error *err);

LVLM_END_DECLS

#endif
