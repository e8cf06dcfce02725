/* places.c - rows of stages in words; see places.h. */
#include "verify/replay/places.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "runtime/batch/image_rows.h"

/* ---- reading -------------------------------------------------------------------- */

static size_t setting(const cJSON *config, const char *path)
{
    uint64_t value = 0;
    (void)lvlm_json_u64(&value, lvlm_json_path(config, path));
    return (size_t)value;
}

/* The side of a window of Qwen2.5-VL, in squares. */
static size_t window_side(const cJSON *config, const lvlm_image_spec *spec)
{
    return spec->form == LVLM_IMAGES_PATCHES
               ? setting(config, "vision.window") / spec->patch / spec->merge
               : 0;
}

int lvlm_places_read(lvlm_places *out, const lvlm_model *model,
                     const lvlm_checkpoint *inputs, const char *prefix,
                     lvlm_arena *arena, lvlm_error *err)
{
    const cJSON *const config = lvlm_model_manifest(model)->config;
    const lvlm_input_source source = { inputs, prefix, arena };
    const lvlm_tensor *const ids = lvlm_input_find(&source, "input_ids");
    lvlm_image_spec spec;
    lvlm_image_rows rows;
    *out = (lvlm_places){ .form = LVLM_IMAGES_SQUARES };
    if (ids == NULL || ids->shape.n != 2 ||
        lvlm_image_spec_read(&spec, config, NULL) < 0 ||
        lvlm_image_rows_read(&rows, config, &spec, NULL) < 0)
        return 0;
    out->form = spec.form;
    out->merge = spec.merge;
    out->tiles = spec.tiles;
    out->window = window_side(config, &spec);
    out->has_queries = rows.queries > 0;
    out->pools = rows.pool > 1;
    const int rc =
        lvlm_images_read(&out->images, &source, &spec, (size_t)ids->shape.dims[0],
                         (size_t)ids->shape.dims[1], NULL);
    if (rc < 0) out->images = (lvlm_images){ 0 };
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : 0;
}

/* ---- grids ---------------------------------------------------------------------- */

static void add(lvlm_place *p, const char *axis, uint64_t index)
{
    assert(p->n < LVLM_PLACE_AXES);
    p->at[p->n].axis = axis;
    p->at[p->n++].index = index;
}

/* Row and column of square `u` of an h x w frame whose squares are ordered by windows:
 * windows, and squares in a window, from left to right, then downwards. */
static void find_in_windows(size_t *y, size_t *x, size_t u, size_t h, size_t w,
                            size_t side)
{
    assert(side > 0 && u < h * w);
    for (size_t top = 0; top < h; top += side)
        for (size_t left = 0; left < w; left += side) {
            const size_t height = h - top < side ? h - top : side;
            const size_t width = w - left < side ? w - left : side;
            if (u < height * width) {
                *y = top + u / width;
                *x = left + u % width;
                return;
            }
            u -= height * width;
        }
}

/* A patch of a frame, or a square of patches. */
static void add_on_grid(lvlm_place *p, const lvlm_places *places, const lvlm_grid *g,
                        size_t at, bool merged, bool windows)
{
    const size_t merge = places->merge, unit = merged ? 1 : merge * merge;
    assert(merge > 0 && at < g->h * g->w / (merged ? merge * merge : 1));
    const size_t h = g->h / merge, w = g->w / merge, u = at / unit, k = at % unit;
    size_t y = u / w, x = u % w;
    if (windows) find_in_windows(&y, &x, u, h, w, places->window);
    add(p, "row", merged ? y : y * merge + k / merge);
    add(p, "column", merged ? x : x * merge + k % merge);
}

/* Row `at` of all patches, or squares, of all grids. */
static void add_patch(lvlm_place *p, const lvlm_places *places, size_t at, bool merged,
                      bool windows)
{
    const lvlm_images *const images = &places->images;
    const size_t n_stills = images->n - images->n_videos;
    const size_t unit = merged ? places->merge * places->merge : 1;
    for (size_t i = 0; i < images->n; i++) {
        const lvlm_grid *const g = &images->grids[i];
        const size_t frame = g->h * g->w / unit;
        if (at >= g->t * frame) {
            at -= g->t * frame;
            continue;
        }
        const bool video = i >= n_stills;
        add(p, video ? "video" : "image", video ? i - n_stills : i);
        if (video || g->t > 1) add(p, "frame", at / frame);
        add_on_grid(p, places, g, at % frame, merged, windows);
        return;
    }
}

/* ---- tiles ---------------------------------------------------------------------- */

/* Axis 0 of a stage counts the images of all texts, or the tiles of all images; axis 1
 * tiles, patches, or the patches of all tiles of an image. */
static void add_tiles(lvlm_place *p, const lvlm_places *places, const char *name,
                      const lvlm_place *index, const lvlm_shape *shape)
{
    const uint64_t tiles = places->tiles, M = places->images.per_text;
    uint64_t image = index->at[0].index, tile = index->at[1].index, patch;
    assert(tiles > 0 && M > 0 && index->n >= 2);
    if (strcmp(name, "vision.patches") == 0) {
        patch = tile;
        tile = image % tiles;
        image /= tiles;
    } else if (shape->n == 3) {
        const uint64_t per_tile = shape->dims[1] / tiles;
        patch = tile % per_tile;
        tile /= per_tile;
    } else {
        patch = index->at[2].index;
    }
    add(p, "text", image / M);
    add(p, "image", image % M);
    add(p, "tile", tile);
    add(p, "patch", patch);
}

/* ---- stages --------------------------------------------------------------------- */

enum { NAMED = 4 }; /* axes that have names */
typedef struct axes {
    const char *names[NAMED];
} axes;

static axes tile_axes(const char *name, const lvlm_shape *shape)
{
    if (shape->n == 5) return (axes){ { "text", "image", "tile", "patch" } };
    if (shape->n == 4) return (axes){ { "image", "tile", "patch" } };
    if (strcmp(name, "vision.patches") == 0) return (axes){ { "tile", "patch" } };
    return (axes){ { "image", "patch" } };
}

/* What a row of a square image is. */
static const char *square_axis(const lvlm_places *places, const char *name)
{
    if (!lvlm_starts_with(name, "connector.")) return "patch";
    if (places->has_queries) return "query";
    return places->pools && strcmp(name, "connector.out") == 0 ? "row" : "patch";
}

static axes axes_of(const lvlm_places *places, const char *name,
                    const lvlm_shape *shape)
{
    const bool on_images =
        lvlm_starts_with(name, "vision.") || lvlm_starts_with(name, "connector.");
    if (lvlm_starts_with(name, "grad.") || lvlm_starts_with(name, "weights."))
        return (axes){ { "output row" } };
    if (!on_images) return (axes){ { "text", "token" } };
    if (places->form == LVLM_IMAGES_TILES) return tile_axes(name, shape);
    if (places->form == LVLM_IMAGES_PATCHES)
        return (
            axes){ { strcmp(name, "connector.out") == 0 ? "merged patch" : "patch" } };
    return (axes){ { "image", square_axis(places, name) } };
}

/* Is the shape one of a stage with that many images? Else nothing can be said. */
static bool fits(const lvlm_places *places, const lvlm_shape *shape)
{
    const lvlm_images *const images = &places->images;
    if (places->form == LVLM_IMAGES_PATCHES) return images->n > 0 && shape->n == 2;
    return images->n > 0 && images->per_text > 0 && shape->n >= 3 && shape->n <= 5 &&
           (shape->n > 3 || shape->dims[1] >= places->tiles);
}

void lvlm_place_of(lvlm_place *index, lvlm_place *meaning, const lvlm_places *places,
                   const char *name, const lvlm_shape *shape, size_t row)
{
    static const char *const further[LVLM_MAX_DIMS] = { "axis 0", "axis 1", "axis 2",
                                                        "axis 3", "axis 4", "axis 5",
                                                        "axis 6", "axis 7" };
    const axes a = axes_of(places, name, shape);
    const bool on_images =
        lvlm_starts_with(name, "vision.") || lvlm_starts_with(name, "connector.");
    size_t left = row;
    *index = *meaning = (lvlm_place){ .n = shape->n > 0 ? shape->n - 1 : 0 };
    for (size_t i = index->n; i-- > 0; left /= (size_t)shape->dims[i]) {
        const char *const known = i < NAMED ? a.names[i] : NULL;
        index->at[i].axis = known != NULL ? known : further[i];
        index->at[i].index = left % (size_t)shape->dims[i];
    }
    assert(index->n == 0 || left == 0);
    meaning->n = 0;
    if (on_images && places->form == LVLM_IMAGES_PATCHES && fits(places, shape)) {
        const bool patches = strcmp(name, "vision.patches") == 0;
        add_patch(meaning, places, row, strcmp(name, "connector.out") == 0,
                  places->window > 0 && !patches);
    } else if (on_images && places->form == LVLM_IMAGES_TILES && shape->n < 5 &&
               fits(places, shape)) {
        add_tiles(meaning, places, name, index, shape);
    }
    if (meaning->n == 0) *meaning = *index;
}
