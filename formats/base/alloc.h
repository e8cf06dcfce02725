/* alloc.h - the only access to the heap.
 *
 * Every allocation of the project uses these four functions, so that a test can link
 * another alloc.o that fails the Nth call. Failure is NULL, never an abort; a size that
 * overflows is a failure. lvlm_free(NULL) does nothing. */
#ifndef LVLM_FORMATS_BASE_ALLOC_H
#define LVLM_FORMATS_BASE_ALLOC_H

#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

void *lvlm_malloc(size_t bytes);
void *lvlm_calloc(size_t count, size_t bytes);
/* Grow or shrink to count*bytes; on failure the old block stays valid. */
void *lvlm_realloc(void *old, size_t count, size_t bytes);
LVLM_API void lvlm_free(void *block);
char *lvlm_strdup(const char *text);

LVLM_END_DECLS

#endif
