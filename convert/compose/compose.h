/* compose.h - a new model from parts: a native file in which exactly the missing
 * projections are made and recorded as made.
 *
 *   lvlm_compose_plan     reads SPEC.json (compose_spec.h), opens the parts, checks
 *                         every size, and plans the file; reads headers only
 *   lvlm_import_execute   checks native parts against their digests and writes it
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
    bool is_makers;          /* a LLaVA as its makers save it */
    lvlm_tensor *originals;  /* (tensors of `joined`) as their files have them */
    lvlm_import *import;
    lvlm_arena arena;
} lvlm_compose;

/* Of `options` only headers_only, notes and problem are used; the others are the
 * spec's. Messages name the key of the spec, both sizes and what would make them meet.
 * Free *out, which must stay where it is, with lvlm_compose_free, also after a
 * failure. */
LVLM_MUST_CHECK int lvlm_compose_plan(lvlm_compose *out, const char *spec_path,
                                      const lvlm_import_options *options,
                                      lvlm_error *err);
/* The same for a LLaVA as its makers save it, in the folder `path`; `vision` is the
 * folder of its tower, NULL: it is there too. `options` as lvlm_import_plan's. */
LVLM_MUST_CHECK int lvlm_compose_plan_makers(lvlm_compose *out, const char *path,
                                             const char *vision,
                                             const lvlm_import_options *options,
                                             lvlm_error *err);
/* Read every file of the parts: their digests, for people. */
LVLM_MUST_CHECK int lvlm_compose_digest_files(lvlm_compose *compose, lvlm_error *err);
void lvlm_compose_free(lvlm_compose *compose);

LVLM_END_DECLS

#endif
