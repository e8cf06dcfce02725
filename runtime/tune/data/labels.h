/* labels.h - which tokens of a conversation are learnt, position by position as each
 * family's own fine-tuning code has it.
 *
 *   Qwen-VL (2023)   <|im_start|> of every turn, and what closes it; of the assistant's
 *                    turns what is said too
 *   ChatML           after every token "assistant" and the next one, up to <|im_end|>
 *                    and the one after that: wherever it is
 *   Llama 3.2        everything except turns up to <|eot_id|> that hold a header of the
 *                    system or the user, and the headers of the assistant
 *   PaliGemma        the suffix and eos
 *   LLaVA            answers, and what ends each: eos (vicuna_v1), <|im_end|> and a new
 *                    line (ChatML), a new line (plain)
 *
 * Of a document, in every family: the texts and what ends it (lvlm_messages.document).
 * Tokens of images are never learnt. Distinct threads may use one object. */
#ifndef LVLM_RUNTIME_TUNE_DATA_LABELS_H
#define LVLM_RUNTIME_TUNE_DATA_LABELS_H

#include "runtime/prepare/prompt/prompt.h"

LVLM_BEGIN_DECLS

/* Tokens of a word: "<|start_header_id|>user<|end_header_id|>" has the most. */
enum { LVLM_WORD_TOKENS = 16, LVLM_LABEL_WORDS = 3 };

typedef struct lvlm_label_word {
    int64_t ids[LVLM_WORD_TOKENS];
    size_t n;
} lvlm_label_word;

/* A family's rule, with the ids of the words that it is about; -1: there is none. */
typedef struct lvlm_labeller {
    const struct label_rule *rule;
    lvlm_label_word words[LVLM_LABEL_WORDS];
    int64_t stop;    /* ends a turn */
    int64_t padding; /* never learnt; ... */
    bool hidden;     /* ... and, where a text holds it, hidden by the fine-tuning code
                             as if it were padding: none may */
    int64_t image, video; /* images, never learnt */
} lvlm_labeller;

/* The rule of a model; LVLM_EFORMAT when there is none for it, or its tokenizer lacks a
 * token that the rule is about. */
LVLM_MUST_CHECK int lvlm_labeller_init(lvlm_labeller *out,
                                       const lvlm_manifest *manifest,
                                       const lvlm_tokenizer *tokenizer,
                                       lvlm_error *err);

/* labels[i] = prompt->ids[i], or LVLM_IGNORE_LABEL.  labels (prompt->n) */
void lvlm_labels_make(int64_t *labels, const lvlm_labeller *labeller,
                      const lvlm_prompt *prompt);

LVLM_END_DECLS

#endif
