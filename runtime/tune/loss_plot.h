/* loss_plot.h - the loss of a run as a picture: one SVG file that needs nothing else
 * and can be read on light and on dark pages. */
#ifndef LVLM_RUNTIME_TUNE_LOSS_PLOT_H
#define LVLM_RUNTIME_TUNE_LOSS_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/error.h"

typedef struct lvlm_loss_point {
    size_t step;
    double loss; /* finite */
} lvlm_loss_point;

/* points (n), at least one, in order of step. The same points give the same bytes. */
LVLM_MUST_CHECK int lvlm_loss_plot_save(const char *path, const lvlm_loss_point *points,
                                        size_t n, bool overwrite, lvlm_error *err);

#endif
