/* loss_plot.h - draws the losses and the learning rate of a run. One SVG file without
 * outside references, readable on light and on dark pages, wide and narrow. */
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

typedef struct lvlm_loss_list {
    lvlm_loss_point *at; /* (n) in order of step */
    size_t n, capacity;
} lvlm_loss_list;

typedef struct lvlm_loss_plot {
    const char *title, *subtitle; /* any text: what was trained, and how */
    lvlm_loss_list steps;         /* borrowed, at least one */
    lvlm_loss_list evaluations;   /* borrowed, may be empty */
    const char *evaluated;        /* the data of the evaluations, if there are any */
} lvlm_loss_plot;

/* Write and commit. The same plot gives the same bytes: it has no date. */
LVLM_MUST_CHECK int lvlm_loss_plot_save(lvlm_outfile *file, const lvlm_loss_plot *plot,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
