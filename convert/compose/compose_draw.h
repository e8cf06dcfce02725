/* compose_draw.h - a composed model as a picture: its parts with their files, and the
 * way from a picture to the logits with every projection on it. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_DRAW_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_DRAW_H

#include "convert/compose/compose.h"

LVLM_BEGIN_DECLS

/* Write an SVG that stands alone to `file`, which the caller commits. It has no script
 * and needs no fonts or files; a title and a description say in words what is drawn.
 * The composition is planned, and its parts have their digests
 * (lvlm_compose_digest_files). */
LVLM_MUST_CHECK int lvlm_compose_draw(lvlm_outfile *file, const lvlm_compose *compose,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
