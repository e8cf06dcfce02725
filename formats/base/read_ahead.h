/* read_ahead.h - reads a mapped file ahead of its use, on a thread of its own.
 *
 * A pass over weights that are not in memory yet waits for the disk at every page that
 * it touches; this thread waits in its place. Only advice: nothing depends on it. */
#ifndef LVLM_FORMATS_BASE_READ_AHEAD_H
#define LVLM_FORMATS_BASE_READ_AHEAD_H

#include "formats/base/infile.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_read_ahead lvlm_read_ahead;

/* Start to read `file`, from its beginning. NULL: not started, because the file is in
 * memory already or needs more than half of the free memory, or because the kernel
 * cannot (before Linux 5.14). `file` must stay open until lvlm_read_ahead_stop. */
lvlm_read_ahead *lvlm_read_ahead_start(const lvlm_infile *file);
/* Wait for the thread, at most for the piece that it is reading, and free it. */
void lvlm_read_ahead_stop(lvlm_read_ahead *ahead);

LVLM_END_DECLS

#endif
