/* cmd_preprocess.c - lvlm-run preprocess: a prompt and images as ready tensors.
 *
 *   MODEL + prompt + images -> prompting.h -> OUT.safetensors */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/container/safetensors.h"
#include "runtime/cli/prompting.h"
#include "runtime/cli/run_commands.h"

typedef struct preprocess_args {
    lvlm_common_args common;
    prompting_args prompting;
    const char *out;
    bool force;
} preprocess_args;

// clang-format off
static const lvlm_option options[] = {
    PROMPTING_OPTIONS(preprocess_args, prompting),
    { "suffix", "TEXT", LVLM_OPTION_TEXT, offsetof(preprocess_args, prompting.suffix),
      "the answer to learn; PaliGemma's labels are set on it" },
    { "out", "IN.safetensors", LVLM_OPTION_TEXT, offsetof(preprocess_args, out),
      "input_ids, attention_mask, pixel_values and so on" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(preprocess_args, force),
      "overwrite IN.safetensors" },
    LVLM_OPTION_END,
};
// clang-format on

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const preprocess_args *const args = arguments;
    (void)operands;
    return prompting_check(&args->prompting, err);
}

/* Where there is a choice of templates: which it was, and whether images were padded.
 * *out stays NULL elsewhere. */
static int describe(cJSON **out, const prompting *p, bool padded, lvlm_error *err)
{
    const char *const template = lvlm_prompter_template(p->prompter);
    if (template == NULL) return 0;
    *out = cJSON_CreateObject();
    const bool fine =
        *out != NULL && cJSON_AddStringToObject(*out, "template", template) != NULL &&
        cJSON_AddStringToObject(*out, "pad_to_square", padded ? "true" : "false") !=
            NULL;
    return fine ? 0 : lvlm_fail_memory(err);
}

static int save(const prompting *p, bool padded, lvlm_outfile *out, lvlm_error *err)
{
    const lvlm_checkpoint *const batch = &p->inputs.batch;
    lvlm_tensor sorted[LVLM_PROMPT_TENSORS];
    assert(batch->n_tensors <= LVLM_PROMPT_TENSORS);
    cJSON *metadata = NULL;
    memcpy(sorted, batch->tensors, batch->n_tensors * sizeof *sorted);
    qsort(sorted, batch->n_tensors, sizeof *sorted, lvlm_safetensors_order);
    int rc = describe(&metadata, p, padded, err);
    if (rc == 0)
        rc = lvlm_safetensors_write(out, sorted, batch->n_tensors, metadata, err);
    lvlm_json_free(metadata);
    return rc;
}

/* ---- what is said about it ------------------------------------------------------ */

/* For --json; else it has been told before. */
static void print_videos(lvlm_printer *out, const lvlm_video_batch *videos)
{
    if (videos->n == 0) return;
    lvlm_printer_list(out, "videos");
    for (size_t i = 0; i < videos->n; i++) {
        const lvlm_video_note *const note = &videos->notes[i];
        lvlm_printer_object(out, NULL);
        lvlm_printer_text(out, "name", note->name);
        lvlm_printer_count(out, "frames", note->n_given);
        lvlm_printer_count(out, "used", note->n_used);
        lvlm_printer_count(out, "width", note->width);
        lvlm_printer_count(out, "height", note->height);
        lvlm_printer_count(out, "tokens", note->tokens);
        lvlm_printer_count(out, "bytes", note->n_bytes);
        lvlm_printer_end(out);
    }
    lvlm_printer_end(out);
}

static int print(const prompting *p, const preprocess_args *args,
                 const lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_checkpoint *const batch = &p->inputs.batch;
    const size_t n = p->prompt.n_images, n_videos = p->prompt.n_videos;
    char shape[LVLM_SHAPE_TEXT];
    lvlm_printer out;
    lvlm_printer_open(&out, args->common.json, !args->common.quiet);
    lvlm_printer_line(&out, "%s: %zu tokens, %zu %s", args->out, p->prompt.n, n,
                      n == 1 ? "image" : "images");
    if (n_videos > 0)
        lvlm_printer_line(&out, ", %zu %s", n_videos,
                          n_videos == 1 ? "video" : "videos");
    lvlm_printer_line(&out, "\n");
    lvlm_printer_list(&out, "tensors");
    for (size_t i = 0; i < batch->n_tensors; i++) {
        const lvlm_tensor *const t = &batch->tensors[i];
        lvlm_printer_line(&out, "  %-22s %s\n", t->name,
                          lvlm_shape_text(shape, &t->shape));
        lvlm_printer_tensor(&out, t);
    }
    lvlm_printer_end(&out);
    print_videos(&out, &p->inputs.video);
    if (lvlm_prompter_template(p->prompter) != NULL) {
        lvlm_printer_text(&out, "template", lvlm_prompter_template(p->prompter));
        lvlm_printer_flag(&out, "pad_to_square", args->prompting.pad_to_square);
    }
    return lvlm_printer_close(&out, notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const preprocess_args *const args = arguments;
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest = { .checkpoint = NULL };
    lvlm_outputs outputs = { .force = args->force };
    lvlm_outfile *out = NULL;
    const prompting_how how = { .fps = LVLM_UNSAID_FPS, .quiet = args->common.quiet };
    prompting p;
    int rc;
    memset(&p, 0, sizeof p);
    if ((rc = lvlm_outputs_file(&outputs, &out, args->out, err)) < 0 ||
        (rc = run_open_files(&cp, operands->at[0], &args->common, notes, err)) < 0 ||
        (rc = lvlm_manifest_build(&manifest, cp, err)) < 0 ||
        (rc = prompting_make(&p, &manifest, &args->prompting, &how, notes, err)) < 0 ||
        (rc = prompting_spare(&p, &args->prompting, &outputs, operands->at[0], err)) <
            0 ||
        (rc = save(&p, args->prompting.pad_to_square, out, err)) < 0)
        goto done;
    rc = print(&p, args, notes, err);
done:
    lvlm_outputs_close(&outputs);
    prompting_free(&p);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    return rc;
}

const lvlm_command command_preprocess = {
    "preprocess",
    "MODEL",
    1,
    1,
    "a prompt and its images as ready tensors",
    "Writes exactly the tensors that the model family's Hugging Face processor makes:\n"
    "ids, masks, pixels, by the tokenizer, the processor's settings and the chat\n"
    "template that the model ships. `generate --inputs` and `forward --inputs` take\n"
    "them.\n"
    "\n"
    "  lvlm-run preprocess model.lvlm --image cat.jpg --prompt \"caption en\" \\\n"
    "      --out in.safetensors\n"
    "  lvlm-run preprocess model.lvlm --frames clip --fps 2 --prompt \"Why?\" \\\n"
    "      --out in.safetensors",
    options,
    sizeof(preprocess_args),
    run,
    "(--prompt TEXT | --messages FILE.json) --out IN.safetensors",
    check,
};
