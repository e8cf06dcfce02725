/* hub_cache.h - finds a model id's snapshot in the local Hugging Face cache.
 *
 *   google/paligemma-3b-pt-224 refs/main names the commit
 *   google/paligemma-3b-pt-224@bfloat16 a branch or tag (refs/bfloat16), or a commit
 *
 *   CACHE/models--google--paligemma-3b-pt-224/refs/main               a commit's name
 *   CACHE/models--google--paligemma-3b-pt-224/snapshots/COMMIT/...    links to blobs
 *
 * CACHE is $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else
 * $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub, as in
 * huggingface_hub. A leading ~ or ~user, $NAME and ${NAME} are expanded as it does.
 * Nothing is ever downloaded. Every function may be called from several threads at
 * once. */
#ifndef LVLM_FORMATS_CHECKPOINT_HUB_CACHE_H
#define LVLM_FORMATS_CHECKPOINT_HUB_CACHE_H

#include <stdbool.h>

#include "formats/base/arena.h"
#include "formats/base/digest.h"
#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Is this "owner/name" with an optional "@revision", in characters that the hub
 * allows? */
bool lvlm_hub_id_is(const char *text);

/* Does `path` resolve to a blob of a cache that is named by the SHA-256 of its bytes?
 * Then `hex` receives the digest. (Small files are named by git's SHA-1.) */
bool lvlm_hub_blob_digest(lvlm_hex_digest hex, const char *path);

/* The snapshot's directory, in `arena`. LVLM_EIO names where it was looked for and how
 * to download the model. */
LVLM_MUST_CHECK int lvlm_hub_cache_find(const char **out, const char *id,
                                        lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
