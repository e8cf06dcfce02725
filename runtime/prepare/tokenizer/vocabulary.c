/* vocabulary.c - one block of bytes, entries into it, an open hash table over them. */
#include "runtime/prepare/tokenizer/vocabulary.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"

/* Limit of a string in messages. */
enum { SHOWN = 60 };

static uint32_t hash_of(const char *text, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    uint64_t word;
    for (; n >= 8; text += 8, n -= 8) {
        memcpy(&word, text, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, text, n);
    h = (h ^ word) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
    return (uint32_t)(h * 0xc4ceb9fe1a85ec53u >> 32);
}

/* The slot of the string, or the free slot for it. */
static uint32_t *slot_of(const vocabulary *v, const char *text, size_t n, uint32_t hash)
{
    assert(v->n < v->n_slots); /* so that the search ends */
    const size_t mask = v->n_slots - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        uint32_t *const slot = &v->slots[at];
        if (*slot == 0) return slot;
        const vocabulary_entry *const e = &v->entries[*slot - 1];
        if (e->hash == hash && e->length == n &&
            memcmp(v->bytes + e->start, text, n) == 0)
            return slot;
    }
}

const vocabulary_entry *vocabulary_by_text(const vocabulary *v, const char *text,
                                           size_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > v->longest) return NULL;
    const uint32_t slot = *slot_of(v, text, n_bytes, hash_of(text, n_bytes));
    return slot == 0 ? NULL : &v->entries[slot - 1];
}

const vocabulary_entry *vocabulary_by_id(const vocabulary *v, uint64_t id)
{
    return id >= v->n_ids || v->entry_of[id] == 0 ? NULL
                                                  : &v->entries[v->entry_of[id] - 1];
}

uint32_t vocabulary_find(const vocabulary *v, const char *text, size_t n_bytes)
{
    const vocabulary_entry *const e = vocabulary_by_text(v, text, n_bytes);
    return e == NULL ? VOCABULARY_NO_ID : e->id;
}

const char *vocabulary_text(const vocabulary *v, uint64_t id, size_t *n_bytes)
{
    const vocabulary_entry *const e = vocabulary_by_id(v, id);
    if (e == NULL) return NULL;
    assert(e->id == id);
    *n_bytes = e->length;
    return v->bytes + e->start;
}

/* ---- adding -------------------------------------------------------------------- */

/* Grow `block` to `need` elements of `size` bytes; NULL: it is unchanged. */
static void *grown(void *block, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return block;
    size_t enough = *capacity > 0 ? *capacity : 256;
    while (enough < need) enough *= 2;
    void *const moved = lvlm_realloc(block, enough, size);
    if (moved != NULL) *capacity = enough;
    return moved;
}

/* At most half of the slots are taken. */
static bool grow_slots(vocabulary *v)
{
    if ((v->n + 1) * 2 <= v->n_slots) return true;
    const size_t n_slots = v->n_slots > 0 ? v->n_slots * 2 : 1024;
    uint32_t *const slots = lvlm_calloc(n_slots, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < v->n; i++) {
        size_t at = v->entries[i].hash & (n_slots - 1);
        while (slots[at] != 0) at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)i + 1;
    }
    lvlm_free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    return true;
}

static bool grow_ids(vocabulary *v, size_t n_ids)
{
    if (n_ids <= v->n_ids) return true;
    uint32_t *const entry_of =
        grown(v->entry_of, &v->ids_capacity, n_ids, sizeof *entry_of);
    if (entry_of == NULL) return false;
    v->entry_of = entry_of;
    memset(v->entry_of + v->n_ids, 0, (n_ids - v->n_ids) * sizeof *v->entry_of);
    v->n_ids = n_ids;
    return true;
}

static bool make_room(vocabulary *v, size_t n_bytes, size_t n_ids)
{
    char *const bytes = grown(v->bytes, &v->bytes_capacity, v->n_bytes + n_bytes, 1);
    if (bytes == NULL) return false;
    v->bytes = bytes;
    vocabulary_entry *const entries =
        grown(v->entries, &v->capacity, v->n + 1, sizeof *entries);
    if (entries == NULL) return false;
    v->entries = entries;
    return grow_slots(v) && grow_ids(v, n_ids);
}

int vocabulary_add(vocabulary *v, const char *text, size_t n_bytes, uint64_t id,
                   lvlm_error *err)
{
    const int shown = n_bytes < SHOWN ? (int)n_bytes : SHOWN;
    FAIL_IF(n_bytes == 0, err, LVLM_EFORMAT, "token %" PRIu64 " is empty", id);
    FAIL_IF(id >= VOCABULARY_MAX_IDS, err, LVLM_EFORMAT,
            "token '%.*s' has id %" PRIu64 ", at most %d", shown, text, id,
            VOCABULARY_MAX_IDS - 1);
    FAIL_IF(n_bytes > UINT32_MAX - v->n_bytes, err, LVLM_EFORMAT,
            "the tokens have over 4 GiB");
    if (!make_room(v, n_bytes, (size_t)id + 1)) return lvlm_fail_memory(err);
    const uint32_t hash = hash_of(text, n_bytes);
    uint32_t *const slot = slot_of(v, text, n_bytes, hash);
    FAIL_IF(*slot != 0, err, LVLM_EFORMAT, "token '%.*s' is duplicate", shown, text);
    memcpy(v->bytes + v->n_bytes, text, n_bytes);
    v->entries[v->n] = (vocabulary_entry){ (uint32_t)v->n_bytes, (uint32_t)n_bytes,
                                           (uint32_t)id, hash };
    v->n_bytes += n_bytes;
    *slot = (uint32_t)++v->n;
    if (v->entry_of[id] == 0) v->entry_of[id] = (uint32_t)v->n;
    if (n_bytes > v->longest) v->longest = n_bytes;
    return 0;
}

void vocabulary_free(vocabulary *v)
{
    lvlm_free(v->bytes);
    lvlm_free(v->entries);
    lvlm_free(v->slots);
    lvlm_free(v->entry_of);
    *v = (vocabulary){ 0 };
}
