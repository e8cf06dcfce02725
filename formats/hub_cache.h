/* hub_cache.h - a model id to its snapshot in the local Hugging Face cache.
 *
 *   google/paligemma-3b-pt-224          refs/main tells the commit
 *   google/paligemma-3b-pt-224@bfloat16 a branch or tag (refs/bfloat16), or a commit
 *
 *   CACHE/models--google--paligemma-3b-pt-224/refs/main               a commit's name
 *   CACHE/models--google--paligemma-3b-pt-224/snapshots/COMMIT/...    links to blobs
 *
 * CACHE is $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else
 * $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub, as the reference has
 * it; a leading ~ or ~user, $NAME and ${NAME} are replaced as it replaces them. Nothing
 * is ever downloaded. */
#ifndef LVLM_FORMATS_HUB_CACHE_H
#define LVLM_FORMATS_HUB_CACHE_H

#include <stdbool.h>

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* "owner/name" with an optional "@revision", in the characters that the hub allows. */
bool lvlm_hub_id_is(const char *text);

/* Does `path`, through links, lead to a blob of a cache that is named by the SHA-256 of
 * its bytes? Then `hex` receives that (smaller files are named by git's SHA-1). */
bool lvlm_hub_blob_digest(lvlm_hex_digest hex, const char *path);

/* The snapshot's directory, into `arena`. LVLM_EIO tells where was looked and how to
 * get the model. */
LVLM_MUST_CHECK int lvlm_hub_cache_find(const char **out, const char *id,
                                        lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
