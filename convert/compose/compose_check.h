/* compose_check.h - sizes that must meet in a composed model. Private to compose.
 *
 * What a family's table can say (shapes of the tower's and the language model's own
 * tensors) is left to it; here is what concerns two parts. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_CHECK_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_CHECK_H

#include "convert/compose/compose_parts.h"

LVLM_BEGIN_DECLS

/* LVLM_EFORMAT names the first two sizes that do not meet, whose they are, and what
 * would make them meet. */
LVLM_MUST_CHECK int lvlm_compose_check(const lvlm_compose_spec *spec,
                                       const lvlm_compose_parts *parts,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
