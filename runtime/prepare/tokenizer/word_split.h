/* word_split.h - splits a text into the words that are encoded one by one.
 *
 * A list of rules; each splits the pieces of the previous one. A rule is a pattern in
 * the common syntax of Oniguruma and PCRE2, or a literal, and the treatment of its
 * matches:
 *
 *   isolated              matches and the text between them are pieces
 *   removed               only the text between them is
 *   merged with previous  a match joins the text before it
 *
 * Patterns are compiled by PCRE2's JIT. Categories are those of Unicode 16
 * (unicode_newer.h). */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_WORD_SPLIT_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_WORD_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

enum { WORD_SPLIT_MAX_RULES = 8 };

typedef enum word_split_kind {
    WORD_SPLIT_ISOLATED,
    WORD_SPLIT_REMOVED,
    WORD_SPLIT_MERGED_WITH_PREVIOUS,
} word_split_kind;

typedef struct word_split_rule {
    word_split_kind kind;
    struct pcre2_real_code_8 *code; /* owned */
} word_split_rule;

typedef struct word_split {
    word_split_rule rules[WORD_SPLIT_MAX_RULES];
    size_t n;
    struct pcre2_real_general_context_8 *memory; /* owned; NULL without rules */
} word_split;

/* LVLM_EFORMAT: the pattern does not compile, or too many. */
LVLM_MUST_CHECK int word_split_add(word_split *split, word_split_kind kind,
                                   const char *pattern, bool literal, lvlm_error *err);
void word_split_free(word_split *split);

typedef int word_split_sink(void *user, const char *word, size_t n_bytes,
                            lvlm_error *err);

/* Pass every word of `text`, well-formed UTF-8, to `sink`, in order; none is empty.
 * LVLM_ENOMEM: the pattern exceeds the limits of memory or steps. */
LVLM_MUST_CHECK int word_split_apply(const word_split *split, const char *text,
                                     size_t n_bytes, word_split_sink *sink, void *user,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
