/* execute.h - executes a plan: one pass over the inputs, in constant memory.
 *
 * Threads process whole tensors, largest first; each tensor goes through a small buffer
 * from mapped input to hash to output, so reading, hashing and writing overlap. */
#ifndef LVLM_FORMATS_CONTAINER_EXECUTE_H
#define LVLM_FORMATS_CONTAINER_EXECUTE_H

#include "formats/base/outfile.h"
#include "formats/base/run.h"
#include "formats/container/plan.h"

LVLM_BEGIN_DECLS

/* Write every step to `file`, the plan's offset 0 at offset `at`, and set its digest.
 * The progress counts output bytes. LVLM_ECHECK names a tensor whose input differs from
 * the digest that the step expects. Write errors are kept in `file` and reported by its
 * commit. */
LVLM_MUST_CHECK int lvlm_execute(lvlm_plan *plan, lvlm_outfile *file, uint64_t at,
                                 const lvlm_run *run, lvlm_error *err);

/* Put the bytes of one step into memory, out (step->out.n_bytes), and set its
 * digest. */
LVLM_MUST_CHECK int lvlm_execute_step(unsigned char *out, lvlm_step *step,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
