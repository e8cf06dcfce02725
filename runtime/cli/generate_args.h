/* generate_args.h - what lvlm-run generate is told, and its two halves.
 *
 *   cmd_generate.c               one prompt, or ready tensors
 *   prepared/generate_prompts.c  a file of prompts */
#ifndef LVLM_RUNTIME_CLI_GENERATE_ARGS_H
#define LVLM_RUNTIME_CLI_GENERATE_ARGS_H

#include "formats/base/outfile.h"
#include "runtime/cli/prompting.h"
#include "runtime/cli/run_commands.h"
#include "runtime/generate/generate.h"

typedef struct generate_args {
    lvlm_common_args common;
    prompting_args prompting;
    const char *boxes;
    run_model_args model;
    bool force;
    const char *inputs, *prompts, *out, *cache;
    uint64_t max_new_tokens, seed, lookup;
    lvlm_real temperature, top_k, top_p, penalty;
} generate_args;

/* "end", "limit" or "positions". */
const char *generate_stopped(const lvlm_generated *made);

/* Answer the prompts of args->prompts, several at once, with `settings` where a line
 * does not have its own; into `out`, or NULL: stdout. None of `outputs` may be one of
 * its images or of its videos' frames. LVLM_EFORMAT names file and line, before any is
 * answered. */
LVLM_MUST_CHECK int generate_prompts(lvlm_model *model, const lvlm_generation *settings,
                                     const generate_args *args,
                                     const prompting_how *how,
                                     const lvlm_outputs *outputs, lvlm_outfile *out,
                                     lvlm_notes *notes, lvlm_error *err);

#endif
