/* images.c - reading and checking the images of a batch; see images.h. */
#include "runtime/batch/images.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/container/numeric.h"

/* Sides of a grid: far above any image; the product of three is below 2^64. */
enum { MAX_GRID = 1 << 16 };

/* ---- what the tower takes ------------------------------------------------------- */

static const struct {
    const char *tower;
    lvlm_image_form form;
    bool any_side;
    size_t class_rows;
} towers[] = {
    { "siglip", LVLM_IMAGES_SQUARES, false, 0 },
    { "clip", LVLM_IMAGES_SQUARES, false, 1 },
    { "openclip", LVLM_IMAGES_SQUARES, true, 0 },
    { "qwen2", LVLM_IMAGES_PATCHES, true, 0 },
    { "tiles", LVLM_IMAGES_TILES, false, 1 },
};

static int read_count(size_t *out, const cJSON *config, const char *path,
                      lvlm_error *err)
{
    uint64_t value;
    FAIL_IF(!lvlm_json_u64(&value, lvlm_json_path(config, path)) || value == 0, err,
            LVLM_EFORMAT, "configuration: %s is not a whole number of at least 1",
            path);
    *out = (size_t)value;
    return 0;
}

/* Which rows of the tower are features: "all", or "patches" without the class row. */
static int read_selected_rows(lvlm_image_spec *out, const cJSON *config,
                              lvlm_error *err)
{
    const cJSON *const item = lvlm_json_path(config, "vision.select_rows");
    const char *const word = lvlm_json_string(item);
    if (item == NULL || (word != NULL && strcmp(word, "all") == 0)) return 0;
    FAIL_IF(word == NULL || strcmp(word, "patches") != 0, err, LVLM_EFORMAT,
            "configuration: vision.select_rows is not 'all' or 'patches'");
    FAIL_IF(out->class_rows == 0 || out->form != LVLM_IMAGES_SQUARES, err, LVLM_EFORMAT,
            "configuration: vision.select_rows 'patches', but the tower '%s' has no "
            "class row that can be left out, so it must be 'all'",
            out->tower);
    out->class_rows_dropped = out->class_rows;
    out->class_rows = 0;
    return 0;
}

int lvlm_image_spec_read(lvlm_image_spec *out, const cJSON *config, lvlm_error *err)
{
    const char *word = lvlm_json_string(lvlm_json_path(config, "vision.tower"));
    size_t i = 0;
    const size_t n = sizeof towers / sizeof *towers;
    while (i < n && (word == NULL || strcmp(towers[i].tower, word) != 0)) i++;
    FAIL_IF(i == n, err, LVLM_EFORMAT,
            "configuration: vision.tower '%s' is not one that can be run",
            word != NULL ? word : "(none)");
    *out = (lvlm_image_spec){ .tower = towers[i].tower,
                              .form = towers[i].form,
                              .any_side = towers[i].any_side,
                              .merge = 1,
                              .tiles = 1,
                              .class_rows = towers[i].class_rows };
    TRY(read_selected_rows(out, config, err));
    TRY(read_count(&out->channels, config, "vision.channels", err));
    TRY(read_count(&out->patch, config, "vision.patch", err));
    if (out->form == LVLM_IMAGES_PATCHES) {
        TRY(read_count(&out->frames, config, "vision.frames", err));
        return read_count(&out->merge, config, "vision.merge", err);
    }
    TRY(read_count(&out->side, config, "vision.image", err));
    if (out->form == LVLM_IMAGES_SQUARES) return 0;
    TRY(read_count(&out->tiles, config, "vision.tiles", err));
    return read_count(&out->ratios, config, "vision.aspect_ids", err);
}

/* Sides that the tower's or the connector's squares of patches divide. */
static int check_grid(const char *name, size_t i, const lvlm_grid *g,
                      const lvlm_image_spec *spec, lvlm_error *err)
{
    FAIL_IF(g->h % spec->merge != 0 || g->w % spec->merge != 0, err, LVLM_EFORMAT,
            "%s[%zu]: a grid of %zu x %zu patches, expected multiples of %zu", name, i,
            g->h, g->w, spec->merge);
    return 0;
}

/* The same grid for every image: `frames` squares of patches. */
static int make_grids(lvlm_images *out, const lvlm_input_source *source,
                      const lvlm_image_spec *spec, size_t frames, lvlm_error *err)
{
    assert(out->side >= spec->patch);
    const lvlm_grid g = { frames, out->side / spec->patch, out->side / spec->patch };
    out->grids = lvlm_arena_alloc(source->arena, out->n + 1, sizeof *out->grids);
    if (out->grids == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < out->n; i++) out->grids[i] = g;
    return out->n > 0 ? check_grid(out->pixels->name, 0, &g, spec, err) : 0;
}

/* What is said of each image of a text, 0 to `most`. */
static int read_places(int64_t **out, const lvlm_input_source *source, const char *name,
                       const lvlm_shape *shape, int64_t most, lvlm_error *err)
{
    const lvlm_tensor *tensor = lvlm_input_find(source, name);
    const lvlm_input_range range = { 0, most, 0, NULL };
    assert(most >= 0);
    FAIL_IF(tensor == NULL, err, LVLM_EFORMAT, "%s%s: is missing beside pixel_values",
            source->prefix, name);
    return lvlm_input_integers(out, source, tensor, shape, &range, err);
}

/* Which of the tiles of its text a token sees, where that is said. */
static int read_sees(lvlm_images *out, const lvlm_input_source *source, size_t B,
                     size_t T, size_t tiles, lvlm_error *err)
{
    static const char name[] = "cross_attention_mask";
    const lvlm_shape sees = { 4, { B, T, out->per_text, tiles } };
    if (lvlm_input_find(source, name) == NULL) return 0;
    return read_places(&out->sees, source, name, &sees, 1, err);
}

/* ---- squares -------------------------------------------------------------------- */

static int read_squares(lvlm_images *out, const lvlm_input_source *source,
                        const lvlm_image_spec *spec, size_t B, size_t T,
                        lvlm_error *err)
{
    const lvlm_tensor *pixels = lvlm_input_find(source, "pixel_values");
    if (pixels == NULL) return 0;
    const size_t side = spec->any_side ? 0 : spec->side;
    const lvlm_shape shape = { 4, { 0, spec->channels, side, side } };
    TRY(lvlm_input_check_reals(pixels, &shape, err));
    const uint64_t *d = pixels->shape.dims;
    FAIL_IF(d[2] != d[3] || d[2] < spec->patch, err, LVLM_EFORMAT,
            "%s: images of %" PRIu64 " x %" PRIu64
            " pixels, expected squares of at least %zu",
            pixels->name, d[2], d[3], spec->patch);
    out->n = (size_t)d[0];
    out->pixels = pixels;
    out->side = (size_t)d[2];
    TRY(make_grids(out, source, spec, 1, err));
    if (!spec->per_text || out->n == 0) return 0;
    FAIL_IF(out->n % B != 0, err, LVLM_EFORMAT,
            "%s: %zu images for %zu texts, expected as many for each", pixels->name,
            out->n, B);
    out->per_text = out->n / B;
    return read_sees(out, source, B, T, spec->tiles, err);
}

/* ---- patches -------------------------------------------------------------------- */

/* Grids and the pixels of their patches, which are exactly as many. */
static int read_grids(lvlm_grid *out, const lvlm_input_source *source,
                      const lvlm_tensor *grids, const lvlm_tensor *pixels,
                      const lvlm_image_spec *spec, lvlm_error *err)
{
    const lvlm_shape shape = { 2, { 0, 3 } };
    const lvlm_input_range range = { 1, MAX_GRID, 0, NULL };
    const uint64_t n_rows = pixels->shape.dims[0];
    int64_t *values;
    uint64_t n_patches = 0;
    assert(pixels->shape.n == 2 && grids->shape.n == 2);
    TRY(lvlm_input_integers(&values, source, grids, &shape, &range, err));
    for (size_t i = 0; i < grids->shape.dims[0]; i++) {
        lvlm_grid *const g = &out[i];
        *g = (lvlm_grid){ (size_t)values[3 * i], (size_t)values[3 * i + 1],
                          (size_t)values[3 * i + 2] };
        TRY(check_grid(grids->name, i, g, spec, err));
        const uint64_t more = (uint64_t)g->t * g->h * g->w;
        FAIL_IF(more > n_rows - n_patches, err, LVLM_EFORMAT,
                "%s: %" PRIu64 " patches, but the grid of %s[%zu] ends after number "
                "%" PRIu64,
                pixels->name, n_rows, grids->name, i, n_patches + more);
        n_patches += more;
    }
    FAIL_IF(n_patches != n_rows, err, LVLM_EFORMAT,
            "%s: %" PRIu64 " patches, but the grids of %s have %" PRIu64, pixels->name,
            n_rows, grids->name, n_patches);
    return 0;
}

size_t lvlm_images_present(const lvlm_images *images)
{
    size_t n = 0;
    for (size_t i = 0; i < images->n; i++)
        n += images->aspect_ids == NULL || images->aspect_ids[i] != 0;
    return n;
}

size_t lvlm_images_patches(const lvlm_images *images, size_t first, size_t end)
{
    size_t n = 0;
    assert(first <= end && end <= images->n);
    for (size_t i = first; i < end; i++)
        n += images->grids[i].t * images->grids[i].h * images->grids[i].w;
    return n;
}

/* Pixels and grids come together; NULL, 0: neither is there. */
static int find_pair(const lvlm_tensor **pixels, const lvlm_tensor **grids,
                     const lvlm_input_source *source, const char *pixels_name,
                     const char *grids_name, lvlm_error *err)
{
    *pixels = lvlm_input_find(source, pixels_name);
    *grids = lvlm_input_find(source, grids_name);
    FAIL_IF((*pixels == NULL) != (*grids == NULL), err, LVLM_EFORMAT,
            "%s%s: is missing beside %s", source->prefix,
            *pixels == NULL ? pixels_name : grids_name,
            *pixels == NULL ? grids_name : pixels_name);
    FAIL_IF(*grids != NULL && (*grids)->shape.n != 2, err, LVLM_EFORMAT,
            "%s: expected the shape [images, 3]", (*grids)->name);
    return 0;
}

static int check_patches(const lvlm_tensor *pixels, const lvlm_image_spec *spec,
                         lvlm_error *err)
{
    uint64_t values = 1;
    FAIL_IF(!lvlm_mul_u64(&values, spec->channels, spec->frames) ||
                !lvlm_mul_u64(&values, values, spec->patch) ||
                !lvlm_mul_u64(&values, values, spec->patch),
            err, LVLM_EFORMAT, "configuration: vision.patch %zu is too large",
            spec->patch);
    const lvlm_shape shape = { 2, { 0, values } };
    return lvlm_input_check_reals(pixels, &shape, err);
}

static int read_seconds(lvlm_images *out, const lvlm_input_source *source,
                        lvlm_error *err)
{
    const lvlm_tensor *given = lvlm_input_find(source, "second_per_grid_ts");
    const lvlm_shape shape = { 1, { out->n_videos } };
    out->seconds = lvlm_arena_alloc(source->arena, out->n_videos + 1, sizeof(double));
    if (out->seconds == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < out->n_videos; i++) out->seconds[i] = 1;
    if (given == NULL || out->n_videos == 0) return 0;
    TRY(lvlm_input_check_reals(given, &shape, err));
    lvlm_convert_values(out->seconds, LVLM_F64, given->data, given->dtype,
                        out->n_videos);
    for (size_t i = 0; i < out->n_videos; i++)
        FAIL_IF(!(out->seconds[i] >= 0 && out->seconds[i] < MAX_GRID), err,
                LVLM_EFORMAT, "%s[%zu]: got %f seconds, expected 0 to %d", given->name,
                i, out->seconds[i], MAX_GRID);
    return 0;
}

static int read_patches(lvlm_images *out, const lvlm_input_source *source,
                        const lvlm_image_spec *spec, lvlm_error *err)
{
    const lvlm_tensor *grids, *video_grids;
    TRY(find_pair(&out->pixels, &grids, source, "pixel_values", "image_grid_thw", err));
    TRY(find_pair(&out->video_pixels, &video_grids, source, "pixel_values_videos",
                  "video_grid_thw", err));
    const size_t n_images = grids != NULL ? (size_t)grids->shape.dims[0] : 0;
    out->n_videos = video_grids != NULL ? (size_t)video_grids->shape.dims[0] : 0;
    out->n = n_images + out->n_videos;
    out->grids = lvlm_arena_alloc(source->arena, out->n + 1, sizeof *out->grids);
    if (out->grids == NULL) return lvlm_fail_memory(err);
    if (grids != NULL) {
        TRY(check_patches(out->pixels, spec, err));
        TRY(read_grids(out->grids, source, grids, out->pixels, spec, err));
    }
    if (video_grids != NULL) {
        TRY(check_patches(out->video_pixels, spec, err));
        TRY(read_grids(out->grids + n_images, source, video_grids, out->video_pixels,
                       spec, err));
    }
    return read_seconds(out, source, err);
}

/* ---- tiles ---------------------------------------------------------------------- */

/* The reference masks rows of dead tiles from each other, which leaves an image without
 * a live one with nothing to attend to. Its processor never makes one. */
static int check_live(const lvlm_images *images, const lvlm_input_source *source,
                      size_t tiles, lvlm_error *err)
{
    assert(images->live != NULL && images->per_text > 0);
    for (size_t i = 0; i < images->n; i++) {
        size_t n_live = 0;
        for (size_t t = 0; t < tiles; t++) n_live += images->live[i * tiles + t] != 0;
        FAIL_IF(
            n_live == 0, err, LVLM_EFORMAT,
            "%saspect_ratio_mask[%zu, %zu]: no tile is 1; the first one is, also of "
            "an image that is not there",
            source->prefix, i / images->per_text, i % images->per_text);
    }
    return 0;
}

static int read_tiles(lvlm_images *out, const lvlm_input_source *source,
                      const lvlm_image_spec *spec, size_t B, size_t T, lvlm_error *err)
{
    const lvlm_tensor *pixels = lvlm_input_find(source, "pixel_values");
    if (pixels == NULL) return 0;
    const size_t S = spec->side, tiles = spec->tiles;
    const lvlm_shape shape = { 6, { B, 0, tiles, spec->channels, S, S } };
    TRY(lvlm_input_check_reals(pixels, &shape, err));
    const size_t M = (size_t)pixels->shape.dims[1];
    const lvlm_shape ids = { 2, { B, M } }, live = { 3, { B, M, tiles } };
    if (M == 0) return 0;
    out->pixels = pixels;
    out->n = B * M;
    out->per_text = M;
    out->side = S;
    TRY(make_grids(out, source, spec, tiles, err));
    TRY(read_places(&out->aspect_ids, source, "aspect_ratio_ids", &ids,
                    (int64_t)spec->ratios - 1, err));
    TRY(read_places(&out->live, source, "aspect_ratio_mask", &live, 1, err));
    TRY(check_live(out, source, tiles, err));
    return read_sees(out, source, B, T, tiles, err);
}

int lvlm_images_read(lvlm_images *out, const lvlm_input_source *source,
                     const lvlm_image_spec *spec, size_t B, size_t T, lvlm_error *err)
{
    *out = (lvlm_images){ 0 };
    assert(B > 0 && T > 0 && spec->patch > 0 && spec->channels > 0 && spec->merge > 0);
    assert(spec->form == LVLM_IMAGES_PATCHES || spec->side > 0);
    switch (spec->form) {
    case LVLM_IMAGES_SQUARES: return read_squares(out, source, spec, B, T, err);
    case LVLM_IMAGES_PATCHES: return read_patches(out, source, spec, err);
    case LVLM_IMAGES_TILES: return read_tiles(out, source, spec, B, T, err);
    }
    return 0;
}

/* ---- parts ----------------------------------------------------------------------- */

/* `n` of the equal pieces that a tensor has, from number `first` on. */
static void take_pieces(lvlm_tensor *out, const lvlm_tensor *from, size_t pieces,
                        size_t first, size_t n)
{
    assert(from->stride == NULL && first + n <= pieces);
    const uint64_t piece = from->n_bytes / pieces;
    *out = *from;
    out->data += first * piece;
    out->n_bytes = n * piece;
}

/* Rows of patches of the images [first, end) of those from number `base` to `most`. */
static const lvlm_tensor *take_patches(lvlm_tensor *out, const lvlm_tensor *from,
                                       const lvlm_images *all, size_t base, size_t most,
                                       size_t first, size_t end)
{
    first = first > base ? first : base;
    end = end < most ? end : most;
    if (first >= end) return NULL;
    const size_t rows = lvlm_images_patches(all, first, end);
    take_pieces(out, from, (size_t)from->shape.dims[0],
                lvlm_images_patches(all, base, first), rows);
    out->shape.dims[0] = rows;
    return out;
}

void lvlm_images_take(lvlm_images_part *out, const lvlm_images *all,
                      const lvlm_image_spec *spec, size_t first, size_t n)
{
    lvlm_images *const part = &out->images;
    const size_t end = first + n, stills = all->n - all->n_videos;
    assert(n > 0 && end <= all->n);
    *part = (lvlm_images){
        .n = n, .grids = all->grids + first, .side = all->side, .per_text = n
    };
    if (spec->form == LVLM_IMAGES_PATCHES) {
        part->n_videos = end > stills ? end - (first > stills ? first : stills) : 0;
        part->pixels =
            take_patches(&out->pixels, all->pixels, all, 0, stills, first, end);
        part->video_pixels = take_patches(&out->video_pixels, all->video_pixels, all,
                                          stills, all->n, first, end);
        return;
    }
    take_pieces(&out->pixels, all->pixels, all->n, first, n);
    out->pixels.shape.dims[0] = spec->form == LVLM_IMAGES_TILES ? 1 : n;
    if (spec->form == LVLM_IMAGES_TILES) out->pixels.shape.dims[1] = n;
    part->pixels = &out->pixels;
    if (all->aspect_ids != NULL) part->aspect_ids = all->aspect_ids + first;
    if (all->live != NULL) part->live = all->live + first * spec->tiles;
}
