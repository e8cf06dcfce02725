/* prompting_videos.c - see prompting_videos.h. */
#include "runtime/cli/prepared/prompting_videos.h"

#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/memory.h"
#include "formats/cli/amounts.h"
#include "runtime/cli/run_commands.h"

int prompting_videos_give(lvlm_messages *messages, const prompting_args *args,
                          lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    const size_t n = args->frames.n;
    lvlm_clip *const clips = lvlm_arena_alloc(&arena, n + 1, sizeof *clips);
    int rc = clips != NULL ? 0 : lvlm_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        clips[i] = (lvlm_clip){ &args->frames.at[i], 1,
                                args->fps.given ? args->fps.value : 0 };
    if (rc == 0) rc = lvlm_messages_give_videos(messages, clips, n, err);
    lvlm_arena_free(&arena);
    return rc;
}

static void tell_clip(const lvlm_video_note *note)
{
    char text[LVLM_AMOUNT_TEXT];
    fprintf(stderr,
            PROGRAM ": %s: %zu of %zu frames of %zu x %zu pixels: %zu x %zu x %zu "
                    "patches, %zu tokens; %s of pixels\n",
            note->name, note->n_used, note->n_given, note->width, note->height,
            note->frames, note->rows, note->columns, note->tokens,
            lvlm_bytes_text(text, (double)note->n_bytes));
}

/* Memory that is not there is not taken. */
static int check_memory(double needed, bool quiet, lvlm_error *err)
{
    char need[LVLM_AMOUNT_TEXT], have[LVLM_AMOUNT_TEXT];
    lvlm_memory memory;
    if (!lvlm_memory_read(&memory, "")) return 0;
    FAIL_IF(needed > memory.total, err, LVLM_ENOMEM,
            "videos: their pixels take %s, and there are %s in all; fewer frames take "
            "less, or a lower bound in video_preprocessor_config.json",
            lvlm_bytes_text(need, needed), lvlm_bytes_text(have, memory.total));
    if (needed > memory.free && !quiet)
        fprintf(stderr,
                PROGRAM ": videos: their pixels take %s, and %s are free: the system "
                        "may become slow, or end the run\n",
                lvlm_bytes_text(need, needed), lvlm_bytes_text(have, memory.free));
    return 0;
}

static int tell_plan(void *user, const lvlm_video_note *notes, size_t n,
                     lvlm_error *err)
{
    const prompting_videos *const v = user;
    double needed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!v->quiet) tell_clip(&notes[i]);
        needed += (double)notes[i].n_bytes;
    }
    return check_memory(needed, v->quiet, err);
}

static void draw(void *user, uint64_t done, uint64_t total)
{
    prompting_videos *const v = user;
    lvlm_progress_bytes(&v->bar, done, total);
}

int prompting_videos_open(prompting_videos *out, const prompting *p,
                          const lvlm_manifest *manifest,
                          const lvlm_vision_options *options, const prompting_how *how,
                          lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_video_options chosen = {
        .frames = *options,
        .fps = how->fps,
        .notes = notes,
        .watch = { tell_plan, draw, out },
    };
    *out = (prompting_videos){ .quiet = how->quiet };
    if (p->prompt.n_videos == 0) return 0;
    lvlm_progress_init(&out->bar, "reading videos", how->quiet);
    return lvlm_video_input_open(&out->input, manifest, &chosen, err);
}

void prompting_videos_close(prompting_videos *videos)
{
    if (videos->input != NULL) lvlm_progress_finish(&videos->bar);
    lvlm_video_input_close(videos->input);
}
