/* source_digest.c - the source's tensors, digested as their files had them; see
 * source_digest.h. */
#include "formats/checkpoint/source_digest.h"

#include <assert.h>
#include <stdlib.h>

#include "formats/base/arena.h"
#include "formats/base/text.h"
#include "formats/native/native.h"

enum { BLOCK = 1 << 20 }; /* bytes that are put together at once */

typedef struct job {
    const lvlm_checkpoint *native;
    lvlm_elements *parts; /* as many as the entry with the most has */
    unsigned char *block;
} job;

/* Does conversion store the tensor as it was, under one name? */
static bool is_kept(const lvlm_ledger_entry *e)
{
    return e->n_targets == 1 && !e->grown && lvlm_transform_is_keep(&e->transform);
}

/* The parts of a tensor, which are there; false: as another type. */
static bool find_parts(const job *j, const lvlm_ledger_entry *e)
{
    for (size_t i = 0; i < e->n_targets; i++) {
        const lvlm_tensor *const t = lvlm_checkpoint_find(j->native, e->targets[i]);
        if (t == NULL || t->dtype != e->source.dtype) return false;
        j->parts[i] = lvlm_tensor_elements(t);
    }
    return e->n_targets > 0;
}

/* The digest of a tensor that is put together from its parts. */
static int digest_parts(lvlm_hex_digest hex, const job *j, const lvlm_ledger_entry *e,
                        lvlm_error *err)
{
    assert(e->n_targets > 0);
    const size_t element = lvlm_dtype_bytes(e->source.dtype);
    const uint64_t n = lvlm_tensor_numel(&e->source), most = BLOCK / element;
    lvlm_digest digest = lvlm_digest_start();
    bool fits = true;
    for (uint64_t at = 0; fits && at < n; at += most) {
        const uint64_t count = n - at < most ? n - at : most;
        fits = lvlm_transform_scatter(j->block, at, count, &e->transform, j->parts,
                                      e->n_targets);
        if (fits) lvlm_digest_update(&digest, j->block, (size_t)count * element);
    }
    TRY(lvlm_digest_finish(&digest, hex, err));
    FAIL_IF(!fits, err, LVLM_EFORMAT, "'%s' is not made of its parts in the ledger",
            e->source.name);
    return 0;
}

static int add_line(lvlm_digest *digest, const job *j, const lvlm_ledger_entry *e,
                    lvlm_error *err)
{
    lvlm_hex_digest hex;
    if (is_kept(e)) {
        const lvlm_tensor *const t = lvlm_checkpoint_find(j->native, e->targets[0]);
        return lvlm_native_digest_line(digest, &e->source,
                                       lvlm_native_digest_of(j->native, t), err);
    }
    if (e->grown) {
        const lvlm_tensor *const t = lvlm_checkpoint_find(j->native, e->targets[0]);
        TRY(lvlm_digest_bytes(hex, t->data, (size_t)e->source.n_bytes, err));
    } else {
        TRY(digest_parts(hex, j, e, err));
    }
    return lvlm_native_digest_line(digest, &e->source, hex, err);
}

/* All entries, sorted; hex stays empty when one of them is not known. */
static int digest_entries(lvlm_hex_digest hex, const job *j,
                          const lvlm_ledger_entry **sorted, size_t n, lvlm_error *err)
{
    lvlm_digest digest = lvlm_digest_start();
    bool known = n > 0;
    int rc = 0;
    qsort(sorted, n, sizeof(const lvlm_ledger_entry *), lvlm_by_name);
    for (size_t i = 0; rc == 0 && known && i < n; i++)
        if ((known = find_parts(j, sorted[i])))
            rc = add_line(&digest, j, sorted[i], err);
    if (rc == 0 && known) rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    return rc;
}

int lvlm_source_digest(lvlm_hex_digest hex, const lvlm_manifest *m, lvlm_error *err)
{
    assert(m->checkpoint != NULL);
    const lvlm_ledger *const ledger = &m->ledger;
    size_t most = 1;
    hex[0] = '\0';
    if (m->checkpoint->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    for (size_t i = 0; i < ledger->n_entries; i++)
        if (ledger->entries[i].n_targets > most) most = ledger->entries[i].n_targets;
    lvlm_arena arena = LVLM_ARENA_INIT;
    const lvlm_ledger_entry **const sorted =
        lvlm_arena_alloc(&arena, ledger->n_entries + 1, sizeof *sorted);
    const job j = { m->checkpoint, lvlm_arena_alloc(&arena, most, sizeof *j.parts),
                    lvlm_arena_alloc(&arena, 1, BLOCK) };
    int rc = sorted != NULL && j.parts != NULL && j.block != NULL
                 ? 0
                 : lvlm_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < ledger->n_entries; i++)
        sorted[i] = &ledger->entries[i];
    if (rc == 0) rc = digest_entries(hex, &j, sorted, ledger->n_entries, err);
    lvlm_arena_free(&arena);
    return rc;
}
