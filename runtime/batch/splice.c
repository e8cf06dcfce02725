/* splice.c - which row of the connector fills which place; see splice.h.
 *
 * The connector's rows are those of all images, in order, then those of all videos. */
#include "runtime/batch/splice.h"

#include <assert.h>
#include <inttypes.h>

/* The cells that hold `token` take rows [first, first + n), in order. */
static int fill_tokens(lvlm_inputs *in, int64_t token, const char *what,
                       size_t n_images, size_t first, size_t n, const char *prefix,
                       lvlm_error *err)
{
    size_t n_tokens = 0;
    assert(token >= 0 && in->image_row != NULL);
    for (size_t i = 0; i < in->B * in->T; i++)
        if (in->ids[i] == token) in->image_row[i] = (int64_t)(first + n_tokens++);
    FAIL_IF(n_tokens != n, err, LVLM_EFORMAT,
            "%sinput_ids: %zu %s tokens (id %" PRId64 "), but %zu %s%s fill %zu",
            prefix, n_tokens, what, token, n_images, what, n_images == 1 ? "" : "s", n);
    return 0;
}

static int fill_image_tokens(lvlm_inputs *in, const lvlm_input_spec *spec,
                             const char *prefix, lvlm_error *err)
{
    const lvlm_images *images = &in->images;
    const size_t n_videos = images->n_videos, n_stills = images->n - n_videos;
    const size_t rows = lvlm_image_rows_count(&spec->rows, images, 0, n_stills);
    const size_t video_rows =
        lvlm_image_rows_count(&spec->rows, images, n_stills, images->n);
    TRY(fill_tokens(in, spec->image_token, "image", n_stills, 0, rows, prefix, err));
    if (spec->video_token < 0) return 0;
    return fill_tokens(in, spec->video_token, "video", n_videos, rows, video_rows,
                       prefix, err);
}

/* Rows of image number i; beyond the last, of one of the usual size. */
static size_t rows_of(const lvlm_inputs *in, const lvlm_input_spec *spec, size_t i)
{
    return i < in->images.n ? lvlm_image_rows_count(&spec->rows, &in->images, i, i + 1)
                            : lvlm_image_rows_square(&spec->rows, &spec->images);
}

/* The n-th opening tag and the next closing one, in the same text. */
static int fill_between_tags(lvlm_inputs *in, const lvlm_input_spec *spec,
                             const char *prefix, lvlm_error *err)
{
    const int64_t open = spec->image_token, close = open + 1;
    size_t n_spans = 0, row = 0;
    for (size_t i = 0; i < in->B * in->T; i++) {
        if (in->ids[i] != open && in->ids[i] != close) continue;
        const size_t each = rows_of(in, spec, n_spans), last = i + each + 1;
        const bool fits = in->ids[i] == open && i % in->T + each + 1 < in->T &&
                          in->ids[last] == close;
        FAIL_IF(!fits, err, LVLM_EFORMAT,
                "%sinput_ids[%zu, %zu]: an image is %" PRId64 ", %zu places, %" PRId64
                "; this one is not",
                prefix, i / in->T, i % in->T, open, each, close);
        for (size_t j = 0; j < each; j++) {
            FAIL_IF(in->ids[i + 1 + j] == open || in->ids[i + 1 + j] == close, err,
                    LVLM_EFORMAT, "%sinput_ids[%zu, %zu]: a tag inside of an image",
                    prefix, i / in->T, i % in->T + 1 + j);
            in->image_row[i + 1 + j] = (int64_t)row++;
        }
        n_spans++;
        i = last;
    }
    FAIL_IF(n_spans != in->images.n, err, LVLM_EFORMAT,
            "%sinput_ids: places for %zu images (id %" PRId64
            "), but pixel_values has %zu",
            prefix, n_spans, open, in->images.n);
    return 0;
}

int lvlm_splice_rows(lvlm_inputs *in, const lvlm_input_spec *spec, const char *prefix,
                     lvlm_error *err)
{
    const size_t n = in->B * in->T;
    assert(n > 0 && in->ids != NULL && in->images.n_videos <= in->images.n);
    in->image_row = lvlm_arena_alloc(&in->arena, n, sizeof *in->image_row);
    if (in->image_row == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) in->image_row[i] = -1;
    FAIL_IF(in->images.n_videos > 0 && spec->video_token < 0, err, LVLM_EFORMAT,
            "%spixel_values_videos: this model has no token for videos", prefix);
    switch (spec->splice) {
    case LVLM_SPLICE_IMAGE_TOKENS: return fill_image_tokens(in, spec, prefix, err);
    case LVLM_SPLICE_BETWEEN_TAGS: return fill_between_tags(in, spec, prefix, err);
    case LVLM_SPLICE_CROSS_ATTENTION: return 0;
    }
    return 0;
}
