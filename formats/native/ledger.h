/* ledger.h - a record of every source file and tensor, kept in the native file.
 * NATIVE.md describes its JSON. The ledger and the frames are enough to rebuild every
 * source file byte for byte. Distinct ledgers may be used from distinct threads. */
#ifndef LVLM_FORMATS_NATIVE_LEDGER_H
#define LVLM_FORMATS_NATIVE_LEDGER_H

#include "formats/base/arena.h"
#include "formats/container/tensor.h"
#include "formats/container/transform.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_use { LVLM_USE_USED, LVLM_USE_TIED, LVLM_USE_UNUSED } lvlm_use;
enum { LVLM_N_USES = LVLM_USE_UNUSED + 1 };

typedef struct lvlm_ledger_file {
    const char *name;
    uint64_t n_bytes;
    bool compressed; /* cannot be rebuilt: there is no frame */
} lvlm_ledger_file;

/* A tensor of a Hugging Face checkpoint and the native tensors that hold its values. */
typedef struct lvlm_ledger_entry {
    lvlm_tensor source; /* all except its data */
    const char **targets;
    size_t n_targets;
    lvlm_transform transform; /* from the source to its targets; index is not kept */
    bool grown; /* the target has rows after the source's: it is a table that grew */
    lvlm_use use;
    const char *rule; /* UNUSED: its rule; else NULL */
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

/* Is this a valid name of a source file: not empty, not hidden, no '/'? */
bool lvlm_ledger_names_file(const char *name);

/* Is a tensor in file number `file`? */
static inline bool lvlm_ledger_has_tensors(const lvlm_ledger *ledger, size_t file)
{
    for (size_t i = 0; i < ledger->n_entries; i++)
        if (ledger->entries[i].source.file == file) return true;
    return false;
}

/* Parse its JSON into `arena`; strings are copied. LVLM_EFORMAT names the tensor and
 * the member. Checks every rule that needs only the ledger: members, spans inside their
 * file, in order and without overlap, transforms, names. */
LVLM_MUST_CHECK int lvlm_ledger_read(lvlm_ledger *out, const char *text, size_t n_bytes,
                                     lvlm_arena *arena, lvlm_error *err);
/* Appends its JSON. Two equal ledgers give equal text. */
void lvlm_ledger_print(lvlm_strbuf *out, const lvlm_ledger *ledger);

LVLM_END_DECLS

#endif
