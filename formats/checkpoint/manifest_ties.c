/* manifest_ties.c - which heads are tied, and what a native file's ledger says of its
 * targets. */
#include "formats/checkpoint/manifest_parts.h"

#include <assert.h>
#include <string.h>

#include "formats/base/text.h"

/* The target that is tied to `name`, or NULL. */
static lvlm_target *find_tied(const lvlm_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].row->tied_to != NULL &&
            strcmp(m->targets[i].row->tied_to, name) == 0)
            return &m->targets[i];
    return NULL;
}

/* Are the values of two tensors of one type and shape equal? Either may be strided. */
static bool same_values(const lvlm_tensor *a, const lvlm_tensor *b)
{
    assert(a->dtype == b->dtype && a->n_bytes == b->n_bytes);
    enum { SOME = 4096 };
    const lvlm_elements x = lvlm_tensor_elements(a), y = lvlm_tensor_elements(b);
    unsigned char of_x[SOME], of_y[SOME];
    if (x.stride == NULL && y.stride == NULL)
        return memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
    const uint64_t per_block = SOME / x.bytes;
    for (uint64_t at = 0, n; at < x.n; at += n) {
        n = x.n - at < per_block ? x.n - at : per_block;
        lvlm_elements_read(of_x, at, n, &x);
        lvlm_elements_read(of_y, at, n, &y);
        if (memcmp(of_x, of_y, (size_t)n * x.bytes) != 0) return false;
    }
    return true;
}

/* An absent head has already been marked as tied. A stored head is untied if the
 * configuration says so, whatever its bytes; otherwise it is tied if its bytes equal
 * the embedding's. A native file stores only untied heads. */
void manifest_resolve_ties(lvlm_manifest *m)
{
    if (manifest_is_native(m) ||
        !lvlm_family_ties(m->family, m->checkpoint->config).tied)
        return;
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_target *t = &m->targets[i];
        if (t->row->tied_to == NULL || t->state != LVLM_TARGET_FOUND) continue;
        const lvlm_target *to = lvlm_manifest_find(m, t->row->tied_to);
        const lvlm_tensor *a = t->here.tensor, *b = to != NULL ? to->here.tensor : NULL;
        if (b != NULL && a->data != NULL && b->data != NULL && a->dtype == b->dtype &&
            lvlm_shape_equal(&a->shape, &b->shape) && same_values(a, b))
            t->state = LVLM_TARGET_TIED;
    }
}

/* Add the ledger of a native file: source names, and tensors created at conversion. */
void manifest_apply_ledger(lvlm_manifest *m)
{
    assert(manifest_is_native(m));
    const lvlm_ledger *ledger = &m->ledger;
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].state == LVLM_TARGET_FOUND) m->targets[i].source_name = NULL;
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const lvlm_ledger_entry *entry = &ledger->entries[i];
        for (size_t j = 0; j < entry->n_targets; j++) {
            lvlm_target *t =
                entry->use == LVLM_USE_TIED
                    ? find_tied(m, entry->targets[j])
                    : lvlm_find_name(entry->targets[j], m->by_name, m->n_targets);
            if (t != NULL) t->source_name = entry->source.name;
        }
    }
    for (size_t i = 0; i < ledger->n_made; i++) {
        lvlm_target *t =
            lvlm_find_name(ledger->made[i].target, m->by_name, m->n_targets);
        if (t != NULL && t->state == LVLM_TARGET_FOUND) t->state = LVLM_TARGET_MADE;
    }
}
