/* bpe.h - byte pair encoding of one word: neighbours are merged, the best pair first,
 * until no pair can be merged.
 *
 *   word -> symbols (characters or bytes) -> heap of pairs by (rank, position) -> ids
 *
 * Which pairs may be merged, and in which order, is given in one of two ways:
 *   a table of pairs    (left id, right id) -> rank, id      tokenizer.json, merges.txt
 *   ranks of strings    any two neighbours whose concatenation is a token with a rank;
 *                       tiktoken, sentencepiece
 * O(n log n) in the length of the word. Not here: splitting into words
 * (word_split.h). */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_BPE_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_BPE_H

#include "runtime/prepare/tokenizer/tokenizer.h"
#include "runtime/prepare/tokenizer/vocabulary.h"

LVLM_BEGIN_DECLS

#define BPE_NO_RANK UINT32_MAX

typedef struct bpe_pair {
    uint64_t key; /* left id << 32 | right id */
    uint32_t rank;
    uint32_t id;
} bpe_pair;

typedef struct bpe {
    vocabulary vocab;
    bpe_pair *pairs; /* hash table, a power of two of slots; NULL: ranks of strings */
    size_t n_slots;
    char *joined;      /* room for the two halves of a merge */
    uint32_t *rank_of; /* by id; BPE_NO_RANK: not the result of a merge */
    bool bytes;        /* symbols are bytes, not characters */
    /* of bytes, if they are the symbols or the fallback; VOCABULARY_NO_ID: none */
    uint32_t byte_ids[256];
    bool byte_fallback; /* a character that is not a token becomes its bytes */
    uint32_t unk;       /* and if that fails too, this; VOCABULARY_NO_ID: nothing */
    bool fuse_unk;      /* one for a run of them */
    bool whole_first;   /* a word that is a token is not split */
    bool byte_alphabet; /* tokens are spelled in the byte alphabet (byte_level.h) */
} bpe;

/* Scratch memory for words, of one thread; zero-initialise. */
typedef struct bpe_scratch {
    struct bpe_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    struct bpe_candidate *heap;
    size_t n_heap, heap_capacity;
    char *spelling; /* of a word in the byte alphabet */
} bpe_scratch;

/* An empty model: no vocabulary, no bytes, no unk. */
void bpe_init(bpe *model);
void bpe_free(bpe *model);

/* Look up the ids of bytes in the vocabulary: in the byte alphabet, or as <0x00> to
 * <0xFF>. Returns the first byte that has none, or 256. */
unsigned bpe_find_bytes(bpe *model);

/* Allocate a table of `n` merges, then add each, in order of rank. A duplicate gets the
 * later rank. LVLM_EFORMAT: one of the three strings is not a token. */
LVLM_MUST_CHECK int bpe_reserve_merges(bpe *model, size_t n, lvlm_error *err);
LVLM_MUST_CHECK int bpe_add_merge(bpe *model, const char *left, size_t n_left,
                                  const char *right, size_t n_right, size_t rank,
                                  lvlm_error *err);

/* Append the ids of `word`, which is UTF-8 of less than 2 GiB. */
LVLM_MUST_CHECK int bpe_encode(const bpe *model, bpe_scratch *scratch, lvlm_ids *ids,
                               const char *word, size_t n_bytes, lvlm_error *err);
void bpe_scratch_free(bpe_scratch *scratch);

LVLM_END_DECLS

#endif
