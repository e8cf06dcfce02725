/* compose_files.h - private to compose: files of a composed model that say how pictures
 * and conversations are prepared for it. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_FILES_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_FILES_H

#include "convert/compose/compose_parts.h"

LVLM_BEGIN_DECLS

/* The side of the pictures that the tower takes. */
uint64_t lvlm_compose_side(const lvlm_compose_parts *parts);

/* preprocessor_config.json: those settings, or those that towers of the kind are
 * released with, which is noted. *out is owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_compose_pictures(char **out, const lvlm_compose_parts *parts,
                                          const lvlm_compose_spec *spec,
                                          lvlm_notes *notes, lvlm_error *err);

/* chat_template.jinja, in place of the language model's; NULL: that is kept. Static. */
const char *lvlm_compose_template(const lvlm_compose_spec *spec);

LVLM_END_DECLS

#endif
