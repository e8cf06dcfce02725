/* decoder_open.c - what a language model is: its configuration and weights; see
 * decoder.h. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "runtime/block/configure.h"
#include "runtime/text/decoder.h"

static const config_row config_rows[] = {
    CONFIG("text.hidden", decoder_config, block.hidden),
    CONFIG("text.layers", decoder_config, layers),
    CONFIG("text.heads", decoder_config, block.heads),
    CONFIG("text.kv_heads", decoder_config, block.kv_heads),
    CONFIG("text.head_dim", decoder_config, block.head_dim),
    CONFIG("text.mlp", decoder_config, block.mlp),
    CONFIG("text.vocab", decoder_config, embed_rows),
    CONFIG_MAYBE("text.embed_rows", decoder_config, embed_rows), /* where they differ */
    CONFIG("text.norm_eps", decoder_config, block.norm.eps),
    CONFIG("text.norm_offset", decoder_config, block.norm.offset),
    CONFIG("text.rope_theta", decoder_config, rope.theta),
    CONFIG_MAYBE("text.rope_factor", decoder_config, rope.factor),
    CONFIG_MAYBE("text.rope_low", decoder_config, rope.low),
    CONFIG_MAYBE("text.rope_high", decoder_config, rope.high),
    CONFIG_MAYBE("text.rope_original", decoder_config, rope.original),
    CONFIG_MAYBE("text.train_length", decoder_config, rope.train_length),
    CONFIG_MAYBE("text.dynamic_ntk", decoder_config, rope.dynamic_ntk),
    CONFIG_MAYBE("text.logn", decoder_config, rope.logn),
    CONFIG_MAYBE("vision.tokens_per_second", decoder_config,
                 rope.positions.tokens_per_second),
    CONFIG("text.query_scalar", decoder_config, block.query_scalar),
    CONFIG_MAYBE("text.attn_softcap", decoder_config, block.attn_softcap),
    CONFIG_MAYBE("text.sliding_window", decoder_config, sliding_window),
    CONFIG("text.first_position", decoder_config, first_position),
    CONFIG("text.activation", decoder_config, block.activation),
    CONFIG_END,
};

/* Other words are refused by name. */
enum { MASK_PREFIX_LM, MASK_CAUSAL };
static const char *const mask_words[] = { "prefix_lm", "causal", NULL };

enum { ROPE_DEFAULT, ROPE_LLAMA3 };
static const char *const rope_words[] = { "default", "llama3", NULL };

enum { EMBED_ONE, EMBED_SQRT_HIDDEN };
static const char *const embed_scale_words[] = {
    [EMBED_ONE] = "one",
    [EMBED_SQRT_HIDDEN] = "sqrt_hidden",
    NULL,
};

static const weight_row decoder_rows[] = {
    { "embed.weight", WEIGHT_FIELD(decoder, embed) },
    { "norm.weight", WEIGHT_FIELD(decoder, norm.w) },
    WEIGHT_END,
};

static int check_config(const decoder_config *c, lvlm_error *err)
{
    FAIL_IF(c->block.heads % c->block.kv_heads != 0, err, LVLM_EFORMAT,
            "configuration: text.heads %zu is not a multiple of text.kv_heads %zu",
            c->block.heads, c->block.kv_heads);
    FAIL_IF(c->block.head_dim % 2 != 0, err, LVLM_EFORMAT,
            "configuration: text.head_dim %zu is odd", c->block.head_dim);
    FAIL_IF(c->first_position > 1, err, LVLM_EFORMAT,
            "configuration: text.first_position %" PRId64 " is not 0 or 1",
            c->first_position);
    return 0;
}

static int read_words(decoder_config *c, const cJSON *config, lvlm_error *err)
{
    size_t word = 0;
    TRY(configure_word(&word, config, "text.mask", mask_words, err));
    c->causal = word == MASK_CAUSAL;
    TRY(configure_word(&word, config, "text.rope_type", rope_words, err));
    c->rope.llama3 = word == ROPE_LLAMA3;
    TRY(configure_word(&word, config, "text.embed_scale", embed_scale_words, err));
    c->embed_scale = word == EMBED_SQRT_HIDDEN ? sqrt((double)c->block.hidden) : 1;
    uint64_t pad;
    const bool pads = lvlm_json_u64(&pad, lvlm_json_path(config, "tokens.pad"));
    c->pad = pads && pad < c->embed_rows ? (int64_t)pad : -1;
    return 0;
}

/* Pairs of a head that turn by each axis, where there are three. */
static int read_sections(decoder_config *c, const cJSON *config, lvlm_error *err)
{
    size_t n = 0;
    const size_t *s = c->rope.sections;
    c->rope.axes = 1;
    if (lvlm_json_path(config, "text.mrope_section") == NULL) return 0;
    TRY(configure_list(c->rope.sections, 3, &n, config, "text.mrope_section", err));
    FAIL_IF(n != 3 || s[0] + s[1] + s[2] != c->block.head_dim / 2, err, LVLM_EFORMAT,
            "configuration: text.mrope_section does not add up to half of a head");
    c->rope.axes = 3;
    return 0;
}

/* Behaviours that are a switch. */
static const struct {
    lvlm_behaviour behaviour;
    size_t offset;
} switches[] = {
#define SWITCH(field) offsetof(decoder_config, field)
    { LVLM_IMAGE_ROWS_SCALED, SWITCH(scales_images) },
    { LVLM_SLIDING_WINDOW_PREFIX, SWITCH(window_cuts_prefix) },
    { LVLM_SUFFIX_SEEN_UNLABELLED, SWITCH(prefix.unlabelled_is_prefix) },
    { LVLM_CAUSAL_UNTYPED, SWITCH(prefix.untyped_is_suffix) },
    { LVLM_PADDING_SEEN, SWITCH(prefix.padding_is_prefix) },
    { LVLM_UNSEEING_ROWS_ATTEND, SWITCH(attends_unseeing) },
    { LVLM_IMAGE_TIME_SCALED, SWITCH(rope.positions.image_time_scaled) },
    { LVLM_VIDEO_POSITIONS_COLLAPSED, SWITCH(rope.positions.collapsed) },
    { LVLM_VIDEO_OVERLAPS_TEXT, SWITCH(rope.positions.overlaps) },
    { LVLM_VIDEO_SECONDS_TRUNCATED, SWITCH(rope.positions.truncated) },
#undef SWITCH
};

/* What of the family's differences is in force. */
static void read_differences(decoder_config *c, const lvlm_family *family,
                             const char *reference)
{
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        *(bool *)((char *)c + switches[i].offset) =
            lvlm_reference_applies(family, switches[i].behaviour, reference);
    c->rope.positions.in_double = LVLM_REAL_BITS == 64;
    if (lvlm_family_differs(family, LVLM_SLIDING_WINDOW) && !c->window_cuts_prefix &&
        !lvlm_reference_applies(family, LVLM_SLIDING_WINDOW, reference))
        c->sliding_window = 0; /* it was trained without the one of config.json */
}

/* The blocks that the setting lists have the flag at `offset`. */
static int flag_blocks(decoder *text, const cJSON *config, const char *path,
                       size_t offset, lvlm_error *err)
{
    const cJSON *item;
    assert(text->blocks != NULL);
    LVLM_JSON_ITEMS (item, lvlm_json_path(config, path)) {
        uint64_t i;
        FAIL_IF(!lvlm_json_u64(&i, item) || i >= text->config.layers, err, LVLM_EFORMAT,
                "configuration: %s names a block that is not there", path);
        *(bool *)((char *)&text->blocks[i] + offset) = true;
    }
    return 0;
}

/* Which blocks have cross-attention, and which a window: the even ones where no list
 * says so. */
static int read_kinds(decoder *text, const cJSON *config, lvlm_error *err)
{
    static const char windows[] = "text.window_layers";
    const bool listed = lvlm_json_path(config, windows) != NULL;
    TRY(flag_blocks(text, config, windows, offsetof(transformer_block, has_window),
                    err));
    TRY(flag_blocks(text, config, "text.cross_layers",
                    offsetof(transformer_block, is_cross), err));
    for (size_t i = 0; i < text->config.layers; i++) {
        transformer_block *const b = &text->blocks[i];
        b->has_window |= !listed && i % 2 == 0;
        text->config.block.head_norms |= b->is_cross;
    }
    return 0;
}

int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err)
{
    decoder_config *const c = &text->config;
    uint64_t max_positions;
    assert(text->blocks == NULL && reference != NULL);
    TRY(configure(c, config_rows, manifest->config, err));
    TRY(read_words(c, manifest->config, err));
    TRY(check_config(c, err));
    TRY(read_sections(c, manifest->config, err));
    TRY(lvlm_manifest_max_positions(&max_positions, manifest, err));
    c->max_positions = (size_t)max_positions;
    c->block.norm.rms = true;
    text->norm = c->block.norm;
    read_differences(c, manifest->family, reference);
    text->blocks = lvlm_calloc(c->layers, sizeof *text->blocks);
    FAIL_IF(text->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            c->layers);
    return read_kinds(text, manifest->config, err);
}

/* Ids are checked against text.embed_rows, which not every family has. */
static int check_embed_rows(const decoder_config *c, const lvlm_manifest *manifest,
                            lvlm_error *err)
{
    const uint64_t rows = lvlm_manifest_find(manifest, LVLM_EMBED_TABLE)->shape.dims[0];
    FAIL_IF(rows != c->embed_rows, err, LVLM_EFORMAT,
            "configuration: text.embed_rows is %zu, but " LVLM_EMBED_TABLE
            " has %" PRIu64 " rows",
            c->embed_rows, rows);
    return 0;
}

int decoder_bind(decoder *text, weights *w, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    TRY(weights_bind(w, text, decoder_rows, "text.", err));
    TRY(check_embed_rows(c, w->manifest, err));
    assert(text->blocks != NULL && c->layers > 0);
    text->first = text->embed.grad != NULL ? 0 : c->layers;
    for (size_t i = 0; i < c->layers; i++) {
        const size_t before = w->n_trained;
        TRY(transformer_bind(&text->blocks[i], w, &c->block, DECODER_BLOCKS, i, err));
        if (w->n_trained > before && i < text->first) text->first = i;
    }
    return 0;
}

void decoder_free(decoder *text)
{
    lvlm_free(text->blocks);
    text->blocks = NULL;
}
