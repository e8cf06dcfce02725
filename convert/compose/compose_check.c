/* compose_check.c - does each size of a composed model meet the next one?
 *
 *   picture -> tower: side, patch, positions, states -> connector -> language model:
 *   width, vocabulary, image token, positions */
#include "convert/compose/compose_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/compose/compose_files.h"
#include "convert/part_files.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"

#define CONNECTOR COMPOSE_CONNECTOR

typedef struct model {
    const lvlm_compose_spec *spec;
    const lvlm_compose_parts *parts;
    const lvlm_compose_sizes *sizes;
} model;

/* ---- tower ----------------------------------------------------------------------- */

static int check_states(const model *m, lvlm_error *err)
{
    const int64_t most = (int64_t)m->sizes->blocks;
    for (size_t i = 0; i < m->spec->n_layers; i++)
        FAIL_IF(m->spec->layers[i] > most || m->spec->layers[i] < -most - 1, err,
                LVLM_EFORMAT,
                "vision.layer %" PRId64 ": a tower of %" PRIu64
                " blocks has states -%" PRIu64 " to %" PRIu64,
                m->spec->layers[i], m->sizes->blocks, m->sizes->blocks + 1,
                m->sizes->blocks);
    return 0;
}

static uint64_t side_of(uint64_t squares)
{
    uint64_t side = 0;
    while (side * side < squares) side++;
    return side;
}

static int check_rows(const model *m, lvlm_error *err)
{
    assert(m->sizes->positions >= m->sizes->has_class_row);
    const uint64_t patches = m->sizes->positions - m->sizes->has_class_row;
    const char *const rows = m->spec->rows;
    FAIL_IF(strcmp(rows, "patches") == 0 && !m->sizes->has_class_row, err, LVLM_EFORMAT,
            "vision.rows \"patches\": the tower has no class row to leave out; \"all\" "
            "keeps its %" PRIu64 " rows, \"drop_first\" loses the first patch",
            patches);
    FAIL_IF(strcmp(rows, "drop_first") == 0 && m->sizes->has_class_row, err,
            LVLM_EFORMAT,
            "vision.rows \"drop_first\": the first row of this tower is its class row; "
            "say \"patches\"");
    const uint64_t side = side_of(patches);
    FAIL_IF(side * side != patches, err, LVLM_EFORMAT,
            "vision.source: the table of positions has %" PRIu64
            " rows, which is not a square of patches%s",
            m->sizes->positions, m->sizes->has_class_row ? " and a class row" : "");
    return 0;
}

/* The side of the square that a setting of the tower or its processor gives; 0: it does
 * not say. */
static uint64_t side_in(const cJSON *json, const char *const *paths)
{
    uint64_t side = 0;
    for (; *paths != NULL && side == 0; paths++)
        (void)lvlm_json_u64(&side, lvlm_json_path(json, *paths));
    return side;
}

static int check_side(const model *m, const char *what, uint64_t side, lvlm_error *err)
{
    const uint64_t grid = side_of(m->sizes->positions - m->sizes->has_class_row);
    FAIL_IF(side != 0 && m->sizes->patch != 0 && side / m->sizes->patch != grid, err,
            LVLM_EFORMAT,
            "%s makes pictures of %" PRIu64 "x%" PRIu64 ", %" PRIu64 "x%" PRIu64
            " patches; the tower's table of positions has %" PRIu64
            " rows, for %" PRIu64 "x%" PRIu64 ": pictures of %" PRIu64 "x%" PRIu64
            " fit, other tables have to be resampled",
            what, side, side, side / m->sizes->patch, side / m->sizes->patch,
            m->sizes->positions, grid, grid, grid * m->sizes->patch,
            grid * m->sizes->patch);
    return 0;
}

static int check_picture(const model *m, lvlm_error *err)
{
    static const char *const tower[] = { "image_size", NULL };
    static const char *const processor[] = {
        "crop_size.height",   "crop_size", "size.height",
        "size.shortest_edge", "size",      NULL
    };
    const lvlm_compose_part *const vision = &m->parts->vision;
    const uint64_t taken = lvlm_compose_side(m->parts);
    cJSON *json = NULL;
    TRY(check_side(m, "vision.source: image_size", side_in(vision->config, tower),
                   err));
    TRY(lvlm_within(lvlm_part_pictures(&json, vision->from, err), err,
                    "vision.source: "));
    const uint64_t side = side_in(json, processor);
    lvlm_json_free(json);
    TRY(check_side(m, "vision.source: its processor", side, err));
    FAIL_IF(side != 0 && side != taken, err, LVLM_EFORMAT,
            "vision.source: its processor makes pictures of %" PRIu64 "x%" PRIu64
            ", image_size is %" PRIu64 ": they must be equal",
            side, side, taken);
    return 0;
}

/* ---- connector ------------------------------------------------------------------- */

static int check_map(const model *m, const char *name, uint64_t in,
                     const char *whose_in, uint64_t out, const char *whose_out,
                     lvlm_error *err)
{
    char weight[64];
    snprintf(weight, sizeof weight, CONNECTOR "%s.weight", name);
    const lvlm_tensor *const t = lvlm_compose_find(&m->parts->connector, weight);
    if (t == NULL) return 0;
    FAIL_IF(lvlm_compose_extent(t, 1) != in, err, LVLM_EFORMAT,
            "connector.weights: %s takes %" PRIu64 ", %s %" PRIu64
            ": it needs to be [%" PRIu64 ", %" PRIu64 "]",
            name, lvlm_compose_extent(t, 1), whose_in, in, out, in);
    FAIL_IF(lvlm_compose_extent(t, 0) != out, err, LVLM_EFORMAT,
            "connector.weights: %s gives %" PRIu64 ", %s %" PRIu64
            ": it needs to be [%" PRIu64 ", %" PRIu64 "]",
            name, lvlm_compose_extent(t, 0), whose_out, out, out, in);
    return 0;
}

/* Maps in the file of the connector: the number of the last one. */
static uint64_t count_maps(const lvlm_compose_part *connector)
{
    char name[64];
    uint64_t n = 0;
    for (uint64_t i = 1; i <= LVLM_COMPOSE_MAX_MAPS; i++) {
        snprintf(name, sizeof name, CONNECTOR "linear_%" PRIu64 ".weight", i);
        if (lvlm_compose_find(connector, name) != NULL) n = i;
    }
    return n;
}

static int check_biases(const model *m, lvlm_error *err)
{
    char name[64];
    for (uint64_t i = 1; i <= m->spec->n_maps && !m->spec->bias; i++) {
        snprintf(name, sizeof name, CONNECTOR "linear_%" PRIu64 ".bias", i);
        FAIL_IF(lvlm_compose_find(&m->parts->connector, name) != NULL, err,
                LVLM_EFORMAT,
                "connector.bias is false, and connector.weights has linear_%" PRIu64
                ".bias",
                i);
    }
    return 0;
}

static int check_further(const model *m, lvlm_error *err)
{
    const uint64_t width = m->sizes->text_width;
    char name[32], before[48];
    for (uint64_t i = 2; i <= m->spec->n_maps; i++) {
        snprintf(name, sizeof name, "linear_%" PRIu64, i);
        snprintf(before, sizeof before,
                 i == 2 ? "the first map gives" : "map %" PRIu64 " gives", i - 1);
        TRY(check_map(m, name, width, before, width, "the language model takes", err));
    }
    return 0;
}

static int check_number(const model *m, lvlm_error *err)
{
    const lvlm_compose_spec *const spec = m->spec;
    const uint64_t stored = count_maps(&m->parts->connector);
    char said[48], remedy[48];
    snprintf(said, sizeof said,
             spec->n_maps == 1 ? "kind \"linear\"" : "layers %" PRIu64, spec->n_maps);
    snprintf(remedy, sizeof remedy,
             stored == 1 ? "\"kind\": \"linear\""
                         : "\"kind\": \"mlp\", \"layers\": %" PRIu64,
             stored);
    FAIL_IF(stored > 0 && stored != spec->n_maps, err, LVLM_EFORMAT,
            "connector.%s: connector.weights has %" PRIu64 " linear map%s: say %s",
            said, stored, stored == 1 ? "" : "s", remedy);
    return 0;
}

/* A connector of linear maps. */
static int check_maps(const model *m, lvlm_error *err)
{
    const lvlm_compose_spec *const spec = m->spec;
    const uint64_t states = m->sizes->width * spec->n_layers;
    assert(spec->n_layers > 0 && spec->n_maps > 0);
    char tower[96];
    snprintf(tower, sizeof tower, "the tower gives");
    if (spec->n_layers > 1)
        snprintf(tower, sizeof tower,
                 "the tower's %" PRIu64 " states of %" PRIu64 " give", spec->n_layers,
                 m->sizes->width);
    TRY(check_map(m, "linear_1", states, tower, m->sizes->text_width,
                  "the language model takes", err));
    TRY(check_further(m, err));
    TRY(check_number(m, err));
    return check_biases(m, err);
}

static int check_merger(const model *m, lvlm_error *err)
{
    const uint64_t merge = m->spec->merge, width = m->sizes->width;
    const uint64_t grid = side_of(m->sizes->positions - m->sizes->has_class_row);
    FAIL_IF(merge < 1 || grid % merge != 0, err, LVLM_EFORMAT,
            "connector.merge %" PRIu64 ": the tower gives %" PRIu64 "x%" PRIu64
            " patches, and %" PRIu64 " is not divisible by it",
            merge, grid, grid, grid);
    TRY(check_map(m, "linear_1", merge * merge * width, "a square of patches gives",
                  merge * merge * width, "the second map takes", err));
    return check_map(m, "linear_2", merge * merge * width, "the first map gives",
                     m->sizes->text_width, "the language model takes", err);
}

static int check_resampler(const model *m, lvlm_error *err)
{
    const uint64_t queries = m->spec->queries, width = m->sizes->text_width;
    const uint64_t heads = m->spec->heads;
    FAIL_IF(queries < 1 || side_of(queries) * side_of(queries) != queries, err,
            LVLM_EFORMAT, "connector.queries %" PRIu64 " is not a square number",
            queries);
    FAIL_IF(heads < 1 || width % heads != 0, err, LVLM_EFORMAT,
            "connector.heads %" PRIu64
            ": the resampler is as wide as the language model, and %" PRIu64
            " is not divisible by it",
            heads, width);
    FAIL_IF(width % 4 != 0, err, LVLM_EFORMAT,
            "connector.kind \"resampler\": its table of places needs a width that is a "
            "multiple of 4; the language model's is %" PRIu64,
            width);
    return check_map(m, "proj", width, "the resampler gives", width,
                     "the language model takes", err);
}

/* Squares of patches, and queries that attend to them, take one state of the tower,
 * without its class row. */
static int check_features(const model *m, lvlm_error *err)
{
    const lvlm_compose_spec *const spec = m->spec;
    FAIL_IF(spec->n_layers > 1, err, LVLM_EFORMAT,
            "vision.layer: %" PRIu64
            " states, and a connector of kind \"%s\" takes one",
            spec->n_layers, spec->kind);
    FAIL_IF(m->sizes->has_class_row && strcmp(spec->rows, "patches") != 0, err,
            LVLM_EFORMAT,
            "vision.rows \"%s\": the class row is not a patch, and a connector of kind "
            "\"%s\" takes patches: say \"patches\"",
            spec->rows, spec->kind);
    FAIL_IF(!m->sizes->has_class_row && strcmp(spec->rows, "all") != 0, err,
            LVLM_EFORMAT,
            "vision.rows \"%s\": a connector of kind \"%s\" takes all patches: say "
            "\"all\"",
            spec->rows, spec->kind);
    return 0;
}

static int check_connector(const model *m, lvlm_error *err)
{
    if (lvlm_compose_is_llava(m->spec)) return check_maps(m, err);
    TRY(check_features(m, err));
    return strcmp(m->spec->kind, "merger") == 0 ? check_merger(m, err)
                                                : check_resampler(m, err);
}

/* ---- words ----------------------------------------------------------------------- */

/* Does a token id stand for something else? */
static int check_id_free(const model *m, lvlm_error *err)
{
    static const char *const taken[] = { "bos_token_id", "eos_token_id", "pad_token_id",
                                         "unk_token_id" };
    for (size_t i = 0; i < 4; i++) {
        uint64_t id;
        const cJSON *const item = lvlm_json_get(m->parts->text.config, taken[i]);
        FAIL_IF(lvlm_json_u64(&id, item) && id == m->parts->image_id, err, LVLM_EFORMAT,
                "image_token.id %" PRIu64 " is the language model's %s: choose another",
                id, taken[i]);
    }
    return 0;
}

/* The tokenizer must give the id for the image token, and not for an ordinary piece. */
static int check_tokenizer(const model *m, lvlm_error *err)
{
    const lvlm_compose_spec *const spec = m->spec;
    const cJSON *token;
    cJSON *json = NULL;
    uint64_t id = 0;
    bool named = false;
    const char *other = NULL;
    if (m->parts->adds_token) return 0;
    TRY(lvlm_side_file_json(&json, m->parts->text.from, "tokenizer.json", err));
    if (json == NULL) return 0;
    LVLM_JSON_ITEMS (token, lvlm_json_get(json, "added_tokens")) {
        const char *const text = lvlm_json_string(lvlm_json_get(token, "content"));
        if (text == NULL || !lvlm_json_u64(&id, lvlm_json_get(token, "id"))) continue;
        if (strcmp(text, spec->image_text) == 0) {
            named = true;
            break;
        }
        if (id == m->parts->image_id) other = text;
    }
    int rc = 0;
    if (!named)
        rc =
            lvlm_fail(err, LVLM_EFORMAT,
                      "image_token: \"%s\" is not a token of %s, whose tokenizer would "
                      "split it; it must be one added token%s%s%s",
                      spec->image_text, m->parts->text.from->path,
                      other != NULL ? ", and the id is that of \"" : "",
                      other != NULL ? other : "", other != NULL ? "\"" : "");
    else if (id != m->parts->image_id)
        rc = lvlm_fail(err, LVLM_EFORMAT,
                       "image_token: the tokenizer gives %" PRIu64 " for \"%s\", the "
                       "spec says %" PRIu64,
                       id, spec->image_text, m->parts->image_id);
    lvlm_json_free(json);
    return rc;
}

static int check_words(const model *m, lvlm_error *err)
{
    const lvlm_compose_spec *const spec = m->spec;
    uint64_t most = 0;
    const uint64_t rows = lvlm_compose_image_rows(m->parts, spec);
    FAIL_IF(m->parts->image_id >= m->parts->rows, err, LVLM_EFORMAT,
            "image_token.id %" PRIu64
            " is not a row of the table of word vectors, [%" PRIu64 ", %" PRIu64
            "]: name an id below %" PRIu64 ", or \"next\", which adds one",
            m->parts->image_id, m->sizes->vocabulary, m->sizes->text_width,
            m->sizes->vocabulary);
    TRY(check_id_free(m, err));
    TRY(check_tokenizer(m, err));
    if (!lvlm_json_u64(&most,
                       lvlm_json_get(m->parts->text.config, "max_position_embeddings")))
        return 0;
    FAIL_IF(rows * spec->images_per_row + 1 >= most, err, LVLM_EFORMAT,
            "images_per_row %" PRIu64 ": %" PRIu64 " rows of images, and the language "
            "model has %" PRIu64 " positions",
            spec->images_per_row, rows * spec->images_per_row, most);
    return 0;
}

int lvlm_compose_check(const lvlm_compose_spec *spec, const lvlm_compose_parts *parts,
                       lvlm_error *err)
{
    const model m = { spec, parts, &parts->sizes };
    TRY(check_states(&m, err));
    TRY(check_rows(&m, err));
    TRY(check_picture(&m, err));
    TRY(check_connector(&m, err));
    return check_words(&m, err);
}
