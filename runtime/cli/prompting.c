/* prompting.c - from options to messages, prompt and tensors. */
#include "runtime/cli/prompting.h"

#include <stdio.h>
#include <string.h>

#include "runtime/cli/run_commands.h"

int prompting_check(const prompting_args *args, lvlm_error *err)
{
    FAIL_IF(args->messages != NULL && (args->system != NULL || args->suffix != NULL),
            err, LVLM_EUSAGE,
            "--system and --suffix are for --prompt; messages have "
            "both in them");
    return 0;
}

static int read_messages(lvlm_messages *out, const prompting_args *a, lvlm_notes *notes,
                         lvlm_error *err)
{
    if (a->messages != NULL)
        return lvlm_messages_read(out, a->messages, a->images.at, a->images.n, notes,
                                  err);
    return lvlm_messages_make(out, a->system, a->prompt, a->suffix, a->images.at,
                              a->images.n, err);
}

/* Images need the processor's settings; a text alone does without. */
static int make_inputs(prompting *p, const lvlm_manifest *manifest,
                       const prompting_args *args, bool as_trained, lvlm_error *err)
{
    const bool torchvision =
        args->resampling != NULL && strcmp(args->resampling, "torchvision") == 0;
    const lvlm_vision_options options = {
        .resampling =
            torchvision ? LVLM_RESAMPLING_TORCHVISION : LVLM_RESAMPLING_PILLOW,
        .drop_alpha = as_trained && p->prompt.form.crossed, /* as Llama 3.2 was */
    };
    lvlm_prompt *const prompts[] = { &p->prompt };
    lvlm_vision_input *vision = NULL;
    if (p->prompt.n_images > 0)
        TRY(lvlm_vision_input_open(&vision, manifest, &options, err));
    const int rc = lvlm_prompt_inputs_make(&p->inputs, prompts, 1, vision, err);
    lvlm_vision_input_close(vision);
    return rc;
}

int prompting_make(prompting *out, const lvlm_manifest *manifest,
                   const prompting_args *args, bool as_trained, lvlm_notes *notes,
                   lvlm_error *err)
{
    const lvlm_prompt_options options = { .raw = args->raw,
                                          .as_trained = as_trained,
                                          .date = args->date };
    memset(out, 0, sizeof *out);
    TRY(read_messages(&out->messages, args, notes, err));
    out->answered = out->messages.at[out->messages.n - 1].role == LVLM_ROLE_ASSISTANT;
    TRY(lvlm_prompter_open(&out->prompter, manifest, &options, err));
    TRY(lvlm_prompt_write(&out->prompt, out->prompter, &out->messages, err));
    if (args->date != NULL && out->prompt.n_images > 0)
        TRY(lvlm_notes_add(notes, err,
                           "--date counts only without images: prompts with "
                           "images have none"));
    if (args->resampling != NULL && out->prompt.n_images == 0)
        TRY(lvlm_notes_add(notes, err, "--resampling counts only with images"));
    return make_inputs(out, manifest, args, as_trained, err);
}

void prompting_free(prompting *p)
{
    lvlm_prompt_inputs_free(&p->inputs);
    lvlm_prompt_free(&p->prompt);
    lvlm_messages_free(&p->messages);
    lvlm_prompter_close(p->prompter);
}

int prompting_spare(const prompting *p, const prompting_args *args,
                    const lvlm_outputs *outputs, const char *model, lvlm_error *err)
{
    const char *const files[] = { model, args->messages };
    TRY(lvlm_outputs_spare(outputs, files, 2, err));
    for (size_t i = 0; i < p->prompt.n_images; i++) {
        const char *const image = p->prompt.images[i];
        TRY(lvlm_outputs_spare(outputs, &image, 1, err));
    }
    return 0;
}

void prompting_remark(const prompting *p)
{
    if (p->prompt.n_left_out > 0)
        fprintf(stderr,
                "%s: the %zu oldest messages are left out: the others fill the "
                "model's max_window_size\n",
                PROGRAM, p->prompt.n_left_out);
}
