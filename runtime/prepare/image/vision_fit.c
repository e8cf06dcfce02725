/* vision_fit.c - sizes, computed in double like in Python; see vision_fit.h. */
#include "runtime/prepare/image/vision_fit.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* A longer side: as much as the table of weights may have entries. */
enum { MAX_RESIZED = 1 << 27 };

/* ---- squares -------------------------------------------------------------------- */

/* The square around the image, which is in its middle. */
static int pad_square(vision_fit *out, lvlm_error *err)
{
    const size_t w = out->width, h = out->height, side = w > h ? w : h;
    if (w == h) return 0;
    FAIL_IF(side > LVLM_IMAGE_MAX_PIXELS / side, err, LVLM_EFORMAT,
            "would be padded to %zu x %zu pixels, at most %" PRIu64 " are possible",
            side, side, LVLM_IMAGE_MAX_PIXELS);
    out->pad = (lvlm_window){ (side - w) / 2, (side - h) / 2, side, side };
    out->width = out->height = side;
    return 0;
}

/* Both sides become the edge, or the shorter one, and the longer in proportion. */
static int resize_sides(vision_fit *out, const vision_settings *s, lvlm_error *err)
{
    const double edge = (double)s->edge;
    const size_t w = out->width, h = out->height, shorter = w <= h ? w : h;
    const double longer = edge * (double)(w <= h ? h : w) / (double)shorter;
    FAIL_IF(!(longer <= (double)MAX_RESIZED), err, LVLM_EFORMAT,
            "has %zu x %zu pixels, of which the longer side would become %.0f, at most "
            "%d are possible",
            w, h, longer, MAX_RESIZED);
    out->width = s->by_edge && w > h ? (size_t)longer : (size_t)s->edge;
    out->height = s->by_edge && w <= h ? (size_t)longer : (size_t)s->edge;
    return 0;
}

/* Which part of one side is in the middle, or where in the square the whole side is: an
 * odd pixel is before it with Pillow, after it with torchvision. */
static void crop_side(size_t *from, size_t *n, size_t *at, size_t size,
                      const vision_settings *s)
{
    const size_t side = (size_t)s->side;
    const size_t odd = s->resampling == LVLM_RESAMPLING_TORCHVISION ? 0 : 1;
    *from = size > side ? (size - side) / 2 : 0;
    *n = size > side ? side : size;
    *at = size < side ? (side - size + odd) / 2 : 0;
}

static void crop_square(vision_fit *out, const vision_settings *s)
{
    const size_t side = (size_t)s->side;
    lvlm_window *const keep = &out->keep;
    lvlm_window at = { .width = side, .height = side };
    crop_side(&keep->x, &keep->width, &at.x, out->width, s);
    crop_side(&keep->y, &keep->height, &at.y, out->height, s);
    if (keep->width < side || keep->height < side) out->at = at;
}

static int fit_square(vision_fit *out, const vision_settings *s, lvlm_error *err)
{
    out->tokens = lvlm_image_rows_square(&s->model.rows, &s->model.images);
    if (s->pad) TRY(pad_square(out, err));
    if (s->resize && s->edge > 0)
        TRY(resize_sides(out, s, err));
    else if (s->resize)
        out->width = out->height = (size_t)s->side;
    if (s->crop) {
        crop_square(out, s);
        return 0;
    }
    FAIL_IF(out->width != s->side || out->height != s->side, err, LVLM_EFORMAT,
            "%s %zu x %zu pixels, expected %" PRIu64 " x %" PRIu64 ", as %s is false",
            s->resize ? "becomes" : "has", out->width, out->height, s->side, s->side,
            s->resize ? "do_center_crop" : "do_resize");
    return 0;
}

/* ---- patches -------------------------------------------------------------------- */

enum { MAX_ASPECT = 200 };

/* Multiples of `factor` near the size, within the bounds on pixels. */
static void smart_size(double *h, double *w, double factor, double least, double most)
{
    const double height = *h, width = *w;
    *h = rint(height / factor) * factor; /* halves to even */
    *w = rint(width / factor) * factor;
    if (*h * *w > most) {
        const double beta = sqrt(height * width / most);
        *h = fmax(factor, floor(height / beta / factor) * factor);
        *w = fmax(factor, floor(width / beta / factor) * factor);
    } else if (*h * *w < least) {
        const double beta = sqrt(least / (height * width));
        *h = ceil(height * beta / factor) * factor;
        *w = ceil(width * beta / factor) * factor;
    }
}

static int fit_patches(vision_fit *out, const vision_settings *s, lvlm_error *err)
{
    const uint64_t factor = s->patch * s->merge;
    double h = (double)out->height, w = (double)out->width;
    FAIL_IF(fmax(h, w) / fmin(h, w) > MAX_ASPECT, err, LVLM_EFORMAT,
            "has %zu x %zu pixels, one side may be at most %d times the other",
            out->width, out->height, MAX_ASPECT);
    if (s->resize) {
        smart_size(&h, &w, (double)factor, (double)s->min_pixels,
                   (double)s->max_pixels);
        FAIL_IF(!(h * w <= (double)LVLM_IMAGE_MAX_PIXELS), err, LVLM_EFORMAT,
                "would be resized to %.0f x %.0f pixels, at most %" PRIu64
                " are possible",
                w, h, LVLM_IMAGE_MAX_PIXELS);
        out->height = (size_t)h;
        out->width = (size_t)w;
    }
    FAIL_IF(out->height % factor != 0 || out->width % factor != 0, err, LVLM_EFORMAT,
            "has %zu x %zu pixels, expected multiples of %" PRIu64
            ", as do_resize is false",
            out->width, out->height, factor);
    out->rows = out->height / (size_t)s->patch;
    out->columns = out->width / (size_t)s->patch;
    out->tokens = out->rows * out->columns / (size_t)(s->merge * s->merge);
    return 0;
}

/* ---- tiles ---------------------------------------------------------------------- */

static double scale_to(size_t to, size_t from)
{
    return (double)to / (double)from;
}

/* Is `a` the better scale? The smallest that does not shrink; else the largest. */
static bool is_better(double a, double b)
{
    if ((a >= 1) != (b >= 1)) return a >= 1;
    return a >= 1 ? a < b : a > b;
}

/* The arrangement of tiles whose canvas fits the image best; ties: the fewest tiles,
 * then the first. */
static void choose_tiles(vision_fit *out, size_t side, size_t most)
{
    double best = 0;
    size_t id = 0;
    out->aspect_id = 0;
    assert(most > 0);
    for (size_t rows = 1; rows <= most; rows++) {
        for (size_t columns = 1; rows * columns <= most; columns++) {
            const double scale = fmin(scale_to(rows * side, out->height),
                                      scale_to(columns * side, out->width));
            id++;
            if (out->aspect_id != 0 && !is_better(scale, best) &&
                !(scale == best && rows * columns < out->rows * out->columns))
                continue;
            best = scale;
            out->aspect_id = id;
            out->rows = rows;
            out->columns = columns;
        }
    }
}

static size_t clip(size_t value, size_t least, size_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* A side scaled like the other: at least 1, at most `most`. */
static size_t follow(size_t side, double scale, size_t most)
{
    const double scaled = floor((double)side * scale);
    return scaled < 1 ? 1 : scaled > (double)most ? most : (size_t)scaled;
}

static void fit_tiles(vision_fit *out, const vision_settings *s)
{
    const size_t side = (size_t)s->side, width = out->width, height = out->height;
    choose_tiles(out, side, (size_t)s->tiles);
    const size_t w = clip(width, side, out->columns * side);
    const size_t h = clip(height, side, out->rows * side);
    const double by_height = scale_to(h, height), by_width = scale_to(w, width);
    out->width = by_width < by_height ? w : follow(width, by_height, w);
    out->height = by_width < by_height ? follow(height, by_width, h) : h;
    out->tokens = 1;
}

int vision_fit_find(vision_fit *out, const vision_settings *settings, size_t width,
                    size_t height, lvlm_error *err)
{
    assert(width > 0 && height > 0);
    *out = (vision_fit){ .width = width, .height = height, .rows = 1, .columns = 1 };
    switch (settings->model.images.form) {
    case LVLM_IMAGES_SQUARES: return fit_square(out, settings, err);
    case LVLM_IMAGES_PATCHES: return fit_patches(out, settings, err);
    case LVLM_IMAGES_TILES: fit_tiles(out, settings); break;
    }
    return 0;
}
