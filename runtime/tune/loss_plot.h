/* loss_plot.h - a run as a picture: its losses and its learning rate. One SVG file that
 * needs nothing else and can be read on light and on dark pages, wide and narrow. */
#ifndef LVLM_RUNTIME_TUNE_LOSS_PLOT_H
#define LVLM_RUNTIME_TUNE_LOSS_PLOT_H

#include <stddef.h>

#include "formats/base/outfile.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_loss_point {
    size_t step;
    double loss; /* finite */
    double lr;   /* of the step; 0 of an evaluation */
} lvlm_loss_point;

typedef struct lvlm_loss_plot {
    const char *title, *subtitle;  /* what was trained, and how; any text */
    const lvlm_loss_point *points; /* (n), at least one, in order of step */
    size_t n;
    const lvlm_loss_point *evaluations; /* (n_evaluations), the same */
    size_t n_evaluations;
    const char *evaluated; /* what on; counts only with evaluations */
} lvlm_loss_plot;

/* Committed. The same plot gives the same bytes: no date is in it. */
LVLM_MUST_CHECK int lvlm_loss_plot_save(lvlm_outfile *file, const lvlm_loss_plot *plot,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
