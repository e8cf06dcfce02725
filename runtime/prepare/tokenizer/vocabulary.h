/* vocabulary.h - maps strings to ids and back, for the tokenizers of this folder.
 *
 * Strings are bytes; ids may have gaps, and two strings may share one. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_VOCABULARY_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Ids are below this; no model has more. */
enum { VOCABULARY_MAX_IDS = 1 << 22 };

#define VOCABULARY_NO_ID UINT32_MAX

typedef struct vocabulary_entry {
    uint32_t start; /* in `bytes` */
    uint32_t length;
    uint32_t id;
    uint32_t hash;
} vocabulary_entry;

typedef struct vocabulary {
    char *bytes; /* all strings, concatenated */
    size_t n_bytes, bytes_capacity;
    vocabulary_entry *entries; /* in the order added */
    size_t n, capacity;
    uint32_t *slots; /* by hash: entry + 1, or 0; a power of two of them */
    size_t n_slots;
    uint32_t *entry_of; /* by id: 1 + the first entry with it, or 0 */
    size_t n_ids, ids_capacity;
    size_t longest; /* string, in bytes */
} vocabulary;

/* Zero-initialise for an empty vocabulary. LVLM_EFORMAT: the string is duplicate or
 * empty, or the id is too large. */
LVLM_MUST_CHECK int vocabulary_add(vocabulary *vocab, const char *text, size_t n_bytes,
                                   uint64_t id, lvlm_error *err);
void vocabulary_free(vocabulary *vocab);

/* The entry of a string; the first entry with an id; NULL if there is none. */
const vocabulary_entry *vocabulary_by_text(const vocabulary *vocab, const char *text,
                                           size_t n_bytes);
const vocabulary_entry *vocabulary_by_id(const vocabulary *vocab, uint64_t id);

/* The id of a string, or VOCABULARY_NO_ID. */
uint32_t vocabulary_find(const vocabulary *vocab, const char *text, size_t n_bytes);

/* The string of an id, not NUL-terminated, or NULL. */
const char *vocabulary_text(const vocabulary *vocab, uint64_t id, size_t *n_bytes);

LVLM_END_DECLS

#endif
