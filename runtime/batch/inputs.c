/* inputs.c - reading and checking a batch; see inputs.h.
 *
 *   integers by table -> images -> which rows fill which places (splice.c)
 *       -> labels against padding */
#include "runtime/batch/inputs.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "runtime/batch/position_ids.h"
#include "runtime/batch/splice.h"

enum { MAX_TOKENS = 1 << 23 }; /* positions stay exact in float */

/* ---- what a model takes --------------------------------------------------------- */

static int read_number(int64_t *out, const cJSON *config, const char *path,
                       int64_t absent, lvlm_error *err)
{
    uint64_t value;
    const cJSON *item = lvlm_json_path(config, path);
    *out = absent;
    if (item == NULL && absent != 0) return 0;
    FAIL_IF(!lvlm_json_u64(&value, item) || value > INT64_MAX, err, LVLM_EFORMAT,
            "configuration: %s is not a whole number", path);
    *out = (int64_t)value;
    return 0;
}

static const char *const splice_words[] = {
    [LVLM_SPLICE_IMAGE_TOKENS] = "image_tokens",
    [LVLM_SPLICE_BETWEEN_TAGS] = "between_tags",
    [LVLM_SPLICE_CROSS_ATTENTION] = "cross_attention",
};

const char *lvlm_splice_word(lvlm_splice splice)
{
    assert(splice < sizeof splice_words / sizeof *splice_words);
    return splice_words[splice];
}

static int read_splice(lvlm_input_spec *out, const cJSON *config, lvlm_error *err)
{
    const char *word = lvlm_json_string(lvlm_json_path(config, "text.splice"));
    for (size_t i = 0; i < sizeof splice_words / sizeof *splice_words; i++) {
        if (word == NULL || strcmp(splice_words[i], word) != 0) continue;
        out->splice = (lvlm_splice)i;
        return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "configuration: text.splice '%s' is not one that can be run",
                     word != NULL ? word : "(none)");
}

int lvlm_input_spec_read(lvlm_input_spec *out, const cJSON *config, lvlm_error *err)
{
    int64_t vocab, rows;
    *out = (lvlm_input_spec){ 0 };
    TRY(lvlm_image_spec_read(&out->images, config, err));
    TRY(lvlm_image_rows_read(&out->rows, config, &out->images, err));
    TRY(read_splice(out, config, err));
    out->images.per_text = out->splice == LVLM_SPLICE_CROSS_ATTENTION;
    const char *const mask = lvlm_json_string(lvlm_json_path(config, "text.mask"));
    out->typed = mask != NULL && strcmp(mask, "prefix_lm") == 0;
    out->position_axes = lvlm_json_path(config, "text.mrope_section") != NULL ? 3 : 1;
    if (out->splice == LVLM_SPLICE_BETWEEN_TAGS) out->position_axes = 0;
    TRY(read_number(&vocab, config, "text.vocab", 0, err));
    TRY(read_number(&rows, config, "text.embed_rows", vocab, err));
    TRY(read_number(&out->image_token, config, "tokens.image", 0, err));
    TRY(read_number(&out->video_token, config, "tokens.video", -1, err));
    out->vocab = (size_t)vocab;
    out->embed_rows = (size_t)rows;
    if (out->rows.pool > out->images.merge) out->images.merge = out->rows.pool;
    return 0;
}

/* ---- the text ------------------------------------------------------------------- */

/* Everything a check needs. */
typedef struct reader {
    lvlm_inputs *out;
    lvlm_input_source source;
    const lvlm_input_spec *spec;
} reader;

/* One tensor of [B, T] integers; `absent` fills what is not there. */
static int read_cells(int64_t **out, const reader *r, const char *name,
                      const lvlm_input_range *range, int64_t absent, lvlm_error *err)
{
    const lvlm_tensor *tensor = lvlm_input_find(&r->source, name);
    const lvlm_shape shape = { 2, { r->out->B, r->out->T } };
    assert(r->out->B > 0 && r->out->T > 0);
    if (tensor != NULL)
        return lvlm_input_integers(out, &r->source, tensor, &shape, range, err);
    const size_t n = r->out->B * r->out->T; /* fits: it is the shape of input_ids */
    *out = lvlm_arena_alloc(&r->out->arena, n, sizeof **out);
    FAIL_IF(*out == NULL, err, LVLM_ENOMEM, "out of memory for %s", name);
    for (size_t i = 0; i < n; i++) (*out)[i] = absent;
    return 0;
}

static int read_text(const reader *r, lvlm_error *err)
{
    char got[LVLM_SHAPE_TEXT];
    const lvlm_input_spec *const s = r->spec;
    const lvlm_tensor *const ids = lvlm_input_find(&r->source, "input_ids");
    FAIL_IF(ids == NULL, err, LVLM_EFORMAT, "%sinput_ids: is missing",
            r->source.prefix);
    FAIL_IF(ids->shape.n != 2 || ids->shape.dims[0] == 0 || ids->shape.dims[1] == 0,
            err, LVLM_EFORMAT, "%s: shape %s, expected [texts, tokens], none of them 0",
            ids->name, lvlm_shape_text(got, &ids->shape));
    FAIL_IF(ids->shape.dims[1] > MAX_TOKENS, err, LVLM_EFORMAT,
            "%s: %" PRIu64 " tokens a text, at most %d", ids->name, ids->shape.dims[1],
            MAX_TOKENS);
    r->out->has_mask = lvlm_input_find(&r->source, "attention_mask") != NULL;
    r->out->has_types = lvlm_input_find(&r->source, "token_type_ids") != NULL;
    r->out->has_labels =
        !s->unlabelled && lvlm_input_find(&r->source, "labels") != NULL;
    r->out->B = (size_t)ids->shape.dims[0];
    r->out->T = (size_t)ids->shape.dims[1];
    const bool replaced = s->splice == LVLM_SPLICE_IMAGE_TOKENS; /* never looked up */
    const lvlm_input_range id = { 0, (int64_t)s->embed_rows - 1, s->image_token,
                                  replaced ? "the image token" : NULL };
    const lvlm_input_range bit = { 0, 1, 0, NULL };
    const lvlm_input_range label = { 0, (int64_t)s->vocab - 1, LVLM_IGNORE_LABEL,
                                     "to ignore it" };
    TRY(read_cells(&r->out->ids, r, "input_ids", &id, 0, err));
    TRY(read_cells(&r->out->real, r, "attention_mask", &bit, 1, err));
    TRY(read_cells(&r->out->types, r, "token_type_ids", &bit, 0, err));
    if (s->unlabelled) return 0;
    return read_cells(&r->out->labels, r, "labels", &label, LVLM_IGNORE_LABEL, err);
}

/* ---- what must hold between them ------------------------------------------------ */

static int check_padding(const reader *r, lvlm_error *err)
{
    assert(r->out->real != NULL);
    for (size_t i = 0; i < r->out->B * r->out->T; i++)
        if (r->out->real[i] != 0) return 0;
    return lvlm_fail(err, LVLM_EFORMAT, "%sattention_mask: every token is padding",
                     r->source.prefix);
}

/* A label in the first column has nothing before it and never counts, as in the
 * reference. When none counts, the labels are taken for absent. */
static int check_labels(const reader *r, lvlm_error *err)
{
    lvlm_inputs *const in = r->out;
    size_t n_counted = 0;
    assert(in->B > 0 && in->T > 0);
    if (in->labels == NULL) return 0;
    for (size_t i = 0; i < in->B * in->T; i++) {
        if (i % in->T == 0 || in->labels[i] == LVLM_IGNORE_LABEL) continue;
        FAIL_IF(
            in->real[i - 1] == 0, err, LVLM_EFORMAT,
            "%slabels[%zu, %zu]: got %" PRId64 ", but the token before it, which would "
            "predict it, is padding; expected %d",
            r->source.prefix, i / in->T, i % in->T, in->labels[i], LVLM_IGNORE_LABEL);
        n_counted++;
    }
    if (n_counted == 0) in->labels = NULL;
    return 0;
}

/* ---- what has no use ------------------------------------------------------------ */

/* What a batch must have for a tensor of it to count. */
enum {
    TYPED = 1,
    PLACED = 2,
    SQUARES = 4,
    PATCHES = 8,
    TILES = 16,
    IMAGES = 32,
    VIDEOS = 64,
    ATTENDED_TO = 128,
};

/* Every tensor that some family's processor makes. */
static const struct {
    lvlm_key key;
    unsigned needs;
} tensors[] = {
    { { "input_ids" }, 0 },
    { { "attention_mask" }, 0 },
    { { "labels" }, 0 },
    { { "mm_token_type_ids", LVLM_KEY_INERT, "the ids say the same" }, 0 },
    { { "out.*", LVLM_KEY_INERT, "a recording's results, beside its inputs" }, 0 },
    { { "grad.*", LVLM_KEY_INERT, "likewise" }, 0 },
    { { "token_type_ids" }, TYPED },
    { { "position_ids" }, PLACED },
    { { "pixel_values" }, 0 },
    { { "image_grid_thw" }, PATCHES },
    { { "pixel_values_videos" }, PATCHES },
    { { "video_grid_thw" }, PATCHES },
    { { "second_per_grid_ts" }, PATCHES | VIDEOS },
    { { "aspect_ratio_ids" }, TILES | IMAGES },
    { { "aspect_ratio_mask" }, TILES | IMAGES },
    { { "cross_attention_mask" }, ATTENDED_TO | IMAGES },
};

enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static unsigned has(const reader *r)
{
    static const unsigned forms[] = {
        [LVLM_IMAGES_SQUARES] = SQUARES,
        [LVLM_IMAGES_PATCHES] = PATCHES,
        [LVLM_IMAGES_TILES] = TILES,
    };
    return forms[r->spec->images.form] | (r->spec->typed ? TYPED : 0) |
           (r->spec->position_axes > 0 ? PLACED : 0) |
           (r->spec->splice == LVLM_SPLICE_CROSS_ATTENTION ? ATTENDED_TO : 0) |
           (r->out->images.n > 0 ? IMAGES : 0) |
           (r->out->images.n_videos > 0 ? VIDEOS : 0);
}

static int note_tensors(const reader *r, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = r->source.checkpoint;
    const size_t length = strlen(r->source.prefix);
    lvlm_key keys[N_TENSORS + 1] = { { NULL } };
    for (size_t i = 0; i < N_TENSORS; i++) {
        keys[i] = tensors[i].key;
        if ((tensors[i].needs & ~has(r)) == 0) continue;
        keys[i].use = LVLM_KEY_NOTED;
        keys[i].why = (tensors[i].needs & ~has(r) & (IMAGES | VIDEOS)) != 0
                          ? "there are no pixels that it is about"
                          : "this model has no use for it";
    }
    for (size_t i = 0; notes != NULL && i < cp->n_tensors; i++)
        if (strncmp(cp->tensors[i].name, r->source.prefix, length) == 0)
            TRY(lvlm_key_check(cp->tensors[i].name + length, NULL,
                               "tensors of the inputs", keys, notes, err));
    return 0;
}

int lvlm_inputs_read(lvlm_inputs *out, const lvlm_checkpoint *checkpoint,
                     const char *prefix, const lvlm_input_spec *spec, lvlm_notes *notes,
                     lvlm_error *err)
{
    const reader r = { out, { checkpoint, prefix, &out->arena }, spec };
    *out = (lvlm_inputs){ .arena = LVLM_ARENA_INIT };
    assert(prefix != NULL && spec->images.patch > 0 && spec->rows.pool > 0);
    TRY(read_text(&r, err));
    TRY(lvlm_images_read(&out->images, &r.source, &spec->images, out->B, out->T, err));
    TRY(lvlm_splice_rows(out, spec, prefix, err));
    TRY(note_tensors(&r, notes, err));
    TRY(check_padding(&r, err));
    TRY(lvlm_position_ids_read(out, &r.source, spec, notes, err));
    return check_labels(&r, err);
}

void lvlm_inputs_free(lvlm_inputs *inputs)
{
    lvlm_arena_free(&inputs->arena);
}
