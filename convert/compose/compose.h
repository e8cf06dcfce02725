/* compose.h - a new model from parts: a native file in which exactly the missing
 * projections are made and recorded as made.
 *
 *   lvlm_compose_plan      reads SPEC.json (compose_spec.h), opens the parts, checks
 *                          every size, and plans the file; reads headers only
 *   lvlm_compose_execute   checks native parts against their digests and writes it
 *
 * The parts become one checkpoint in LLaVA's layout, which is imported like any other:
 * the same tables, checks and rules apply. Distinct objects may be used from distinct
 * threads. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_H

#include "convert/compose/compose_parts.h"
#include "convert/import.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_compose {
    lvlm_compose_spec spec;
    lvlm_compose_parts parts;
    lvlm_checkpoint *joined; /* the parts as one checkpoint */
    lvlm_import *import;
    lvlm_arena arena;
} lvlm_compose;

/* `problem` (may be NULL) is called with a line per tensor that does not fit; then the
 * result is LVLM_ECHECK. Messages name the key of the spec, both sizes and what would
 * make them meet. Free *out with lvlm_compose_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_compose_plan(lvlm_compose *out, const char *spec_path,
                                      bool headers_only, lvlm_notes *notes,
                                      void (*problem)(void *user, const char *text),
                                      void *user, lvlm_error *err);
/* Write the native file and commit it. `root` receives the root digest. LVLM_ECHECK
 * names a corrupt tensor of a part. */
LVLM_MUST_CHECK int lvlm_compose_execute(lvlm_compose *compose, lvlm_outfile *file,
                                         const lvlm_run *run, lvlm_hex_digest root,
                                         lvlm_error *err);
void lvlm_compose_free(lvlm_compose *compose);

LVLM_END_DECLS

#endif
