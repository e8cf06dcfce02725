/* ledger.h - what became of every source file and tensor, kept in the native file.
 *
 *   { "files":   [ { "name": FILE, "bytes": N,
 *                    "compressed": true }, ... ],  where tensors were; it has no frame
 *     "tensors": [ { "name": SOURCE, "file": index, "offset": N, "dtype": "F32",
 *                    "shape": [..], "use": "used" | "tied" | "unused",
 *                    "rule": NAME,           where unused
 *                    "detached": true,       where it is no span of its file
 *                    "targets": [NATIVE, ..],
 *                    "transform": { "axes": [..], "select": n, "order": [..] } } ],
 *     "made":    [ { "target": NATIVE, "how": TEXT }, ... ] }
 *
 * Tensors stand file by file: spans in order of offset, then the detached ones, whose
 * bytes are in the frame (tensor.h). Without "transform" the bytes of the one target
 * are the source's (but for its dtype, where conversion changed it). With it,
 * targets[i] is the native tensor at index i of the selected axis (transform.h). The
 * ledger and the frames are enough to rebuild every source file byte for byte. */
#ifndef LVLM_FORMATS_LEDGER_H
#define LVLM_FORMATS_LEDGER_H

#include <cjson/cJSON.h>

#include "formats/base/arena.h"
#include "formats/tensor.h"
#include "formats/transform.h"

typedef enum lvlm_use { LVLM_USE_USED, LVLM_USE_TIED, LVLM_USE_UNUSED } lvlm_use;

/* "used", "tied", "unused". */
const char *lvlm_use_name(lvlm_use use);

typedef struct lvlm_ledger_file {
    const char *name;
    uint64_t n_bytes;
    bool compressed; /* its bytes cannot come back: there is no frame */
} lvlm_ledger_file;

typedef struct lvlm_ledger_entry {
    lvlm_tensor source; /* all but its data */
    lvlm_use use;
    const char *rule; /* UNUSED: its rule; else NULL */
    const char **targets;
    size_t n_targets;
    lvlm_transform transform; /* index is not kept */
} lvlm_ledger_entry;

typedef struct lvlm_ledger_made {
    const char *target;
    const char *how; /* "normal, std 0.02, seed 7" */
} lvlm_ledger_made;

typedef struct lvlm_ledger {
    lvlm_ledger_file *files;
    size_t n_files;
    lvlm_ledger_entry *entries;
    size_t n_entries;
    lvlm_ledger_made *made;
    size_t n_made;
} lvlm_ledger;

/* From its JSON, into `arena`; strings are copied. LVLM_EFORMAT names the entry. Spans
 * are checked: inside their file, in order, without overlap. */
LVLM_MUST_CHECK int lvlm_ledger_read(lvlm_ledger *out, const cJSON *json,
                                     lvlm_arena *arena, lvlm_error *err);
/* To its JSON. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_ledger_write(cJSON **out, const lvlm_ledger *ledger,
                                      lvlm_error *err);

#endif
