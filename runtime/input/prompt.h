/* prompt.h - a conversation as the tokens that a model was trained on.
 *
 *   messages -> the model's style -> pieces of text -> tokenizer -> ids: a place an
 *   image -> how many rows each of them fills -> ids as the model takes them
 *
 *     lvlm_prompter *prompter = NULL;
 *     lvlm_prompt prompt;
 *     if ((rc = lvlm_prompter_open(&prompter, manifest, NULL, &err)) < 0 ||
 *         (rc = lvlm_prompt_write(&prompt, prompter, &messages, &err)) < 0 ||
 *         ... prompt.images are read, rows[i] counted ...
 *         (rc = lvlm_prompt_expand(&prompt, rows, &err)) < 0) ...
 *     lvlm_prompt_free(&prompt);
 *     lvlm_prompter_close(prompter);
 *
 * Texts equal those that the model's chat template renders, ids those of its processor.
 * A string such as "<|im_end|>" in a text becomes the token, as there; in the chat of
 * Qwen-VL (2023) only the tags of images, boxes and names do. */
#ifndef LVLM_RUNTIME_INPUT_PROMPT_H
#define LVLM_RUNTIME_INPUT_PROMPT_H

#include <stdint.h>

#include "formats/manifest.h"
#include "runtime/input/messages.h"
#include "runtime/input/tokenizer.h"

LVLM_BEGIN_DECLS

/* What Llama 3.2's template says when it cannot ask a clock. */
#define LVLM_PROMPT_DATE "26 Jul 2024"

/* All zero is a good choice. */
typedef struct lvlm_prompt_options {
    bool raw; /* no chat template: one user message as it is */
    /* Where transformers writes another prompt than a model was trained on, write that
     * one: Llama 3.2's base form begins with bos also in front of an image. */
    bool as_trained;
    /* As the family's fine-tuning code writes it. Of Qwen-VL: every special token in a
     * text counts, which chat guards against, and the base model is made to chat. */
    bool training;
    const char *date; /* "26 Jul 2024": what a system message says it is; NULL: that.
                         LVLM_EUSAGE for models whose prompts have none */
} lvlm_prompt_options;

typedef enum lvlm_span_kind {
    LVLM_SPAN_HEADER,  /* what opens a turn: "<|im_start|>user\n" */
    LVLM_SPAN_CONTENT, /* what is said */
    LVLM_SPAN_END,     /* what closes it: "<|im_end|>\n" */
} lvlm_span_kind;

#define LVLM_NO_MESSAGE SIZE_MAX

/* Tokens [first, end) of one message. Where a header's last characters and the first of
 * the content are one token, that is the content's. */
typedef struct lvlm_span {
    lvlm_span_kind kind;
    lvlm_role role;
    size_t message; /* LVLM_NO_MESSAGE: a system message that nobody gave, or the header
                       that the answer goes behind */
    size_t first, end;
} lvlm_span;

/* What goes with the ids of such a model. */
typedef struct lvlm_prompt_form {
    bool expands; /* a place is one token until lvlm_prompt_expand */
    bool prefix;  /* what the assistant says is a suffix: token_type_ids, labels */
    bool typed;   /* mm_token_type_ids */
    bool crossed; /* cross_attention_mask */
    int64_t image_token;
    int64_t pad;
} lvlm_prompt_form;

typedef struct lvlm_prompt {
    lvlm_prompt_form form;
    int64_t *ids; /* (n) */
    size_t n;
    lvlm_span *spans; /* (n_spans) in order; together all tokens */
    size_t n_spans;
    const char **images; /* (n_images) files in order of their places */
    size_t *places;      /* (n_images) where in ids the first token of each is */
    size_t n_images;
    size_t n_left_out; /* oldest messages that the model's window had no room for */
    lvlm_arena arena;
} lvlm_prompt;

typedef struct lvlm_prompter lvlm_prompter;

/* Everything that a model's prompts need, from its configuration and side files.
 * `options` may be NULL; manifest and its checkpoint must outlive *out, which is closed
 * with lvlm_prompter_close. LVLM_EFORMAT: there are no tokenizer files (names them), or
 * a chat template that is none of those known. */
LVLM_MUST_CHECK int lvlm_prompter_open(lvlm_prompter **out,
                                       const lvlm_manifest *manifest,
                                       const lvlm_prompt_options *options,
                                       lvlm_error *err);
void lvlm_prompter_close(lvlm_prompter *prompter);
/* Borrowed. */
const lvlm_tokenizer *lvlm_prompter_tokenizer(const lvlm_prompter *prompter);
/* For decoding answers: special tokens are left out but those that name things
 * ("<ref>", "<box>"). Borrowed. */
const lvlm_special *lvlm_prompter_answer(const lvlm_prompter *prompter);

/* Write a conversation. Behind a last message that is not the assistant's stands the
 * header of the answer. LVLM_EFORMAT: what the model's form has no place for (a system
 * message, turns, no image at all), or as many places as there are no images. Free
 * with lvlm_prompt_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_prompt_write(lvlm_prompt *out, const lvlm_prompter *prompter,
                                      const lvlm_messages *messages, lvlm_error *err);
/* Where places expand (form): repeat the token of each until it stands rows[i] times
 * (n_images); spans and places move along. Once. Otherwise nothing. */
LVLM_MUST_CHECK int lvlm_prompt_expand(lvlm_prompt *prompt, const size_t *rows,
                                       lvlm_error *err);
void lvlm_prompt_free(lvlm_prompt *prompt);

LVLM_END_DECLS

#endif
