/* bpe.c - merging with a heap.
 *
 * A candidate may be stale when it reaches the top: one of its symbols was merged with
 * its other neighbour. It is still used if the two symbols now at its place merge into
 * the same token, as in the reference; else it is dropped. */
#include "runtime/prepare/tokenizer/bpe.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/tokenizer/byte_level.h"

#define NO_PAIR UINT64_MAX

enum { NONE = -1 };

typedef struct bpe_symbol {
    uint32_t id; /* VOCABULARY_NO_ID: not a token, but may be merged into one */
    uint32_t start, length; /* in the word; length 0: merged into its left neighbour */
    int32_t prev, next;
} symbol;

typedef struct bpe_candidate {
    uint64_t order; /* rank << 32 | place of the left symbol: smallest first */
    uint32_t id;    /* of the merged symbol */
} candidate;

void bpe_init(bpe *model)
{
    *model = (bpe){ .unk = VOCABULARY_NO_ID };
    memset(model->byte_ids, 0xff, sizeof model->byte_ids);
}

void bpe_free(bpe *model)
{
    vocabulary_free(&model->vocab);
    lvlm_free(model->pairs);
    lvlm_free(model->joined);
    lvlm_free(model->rank_of);
}

unsigned bpe_find_bytes(bpe *model)
{
    unsigned missing = 256;
    char text[8];
    for (unsigned byte = 256; byte-- > 0;) {
        const size_t n = model->byte_alphabet
                             ? byte_level_spell(text, (unsigned char)byte)
                             : (size_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        model->byte_ids[byte] = vocabulary_find(&model->vocab, text, n);
        if (model->byte_ids[byte] == VOCABULARY_NO_ID) missing = byte;
    }
    return missing;
}

void bpe_scratch_free(bpe_scratch *scratch)
{
    lvlm_free(scratch->symbols);
    lvlm_free(scratch->heap);
    lvlm_free(scratch->spelling);
}

/* ---- which pairs may be merged --------------------------------------------------- */

/* At least a quarter of the slots are free. */
static bpe_pair *pair_slot(const bpe *model, uint64_t key)
{
    const size_t mask = model->n_slots - 1;
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    for (size_t at = h & mask;; at = (at + 1) & mask)
        if (model->pairs[at].key == key || model->pairs[at].key == NO_PAIR)
            return &model->pairs[at];
}

int bpe_reserve_merges(bpe *model, size_t n, lvlm_error *err)
{
    assert(model->pairs == NULL);
    size_t n_slots = 16;
    while (n_slots / 4 * 3 < n) n_slots *= 2;
    model->joined = lvlm_malloc(model->vocab.longest + 1);
    model->pairs = lvlm_calloc(n_slots, sizeof *model->pairs);
    if (model->pairs == NULL || model->joined == NULL) return lvlm_fail_memory(err);
    model->n_slots = n_slots;
    memset(model->pairs, 0xff, n_slots * sizeof *model->pairs);
    return 0;
}

static uint32_t find_joined(const bpe *model, const char *left, size_t n_left,
                            const char *right, size_t n_right)
{
    if (n_left + n_right > model->vocab.longest) return VOCABULARY_NO_ID;
    memcpy(model->joined, left, n_left);
    memcpy(model->joined + n_left, right, n_right);
    return vocabulary_find(&model->vocab, model->joined, n_left + n_right);
}

int bpe_add_merge(bpe *model, const char *left, size_t n_left, const char *right,
                  size_t n_right, size_t rank, lvlm_error *err)
{
    assert(model->pairs != NULL && rank < model->n_slots);
    const uint32_t left_id = vocabulary_find(&model->vocab, left, n_left);
    const uint32_t right_id = vocabulary_find(&model->vocab, right, n_right);
    const uint32_t id = find_joined(model, left, n_left, right, n_right);
    FAIL_IF(
        left_id == VOCABULARY_NO_ID || right_id == VOCABULARY_NO_ID ||
            id == VOCABULARY_NO_ID,
        err, LVLM_EFORMAT,
        "merge %zu of '%.*s' and '%.*s': one of them, or both together, is not a token",
        rank, (int)(n_left < 60 ? n_left : 60), left,
        (int)(n_right < 60 ? n_right : 60), right);
    bpe_pair *const slot = pair_slot(model, (uint64_t)left_id << 32 | right_id);
    *slot = (bpe_pair){ (uint64_t)left_id << 32 | right_id, (uint32_t)rank, id };
    return 0;
}

/* The id of the merged symbols at `left` and `right`, or VOCABULARY_NO_ID. */
static uint32_t find_merge(uint32_t *rank, const bpe *model, const char *word,
                           const symbol *left, const symbol *right)
{
    if (model->pairs != NULL) {
        const uint64_t key = (uint64_t)left->id << 32 | right->id;
        const bpe_pair *const pair = pair_slot(model, key);
        *rank = pair->rank;
        return pair->key == key ? pair->id : VOCABULARY_NO_ID;
    }
    const uint32_t id = vocabulary_find(&model->vocab, word + left->start,
                                        (size_t)left->length + right->length);
    if (id == VOCABULARY_NO_ID || model->rank_of[id] == BPE_NO_RANK)
        return VOCABULARY_NO_ID;
    *rank = model->rank_of[id];
    return id;
}

/* ---- the heap -------------------------------------------------------------------- */

static void push(bpe_scratch *s, candidate c)
{
    size_t at = s->n_heap++;
    assert(s->n_heap <= s->heap_capacity);
    for (size_t up; at > 0 && c.order < s->heap[up = (at - 1) / 2].order; at = up)
        s->heap[at] = s->heap[up];
    s->heap[at] = c;
}

static candidate pop(bpe_scratch *s)
{
    assert(s->n_heap > 0);
    const candidate top = s->heap[0];
    const candidate last = s->heap[--s->n_heap];
    size_t at = 0;
    for (size_t down; (down = 2 * at + 1) < s->n_heap; at = down) {
        if (down + 1 < s->n_heap && s->heap[down + 1].order < s->heap[down].order)
            down++;
        if (s->heap[down].order >= last.order) break;
        s->heap[at] = s->heap[down];
    }
    if (s->n_heap > 0) s->heap[at] = last;
    return top;
}

/* Push the symbol at `at` and its right neighbour, if they may be merged. */
static void consider(const bpe *model, bpe_scratch *s, const char *word, int32_t at)
{
    uint32_t rank;
    if (at == NONE || s->symbols[at].next == NONE) return;
    const symbol *const left = &s->symbols[at];
    const uint32_t id = find_merge(&rank, model, word, left, &s->symbols[left->next]);
    if (id != VOCABULARY_NO_ID)
        push(s, (candidate){ (uint64_t)rank << 32 | (uint32_t)at, id });
}

static void merge_all(const bpe *model, bpe_scratch *s, const char *word)
{
    s->n_heap = 0;
    for (size_t i = 0; i + 1 < s->n_symbols; i++) consider(model, s, word, (int32_t)i);
    while (s->n_heap > 0) {
        const candidate c = pop(s);
        const int32_t at = (int32_t)(c.order & UINT32_MAX);
        uint32_t rank;
        symbol *const left = &s->symbols[at];
        if (left->length == 0 || left->next == NONE) continue;
        symbol *const right = &s->symbols[left->next];
        if (find_merge(&rank, model, word, left, right) != c.id) continue;
        left->id = c.id;
        left->length += right->length;
        left->next = right->next;
        right->length = 0;
        if (left->next != NONE) s->symbols[left->next].prev = at;
        consider(model, s, word, left->prev);
        consider(model, s, word, at);
    }
}

/* ---- symbols --------------------------------------------------------------------- */

/* A word of n bytes has at most n symbols; each merge removes one and adds at most two
 * candidates to the initial n - 1. */
static int make_room(bpe_scratch *s, size_t n_bytes, lvlm_error *err)
{
    if (n_bytes <= s->symbols_capacity) return 0;
    size_t n = s->symbols_capacity > 0 ? s->symbols_capacity : 256;
    while (n < n_bytes) n *= 2;
    symbol *const symbols = lvlm_realloc(s->symbols, n, sizeof *symbols);
    if (symbols == NULL) return lvlm_fail_memory(err);
    s->symbols = symbols;
    candidate *const heap = lvlm_realloc(s->heap, 3 * n, sizeof *heap);
    if (heap == NULL) return lvlm_fail_memory(err);
    s->heap = heap;
    s->heap_capacity = 3 * n;
    s->symbols_capacity = n;
    return 0;
}

static void add_symbol(bpe_scratch *s, uint32_t id, size_t start, size_t length)
{
    const int32_t at = (int32_t)s->n_symbols;
    assert(s->n_symbols < s->symbols_capacity);
    if (at > 0) s->symbols[at - 1].next = at;
    s->symbols[s->n_symbols++] =
        (symbol){ id, (uint32_t)start, (uint32_t)length, at - 1, NONE };
}

/* Bytes of the character at `text`, well-formed UTF-8. */
static size_t char_length(const char *text)
{
    const unsigned char c = (unsigned char)*text;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* False if one of the bytes has no token. */
static bool add_bytes(const bpe *model, bpe_scratch *s, const char *word, size_t start,
                      size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (model->byte_ids[(unsigned char)word[start + i]] == VOCABULARY_NO_ID)
            return false;
    for (size_t i = 0; i < length; i++)
        add_symbol(s, model->byte_ids[(unsigned char)word[start + i]], start + i, 1);
    return true;
}

/* The id of the character or byte, or VOCABULARY_NO_ID. */
static uint32_t symbol_id(const bpe *model, const char *word, size_t start,
                          size_t length)
{
    return model->bytes ? model->byte_ids[(unsigned char)word[start]]
                        : vocabulary_find(&model->vocab, word + start, length);
}

/* As in the reference, an unk that is waiting to be fused is emitted after bytes that
 * follow it. */
static void split_for_pairs(const bpe *model, bpe_scratch *s, const char *word,
                            size_t n_bytes)
{
    size_t unk_start = 0, unk_length = 0;
    for (size_t at = 0, length; at < n_bytes; at += length) {
        length = model->bytes ? 1 : char_length(word + at);
        const uint32_t id = symbol_id(model, word, at, length);
        if (id == VOCABULARY_NO_ID && model->byte_fallback &&
            add_bytes(model, s, word, at, length))
            continue;
        if (id == VOCABULARY_NO_ID && model->unk == VOCABULARY_NO_ID) continue;
        if (unk_length > 0 && (id != VOCABULARY_NO_ID || !model->fuse_unk)) {
            add_symbol(s, model->unk, unk_start, unk_length);
            unk_length = 0;
        }
        if (id != VOCABULARY_NO_ID) {
            add_symbol(s, id, at, length);
        } else {
            if (unk_length == 0) unk_start = at;
            unk_length += length;
        }
    }
    if (unk_length > 0) add_symbol(s, model->unk, unk_start, unk_length);
}

static void split_for_ranks(const bpe *model, bpe_scratch *s, const char *word,
                            size_t n_bytes)
{
    for (size_t at = 0, length; at < n_bytes; at += length) {
        length = model->bytes ? 1 : char_length(word + at);
        const uint32_t id = symbol_id(model, word, at, length);
        const bool ranked = id != VOCABULARY_NO_ID && model->rank_of[id] != BPE_NO_RANK;
        add_symbol(s, ranked ? id : VOCABULARY_NO_ID, at, length);
    }
}

/* ---- the result ------------------------------------------------------------------ */

/* Symbols that are not tokens: their bytes, or one unk for a run of characters. */
static int append_unknown(const bpe *model, lvlm_ids *ids, const char *word,
                          const symbol *sym, bool after_unknown, lvlm_error *err)
{
    const unsigned char *const bytes = (const unsigned char *)word + sym->start;
    if (!model->byte_fallback)
        return after_unknown ? 0 : lvlm_ids_append(ids, model->unk, err);
    for (size_t i = 0; i < sym->length; i++)
        TRY(lvlm_ids_append(ids, model->byte_ids[bytes[i]], err));
    return 0;
}

static int append_ids(const bpe *model, const bpe_scratch *s, lvlm_ids *ids,
                      const char *word, lvlm_error *err)
{
    bool after_unknown = false;
    for (int32_t at = s->n_symbols > 0 ? 0 : NONE; at != NONE;
         at = s->symbols[at].next) {
        const symbol *const sym = &s->symbols[at];
        const bool unknown = sym->id == VOCABULARY_NO_ID;
        if (unknown)
            TRY(append_unknown(model, ids, word, sym, after_unknown, err));
        else
            TRY(lvlm_ids_append(ids, sym->id, err));
        after_unknown = unknown;
    }
    return 0;
}

/* The id of the whole word, or VOCABULARY_NO_ID. */
static int find_whole(uint32_t *id, const bpe *model, bpe_scratch *s, const char *word,
                      size_t n_bytes, lvlm_error *err)
{
    const size_t room =
        model->vocab.longest + 2; /* a byte is spelled with one or two */
    size_t n = 0;
    *id = VOCABULARY_NO_ID;
    if (!model->byte_alphabet) {
        *id = vocabulary_find(&model->vocab, word, n_bytes);
        return 0;
    }
    if (n_bytes > model->vocab.longest) return 0;
    if (s->spelling == NULL && (s->spelling = lvlm_malloc(room)) == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < n_bytes; i++) {
        n += byte_level_spell(s->spelling + n, (unsigned char)word[i]);
        if (n > model->vocab.longest) return 0;
    }
    *id = vocabulary_find(&model->vocab, s->spelling, n);
    return 0;
}

int bpe_encode(const bpe *model, bpe_scratch *scratch, lvlm_ids *ids, const char *word,
               size_t n_bytes, lvlm_error *err)
{
    uint32_t whole;
    assert(model->pairs != NULL || model->rank_of != NULL);
    assert(n_bytes <= INT32_MAX);
    if (model->whole_first) {
        TRY(find_whole(&whole, model, scratch, word, n_bytes, err));
        if (whole != VOCABULARY_NO_ID) return lvlm_ids_append(ids, whole, err);
    }
    TRY(make_room(scratch, n_bytes, err));
    scratch->n_symbols = 0;
    if (model->pairs != NULL)
        split_for_pairs(model, scratch, word, n_bytes);
    else
        split_for_ranks(model, scratch, word, n_bytes);
    merge_all(model, scratch, word);
    return append_ids(model, scratch, ids, word, err);
}
