/* mask.h - which key rows a query row sees, as one range [lo, hi) per row.
 *
 * Rows are the real tokens of one text, rows [first, end) of a packed batch: padding is
 * gone already, so that every mask here is a range. */
#ifndef LVLM_RUNTIME_BATCH_MASK_H
#define LVLM_RUNTIME_BATCH_MASK_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Prefix-LM: q sees k when cum(k) <= cum(q), where cum counts the rows of type 1 up to
 * and with itself. With types 0 .. 0 1 .. 1 that is: the prefix sees the whole prefix,
 * the suffix sees the prefix and the suffix up to itself.
 * lo, hi, types: indexed by packed row. */
void lvlm_mask_prefix_lm(size_t *lo, size_t *hi, const int64_t *types, size_t first,
                         size_t end);

/* Sliding window, on the lower ends of a prefix-LM mask: from the first row of type 1
 * on, a row no longer sees rows `window` columns back or further; the prefix still sees
 * all of itself, unless `types` is NULL: then the window counts for every row. Columns
 * count padding too, as the reference's do. cell[n]: text * T + column of row n. */
void lvlm_mask_window(size_t *lo, const int64_t *types, const size_t *cell,
                      size_t window, size_t first, size_t end);

LVLM_END_DECLS

#endif
