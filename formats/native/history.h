/* history.h - what was done to the values of a native file after its conversion: the
 * member "history" of its provenance, a list of steps (NATIVE.md). Distinct objects may
 * be used from distinct threads. */
#ifndef LVLM_FORMATS_NATIVE_HISTORY_H
#define LVLM_FORMATS_NATIVE_HISTORY_H

#include <cjson/cJSON.h>

#include "formats/base/digest.h"
#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

#define LVLM_PROVENANCE_HISTORY "history"

#define LVLM_HISTORY_TRAINED "trained"
#define LVLM_HISTORY_MERGED "merged"

/* A step: what was done, by this version, to the weights of `base`, a native file; the
 * caller adds the other members. *out is owned: lvlm_json_free, also after a
 * failure. */
LVLM_MUST_CHECK int lvlm_history_begin(cJSON **out, const char *did,
                                       const lvlm_checkpoint *base, lvlm_error *err);

/* Append a step, which is copied, to that of a provenance. */
LVLM_MUST_CHECK int lvlm_history_add(cJSON *provenance, const cJSON *step,
                                     lvlm_error *err);

/* Is it a list of steps with known members of the right kinds? LVLM_EFORMAT names the
 * first that is not. */
LVLM_MUST_CHECK int lvlm_history_check(const cJSON *history, lvlm_error *err);

LVLM_END_DECLS

#endif
