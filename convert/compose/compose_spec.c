/* compose_spec.c - SPEC.json to a struct: one row per key, then the rules between
 * them. */
#include "convert/compose/compose_spec.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/options.h"
#include "formats/base/text.h"

typedef enum kind { OBJECT, WORD, TEXT, PATH, COUNT, FLAG, LAYERS, ID } kind;

typedef struct key {
    const char *path;
    kind kind;
    size_t offset;
    const char *words; /* WORD: the values that it may have */
} key;

#define AT(field) offsetof(lvlm_compose_spec, field)

static const key keys[] = {
    { "format", WORD, SIZE_MAX, "lvlm-compose-1" },
    { "dtype", WORD, AT(dtype), "f32|bf16|f16" },
    { "vision", OBJECT, 0, NULL },
    { "vision.source", PATH, AT(vision_source), NULL },
    { "vision.layer", LAYERS, AT(layers), NULL },
    { "vision.rows", WORD, AT(rows), "patches|all|drop_first" },
    { "connector", OBJECT, 0, NULL },
    { "connector.kind", WORD, AT(kind), "linear|mlp|merger|resampler" },
    { "connector.layers", COUNT, AT(n_maps), NULL },
    { "connector.activation", WORD, AT(activation),
      "gelu|gelu_pytorch_tanh|quick_gelu|silu|relu|linear" },
    { "connector.bias", FLAG, AT(bias), NULL },
    { "connector.merge", COUNT, AT(merge), NULL },
    { "connector.queries", COUNT, AT(queries), NULL },
    { "connector.heads", COUNT, AT(heads), NULL },
    { "connector.weights", PATH, AT(weights), NULL },
    { "connector.init", OBJECT, 0, NULL },
    { "connector.init.weights", TEXT, SIZE_MAX, NULL },
    { "connector.init.bias", WORD, SIZE_MAX, "zeros" },
    { "connector.init.seed", COUNT, SIZE_MAX, NULL },
    { "text", OBJECT, 0, NULL },
    { "text.source", PATH, AT(text_source), NULL },
    { "text.head", WORD, AT(head), "stored|tied" },
    { "image_token", OBJECT, 0, NULL },
    { "image_token.text", TEXT, AT(image_text), NULL },
    { "image_token.id", ID, AT(image_id), NULL },
    { "image_token.new_rows", TEXT, SIZE_MAX, NULL },
    { "image_token.seed", COUNT, SIZE_MAX, NULL },
    { "vocabulary_multiple", COUNT, AT(vocabulary_multiple), NULL },
    { "splice", WORD, SIZE_MAX, "replace" },
    { "images_per_row", COUNT, AT(images_per_row), NULL },
    { "template", WORD, AT(chat_template), "source|llava|vicuna_v1|chatml|gemma" },
};

enum { N_KEYS = sizeof keys / sizeof keys[0] };

typedef struct reader {
    lvlm_compose_spec *spec;
    lvlm_arena *arena;
    const cJSON *json;
    lvlm_error *err;
} reader;

/* ---- one value ------------------------------------------------------------------ */

static int wrong(const reader *r, const key *k, const char *expected)
{
    return lvlm_fail(r->err, LVLM_EFORMAT, "%s: expected %s", k->path, expected);
}

static int keep_text(const reader *r, const char **to, const char *text)
{
    *to = lvlm_arena_strndup(r->arena, text, strlen(text));
    return *to != NULL ? 0 : lvlm_fail_memory(r->err);
}

/* A path in the spec is relative to the spec. */
static int keep_path(const reader *r, const char **to, const char *text)
{
    const char *const slash = strrchr(r->spec->path, '/');
    if (text[0] == '/' || slash == NULL) return keep_text(r, to, text);
    *to = lvlm_arena_printf(r->arena, "%.*s/%s", (int)(slash - r->spec->path),
                            r->spec->path, text);
    return *to != NULL ? 0 : lvlm_fail_memory(r->err);
}

static bool whole(int64_t *out, const cJSON *item)
{
    double value;
    if (!lvlm_json_double(&value, item) || value != (double)(int64_t)value)
        return false;
    *out = (int64_t)value;
    return true;
}

static int read_layers(const reader *r, const key *k, const cJSON *item)
{
    lvlm_compose_spec *const s = r->spec;
    const size_t n = cJSON_IsArray(item) ? lvlm_json_count(item) : 1;
    if (n < 1 || n > LVLM_COMPOSE_MAX_LAYERS)
        return wrong(r, k, "a whole number, or a list of 1 to 8");
    for (size_t i = 0; i < n; i++)
        if (!whole(&s->layers[i], cJSON_IsArray(item) ? lvlm_json_item(item, i) : item))
            return wrong(r, k, "a whole number, or a list of them");
    s->n_layers = n;
    return 0;
}

static int read_id(const reader *r, const key *k, const cJSON *item)
{
    const char *const text = lvlm_json_string(item);
    r->spec->image_id_next = text != NULL && strcmp(text, "next") == 0;
    if (r->spec->image_id_next || lvlm_json_u64(&r->spec->image_id, item)) return 0;
    return wrong(r, k, "a token id, or \"next\"");
}

static int unknown_word(const reader *r, const key *k, const char *text)
{
    char known[128];
    snprintf(known, sizeof known, "%s", k->words);
    for (char *c = known; *c != '\0'; c++)
        if (*c == '|') *c = ' ';
    return lvlm_fail(r->err, LVLM_EFORMAT, "%s: \"%s\" is unknown; known: %s", k->path,
                     text, known);
}

static int read_text(const reader *r, const key *k, const cJSON *item, void *to)
{
    const char *const text = lvlm_json_string(item);
    if (text == NULL) return wrong(r, k, "text");
    if (k->kind == WORD && !lvlm_is_listed(k->words, text))
        return unknown_word(r, k, text);
    if (k->offset == SIZE_MAX) return 0;
    return k->kind == PATH ? keep_path(r, to, text) : keep_text(r, to, text);
}

static int read_value(const reader *r, const key *k, const cJSON *item)
{
    void *const to = (char *)r->spec + (k->offset == SIZE_MAX ? 0 : k->offset);
    uint64_t count;
    switch (k->kind) {
    case OBJECT: return cJSON_IsObject(item) ? 0 : wrong(r, k, "an object");
    case LAYERS: return read_layers(r, k, item);
    case ID: return read_id(r, k, item);
    case FLAG:
        if (!cJSON_IsBool(item)) return wrong(r, k, "true or false");
        *(bool *)to = cJSON_IsTrue(item);
        return 0;
    case COUNT:
        if (!lvlm_json_u64(&count, item)) return wrong(r, k, "a whole number");
        if (k->offset != SIZE_MAX) *(uint64_t *)to = count;
        return 0;
    default: return read_text(r, k, item, to);
    }
}

/* ---- all keys ------------------------------------------------------------------- */

static int unknown_key(const reader *r, const char *path)
{
    const char *meant = NULL;
    for (size_t i = 0; i < N_KEYS; i++)
        if (lvlm_is_near(path, keys[i].path) &&
            (meant == NULL ||
             lvlm_edit_distance(path, keys[i].path) < lvlm_edit_distance(path, meant)))
            meant = keys[i].path;
    FAIL_IF(meant != NULL, r->err, LVLM_EFORMAT, "unknown key '%s'; did you mean '%s'?",
            path, meant);
    return lvlm_fail(r->err, LVLM_EFORMAT, "unknown key '%s'", path);
}

static int read_members(const reader *r, const cJSON *object, const char *prefix)
{
    const cJSON *member;
    LVLM_JSON_MEMBERS (member, object) {
        const char *const path =
            lvlm_arena_printf(r->arena, "%s%s", prefix, member->string);
        size_t i = 0;
        if (path == NULL) return lvlm_fail_memory(r->err);
        while (i < N_KEYS && strcmp(keys[i].path, path) != 0) i++;
        if (i == N_KEYS) return unknown_key(r, path);
        TRY(read_value(r, &keys[i], member));
        if (keys[i].kind != OBJECT) continue;
        const char *const inside = lvlm_arena_printf(r->arena, "%s.", path);
        if (inside == NULL) return lvlm_fail_memory(r->err);
        TRY(read_members(r, member, inside));
    }
    return 0;
}

/* ---- rules between keys ---------------------------------------------------------- */

static int require(const reader *r, const char *path, const char *why)
{
    FAIL_IF(lvlm_json_path(r->json, path) == NULL, r->err, LVLM_EFORMAT,
            "%s is missing: %s", path, why);
    return 0;
}

/* Keys of a connector that only some kinds have. */
static int check_kind(const reader *r)
{
    static const struct {
        const char *path, *kinds;
    } only[] = {
        { "connector.layers", "mlp" },      { "connector.activation", "mlp|merger" },
        { "connector.merge", "merger" },    { "connector.queries", "resampler" },
        { "connector.heads", "resampler" }, { "connector.bias", "linear|mlp" },
    };
    for (size_t i = 0; i < sizeof only / sizeof only[0]; i++)
        FAIL_IF(lvlm_json_path(r->json, only[i].path) != NULL &&
                    !lvlm_is_listed(only[i].kinds, r->spec->kind),
                r->err, LVLM_EFORMAT, "%s: a connector of kind \"%s\" does not have it",
                only[i].path, r->spec->kind);
    return 0;
}

/* One map is the kind "linear", whatever it is called, and has no activation. */
static int check_layers(const reader *r)
{
    lvlm_compose_spec *const spec = r->spec;
    FAIL_IF(spec->n_maps < 1 || spec->n_maps > LVLM_COMPOSE_MAX_MAPS, r->err,
            LVLM_EFORMAT, "connector.layers: expected 1 to %d, got %" PRIu64,
            LVLM_COMPOSE_MAX_MAPS, spec->n_maps);
    if (spec->n_maps == 1) spec->kind = "linear";
    if (strcmp(spec->kind, "linear") == 0) spec->n_maps = 1;
    return 0;
}

static int read_init(const reader *r)
{
    const cJSON *const init = lvlm_json_path(r->json, "connector.init");
    const char *const how = lvlm_json_string(lvlm_json_get(init, "weights"));
    uint64_t seed = 0;
    FAIL_IF(
        (init != NULL) == (r->spec->weights != NULL), r->err, LVLM_EFORMAT,
        "connector: needs either \"weights\", a file, or \"init\", how they are made");
    if (init == NULL) return 0;
    TRY(require(r, "connector.init.weights", "zeros, xavier or normal:STD"));
    TRY(lvlm_init_parse(&r->spec->init, "connector.init.weights", how, 0, r->err));
    FAIL_IF(r->spec->init.kind != LVLM_INIT_ZEROS &&
                !lvlm_json_u64(&seed, lvlm_json_get(init, "seed")),
            r->err, LVLM_EFORMAT,
            "connector.init.seed is missing: random values need one");
    r->spec->init.seed = seed;
    return 0;
}

static int read_new_rows(const reader *r)
{
    const cJSON *const token = lvlm_json_get(r->json, "image_token");
    const char *const how = lvlm_json_string(lvlm_json_get(token, "new_rows"));
    uint64_t seed = 0;
    FAIL_IF(r->spec->vocabulary_multiple < 1, r->err, LVLM_EFORMAT,
            "vocabulary_multiple: expected 1 or more");
    if (how == NULL) return 0;
    const bool seeded = lvlm_json_u64(&seed, lvlm_json_get(token, "seed"));
    TRY(lvlm_growth_parse(&r->spec->new_rows, "image_token.new_rows", how, seed,
                          r->err));
    FAIL_IF(r->spec->new_rows.kind == LVLM_INIT_NORMAL && !seeded, r->err, LVLM_EFORMAT,
            "image_token.seed is missing: random values need one");
    return 0;
}

static int check(const reader *r)
{
    TRY(require(r, "format", "this program reads \"lvlm-compose-1\""));
    TRY(require(r, "vision.source", "where the vision tower is"));
    TRY(require(r, "text.source", "where the language model is"));
    TRY(require(r, "connector.kind", "linear, mlp, merger or resampler"));
    TRY(require(r, "image_token.id",
                "the token that is replaced by an image's rows, a "
                "number or \"next\""));
    TRY(check_kind(r));
    TRY(check_layers(r));
    TRY(read_new_rows(r));
    return read_init(r);
}

int lvlm_compose_spec_read(lvlm_compose_spec *out, const char *path, lvlm_arena *arena,
                           lvlm_error *err)
{
    cJSON *json = NULL;
    *out = (lvlm_compose_spec){ .path = path,
                                .layers = { -1 },
                                .n_layers = 1,
                                .rows = "all",
                                .n_maps = 2,
                                .merge = 2,
                                .queries = 64,
                                .heads = 8,
                                .activation = "gelu",
                                .bias = true,
                                .image_text = "<image>",
                                .vocabulary_multiple = 1,
                                .images_per_row = 1 };
    TRY(lvlm_json_load(&json, path, err));
    const reader r = { out, arena, json, err };
    int rc = read_members(&r, json, "");
    if (rc == 0) rc = check(&r);
    lvlm_json_free(json);
    return lvlm_within(rc, err, "%s: ", path);
}
