/* run_unprepared.c - prompting.h, answer.h and their commands in a build without
 * prepare/: all is refused where the command line is checked. */
#include "runtime/cli/answer.h"
#include "runtime/cli/generate_args.h"
#include "runtime/cli/run_commands.h"
#include "runtime/prepare/unprepared.h"

const lvlm_command command_preprocess = {
    .name = "preprocess",
    .operands = "MODEL",
    .summary = "not in this build: a prompt and its images as ready tensors",
    .help = "This command " LVLM_UNPREPARED ".",
    .args_bytes = sizeof(lvlm_common_args),
    .unavailable = LVLM_UNPREPARED,
};

const lvlm_command command_tokenize = {
    .name = "tokenize",
    .operands = "MODEL",
    .summary = "not in this build: lines of text to ids, and back",
    .help = "This command " LVLM_UNPREPARED ".",
    .args_bytes = sizeof(lvlm_common_args),
    .unavailable = LVLM_UNPREPARED,
};

int prompting_check(const prompting_args *args, lvlm_error *err)
{
    const char *const option = args->messages != NULL ? "messages"
                               : args->prompt != NULL ? "prompt"
                                                      : "prompts";
    return lvlm_fail(err, LVLM_EUSAGE, "--%s: " LVLM_UNPREPARED, option);
}

/* ---- what is never called then, but by way of cleaning up ------------------------ */

int prompting_make(prompting *out, const lvlm_manifest *manifest,
                   const prompting_args *args, const prompting_how *how,
                   lvlm_notes *notes, lvlm_error *err)
{
    (void)out, (void)manifest, (void)how, (void)notes;
    return prompting_check(args, err);
}

void prompting_free(prompting *p)
{
    (void)p;
}

int prompting_spare(const prompting *p, const prompting_args *args,
                    const lvlm_outputs *outputs, const char *model, lvlm_error *err)
{
    const char *const files[] = { model, args->messages };
    (void)p;
    return lvlm_outputs_spare(outputs, files, 2, err);
}

int generate_prompts(lvlm_model *model, const lvlm_generation *settings,
                     const generate_args *args, const prompting_how *how,
                     const lvlm_outputs *outputs, lvlm_outfile *out, lvlm_notes *notes,
                     lvlm_error *err)
{
    (void)model, (void)settings, (void)how, (void)outputs, (void)out, (void)notes;
    return prompting_check(&args->prompting, err);
}

void answer_init(answer *a, const lvlm_prompter *prompter, bool silent)
{
    (void)prompter;
    *a = (answer){ .text = LVLM_STRBUF_INIT(0), .silent = silent };
}

void answer_free(answer *a)
{
    (void)a;
}

int answer_take(answer *a, int64_t id, lvlm_error *err)
{
    (void)a, (void)id;
    return lvlm_fail(err, LVLM_EUSAGE, LVLM_UNPREPARED);
}

int answer_end(answer *a, lvlm_error *err)
{
    return answer_take(a, 0, err);
}

int answer_draw(const answer *a, const prompting *p, lvlm_outfile *file,
                lvlm_printer *to, lvlm_error *err)
{
    (void)a, (void)p, (void)file, (void)to;
    return lvlm_fail(err, LVLM_EUSAGE, LVLM_UNPREPARED);
}
