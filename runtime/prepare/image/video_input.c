/* video_input.c - clips to tensors; see video_input.h.
 *
 *   plan of each clip -> tensors allocated -> frame by frame: decode, resize, levels */
#include "runtime/prepare/image/video_input.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "runtime/prepare/image/vision_fit.h"
#include "runtime/prepare/image/vision_tensors.h"

/* Frames a second of the videos in training, where a list of frames does not say it. */
#define TRAINED_FPS 2.0

struct lvlm_video_input {
    vision_settings settings;
    lvlm_video_options options;
    float levels[3][256];
    bool timed; /* positions follow time */
};

int lvlm_video_input_open(lvlm_video_input **out, const lvlm_manifest *manifest,
                          const lvlm_video_options *options, lvlm_error *err)
{
    lvlm_video_input *const input = lvlm_calloc(1, sizeof *input);
    *out = NULL;
    if (input == NULL) return lvlm_fail_memory(err);
    if (options != NULL) input->options = *options;
    const int rc = vision_settings_read(&input->settings, manifest,
                                        &input->options.frames, true, err);
    if (rc < 0) {
        lvlm_free(input);
        return rc;
    }
    input->options.frames.image.alpha = input->settings.alpha;
    input->timed = lvlm_json_path(manifest->config, "vision.tokens_per_second") != NULL;
    vision_levels(input->levels, &input->settings);
    *out = input;
    return 0;
}

void lvlm_video_input_close(lvlm_video_input *input)
{
    lvlm_free(input);
}

/* ---- plans ---------------------------------------------------------------------- */

/* A clip that is to be read. */
typedef struct plan {
    lvlm_clip clip;
    size_t *used; /* (note->n_used) indices of files */
    vision_fit fit;
    lvlm_video_note *note;
} plan;

/* The state of one batch. */
typedef struct work {
    const lvlm_video_input *input;
    lvlm_video_batch *out;
    plan *plans;              /* (out->n) */
    uint64_t n_done, n_bytes; /* of pixels */
} work;

/* An equal share of all tokens for each step of patches, but not much less than the
 * least of a frame: in the reference's arithmetic. */
static uint64_t most_pixels(const vision_settings *s, size_t n_frames)
{
    assert(n_frames > 0); /* so many are sampled */
    const uint64_t side = s->patch * s->merge;
    const double all = (double)(s->videos.max_tokens * side * side) * 0.9;
    const uint64_t share = (uint64_t)all * s->frames / n_frames;
    const uint64_t floor = (uint64_t)((double)s->min_pixels * 1.05);
    const uint64_t most = share < s->max_pixels ? share : s->max_pixels;
    if (!s->videos.capped) return s->max_pixels;
    return most > floor ? most : floor;
}

/* Append advice to the error of a file that was given as a video. */
static int refuse_file(lvlm_error *err)
{
    const lvlm_error why = err != NULL ? *err : (lvlm_error){ .code = LVLM_EFORMAT };
    return lvlm_fail(err, why.code,
                     "%s; a video is given as a folder of images of its frames",
                     why.text);
}

/* The size of all frames, from the first one. */
static int fit_clip(plan *p, const lvlm_video_input *input, lvlm_error *err)
{
    lvlm_video_note *const note = p->note;
    vision_settings s = input->settings;
    const char *const first = p->clip.files[p->used[0]];
    lvlm_image image = { 0 };
    int rc = lvlm_image_read(&image, first, &input->options.frames.image, err);
    if (rc == LVLM_EFORMAT && first == note->name) return refuse_file(err);
    TRY(rc);
    note->width = image.width;
    note->height = image.height;
    lvlm_image_free(&image);
    s.max_pixels = most_pixels(&input->settings, note->n_used);
    rc = vision_fit_find(&p->fit, &s, note->width, note->height, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", first);
    return rc;
}

static int count_clip(plan *p, const vision_settings *s, lvlm_error *err)
{
    lvlm_video_note *const note = p->note;
    const uint64_t row = 3 * s->frames * s->patch * s->patch;
    const size_t frames = (size_t)s->frames;
    uint64_t n = 0;
    note->frames = (note->n_used + frames - 1) / frames;
    note->rows = p->fit.rows;
    note->columns = p->fit.columns;
    note->tokens = note->frames * p->fit.tokens;
    FAIL_IF(!lvlm_mul_u64(&n, (uint64_t)note->frames * note->rows, note->columns) ||
                !lvlm_mul_u64(&n, n, row * sizeof(float)),
            err, LVLM_ENOMEM, "%s: out of memory", note->name);
    note->n_bytes = n;
    return 0;
}

static int plan_clip(plan *p, const lvlm_video_input *input, const lvlm_clip *clip,
                     lvlm_arena *arena, lvlm_error *err)
{
    const vision_settings *const s = &input->settings;
    lvlm_video_note *const note = p->note;
    const double unsaid = input->options.fps > 0 ? input->options.fps : TRAINED_FPS;
    TRY(lvlm_clip_frames(&p->clip, clip, arena, input->options.notes, err));
    note->name = clip->files[0];
    note->n_given = p->clip.n_files;
    const int rc =
        video_sample(&p->used, &note->n_used, &s->videos.sampling, (size_t)s->frames,
                     note->n_given, clip->fps, arena, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", note->name);
    TRY(rc);
    if (input->timed && clip->fps == 0)
        TRY(lvlm_notes_add(input->options.notes, err,
                           "videos: frames a second are not said (--fps, or \"fps\" "
                           "beside a video): counted as %g",
                           unsaid));
    const double rate = clip->fps > 0
                            ? (double)note->n_used / (double)note->n_given * clip->fps
                            : unsaid;
    note->seconds = (double)s->frames / rate;
    TRY(fit_clip(p, input, err));
    return count_clip(p, s, err);
}

static int plan_all(work *w, const lvlm_clip *const *clips, lvlm_error *err)
{
    const lvlm_video_watch *const watch = &w->input->options.watch;
    for (size_t i = 0; i < w->out->n; i++) {
        w->plans[i].note = &w->out->notes[i];
        TRY(plan_clip(&w->plans[i], w->input, clips[i], &w->out->tensors.arena, err));
        if (!lvlm_add_u64(&w->n_bytes, w->n_bytes, w->out->notes[i].n_bytes))
            return lvlm_fail_memory(err);
    }
    return watch->planned != NULL
               ? watch->planned(watch->user, w->out->notes, w->out->n, err)
               : 0;
}

/* ---- frames --------------------------------------------------------------------- */

/* Decode a frame and resize it. *out is to be freed, also after a failure. */
static int read_frame(lvlm_image *out, const plan *p, const char *file,
                      const lvlm_video_input *input, lvlm_error *err)
{
    const lvlm_resize to = { .width = p->fit.width,
                             .height = p->fit.height,
                             .filter = input->settings.filter,
                             .resampling = input->settings.resampling };
    lvlm_image image = { 0 };
    TRY(lvlm_image_read(&image, file, &input->options.frames.image, err));
    const bool same = image.width == p->note->width && image.height == p->note->height;
    const int rc =
        same ? lvlm_image_resize(out, &image, &to, err)
             : lvlm_fail(err, LVLM_EFORMAT,
                         "%s: has %zu x %zu pixels, the first frame of the video has "
                         "%zu x %zu; all must be of one size",
                         file, image.width, image.height, p->note->width,
                         p->note->height);
    lvlm_image_free(&image);
    return rc;
}

/* The patches of a clip. */
static int put_clip(float *out, work *w, const plan *p, lvlm_error *err)
{
    const size_t T = (size_t)w->input->settings.frames, n = p->note->n_used;
    assert(n <= p->note->frames * T);
    const size_t step = (size_t)(p->note->n_bytes / sizeof *out) / p->note->frames;
    const lvlm_video_watch *const watch = &w->input->options.watch;
    for (size_t i = 0; i < n; i++) {
        lvlm_image image = { 0 };
        const int rc = read_frame(&image, p, p->clip.files[p->used[i]], w->input, err);
        const size_t end = i + 1 < n ? i + 1 : p->note->frames * T;
        for (size_t k = i; rc == 0 && k < end; k++)
            vision_patches_put(out + k / T * step, w->input->levels,
                               &w->input->settings, &image, k % T);
        lvlm_image_free(&image);
        TRY(rc);
        w->n_done += (end - i) * (step / T) * sizeof *out;
        if (watch->progress != NULL)
            watch->progress(watch->user, w->n_done, w->n_bytes);
    }
    return 0;
}

/* ---- tensors -------------------------------------------------------------------- */

static int make_tensors(work *w, lvlm_error *err)
{
    lvlm_video_batch *const out = w->out;
    lvlm_vision_tensors *const tensors = &out->tensors;
    const vision_settings *const s = &w->input->settings;
    const uint64_t row = 3 * s->frames * s->patch * s->patch;
    const uint64_t P = w->n_bytes / (row * sizeof(float));
    void *pixels, *grids, *seconds = NULL;
    TRY(vision_tensors_add(&pixels, tensors, "pixel_values_videos", LVLM_F32,
                           (lvlm_shape){ 2, { P, row } }, err));
    TRY(vision_tensors_add(&grids, tensors, "video_grid_thw", LVLM_I64,
                           (lvlm_shape){ 2, { out->n, 3 } }, err));
    if (w->input->timed)
        TRY(vision_tensors_add(&seconds, tensors, "second_per_grid_ts", LVLM_F32,
                               (lvlm_shape){ 1, { out->n } }, err));
    float *to = pixels;
    int64_t *grid = grids;
    for (size_t i = 0; i < out->n; i++) {
        const lvlm_video_note *const note = &out->notes[i];
        *grid++ = (int64_t)note->frames;
        *grid++ = (int64_t)note->rows;
        *grid++ = (int64_t)note->columns;
        if (seconds != NULL) ((float *)seconds)[i] = (float)note->seconds;
        TRY(put_clip(to, w, &w->plans[i], err));
        to += note->n_bytes / sizeof *to;
    }
    return 0;
}

int lvlm_video_input_read(lvlm_video_batch *out, const lvlm_video_input *input,
                          const lvlm_clip *const *clips, size_t n, lvlm_error *err)
{
    work w = { .input = input, .out = out };
    *out = (lvlm_video_batch){ .n = n };
    if (n == 0) return 0;
    lvlm_arena *const arena = &out->tensors.arena;
    w.plans = lvlm_arena_alloc(arena, n, sizeof *w.plans);
    out->notes = lvlm_arena_alloc(arena, n, sizeof *out->notes);
    if (w.plans == NULL || out->notes == NULL) return lvlm_fail_memory(err);
    TRY(plan_all(&w, clips, err));
    return make_tensors(&w, err);
}

void lvlm_video_batch_free(lvlm_video_batch *batch)
{
    if (batch == NULL) return;
    lvlm_arena_free(&batch->tensors.arena);
    *batch = (lvlm_video_batch){ .n = 0 };
}
