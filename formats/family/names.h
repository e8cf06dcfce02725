/* names.h - converts source names of every generation to one canonical form and back.
 *
 *   base_model.model.model.vision_tower.encoder.layers.0.layer_norm1.weight
 *   vision_tower.vision_model.encoder.layers.0.layer_norm1.weight
 *      both are    vision.encoder.layers.0.layer_norm1.weight
 *
 * Wrappers are stripped and the root's prefix is replaced by its native one. */
#ifndef LVLM_FORMATS_FAMILY_NAMES_H
#define LVLM_FORMATS_FAMILY_NAMES_H

#include "formats/base/arena.h"
#include "formats/family/family.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_layout {
    LVLM_LAYOUT_HUB,     /* names of the official files */
    LVLM_LAYOUT_CURRENT, /* names that the current library writes */
    LVLM_LAYOUT_MODULES, /* names of its modules in memory, used by adapters */
} lvlm_layout;

/* The canonical form of a source name, or a copy without its wrapper if no root matches
 * (*known is then false). NULL: out of memory. */
char *lvlm_names_canonical(const lvlm_family *family, const char *source, bool *known,
                           lvlm_arena *arena);

/* The source name in a layout for a canonical one; a copy if no root matches. NULL: out
 * of memory. */
char *lvlm_names_source(const lvlm_family *family, const char *canonical,
                        lvlm_layout layout, lvlm_arena *arena);

/* A table prefix with its "{i}" replaced by `block`, followed by `rest`. NULL: out of
 * memory. */
char *lvlm_names_join(const char *prefix, uint64_t block, const char *rest,
                      lvlm_arena *arena);

LVLM_END_DECLS

#endif
