/* loss_plot.h - the loss of a run as a picture: one SVG file that needs nothing else
 * and can be read on light and on dark pages. */
#ifndef LVLM_RUNTIME_TUNE_LOSS_PLOT_H
#define LVLM_RUNTIME_TUNE_LOSS_PLOT_H

#include <stddef.h>

#include "formats/base/outfile.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_loss_point {
    size_t step;
    double loss; /* finite */
} lvlm_loss_point;

/* points (n), at least one, in order of step. Committed. The same
 * points give the same bytes. */
LVLM_MUST_CHECK int lvlm_loss_plot_save(lvlm_outfile *file,
                                        const lvlm_loss_point *points, size_t n,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
