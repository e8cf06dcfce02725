/* vision_input.c - images to tensors; see vision_input.h.
 *
 *   decode -> fit -> pad, resize, crop (bytes, image by image) -> tensors allocated
 *                                                              -> levels
 *
 * A family is a row in vision_settings.c and a form: squares, patches or tiles. */
#include "runtime/prepare/image/vision_input.h"

#include <assert.h>
#include <math.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/image/vision_fit.h"
#include "runtime/prepare/image/vision_tensors.h"

struct lvlm_vision_input {
    vision_settings settings;
    lvlm_vision_options options;
    float levels[3][256];
};

int lvlm_vision_input_open(lvlm_vision_input **out, const lvlm_manifest *manifest,
                           const lvlm_vision_options *options, lvlm_error *err)
{
    lvlm_vision_input *const input = lvlm_calloc(1, sizeof *input);
    *out = NULL;
    if (input == NULL) return lvlm_fail_memory(err);
    if (options != NULL) input->options = *options;
    const int rc =
        vision_settings_read(&input->settings, manifest, &input->options, false, err);
    if (rc < 0) {
        lvlm_free(input);
        return rc;
    }
    input->options.image.alpha = input->settings.alpha;
    vision_levels(input->levels, &input->settings);
    *out = input;
    return 0;
}

void lvlm_vision_input_close(lvlm_vision_input *input)
{
    lvlm_free(input);
}

/* ---- one image ------------------------------------------------------------------ */

/* An image resized for the tensors. */
typedef struct ready {
    lvlm_image image;
    vision_fit fit;
} ready;

/* The colour around a picture that is padded to a square. */
static void mean_colour(unsigned char colour[3], const vision_settings *s)
{
    for (int c = 0; c < 3; c++) {
        const double level = 255 * s->mean[c];
        colour[c] = (unsigned char)(level > 0 ? fmin(level, 255) : 0);
    }
}

/* Resize, and put what is smaller than the square on black. */
static int fill_square(lvlm_image *out, const lvlm_image *image, const vision_fit *fit,
                       const lvlm_resize *to, lvlm_error *err)
{
    static const unsigned char black[3] = { 0, 0, 0 };
    lvlm_image part = { 0 };
    if (fit->at.width == 0) return lvlm_image_resize(out, image, to, err);
    TRY(lvlm_image_resize(&part, image, to, err));
    const int rc = lvlm_image_place(out, &part, &fit->at, black, err);
    lvlm_image_free(&part);
    return rc;
}

static int resize_image(ready *out, const lvlm_image *image,
                        const lvlm_vision_input *input, lvlm_error *err)
{
    const vision_settings *const s = &input->settings;
    const vision_fit *const fit = &out->fit;
    const lvlm_resize to = { fit->width, fit->height, s->filter, s->resampling,
                             fit->keep };
    unsigned char colour[3];
    lvlm_image square = { 0 };
    if (fit->pad.width == 0) return fill_square(&out->image, image, fit, &to, err);
    mean_colour(colour, s);
    TRY(lvlm_image_place(&square, image, &fit->pad, colour, err));
    const int rc = fill_square(&out->image, &square, fit, &to, err);
    lvlm_image_free(&square);
    return rc;
}

static int fit_image(ready *out, lvlm_image_note *note, const lvlm_image *image,
                     const lvlm_vision_input *input, lvlm_error *err)
{
    TRY(vision_fit_find(&out->fit, &input->settings, image->width, image->height, err));
    *note = (lvlm_image_note){ .width = image->width,
                               .height = image->height,
                               .tokens = out->fit.tokens,
                               .rows = out->fit.rows,
                               .columns = out->fit.columns };
    return resize_image(out, image, input, err);
}

static int prepare(ready *out, lvlm_image_note *note, const char *path,
                   const lvlm_vision_input *input, lvlm_error *err)
{
    lvlm_image image = { 0 };
    TRY(lvlm_image_read(&image, path, &input->options.image, err));
    const int rc = fit_image(out, note, &image, input, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    lvlm_image_free(&image);
    return rc;
}

/* ---- bytes to numbers ----------------------------------------------------------- */

/* Copy a square of one channel; levels outside the image are 0. Returns the end of the
 * output. at: (y,x) out (side,side) */
static float *put_plane(float *out, const float *levels, const lvlm_image *image,
                        size_t c, const size_t at[2], size_t side)
{
    const size_t right = at[1] + side;
    const size_t edge = right < image->width ? right : image->width;
    for (size_t y = at[0]; y < at[0] + side; y++) {
        const size_t end = y < image->height ? edge : 0;
        size_t x = at[1];
        for (; x < end; x++)
            *out++ = levels[image->pixels[(y * image->width + x) * 3 + c]];
        for (; x < right; x++) *out++ = levels[0];
    }
    return out;
}

/* All channels. out (3,side,side) */
static float *put_square(float *out, const lvlm_vision_input *input,
                         const lvlm_image *image, const size_t at[2], size_t side)
{
    for (size_t c = 0; c < 3; c++)
        out = put_plane(out, input->levels[c], image, c, at, side);
    return out;
}

/* A square is one tile. */
static float *put_tiles(float *out, const lvlm_vision_input *input, const ready *image)
{
    const size_t side = (size_t)input->settings.side;
    for (size_t Y = 0; Y < image->fit.rows; Y++)
        for (size_t X = 0; X < image->fit.columns; X++) {
            const size_t at[2] = { Y * side, X * side };
            out = put_square(out, input, &image->image, at, side);
        }
    return out;
}

/* ---- tensors -------------------------------------------------------------------- */

/* The state of one batch. */
typedef struct work {
    const lvlm_vision_input *input;
    const lvlm_vision_request *request;
    lvlm_vision_batch *out;
    ready *images; /* (n_images) */
} work;

static int make_squares(const work *w, lvlm_error *err)
{
    lvlm_vision_tensors *const tensors = &w->out->tensors;
    const size_t side = (size_t)w->input->settings.side;
    const size_t n = w->request->n_images;
    void *pixels;
    TRY(vision_tensors_add(&pixels, tensors, "pixel_values", LVLM_F32,
                           (lvlm_shape){ 4, { n, 3, side, side } }, err));
    float *to = pixels;
    for (size_t i = 0; i < n; i++) to = put_tiles(to, w->input, &w->images[i]);
    return 0;
}

static int make_patches(const work *w, lvlm_error *err)
{
    lvlm_vision_tensors *const tensors = &w->out->tensors;
    const vision_settings *const s = &w->input->settings;
    const size_t n = w->request->n_images;
    const size_t row = (size_t)(3 * s->frames * s->patch * s->patch);
    size_t P = 0;
    void *pixels, *grids;
    for (size_t i = 0; i < n; i++)
        P += w->images[i].fit.rows * w->images[i].fit.columns;
    TRY(vision_tensors_add(&pixels, tensors, "pixel_values", LVLM_F32,
                           (lvlm_shape){ 2, { P, row } }, err));
    TRY(vision_tensors_add(&grids, tensors, "image_grid_thw", LVLM_I64,
                           (lvlm_shape){ 2, { n, 3 } }, err));
    float *to = pixels;
    int64_t *grid = grids;
    for (size_t i = 0; i < n; i++) {
        const vision_fit *const fit = &w->images[i].fit;
        for (size_t f = 0; f < s->frames; f++) /* all of them the same */
            vision_patches_put(to, w->input->levels, s, &w->images[i].image, f);
        to += fit->rows * fit->columns * row;
        *grid++ = 1;
        *grid++ = (int64_t)fit->rows;
        *grid++ = (int64_t)fit->columns;
    }
    return 0;
}

/* Image j of text i has place i*M + j; the other places are 0, except for the first
 * tile in the mask. */
static int make_tiles(const work *w, lvlm_error *err)
{
    lvlm_vision_tensors *const tensors = &w->out->tensors;
    const size_t side = (size_t)w->input->settings.side;
    const size_t tiles = (size_t)w->input->settings.tiles;
    const size_t *const per_text = w->request->per_text;
    const size_t B = w->request->n_texts;
    size_t M = 0;
    void *pixels, *ids, *mask;
    for (size_t i = 0; i < B; i++) M = per_text[i] > M ? per_text[i] : M;
    TRY(vision_tensors_add(&pixels, tensors, "pixel_values", LVLM_F32,
                           (lvlm_shape){ 6, { B, M, tiles, 3, side, side } }, err));
    TRY(vision_tensors_add(&ids, tensors, "aspect_ratio_ids", LVLM_I64,
                           (lvlm_shape){ 2, { B, M } }, err));
    TRY(vision_tensors_add(&mask, tensors, "aspect_ratio_mask", LVLM_I64,
                           (lvlm_shape){ 3, { B, M, tiles } }, err));
    const ready *image = w->images;
    for (size_t i = 0; i < B; i++) {
        for (size_t j = 0; j < M; j++) {
            const size_t place = i * M + j;
            int64_t *const live = (int64_t *)mask + place * tiles;
            live[0] = 1;
            if (j >= per_text[i]) continue;
            ((int64_t *)ids)[place] = (int64_t)image->fit.aspect_id;
            for (size_t t = 0; t < image->fit.rows * image->fit.columns; t++)
                live[t] = 1;
            put_tiles((float *)pixels + place * tiles * 3 * side * side, w->input,
                      image++);
        }
    }
    assert(image == w->images + w->request->n_images);
    w->out->most_tiles = tiles;
    return 0;
}

/* ---- a batch -------------------------------------------------------------------- */

static int read_images(const work *w, lvlm_error *err)
{
    for (size_t i = 0; i < w->request->n_images; i++)
        TRY(prepare(&w->images[i], &w->out->notes[i], w->request->images[i], w->input,
                    err));
    switch (w->input->settings.model.images.form) {
    case LVLM_IMAGES_SQUARES: return make_squares(w, err);
    case LVLM_IMAGES_PATCHES: return make_patches(w, err);
    case LVLM_IMAGES_TILES: return make_tiles(w, err);
    }
    return 0;
}

int lvlm_vision_input_read(lvlm_vision_batch *out, const lvlm_vision_input *input,
                           const lvlm_vision_request *request, lvlm_error *err)
{
    const size_t n = request->n_images;
    work w = { input, request, out, NULL };
    *out = (lvlm_vision_batch){ .n_images = n };
    if (n == 0) return 0;
    lvlm_arena *const arena = &out->tensors.arena;
    w.images = lvlm_calloc(n, sizeof *w.images);
    out->notes = lvlm_arena_alloc(arena, n, sizeof *out->notes);
    const int rc = w.images != NULL && out->notes != NULL ? read_images(&w, err)
                                                          : lvlm_fail_memory(err);
    for (size_t i = 0; w.images != NULL && i < n; i++)
        lvlm_image_free(&w.images[i].image);
    lvlm_free(w.images);
    if (rc < 0) lvlm_vision_batch_free(out);
    return rc;
}

void lvlm_vision_batch_free(lvlm_vision_batch *batch)
{
    if (batch == NULL) return;
    lvlm_arena_free(&batch->tensors.arena);
    *batch = (lvlm_vision_batch){ .n_images = 0 };
}
