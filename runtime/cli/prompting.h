/* prompting.h - shared by the commands that take a prompt: their options, and making
 * tensors from them.
 *
 *   --prompt, --messages, --image, --frames -> messages -> ids, images -> tensors */
#ifndef LVLM_RUNTIME_CLI_PROMPTING_H
#define LVLM_RUNTIME_CLI_PROMPTING_H

#include "formats/base/options.h"
#include "formats/cli/outputs.h"
#include "runtime/prepare/prompt/prompt_inputs.h"

typedef struct prompting_args {
    lvlm_words images, frames;
    lvlm_real fps;
    const char *prompt, *messages, *system, *suffix, *date, *resampling, *chat_template;
    bool raw, pad_to_square;
} prompting_args;

// clang-format off
/* Rows of an option table, for arguments that hold a prompting_args `field`. */
#define PROMPTING_OPTIONS(type, field)                                                              \
    { "image", "FILE...", LVLM_OPTION_WORDS, offsetof(type, field.images),                          \
      "images, JPEG, PNG or WebP, in order; the model's operand stands in front of them" },       \
    { "frames", "DIR...", LVLM_OPTION_WORDS, offsetof(type, field.frames),                          \
      "videos, each as a folder of its frames, in the order of their names; after --image" },      \
    { "fps", "N", LVLM_OPTION_REAL, offsetof(type, field.fps),                                      \
      "frames a second in those folders (default: not known, and taken as the model does)",        \
      LVLM_MORE_THAN(0) },                                                                          \
    { "prompt", "TEXT", LVLM_OPTION_TEXT, offsetof(type, field.prompt),                             \
      "what the user says, or - for standard input; images come first, or where it names them" }, \
    { "messages", "FILE.json", LVLM_OPTION_TEXT, offsetof(type, field.messages),                    \
      "a conversation instead, or -: [{\"role\": ..., \"content\": ...}, ...]" },                   \
    { "system", "TEXT", LVLM_OPTION_TEXT, offsetof(type, field.system),                             \
      "a system message in place of the model's own" },                                             \
    { "raw", NULL, LVLM_OPTION_FLAG, offsetof(type, field.raw),                                     \
      "the prompt as it is, without the model's chat template" },                                   \
    { "template", "NAME", LVLM_OPTION_TEXT, offsetof(type, field.chat_template),                         \
      "of LLaVA, in place of the model's own: llava, vicuna_v1, chatml, gemma or plain" },          \
    { "date", "TEXT", LVLM_OPTION_TEXT, offsetof(type, field.date),                                 \
      "what Llama 3.2 is told that today is (default " LVLM_PROMPT_DATE ")" },                      \
    { "resampling", "pillow|torchvision", LVLM_OPTION_TEXT, offsetof(type, field.resampling),       \
      "whose resized pixels, bit for bit (default pillow)" },                                       \
    { "pad-to-square", NULL, LVLM_OPTION_FLAG, offsetof(type, field.pad_to_square),                 \
      "images in the middle of a square of the mean colour, as LLaVA-1.5 was trained" }
// clang-format on

/* Frames a second of a video that does not say it: transformers from 5.0 on. */
#define LVLM_UNSAID_FPS 24.0

/* How prompts are made, besides the arguments. */
typedef struct prompting_how {
    /* where transformers' processor differs from what a model was trained on, do the
     * latter (lvlm_prompt_options; images of Llama 3.2 and LLaVA lose their alpha) */
    bool as_trained;
    double fps; /* of videos that do not say it; 0: as in training */
    bool quiet; /* say nothing of videos */
} prompting_how;

typedef struct prompting {
    lvlm_prompter *prompter;
    lvlm_strbuf input; /* read from stdin by --prompt - or --messages - */
    lvlm_messages messages;
    lvlm_prompt prompt;
    lvlm_prompt_inputs inputs;
    bool answered; /* the last message is the assistant's */
} prompting;

/* LVLM_EUSAGE when options do not go together. */
LVLM_MUST_CHECK int prompting_check(const prompting_args *args, lvlm_error *err);

/* `notes` receives notes on the messages; those on the model go to its checkpoint's
 * notes. What videos become, and the memory that they take, is told on stderr before
 * they are read. Free with prompting_free, also after a failure; `manifest` must
 * outlive it. */
LVLM_MUST_CHECK int prompting_make(prompting *out, const lvlm_manifest *manifest,
                                   const prompting_args *args, const prompting_how *how,
                                   lvlm_notes *notes, lvlm_error *err);
void prompting_free(prompting *p);

/* The options as makers of prompts and of pixels have them; `opaque`: as in
 * lvlm_prompt_form. */
lvlm_prompt_options prompting_prompt_options(const prompting_args *args,
                                             const prompting_how *how);
lvlm_vision_options prompting_vision_options(const prompting_args *args,
                                             const prompting_how *how, bool opaque);

/* Note options that no prompt has a use for. `has_pictures`: an image or a video. */
LVLM_MUST_CHECK int prompting_note_options(const prompting_args *args,
                                           bool all_have_images, bool has_pictures,
                                           lvlm_notes *notes, lvlm_error *err);

/* May the outputs be written? Not over model, messages, images and videos. */
LVLM_MUST_CHECK int prompting_spare(const prompting *p, const prompting_args *args,
                                    const lvlm_outputs *outputs, const char *model,
                                    lvlm_error *err);
/* Not over images and videos. */
LVLM_MUST_CHECK int prompting_spare_pictures(const lvlm_prompt *prompt,
                                             const lvlm_outputs *outputs,
                                             lvlm_error *err);

#endif
