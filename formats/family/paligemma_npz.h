/* paligemma_npz.h - PaliGemma 1 and 2 as written by big_vision. Included only by family
 * pages. */
#ifndef LVLM_FORMATS_FAMILY_PALIGEMMA_NPZ_H
#define LVLM_FORMATS_FAMILY_PALIGEMMA_NPZ_H

#include "formats/family/family.h"

LVLM_BEGIN_DECLS

extern const lvlm_npz_table lvlm_npz_paligemma;
extern const lvlm_npz_table lvlm_npz_paligemma2;

LVLM_END_DECLS

#endif
