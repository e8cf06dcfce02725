/* report_plot.h - the geometry of a chart of errors, and the names below it. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_PLOT_H
#define LVLM_VERIFY_REPORT_REPORT_PLOT_H

#include "formats/base/strbuf.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* In units of the view box. */
enum {
    LVLM_PLOT_LEFT = 58,
    LVLM_PLOT_LEVEL = 18,     /* height of a line of names of parts */
    LVLM_PLOT_MAX_PARTS = 32, /* that are named */
    LVLM_PLOT_TICK_LINE = 12, /* height of the name of a stage */
    LVLM_PLOT_LANE = 40,      /* height of a lane without a logarithm */
    LVLM_PLOT_CHARACTER = 7,  /* about the width of one */
    LVLM_PLOT_MAX_LABEL = 24, /* characters of the name of a part */
};

/* Consecutive stages with one name below the axis. */
typedef struct lvlm_plot_part {
    size_t first, last;
    const char *label;
    size_t bytes;  /* of the label; 0: none */
    double middle; /* x of the label */
    size_t level;  /* its line */
} lvlm_plot_part;

typedef struct lvlm_plot {
    const lvlm_replay *replay;
    int width, height;
    double slot;        /* width of a stage */
    double top, bottom; /* y of the ends of the logarithmic axis */
    int high, low;      /* powers of ten there */
    int step;           /* powers from one grid line to the next */
    bool has_zero;      /* the lane below is there ... */
    bool has_none;      /* ... and the one above */
    bool turned;        /* names of stages are rotated */
    lvlm_plot_part parts[LVLM_PLOT_MAX_PARTS];
    size_t n_parts, n_levels;
} lvlm_plot;

/* The middle of a stage. */
double lvlm_plot_x(const lvlm_plot *plot, size_t stage);

/* Set parts and names from replay, width and slot. */
void lvlm_plot_find_names(lvlm_plot *plot);
/* Draw the names, for a plot of known height. */
void lvlm_plot_put_names(lvlm_strbuf *out, const lvlm_plot *plot);

LVLM_END_DECLS

#endif
