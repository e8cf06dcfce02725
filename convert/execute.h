/* execute.h - executes a plan: one pass over the inputs, in constant memory.
 *
 * Threads process whole tensors, largest first; each tensor goes through a small buffer
 * from mapped input to hash to output, so reading, hashing and writing overlap. */
#ifndef LVLM_CONVERT_EXECUTE_H
#define LVLM_CONVERT_EXECUTE_H

#include "convert/plan.h"
#include "formats/base/outfile.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_execute_options {
    size_t threads; /* at least 1 */
    uint64_t at;    /* offset in the output file of the plan's offset 0 */
    /* Called from any thread with the number of output bytes written since the last
     * call. May be NULL. */
    void (*progress)(void *user, uint64_t n_bytes);
    void *user;
} lvlm_execute_options;

/* Write every step to `file` and set its digest. LVLM_ECHECK names a tensor whose input
 * differs from the digest that the step expects. Write errors are kept in `file` and
 * reported by its commit. */
LVLM_MUST_CHECK int lvlm_execute(lvlm_plan *plan, lvlm_outfile *file,
                                 const lvlm_execute_options *options, lvlm_error *err);

LVLM_END_DECLS

#endif
