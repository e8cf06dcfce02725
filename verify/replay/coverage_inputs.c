/* coverage_inputs.c - what the inputs of a recording do not exercise; see coverage.h.
 *
 * A remark is made only where the model has what is not exercised. */
#include "verify/replay/coverage.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "runtime/batch/input_tensor.h"

typedef struct survey {
    lvlm_replay *replay;
    const lvlm_manifest *manifest;
    const lvlm_images *images;
    size_t B, T;
    size_t longest; /* text, in tokens that are not padding */
} survey;

/* Adds the remark "AREA: WHAT". */
#define REMARK(s, err, ...)                                                            \
    TRY(lvlm_notes_add(&(s)->replay->not_exercised, (err), __VA_ARGS__))

static uint64_t setting(const survey *s, const char *path)
{
    uint64_t value = 0;
    (void)lvlm_json_u64(&value, lvlm_json_path(s->manifest->config, path));
    return value;
}

static bool is_set(const survey *s, const char *path)
{
    return lvlm_config_says(s->manifest->config, path);
}

/* ---- texts ---------------------------------------------------------------------- */

static bool is_token(const survey *s, size_t i)
{
    const lvlm_tensor *const mask = s->replay->recording.mask;
    return mask == NULL || lvlm_input_integer(mask, i) != 0;
}

static void measure_texts(survey *s)
{
    for (size_t b = 0; b < s->B; b++) {
        size_t n = 0;
        for (size_t t = 0; t < s->T; t++) n += is_token(s, b * s->T + t);
        if (n > s->longest) s->longest = n;
    }
}

static int look_at_padding(const survey *s, lvlm_error *err)
{
    for (size_t i = 0; i < s->B * s->T; i++)
        if (!is_token(s, i)) return 0;
    REMARK(s, err, "padding: there is none");
    return 0;
}

/* Texts that end before what the model does to longer ones begins. */
static int look_at_lengths(const survey *s, lvlm_error *err)
{
    const lvlm_family *const family = s->manifest->family;
    const char *const reference = s->replay->reference;
    const bool windows =
        !lvlm_family_differs(family, LVLM_SLIDING_WINDOW) ||
        lvlm_reference_applies(family, LVLM_SLIDING_WINDOW, reference) ||
        lvlm_reference_applies(family, LVLM_SLIDING_WINDOW_PREFIX, reference);
    const uint64_t window = windows ? setting(s, "text.sliding_window") : 0;
    const uint64_t train = setting(s, "text.train_length");
    if (window > 0 && s->longest <= window)
        REMARK(s, err,
               "sliding_window: the longest text has %zu tokens, the window %" PRIu64,
               s->longest, window);
    if (train > 0 && s->longest <= train)
        REMARK(s, err,
               "seq_length, dynamic NTK and logn: the longest text has %zu tokens, "
               "seq_length is %" PRIu64,
               s->longest, train);
    return 0;
}

/* Are logits of every token of the vocabulary compared, by the embedding itself? */
static bool head_shows_embedding(const survey *s)
{
    const lvlm_target *const head = lvlm_manifest_find(s->manifest, "text.head.weight");
    if (head == NULL || head->state != LVLM_TARGET_TIED) return false;
    for (size_t i = 0; i < s->replay->n_stages; i++)
        if (s->replay->stages[i].is_logits) return true;
    return false;
}

static int look_at_ids(const survey *s, lvlm_error *err)
{
    const lvlm_target *const table = lvlm_manifest_find(s->manifest, LVLM_EMBED_TABLE);
    if (table == NULL || table->shape.n != 2 || head_shows_embedding(s)) return 0;
    const size_t n_rows = (size_t)table->shape.dims[0];
    size_t n = 0;
    bool *const seen = lvlm_calloc(n_rows + 1, sizeof *seen);
    if (seen == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < s->B * s->T; i++) {
        const int64_t id = lvlm_input_integer(s->replay->recording.ids, i);
        if (!is_token(s, i) || id < 0 || (uint64_t)id >= n_rows) continue;
        n += !seen[id];
        seen[id] = true;
    }
    lvlm_free(seen);
    if (n < n_rows)
        REMARK(s, err, "embedding: no text has %zu of its %zu rows (%.0f %%)",
               n_rows - n, n_rows, 100 * (double)(n_rows - n) / (double)n_rows);
    return 0;
}

static int look_at_labels(const survey *s, lvlm_error *err)
{
    const lvlm_tensor *const labels =
        lvlm_rows_input(s->replay->recording.checkpoint, LVLM_RECORDED_INPUT, "labels");
    for (size_t i = 0; labels != NULL && i < (size_t)lvlm_tensor_numel(labels); i++)
        if (lvlm_input_integer(labels, i) >= 0) return 0;
    REMARK(s, err, "loss: no label counts");
    return 0;
}

static int look_at_texts(const survey *s, lvlm_error *err)
{
    TRY(look_at_padding(s, err));
    TRY(look_at_lengths(s, err));
    TRY(look_at_ids(s, err));
    return look_at_labels(s, err);
}

/* ---- pixels --------------------------------------------------------------------- */

/* Has every one of `n` values of `t` from `first` on the same value? */
static bool is_constant(const lvlm_tensor *t, size_t first, size_t n)
{
    const size_t bytes = lvlm_dtype_bytes(t->dtype);
    const unsigned char *const at = t->data + first * bytes;
    for (size_t i = 1; i < n; i++)
        if (memcmp(at, at + i * bytes, bytes) != 0) return false;
    return n > 1;
}

/* The values of image `i`, of which there are as many in pixels as frames or squares.
 * False: of a video. */
static bool pixels_of(const survey *s, size_t i, size_t *first, size_t *n)
{
    const lvlm_images *const images = s->images;
    const size_t all = (size_t)lvlm_tensor_numel(images->pixels);
    if (s->replay->places.form == LVLM_IMAGES_PATCHES) {
        const size_t n_stills = images->n - images->n_videos;
        const size_t patches = lvlm_images_patches(images, 0, n_stills);
        if (i >= n_stills || patches == 0) return false;
        *first = all / patches * lvlm_images_patches(images, 0, i);
        *n = all / patches * lvlm_images_patches(images, i, i + 1);
        return true;
    }
    *n = all / images->n;
    *first = i * *n;
    return images->aspect_ids == NULL || images->aspect_ids[i] != 0;
}

static int look_at_pixels(const survey *s, lvlm_error *err)
{
    size_t first, n, n_constant = 0, n_images = 0;
    if (s->images->pixels == NULL) return 0;
    for (size_t i = 0; i < s->images->n; i++) {
        if (!pixels_of(s, i, &first, &n)) continue;
        n_images++;
        n_constant += is_constant(s->images->pixels, first, n);
    }
    if (n_constant > 0)
        REMARK(s, err, "pixels: %zu of %zu image%s of one value everywhere", n_constant,
               n_images, n_images == 1 ? " is" : "s are");
    return 0;
}

/* ---- grids ---------------------------------------------------------------------- */

static int look_at_windows(const survey *s, lvlm_error *err)
{
    const lvlm_places *const places = &s->replay->places;
    const size_t side = places->window * places->merge;
    size_t most = 0;
    for (size_t i = 0; i < s->images->n; i++) {
        const lvlm_grid *const g = &s->images->grids[i];
        if (g->h > most) most = g->h;
        if (g->w > most) most = g->w;
    }
    if (side > 0 && most <= side)
        REMARK(s, err,
               "window_size, fullatt_block_indexes: no image is wider or higher than "
               "a window of %zu patches",
               side);
    return 0;
}

static int look_at_grids(const survey *s, lvlm_error *err)
{
    const size_t merge = s->replay->places.merge;
    bool high = false, wide = false;
    for (size_t i = 0; i < s->images->n; i++) {
        high |= s->images->grids[i].h > merge;
        wide |= s->images->grids[i].w > merge;
    }
    if (!high)
        REMARK(s, err,
               "mrope_section, height: every grid has one row of merged patches");
    if (!wide)
        REMARK(s, err,
               "mrope_section, width: every grid has one column of merged patches");
    if (s->images->n_videos == 0)
        REMARK(s, err, "video: there is none; order of frames%s",
               setting(s, "vision.tokens_per_second") > 0 ? ", tokens_per_second" : "");
    return look_at_windows(s, err);
}

/* ---- tiles ---------------------------------------------------------------------- */

/* "2, 5, 7": the aspect ratios that no image has. */
static size_t put_absent(lvlm_strbuf *out, const survey *s, size_t n_ids)
{
    size_t n = 0;
    for (size_t id = 1; id < n_ids; id++) {
        bool seen = false;
        for (size_t i = 0; i < s->images->n; i++)
            seen |= s->images->aspect_ids[i] == (int64_t)id;
        if (!seen) lvlm_strbuf_printf(out, "%s%zu", n++ > 0 ? ", " : "", id);
    }
    return n;
}

static bool has_several_tiles(const survey *s)
{
    const size_t tiles = s->replay->places.tiles;
    for (size_t i = 0; i < s->images->n; i++) {
        size_t n = 0;
        for (size_t t = 0; t < tiles; t++) n += s->images->live[i * tiles + t] != 0;
        if (n > 1) return true;
    }
    return false;
}

static int look_at_tiles(const survey *s, lvlm_error *err)
{
    const size_t n_ids = (size_t)setting(s, "vision.aspect_ids");
    lvlm_strbuf ids = LVLM_STRBUF_INIT(1 << 16);
    if (s->images->aspect_ids == NULL || s->images->live == NULL) return 0;
    const size_t n = put_absent(&ids, s, n_ids);
    int rc = lvlm_strbuf_check(&ids, err);
    if (rc == 0 && n > 0)
        rc = lvlm_notes_add(&s->replay->not_exercised, err,
                            "aspect_ratio_ids: no image has %s; those rows of the "
                            "tables of tiles",
                            ids.text);
    lvlm_strbuf_free(&ids);
    TRY(rc);
    if (!has_several_tiles(s)) REMARK(s, err, "tiles: every image is one tile");
    return 0;
}

/* ---- all ------------------------------------------------------------------------ */

static int look_at_images(const survey *s, lvlm_error *err)
{
    if (lvlm_images_present(s->images) == 0) {
        REMARK(
            s, err, "images: there are none; vision tower and connector%s",
            is_set(s, "text.splice cross_attention") ? ", cross-attention layers" : "");
        return 0;
    }
    TRY(look_at_pixels(s, err));
    if (s->replay->places.form == LVLM_IMAGES_PATCHES) return look_at_grids(s, err);
    if (s->replay->places.form == LVLM_IMAGES_TILES) return look_at_tiles(s, err);
    return 0;
}

int lvlm_coverage_inputs(lvlm_replay *r, const lvlm_model *model, lvlm_error *err)
{
    const lvlm_tensor *const ids = r->recording.ids;
    survey s = { r, lvlm_model_manifest(model), &r->places.images, 0, 0, 0 };
    assert(ids != NULL); /* a pass over the inputs succeeded */
    s.B = (size_t)ids->shape.dims[0];
    s.T = (size_t)ids->shape.dims[1];
    measure_texts(&s);
    TRY(look_at_images(&s, err));
    return look_at_texts(&s, err);
}
