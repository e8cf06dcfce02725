/* prompting_videos.h - private to prompting.c: videos of the options, and what is told
 * of them: what they become, the memory for it, progress. */
#ifndef LVLM_RUNTIME_CLI_PREPARED_PROMPTING_VIDEOS_H
#define LVLM_RUNTIME_CLI_PREPARED_PROMPTING_VIDEOS_H

#include "formats/cli/progress.h"
#include "runtime/cli/prompting.h"

typedef struct prompting_videos {
    lvlm_video_input *input; /* NULL: the prompt has no videos */
    lvlm_progress bar;
    bool quiet;
} prompting_videos;

/* Give the messages those of --frames. */
LVLM_MUST_CHECK int prompting_videos_give(lvlm_messages *messages,
                                          const prompting_args *args, lvlm_error *err);

/* For a prompt that has been written. Close with prompting_videos_close, also after a
 * failure; *out must not be moved. */
LVLM_MUST_CHECK int prompting_videos_open(prompting_videos *out, const prompting *p,
                                          const lvlm_manifest *manifest,
                                          const lvlm_vision_options *options,
                                          const prompting_how *how, lvlm_notes *notes,
                                          lvlm_error *err);
void prompting_videos_close(prompting_videos *videos);

#endif
