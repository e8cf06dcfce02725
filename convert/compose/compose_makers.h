/* compose_makers.h - a LLaVA as its makers save it is a composition: the language model
 * and the connector are in its folder, config.json names the tower, which may be there
 * too. Private to convert. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_MAKERS_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_MAKERS_H

#include "convert/compose/compose_parts.h"

LVLM_BEGIN_DECLS

/* Is this the config.json of such a folder? */
bool compose_is_makers(const cJSON *config);
/* Is that the folder at `path`? False also for what cannot be read: opening says
 * why. */
bool compose_is_makers_folder(const char *path);
/* The spec that such a folder is; `vision` is the tower's folder, NULL: the same. Texts
 * are in the arena or borrowed. LVLM_EFORMAT: a setting that is not followed. */
LVLM_MUST_CHECK int compose_makers_spec(lvlm_compose_spec *out, const char *path,
                                        const char *vision, lvlm_arena *arena,
                                        lvlm_error *err);

/* Add to `out` the configuration of the tower whose tensors are part->tensors:
 * OpenAI's CLIP in their sizes. LVLM_EFORMAT: `name`, which config.json gives it, says
 * others. */
LVLM_MUST_CHECK int compose_makers_tower(cJSON *out, const lvlm_compose_part *part,
                                         const char *name, lvlm_error *err);
/* Make such a configuration that of the language model in it. */
LVLM_MUST_CHECK int compose_makers_text(cJSON *config, lvlm_error *err);

LVLM_END_DECLS

#endif
