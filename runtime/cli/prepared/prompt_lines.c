/* prompt_lines.c - a file of prompts; see prompt_lines.h. */
#include "runtime/cli/prepared/prompt_lines.h"

#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"

#define REFUSED LVLM_KEY_REFUSED

static const lvlm_key line_keys[] = {
    { "id" },
    { "prompt" },
    { "messages" },
    { "image" },
    { "images" },
    { "system" },
    { "max_new_tokens" },
    { "seed" },
    { "video|videos|fps", REFUSED, "a video is a part of messages" },
    { "suffix|answer", REFUSED, "there would be nothing to say" },
    { "temperature|top_k|top_p|repetition_penalty", REFUSED, "give it for all lines" },
    { NULL },
};

int prompt_lines_open(prompt_lines *out, const char *path,
                      const lvlm_manifest *manifest, const prompting_args *args,
                      const prompting_how *how, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_prompt_options options = prompting_prompt_options(args, how);
    *out = (prompt_lines){
        .manifest = manifest, .args = args, .how = how, .notes = notes
    };
    FAIL_IF(lvlm_jsonl_is_tar(path), err, LVLM_EUSAGE,
            "%s: a tar has captions, not prompts; expected JSON lines", path);
    TRY(lvlm_jsonl_open(&out->file, path, err));
    return lvlm_prompter_open(&out->prompter, manifest, &options, err);
}

void prompt_lines_close(prompt_lines *lines)
{
    lvlm_video_input_close(lines->video);
    lvlm_vision_input_close(lines->vision);
    lvlm_prompter_close(lines->prompter);
    lvlm_jsonl_close(&lines->file);
}

/* ---- one line -------------------------------------------------------------------- */

/* A whole number of at least `least`, if the line has it. */
static int read_count(uint64_t *out, const cJSON *json, const char *key, double least,
                      lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(json, key);
    double value;
    if (item == NULL) return 0;
    FAIL_IF(!lvlm_json_double(&value, item) || value < least || value > 0x1p53 ||
                value != (double)(uint64_t)value,
            err, LVLM_EFORMAT, "\"%s\": expected a whole number, %g or more", key,
            least);
    *out = (uint64_t)value;
    return 0;
}

static int read_settings(prompt_line *out, const cJSON *json, uint32_t line,
                         lvlm_error *err)
{
    const cJSON *const id = lvlm_json_given(json, "id");
    FAIL_IF(id != NULL && !cJSON_IsString(id) && !cJSON_IsNumber(id), err, LVLM_EFORMAT,
            "\"id\": expected a text or a number");
    out->id = id != NULL ? cJSON_Duplicate(id, true) : cJSON_CreateNumber(line);
    if (out->id == NULL) return lvlm_fail_memory(err);
    TRY(read_count(&out->settings.max_new_tokens, json, "max_new_tokens", 1, err));
    return read_count(&out->settings.sampling.seed, json, "seed", 0, err);
}

/* The files under "image" or "images": one, or a list. */
static int read_images(const char ***out, size_t *n, const cJSON *json,
                       lvlm_arena *arena, lvlm_error *err)
{
    const cJSON *const image = lvlm_json_given(json, "image"), *item;
    const cJSON *const images = lvlm_json_given(json, "images");
    const cJSON *const list = image != NULL ? image : images;
    *n = 0;
    FAIL_IF(image != NULL && images != NULL, err, LVLM_EFORMAT,
            "has \"image\" and \"images\"; keep one of them");
    *out = lvlm_arena_alloc(arena, lvlm_json_count(list) + 1, sizeof **out);
    if (*out == NULL) return lvlm_fail_memory(err);
    if (list != NULL && !cJSON_IsArray(list)) (*out)[(*n)++] = lvlm_json_string(list);
    LVLM_JSON_ITEMS (item, list) (*out)[(*n)++] = lvlm_json_string(item);
    for (size_t i = 0; i < *n; i++)
        FAIL_IF((*out)[i] == NULL || *(*out)[i] == '\0', err, LVLM_EFORMAT,
                "\"%s\": expected a file's name, or a list of them",
                images != NULL ? "images" : "image");
    return 0;
}

/* A text under `key`, or NULL. */
static int read_text(const char **out, const cJSON *json, const char *key,
                     lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(json, key);
    *out = lvlm_json_string(item);
    FAIL_IF(item != NULL && *out == NULL, err, LVLM_EFORMAT, "\"%s\": expected a text",
            key);
    return 0;
}

static int read_messages(prompt_line *out, const prompt_lines *lines, const cJSON *json,
                         lvlm_arena *arena, lvlm_error *err)
{
    const cJSON *const list = lvlm_json_given(json, "messages");
    const char **images = NULL, *prompt, *system;
    size_t n;
    TRY(read_text(&prompt, json, "prompt", err));
    TRY(read_text(&system, json, "system", err));
    FAIL_IF((prompt == NULL) == (list == NULL), err, LVLM_EFORMAT,
            "expected \"prompt\" or \"messages\", one of them");
    FAIL_IF(system != NULL && list != NULL, err, LVLM_EFORMAT,
            "\"system\" is for \"prompt\"; messages have it in them");
    TRY(read_images(&images, &n, json, arena, err));
    TRY(list != NULL
            ? lvlm_messages_take(&out->messages, list, images, n, lines->notes, err)
            : lvlm_messages_make(&out->messages, system, prompt, NULL, images, n, err));
    TRY(lvlm_messages_give_videos(&out->messages, NULL, 0, err));
    const lvlm_messages *const m = &out->messages;
    FAIL_IF(m->at[m->n - 1].role == LVLM_ROLE_ASSISTANT, err, LVLM_EFORMAT,
            "the last message is the assistant's: there is nothing to say");
    return 0;
}

/* Settings of processors are read when the first image or video comes. */
static int open_inputs(prompt_lines *lines, const lvlm_prompt *prompt, lvlm_error *err)
{
    const lvlm_video_options video = {
        .frames =
            prompting_vision_options(lines->args, lines->how, prompt->form.opaque),
        .fps = lines->how->fps,
        .notes = lines->notes,
    };
    if (prompt->n_images > 0 && lines->vision == NULL)
        TRY(lvlm_vision_input_open(&lines->vision, lines->manifest, &video.frames,
                                   err));
    if (prompt->n_videos > 0 && lines->video == NULL)
        TRY(lvlm_video_input_open(&lines->video, lines->manifest, &video, err));
    return 0;
}

static int make(prompt_line *out, prompt_lines *lines, const cJSON *json, uint32_t line,
                lvlm_arena *arena, lvlm_error *err)
{
    lvlm_prompt *const prompts[] = { &out->prompt };
    FAIL_IF(!cJSON_IsObject(json), err, LVLM_EFORMAT, "expected an object");
    TRY(lvlm_keys_check(json, "prompts", line_keys, lines->notes, err));
    TRY(read_settings(out, json, line, err));
    TRY(read_messages(out, lines, json, arena, err));
    TRY(lvlm_prompt_write(&out->prompt, lines->prompter, &out->messages, err));
    if (out->prompt.n_left_out > 0)
        TRY(lvlm_notes_add(lines->notes, err,
                           "prompt in line %u: the %zu oldest messages are left out: "
                           "the others fill the model's max_window_size",
                           line, out->prompt.n_left_out));
    TRY(open_inputs(lines, &out->prompt, err));
    return lvlm_prompt_inputs_make(&out->inputs, prompts, 1, lines->vision,
                                   lines->video, err);
}

int prompt_line_make(prompt_line *out, prompt_lines *lines, size_t i,
                     const lvlm_generation *settings, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    cJSON *json = NULL;
    memset(out, 0, sizeof *out);
    out->settings = *settings;
    TRY(lvlm_jsonl_parse(&json, &lines->file, i, err));
    const int rc = make(out, lines, json, lines->file.values[i].line, &arena, err);
    if (rc < 0) lvlm_jsonl_prefix(err, &lines->file, i);
    lvlm_arena_free(&arena);
    lvlm_json_free(json);
    return rc;
}

void prompt_line_free(prompt_line *line)
{
    lvlm_prompt_inputs_free(&line->inputs);
    lvlm_prompt_free(&line->prompt);
    lvlm_messages_free(&line->messages);
    lvlm_json_free(line->id);
    memset(line, 0, sizeof *line);
}

/* ---- all of them ----------------------------------------------------------------- */

int prompt_lines_check(prompt_lines *lines, const lvlm_generation *settings,
                       const lvlm_outputs *outputs, lvlm_error *err)
{
    bool all_have_images = true, has_pictures = false;
    for (size_t i = 0; i < lines->file.n; i++) {
        prompt_line line;
        int rc = prompt_line_make(&line, lines, i, settings, err);
        if (rc == 0) rc = prompting_spare_pictures(&line.prompt, outputs, err);
        all_have_images &= line.prompt.n_images > 0;
        has_pictures |= line.prompt.n_images > 0 || line.prompt.n_videos > 0;
        prompt_line_free(&line);
        TRY(rc);
    }
    return prompting_note_options(lines->args, all_have_images, has_pictures,
                                  lines->notes, err);
}
