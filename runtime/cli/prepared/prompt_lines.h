/* prompt_lines.h - a file of prompts: one JSON object per line, or one list of them.
 *
 *   { "prompt": "What is it?", "image": "cat.jpg" }    or "images": [FILE, ...]
 *   { "messages": [ { "role": "user", "content": ... }, ... ] }        (messages.h)
 *
 * and, where a line has its own: "id", "system" (with a prompt), "max_new_tokens",
 * "seed". Images are places in the messages, or the model's form places them. */
#ifndef LVLM_RUNTIME_CLI_PREPARED_PROMPT_LINES_H
#define LVLM_RUNTIME_CLI_PREPARED_PROMPT_LINES_H

#include "formats/cli/outputs.h"
#include "runtime/cli/prompting.h"
#include "runtime/generate/generation_config.h"
#include "runtime/tune/data/jsonl.h"

typedef struct prompt_lines {
    lvlm_jsonl file;
    const lvlm_manifest *manifest; /* borrowed, as are */
    const prompting_args *args;    /* these ... */
    const prompting_how *how;      /* ... and this */
    lvlm_prompter *prompter;
    lvlm_vision_input *vision; /* NULL before the first image */
    lvlm_video_input *video;   /* likewise */
    lvlm_notes *notes;
} prompt_lines;

/* One prompt, ready to be read. */
typedef struct prompt_line {
    cJSON *id;                /* the line's own, or its number; owned */
    lvlm_generation settings; /* of all, and the line's own */
    lvlm_messages messages;
    lvlm_prompt prompt;
    lvlm_prompt_inputs inputs;
} prompt_line;

/* Free with prompt_lines_close, also after a failure. */
LVLM_MUST_CHECK int prompt_lines_open(prompt_lines *out, const char *path,
                                      const lvlm_manifest *manifest,
                                      const prompting_args *args,
                                      const prompting_how *how, lvlm_notes *notes,
                                      lvlm_error *err);
void prompt_lines_close(prompt_lines *lines);

/* Make every prompt once, with its images, so that one that cannot be used is found
 * before any is answered: LVLM_EFORMAT, LVLM_EIO and LVLM_EUSAGE begin with file and
 * line. None of `outputs` may be one of its images or of its videos' frames. */
LVLM_MUST_CHECK int prompt_lines_check(prompt_lines *lines,
                                       const lvlm_generation *settings,
                                       const lvlm_outputs *outputs, lvlm_error *err);

/* Number `i` of them. Free with prompt_line_free, also after a failure. */
LVLM_MUST_CHECK int prompt_line_make(prompt_line *out, prompt_lines *lines, size_t i,
                                     const lvlm_generation *settings, lvlm_error *err);
void prompt_line_free(prompt_line *line);

#endif
