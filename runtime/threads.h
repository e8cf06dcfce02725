/* threads.h - as many threads as the system has room for.
 *
 * OpenMP ends the process where a thread cannot be made, and OpenBLAS tries forever to
 * allocate the memory that each thread of a product needs. Both are tried before. */
#ifndef LVLM_RUNTIME_THREADS_H
#define LVLM_RUNTIME_THREADS_H

#include <stddef.h>

#include "formats/base/error.h"
#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

/* Start a team of *n_threads >= 1 and reserve its memory, which stays reserved. Where
 * there is no room for so many (address space, processes), *n_threads becomes what
 * there is room for, and a note says so (`notes` may be NULL). LVLM_ENOMEM: there is no
 * room for one. */
LVLM_MUST_CHECK int lvlm_threads_reserve(size_t *n_threads, lvlm_notes *notes,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
