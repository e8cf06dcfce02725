/* npz_names.h - where a native tensor may be in a big_vision .npz: its keys and its
 * layout in the array (family.h, lvlm_npz_table).
 *
 *   params/llm/layers/attn/q_einsum/w     all blocks, stacked     released files
 *   llm/layers/3/attn/q_einsum/w          one array per block     files saved again
 *
 * The canonical form of a key is the key without "params/". */
#ifndef LVLM_FORMATS_FAMILY_NPZ_NAMES_H
#define LVLM_FORMATS_FAMILY_NPZ_NAMES_H

#include "formats/base/arena.h"
#include "formats/family/family.h"

LVLM_BEGIN_DECLS

/* `key` without "params/". Borrowed. */
const char *lvlm_npz_canonical(const char *key);

/* Place number `at`, in order of preference, of the native tensor given by `section`,
 * `row` and `block`, and its canonical key; NULL: the table has no further place.
 * Strings are in `arena`. LVLM_EFORMAT if `config` (canonical) does not resolve the
 * shape. */
LVLM_MUST_CHECK int lvlm_npz_place(const char **key, lvlm_storage *out, size_t at,
                                   const lvlm_family *family,
                                   const lvlm_section *section, const lvlm_row *row,
                                   uint64_t block, const cJSON *config,
                                   lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
