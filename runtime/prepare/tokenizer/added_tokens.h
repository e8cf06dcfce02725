/* added_tokens.h - tokens that are extracted from a text before it is split into words.
 *
 * Matching is literal, leftmost longest. `normalized` tokens are searched, in their own
 * normal form, in the normalised remainder of the text. Flags are those of the
 * tokenizers library:
 *
 *   lstrip, rstrip  white space on that side belongs to the match
 *   single_word     no match where a word character touches it
 *   special         see lvlm_special in tokenizer.h */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_ADDED_TOKENS_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_ADDED_TOKENS_H

#include "runtime/prepare/tokenizer/normal_form.h"
#include "runtime/prepare/tokenizer/tokenizer.h"
#include "runtime/prepare/tokenizer/vocabulary.h"

LVLM_BEGIN_DECLS

typedef struct added_token {
    uint32_t id;
    bool special, normalized, lstrip, rstrip, single_word;
    bool verbatim; /* normalized, but searched as written */
} added_token;

/* A string to search for. */
typedef struct added_pattern {
    char *text; /* owned */
    size_t n_bytes;
    const added_token *token;
} added_pattern;

typedef struct added_matcher {
    added_pattern *patterns; /* sorted by text */
    size_t n;
    size_t first[257]; /* start of the patterns with each first byte */
} added_matcher;

typedef struct added_tokens {
    vocabulary texts;    /* of the tokens, with their ids */
    added_token *tokens; /* one per entry of `texts` */
    size_t capacity;
    added_matcher raw, normalized;
} added_tokens;

/* Zero-initialise for an empty set. A text that is already in the set keeps its entry,
 * but becomes special if `token` is. */
LVLM_MUST_CHECK int added_tokens_add(added_tokens *set, const char *text,
                                     size_t n_bytes, const added_token *token,
                                     lvlm_error *err);
void added_tokens_free(added_tokens *set);

/* The token of this text; the first one with this id; NULL if there is none. */
const added_token *added_tokens_find(const added_tokens *set, const char *text,
                                     size_t n_bytes);
const added_token *added_tokens_by_id(const added_tokens *set, int64_t id);

/* Prepare for matching, after the last token is added. `form` is applied to the texts
 * of normalized tokens. */
LVLM_MUST_CHECK int added_tokens_prepare(added_tokens *set, const normal_form *form,
                                         lvlm_error *err);

/* A match: `token` at [start, end) of the text. */
typedef struct added_match {
    const added_token *token;
    size_t start, end;
} added_match;

/* State of the search; zero-initialise. */
typedef struct added_cursor {
    size_t at;    /* where the search continues */
    size_t taken; /* end of the text covered by matches */
} added_cursor;

/* The next match in `text`; false if there is none. */
bool added_matcher_next(added_match *match, added_cursor *cursor,
                        const added_matcher *matcher, const char *text, size_t n_bytes,
                        const lvlm_special *special);

/* Does `special` treat this special token as ordinary text, or skip it? */
bool special_is_off(const lvlm_special *special, int64_t id);

LVLM_END_DECLS

#endif
