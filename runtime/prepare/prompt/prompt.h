/* prompt.h - a conversation as the tokens that a model was trained on.
 *
 *   messages -> the model's style -> pieces of text -> tokenizer -> ids, one place per
 *   image or video -> number of rows of each -> the model's ids
 *
 *     lvlm_prompter *prompter = NULL;
 *     lvlm_prompt prompt;
 *     if ((rc = lvlm_prompter_open(&prompter, manifest, NULL, &err)) < 0 ||
 *         (rc = lvlm_prompt_write(&prompt, prompter, &messages, &err)) < 0 ||
 *         ... prompt.images are read, rows[i] counted ...
 *         (rc = lvlm_prompt_expand(&prompt, rows, NULL, &err)) < 0) ...
 *     lvlm_prompt_free(&prompt);
 *     lvlm_prompter_close(prompter);
 *
 * Texts equal those that the model's chat template renders, ids those of its processor.
 * A string such as "<|im_end|>" in a text becomes the token, as there; in the chat of
 * Qwen-VL (2023) only the tags of images, boxes and names do. For LLaVA a plain text as
 * content is written, which the hub's template passes over. */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_H

#include <stdint.h>

#include "formats/checkpoint/manifest.h"
#include "runtime/prepare/prompt/messages.h"
#include "runtime/prepare/tokenizer/tokenizer.h"

LVLM_BEGIN_DECLS

/* The date in Llama 3.2's template if no clock is available. */
#define LVLM_PROMPT_DATE "26 Jul 2024"

/* Zero-initialise for defaults. */
typedef struct lvlm_prompt_options {
    bool raw; /* no chat template: one user message as it is */
    /* For LLaVA, in place of the template that the model ships: "llava" (the hub's),
     * "vicuna_v1", "chatml", "gemma", "plain" (as it is; with an answer, images and the
     * answer alone, as its first stage is trained). LVLM_EUSAGE for others */
    const char *chat_template;
    /* Where transformers' prompt differs from what a model was trained on, write the
     * latter: Llama 3.2's base form begins with bos even before an image. */
    bool as_trained;
    /* As in the family's fine-tuning code. For Qwen-VL: special tokens in a text are
     * recognised, which chat prevents, and the base model uses the chat form. LLaVA
     * with the hub's template is trained as vicuna_v1. */
    bool training;
    /* date of the system message; NULL: "26 Jul 2024". LVLM_EUSAGE for models whose
     * prompts have no date */
    const char *date;
} lvlm_prompt_options;

typedef enum lvlm_span_kind {
    LVLM_SPAN_HEADER,  /* opens a turn: "<|im_start|>user\n" */
    LVLM_SPAN_CONTENT, /* the message */
    LVLM_SPAN_END,     /* closes it: "<|im_end|>\n" */
} lvlm_span_kind;

#define LVLM_NO_MESSAGE SIZE_MAX

/* Tokens [first, end) of one message. A token that spans the end of a header and the
 * start of the content belongs to the content. */
typedef struct lvlm_span {
    lvlm_span_kind kind;
    lvlm_role role;
    /* LVLM_NO_MESSAGE: a default system message, or the header of the answer */
    size_t message;
    size_t first, end;
} lvlm_span;

/* Properties of a model's prompts. */
typedef struct lvlm_prompt_form {
    bool expands; /* an image is one token until lvlm_prompt_expand */
    bool prefix;  /* the assistant's text is a suffix: token_type_ids, labels */
    bool typed;   /* mm_token_type_ids */
    bool crossed; /* cross_attention_mask */
    bool opaque;  /* as trained, images lose their alpha (lvlm_vision_options) */
    int64_t image_token;
    int64_t video_token; /* -1: there are no videos */
    int64_t pad;
} lvlm_prompt_form;

typedef struct lvlm_prompt {
    lvlm_prompt_form form;
    bool document; /* texts to learn are the assistant's, images and bos are not */
    int64_t *ids;  /* (n) */
    size_t n;
    lvlm_span *spans; /* (n_spans) in order; they cover all tokens */
    size_t n_spans;
    const char **images; /* (n_images) files in order of their places */
    size_t *places;      /* (n_images) index in ids of the first token of each */
    size_t n_images;
    const lvlm_clip **videos; /* (n_videos) likewise */
    size_t *video_places;
    size_t n_videos;
    /* number of oldest messages dropped because of the model's window */
    size_t n_left_out;
    lvlm_arena arena;
} lvlm_prompt;

typedef struct lvlm_prompter lvlm_prompter;

/* Read what a model's prompts need from its configuration and side files. `options` may
 * be NULL; manifest and its checkpoint must outlive *out, which is closed with
 * lvlm_prompter_close. LVLM_EFORMAT: no tokenizer files (named), or an unknown chat
 * template. */
LVLM_MUST_CHECK int lvlm_prompter_open(lvlm_prompter **out,
                                       const lvlm_manifest *manifest,
                                       const lvlm_prompt_options *options,
                                       lvlm_error *err);
void lvlm_prompter_close(lvlm_prompter *prompter);
/* What lvlm_prompt_options.chat_template calls the form that is written; NULL: it has
 * no such name. Static. */
const char *lvlm_prompter_template(const lvlm_prompter *prompter);
/* Borrowed. */
const lvlm_tokenizer *lvlm_prompter_tokenizer(const lvlm_prompter *prompter);
/* For decoding answers: special tokens are skipped except those that have a meaning in
 * answers ("<ref>", "<box>"). Borrowed. */
const lvlm_special *lvlm_prompter_answer(const lvlm_prompter *prompter);

/* Write a conversation. If the last message is not the assistant's, it is followed by
 * the header of the answer. A document is for options.training; it has an end that is
 * the assistant's too. LVLM_EFORMAT: something that the model's form does not
 * support (a system message, turns, a prompt without an image), or the numbers of
 * places and of images or videos differ. Free with lvlm_prompt_free, also after a
 * failure. */
LVLM_MUST_CHECK int lvlm_prompt_write(lvlm_prompt *out, const lvlm_prompter *prompter,
                                      const lvlm_messages *messages, lvlm_error *err);
/* If places expand (form): repeat the token of each image rows[i] times (n_images), of
 * each video video_rows[i] times (n_videos), and adjust spans and places. Call once.
 * Otherwise a no-op. */
LVLM_MUST_CHECK int lvlm_prompt_expand(lvlm_prompt *prompt, const size_t *rows,
                                       const size_t *video_rows, lvlm_error *err);
void lvlm_prompt_free(lvlm_prompt *prompt);

LVLM_END_DECLS

#endif
