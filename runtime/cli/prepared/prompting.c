/* prompting.c - makes messages, prompt and tensors from options. */
#include "runtime/cli/prompting.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/infile.h"
#include "formats/base/text.h"
#include "formats/base/utf8.h"
#include "runtime/cli/prepared/prompting_videos.h"
#include "runtime/cli/run_commands.h"

/* Text from the command line must be UTF-8. */
static int check_text(const char *option, const char *text, lvlm_error *err)
{
    if (text == NULL) return 0;
    const size_t n = strlen(text), bad = lvlm_utf8_invalid_at(text, n);
    FAIL_IF(bad < n, err, LVLM_EUSAGE, "--%s: not UTF-8 at byte %zu", option, bad);
    return 0;
}

int prompting_check(const prompting_args *args, lvlm_error *err)
{
    TRY(check_text("prompt", args->prompt, err));
    TRY(check_text("system", args->system, err));
    TRY(check_text("suffix", args->suffix, err));
    for (size_t i = 0; i < args->images.n; i++)
        FAIL_IF(strcmp(args->images.at[i], "-") == 0, err, LVLM_EUSAGE,
                "--image -: an image is a file, not standard input; ./- is one of that "
                "name");
    FAIL_IF(args->fps.given && args->frames.n == 0, err, LVLM_EUSAGE,
            "--fps is of --frames; messages say it beside their videos");
    FAIL_IF(args->messages != NULL && (args->system != NULL || args->suffix != NULL),
            err, LVLM_EUSAGE,
            "--system and --suffix are for --prompt; messages have "
            "both in them");
    FAIL_IF(args->raw && args->chat_template != NULL, err, LVLM_EUSAGE,
            "--raw and --template exclude each other");
    return 0;
}

/* All of standard input, which must be UTF-8. */
static int read_stdin(lvlm_strbuf *out, lvlm_error *err)
{
    char block[4096];
    size_t n;
    lvlm_strbuf_append(out, "", 0);
    while ((n = fread(block, 1, sizeof block, stdin)) > 0)
        lvlm_strbuf_append(out, block, n);
    if (ferror(stdin)) return lvlm_fail_errno(err, "standard input: cannot read");
    TRY(lvlm_strbuf_check(out, err));
    const size_t bad = lvlm_utf8_invalid_at(out->text, out->length);
    FAIL_IF(bad < out->length, err, LVLM_EFORMAT,
            "standard input: not UTF-8 at byte %zu", bad);
    FAIL_IF(strlen(out->text) < out->length, err, LVLM_EFORMAT,
            "standard input: a zero byte at byte %zu", strlen(out->text));
    return 0;
}

/* A new line at the end is not part of the prompt. */
static int read_prompt(lvlm_strbuf *out, lvlm_error *err)
{
    TRY(read_stdin(out, err));
    if (lvlm_ends_with(out->text, "\n")) out->text[--out->length] = '\0';
    FAIL_IF(out->length == 0, err, LVLM_EFORMAT, "standard input: no prompt");
    return 0;
}

static bool is_stdin(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

static int read_messages(prompting *p, const prompting_args *a, lvlm_notes *notes,
                         lvlm_error *err)
{
    const char *const *const images = a->images.at;
    const size_t n = a->images.n;
    const char *prompt = a->prompt;
    p->input = (lvlm_strbuf)LVLM_STRBUF_INIT(LVLM_MESSAGES_MAX_BYTES);
    if (is_stdin(a->messages)) {
        TRY(read_stdin(&p->input, err));
        const int rc = lvlm_messages_parse(&p->messages, p->input.text, p->input.length,
                                           images, n, notes, err);
        if (rc < 0) lvlm_prefix(err, "standard input: ");
        return rc;
    }
    if (a->messages != NULL)
        return lvlm_messages_read(&p->messages, a->messages, images, n, notes, err);
    if (is_stdin(prompt)) {
        TRY(read_prompt(&p->input, err));
        prompt = p->input.text;
    }
    return lvlm_messages_make(&p->messages, a->system, prompt, a->suffix, images, n,
                              err);
}

lvlm_prompt_options prompting_prompt_options(const prompting_args *args,
                                             const prompting_how *how)
{
    return (lvlm_prompt_options){ .raw = args->raw,
                                  .chat_template = args->chat_template,
                                  .as_trained = how->as_trained,
                                  .date = args->date };
}

lvlm_vision_options prompting_vision_options(const prompting_args *args,
                                             const prompting_how *how, bool opaque)
{
    const bool torchvision =
        args->resampling != NULL && strcmp(args->resampling, "torchvision") == 0;
    return (lvlm_vision_options){
        .resampling =
            torchvision ? LVLM_RESAMPLING_TORCHVISION : LVLM_RESAMPLING_PILLOW,
        .drop_alpha = how->as_trained && opaque,
        .pad_to_square = args->pad_to_square,
    };
}

/* Only images need the processor's settings. */
static int make_inputs(prompting *p, const lvlm_manifest *manifest,
                       const prompting_args *args, const prompting_how *how,
                       lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_vision_options options =
        prompting_vision_options(args, how, p->prompt.form.opaque);
    lvlm_prompt *const prompts[] = { &p->prompt };
    lvlm_vision_input *vision = NULL;
    prompting_videos video;
    int rc = prompting_videos_open(&video, p, manifest, &options, how, notes, err);
    if (rc == 0 && p->prompt.n_images > 0)
        rc = lvlm_vision_input_open(&vision, manifest, &options, err);
    if (rc == 0)
        rc = lvlm_prompt_inputs_make(&p->inputs, prompts, 1, vision, video.input, err);
    prompting_videos_close(&video);
    lvlm_vision_input_close(vision);
    return rc;
}

int prompting_note_options(const prompting_args *args, bool all_have_images,
                           bool has_pictures, lvlm_notes *notes, lvlm_error *err)
{
    if (args->date != NULL && all_have_images)
        TRY(lvlm_notes_add(notes, err,
                           "--date counts only without images: prompts with images "
                           "have none"));
    if ((args->resampling == NULL && !args->pad_to_square) || has_pictures) return 0;
    return lvlm_notes_add(notes, err,
                          "--resampling and --pad-to-square count only with images");
}

int prompting_make(prompting *out, const lvlm_manifest *manifest,
                   const prompting_args *args, const prompting_how *how,
                   lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_prompt_options options = prompting_prompt_options(args, how);
    memset(out, 0, sizeof *out);
    TRY(read_messages(out, args, notes, err));
    TRY(prompting_videos_give(&out->messages, args, err));
    assert(out->messages.n > 0);
    out->answered = out->messages.at[out->messages.n - 1].role == LVLM_ROLE_ASSISTANT;
    TRY(lvlm_prompter_open(&out->prompter, manifest, &options, err));
    TRY(lvlm_prompt_write(&out->prompt, out->prompter, &out->messages, err));
    if (out->prompt.n_left_out > 0)
        TRY(lvlm_notes_add(notes, err,
                           "the %zu oldest messages are left out: the others fill the "
                           "model's max_window_size",
                           out->prompt.n_left_out));
    const bool has_images = out->prompt.n_images > 0;
    TRY(prompting_note_options(args, has_images, has_images || out->prompt.n_videos > 0,
                               notes, err));
    return make_inputs(out, manifest, args, how, notes, err);
}

void prompting_free(prompting *p)
{
    lvlm_prompt_inputs_free(&p->inputs);
    lvlm_prompt_free(&p->prompt);
    lvlm_messages_free(&p->messages);
    lvlm_strbuf_free(&p->input);
    lvlm_prompter_close(p->prompter);
}

/* Files that are named, and those in a folder. */
static int spare_clip(const lvlm_clip *clip, const lvlm_outputs *outputs,
                      lvlm_error *err)
{
    static const char *const all[] = { "*", NULL };
    TRY(lvlm_outputs_spare(outputs, clip->files, clip->n_files, err));
    if (!lvlm_path_is_directory(clip->files[0])) return 0;
    return lvlm_outputs_spare_folder(outputs, clip->files[0], all, err);
}

int prompting_spare_pictures(const lvlm_prompt *prompt, const lvlm_outputs *outputs,
                             lvlm_error *err)
{
    TRY(lvlm_outputs_spare(outputs, prompt->images, prompt->n_images, err));
    for (size_t i = 0; i < prompt->n_videos; i++)
        TRY(spare_clip(prompt->videos[i], outputs, err));
    return 0;
}

int prompting_spare(const prompting *p, const prompting_args *args,
                    const lvlm_outputs *outputs, const char *model, lvlm_error *err)
{
    const char *const files[] = { model, args->messages };
    TRY(lvlm_outputs_spare(outputs, files, 2, err));
    return prompting_spare_pictures(&p->prompt, outputs, err);
}
