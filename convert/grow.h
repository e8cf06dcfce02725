/* grow.h - rows added to a table of word vectors or to a head. Every function may be
 * called from several threads at once. */
#ifndef LVLM_CONVERT_GROW_H
#define LVLM_CONVERT_GROW_H

#include "convert/make.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_growth {
    const lvlm_tensor *table; /* the stored rows, row-major */
    lvlm_init init;           /* of the rows after them */
} lvlm_growth;

/* "mean" (every new row is the mean of the stored ones), "zeros" or "normal:STD";
 * otherwise LVLM_EUSAGE, and the message begins with `what`. */
LVLM_MUST_CHECK int lvlm_growth_parse(lvlm_init *out, const char *what,
                                      const char *text, uint64_t seed, lvlm_error *err);

/* The lvlm_write of a step whose tensor has more rows than the table of the lvlm_growth
 * `growth`: the stored rows, then new ones. LVLM_EFORMAT if the table is strided. */
LVLM_MUST_CHECK int lvlm_growth_write(void *growth, const lvlm_step *step,
                                      lvlm_sink *sink, lvlm_error *err);

LVLM_END_DECLS

#endif
