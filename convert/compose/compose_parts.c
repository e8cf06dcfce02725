/* compose_parts.c - finds the tower, the language model and the connector's weights in
 * what people have.
 *
 *   open -> model_type -> a row of `sources` -> its section of config.json
 *                                            -> tensors by prefix, renamed
 *
 * What the rows leave out belongs to another part of the source. Everything else is
 * taken: a name that no rule knows is reported when the composed model is checked. */
#include "convert/compose/compose_makers.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/checkpoint/manifest.h"
#include "formats/container/side_file.h"

/* A prefix of names, and what takes its place in LLaVA's layout; of a list the first
 * that matches is used. */
typedef struct renaming {
    const char *from, *to;
} renaming;

enum { MAX_PREFIXES = 5, MAX_LEFT_OUT = 6 }; /* the last one is empty */

/* Where a part is in a source of one model_type. */
typedef struct source {
    const char *part;    /* "vision", "text" */
    const char *type;    /* model_type of config.json */
    const char *section; /* of config.json; NULL: all of it */
    const char *own;     /* model_type of the section, if it has none; NULL: it has */
    renaming names[MAX_PREFIXES];
    const char *left_out[MAX_LEFT_OUT]; /* globs of names that are of another part */
} source;

#define TOWER COMPOSE_TOWER
#define WORDS COMPOSE_WORDS
#define HEAD COMPOSE_HEAD

// clang-format off
#define DECODER(type)                                                                  \
    { "text", type, NULL, NULL, { { "model.", WORDS }, { "lm_head.", HEAD }, { "", WORDS } } }

static const source sources[] = {
    { "vision", "clip", "vision_config", "clip_vision_model",
      { { "vision_model.", TOWER } },
      { "text_model.*", "visual_projection.*", "text_projection.*", "logit_scale",
        "*.position_ids" } },
    { "vision", "siglip", "vision_config", "siglip_vision_model",
      { { "vision_model.", TOWER } },
      { "text_model.*", "logit_scale", "logit_bias", "*.position_ids" } },
    { "vision", "clip_vision_model", NULL, NULL,
      { { "vision_model.", TOWER }, { "", TOWER } },
      { "visual_projection.*", "*.position_ids" } },
    { "vision", "siglip_vision_model", NULL, NULL,
      { { "vision_model.", TOWER }, { "", TOWER } }, { "*.position_ids" } },
    { "vision", "llava's makers", NULL, NULL,
      { { "model.vision_tower.vision_tower.vision_model.", TOWER } },
      { "model.layers.*", "model.embed_tokens.*", "model.norm.*", "lm_head.*",
        "model.mm_projector.*", "model.image_newline" } },
    { "text", "llava's makers", NULL, NULL,
      { { "model.", WORDS }, { "lm_head.", HEAD } },
      { "model.vision_tower.*", "model.mm_projector.*", "model.image_newline" } },
    { "vision", "llava", "vision_config", NULL,
      { { "vision_tower.vision_model.", TOWER }, { "vision_tower.", TOWER },
        { "model.vision_tower.vision_model.", TOWER },
        { "model.vision_tower.", TOWER } },
      { "language_model.*", "lm_head.*", "*multi_modal_projector.*",
        "model.language_model.*" } },
    DECODER("llama"), DECODER("qwen2"), DECODER("gemma"), DECODER("gemma2"),
    { "text", "llava", "text_config", NULL,
      { { "language_model.model.", WORDS }, { "language_model.lm_head.", HEAD },
        { "model.language_model.", WORDS }, { "lm_head.", HEAD } },
      { "vision_tower.*", "model.vision_tower.*", "*multi_modal_projector.*" } },
    { NULL },
};
// clang-format on

/* Names of a connector's tensors in files: as LLaVA's layout has them, alone, or as its
 * makers save them. */
// clang-format off
#define MAKERS(prefix, place, number)                                                  \
    { prefix "mm_projector." place ".", COMPOSE_CONNECTOR "linear_" number "." }
#define ALL_OF_MAKERS(prefix)                                                          \
    MAKERS(prefix, "0", "1"),  MAKERS(prefix, "2", "2"),  MAKERS(prefix, "4", "3"),    \
    MAKERS(prefix, "6", "4"),  MAKERS(prefix, "8", "5"),  MAKERS(prefix, "10", "6"),   \
    MAKERS(prefix, "12", "7"), MAKERS(prefix, "14", "8"),                              \
    { prefix "mm_projector.", COMPOSE_CONNECTOR "linear_1." }
// clang-format on

static const renaming connector_names[] = {
    { "multi_modal_projector.", COMPOSE_CONNECTOR },
    { "model.multi_modal_projector.", COMPOSE_CONNECTOR },
    ALL_OF_MAKERS("model."),
    ALL_OF_MAKERS(""),
    { "linear_", COMPOSE_CONNECTOR "linear_" },
    { "", COMPOSE_CONNECTOR "linear_1." },
};

/* Those of connectors that only composed models have. */
static const renaming own_connector_names[] = {
    { COMPOSE_CONNECTOR, COMPOSE_CONNECTOR },
    { "", COMPOSE_CONNECTOR },
    { NULL, NULL },
};

/* ---- what a source is ------------------------------------------------------------ */

static const char *type_of(const cJSON *config)
{
    const char *const type = lvlm_json_string(lvlm_json_get(config, "model_type"));
    return type != NULL ? type : "";
}

/* Why a source cannot be this part. */
static int refuse(const lvlm_compose_part *part, const char *type, lvlm_error *err)
{
    const bool text = strcmp(part->role, "text") == 0;
    const char *const path = part->from->path;
    for (const source *s = sources; s->part != NULL; s++)
        FAIL_IF(strcmp(s->type, type) == 0, err, LVLM_EFORMAT,
                "%s: %s: '%s' is not a %s", part->called, path, type,
                text ? "language model" : "vision tower");
    FAIL_IF(strcmp(type, "mllama") == 0, err, LVLM_EFORMAT,
            "%s: %s: its decoder has cross-attention layers and its tower takes "
            "tiles: neither can be separated",
            part->called, path);
    return lvlm_fail(err, LVLM_EFORMAT,
                     "%s: %s: model type '%s' is not supported as a %s; known "
                     "are %s",
                     part->called, path, type, text ? "language model" : "vision tower",
                     text ? "llama, qwen2, gemma, gemma2 and the text of a llava"
                          : "clip, siglip, clip_vision_model, siglip_vision_model and "
                            "the tower of a llava");
}

/* Sources that look like a model's folder and are not one. */
static int refuse_folder(const lvlm_compose_part *part, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = part->from;
    FAIL_IF(lvlm_checkpoint_side_file(cp, "adapter_config.json") != NULL, err,
            LVLM_EFORMAT, "%s: %s: an adapter; merge it into its base model first",
            part->called, cp->path);
    return 0;
}

static int read_config(cJSON **out, const lvlm_checkpoint *cp, lvlm_error *err)
{
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, "config.json");
    FAIL_IF(file == NULL, err, LVLM_EFORMAT, "%s: no config.json", cp->path);
    return lvlm_side_file_parse(out, file, err);
}

/* The section of config.json that is the part's own. CLIP's may have a second one,
 * whose members count. */
static int take_section(lvlm_compose_part *part, const cJSON *config, const source *s,
                        lvlm_error *err)
{
    const cJSON *const own =
        s->section != NULL ? lvlm_json_get(config, s->section) : config;
    const cJSON *const more = lvlm_json_get(config, "vision_config_dict"), *member;
    part->config = own != NULL ? cJSON_Duplicate(own, true) : cJSON_CreateObject();
    bool ok = part->config != NULL;
    if (strcmp(part->role, "vision") == 0)
        LVLM_JSON_MEMBERS (member, more)
            ok = ok && lvlm_json_set_copy(part->config, member->string, member);
    if (s->own != NULL && lvlm_json_get(part->config, "model_type") == NULL)
        ok = ok && cJSON_AddStringToObject(part->config, "model_type", s->own) != NULL;
    return ok ? 0 : lvlm_fail_memory(err);
}

/* ---- tensors --------------------------------------------------------------------- */

/* Append a tensor under another name. */
static int take(lvlm_compose_part *part, const lvlm_tensor *tensor, const char *prefix,
                const char *rest, lvlm_arena *arena, lvlm_error *err)
{
    assert(part->n_tensors < part->from->n_tensors);
    lvlm_tensor *const t = &part->tensors[part->n_tensors];
    *t = *tensor;
    part->originals[part->n_tensors] = tensor;
    t->name = lvlm_arena_printf(arena, "%s%s", prefix, rest);
    if (t->name == NULL) return lvlm_fail_memory(err);
    part->n_tensors++;
    return 0;
}

static int make_room(lvlm_compose_part *part, lvlm_arena *arena, lvlm_error *err)
{
    const size_t n = part->from->n_tensors + 1;
    part->tensors = lvlm_arena_alloc(arena, n, sizeof *part->tensors);
    part->originals = lvlm_arena_alloc(arena, n, sizeof *part->originals);
    return part->tensors != NULL && part->originals != NULL ? 0 : lvlm_fail_memory(err);
}

static bool is_left_out(const source *s, const char *name)
{
    for (size_t i = 0; i < MAX_LEFT_OUT && s->left_out[i] != NULL; i++)
        if (fnmatch(s->left_out[i], name, 0) == 0) return true;
    return false;
}

/* Append a tensor with its prefix replaced. */
static int take_renamed(lvlm_compose_part *part, const lvlm_tensor *t,
                        const renaming *names, lvlm_arena *arena, lvlm_error *err)
{
    while (names->from != NULL && !lvlm_starts_with(t->name, names->from)) names++;
    FAIL_IF(names->from == NULL, err, LVLM_EFORMAT,
            "%s: %s: tensor '%s' belongs neither to the %s nor to a part "
            "that is left out",
            part->called, part->from->path, t->name, part->role);
    return take(part, t, names->to, t->name + strlen(names->from), arena, err);
}

static int take_tensors(lvlm_compose_part *part, const source *s, lvlm_arena *arena,
                        lvlm_error *err)
{
    TRY(make_room(part, arena, err));
    for (size_t i = 0; i < part->from->n_tensors; i++) {
        const lvlm_tensor *const t = &part->from->tensors[i];
        if (is_left_out(s, t->name))
            part->n_left_out++;
        else
            TRY(take_renamed(part, t, s->names, arena, err));
    }
    return 0;
}

/* What a native LLaVA keeps of the part without using it. */
static int take_unused(lvlm_compose_part *part, const lvlm_manifest *m,
                       lvlm_arena *arena, lvlm_error *err)
{
    for (size_t i = 0; i < m->n_extras; i++) {
        const lvlm_extra *const extra = &m->extras[i];
        if (!lvlm_starts_with(extra->canonical, part->role)) continue;
        const char *const hub =
            lvlm_names_source(m->family, extra->canonical, LVLM_LAYOUT_HUB, arena);
        if (hub == NULL) return lvlm_fail_memory(err);
        TRY(take(part, extra->tensor, hub, "", arena, err));
    }
    return 0;
}

/* A native file knows the hub's names of its tensors. */
static int take_native(lvlm_compose_part *part, lvlm_arena *arena, lvlm_error *err)
{
    lvlm_manifest m;
    int rc = make_room(part, arena, err);
    if (rc == 0) rc = lvlm_manifest_build(&m, part->from, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < m.n_targets && rc == 0; i++) {
        const lvlm_target *const t = &m.targets[i];
        if (t->here.tensor == NULL || t->state == LVLM_TARGET_TIED ||
            !lvlm_starts_with(t->name, part->role))
            continue;
        lvlm_tensor hub = *t->here.tensor;
        hub.shape = t->hf.shape;
        rc = take(part, &hub, t->source_name, "", arena, err);
    }
    if (rc == 0) rc = take_unused(part, &m, arena, err);
    lvlm_manifest_free(&m);
    return rc;
}

/* A model as LLaVA's makers save it: its configuration is flat, and that of the tower
 * is only a name. */
static int take_makers(lvlm_compose_part *part, const cJSON *config, lvlm_error *err)
{
    const char *const tower =
        lvlm_json_string(lvlm_json_get(config, "mm_vision_tower"));
    if (strcmp(part->role, "text") == 0) return compose_makers_text(part->config, err);
    FAIL_IF(part->n_tensors == 0, err, LVLM_EFORMAT,
            "%s: %s: a model as LLaVA's makers release it, which names its tower (%s) "
            "and does not hold it: name that tower's folder (hf2native: --vision)",
            part->called, part->from->path, tower != NULL ? tower : "not a name");
    lvlm_json_free(part->config);
    part->config = cJSON_CreateObject();
    return compose_makers_tower(part->config, part, tower != NULL ? tower : "", err);
}

int lvlm_compose_open_part(lvlm_compose_part *part, const char *role,
                           const char *called, const char *path,
                           const lvlm_open_options *options, lvlm_arena *arena,
                           lvlm_error *err)
{
    cJSON *config = NULL;
    *part = (lvlm_compose_part){ .role = role, .called = called };
    int rc = lvlm_checkpoint_open(&part->from, path, options, err);
    if (rc == 0) rc = read_config(&config, part->from, err);
    if (rc < 0) {
        lvlm_prefix(err, "%s: ", called);
        return rc;
    }
    const char *const type =
        compose_is_makers(config) ? "llava's makers" : type_of(config);
    const source *s = sources;
    while (s->part != NULL &&
           (strcmp(s->part, role) != 0 || strcmp(s->type, type) != 0))
        s++;
    rc = refuse_folder(part, err);
    if (rc == 0 && s->part == NULL) rc = refuse(part, type, err);
    if (rc == 0) rc = take_section(part, config, s, err);
    if (rc == 0)
        rc = part->from->kind == LVLM_CHECKPOINT_NATIVE
                 ? take_native(part, arena, err)
                 : take_tensors(part, s, arena, err);
    if (rc == 0 && compose_is_makers(config)) rc = take_makers(part, config, err);
    if (rc == 0) part->type = s->type;
    lvlm_json_free(config);
    return rc;
}

static int open_connector(lvlm_compose_part *part, const lvlm_compose_spec *spec,
                          const lvlm_open_options *options, lvlm_arena *arena,
                          lvlm_error *err)
{
    *part = (lvlm_compose_part){ .role = "connector" };
    if (spec->weights == NULL) return 0;
    const int rc = lvlm_checkpoint_open(&part->from, spec->weights, options, err);
    if (rc < 0) {
        lvlm_prefix(err, "connector.weights: ");
        return rc;
    }
    TRY(make_room(part, arena, err));
    const renaming *const names =
        lvlm_compose_is_llava(spec) ? connector_names : own_connector_names;
    /* of a whole model only what is the connector's */
    const bool whole = lvlm_checkpoint_side_file(part->from, "config.json") != NULL;
    for (size_t i = 0; i < part->from->n_tensors; i++) {
        const lvlm_tensor *const t = &part->from->tensors[i];
        if (whole && fnmatch("*m*_projector.*", t->name, 0) != 0)
            part->n_left_out++;
        else
            TRY(take_renamed(part, t, names, arena, err));
    }
    return 0;
}

/* ---- finding --------------------------------------------------------------------- */

const lvlm_tensor *lvlm_compose_find(const lvlm_compose_part *part, const char *name)
{
    for (size_t i = 0; i < part->n_tensors; i++)
        if (strcmp(part->tensors[i].name, name) == 0) return &part->tensors[i];
    return NULL;
}

/* ---- the head -------------------------------------------------------------------- */

/* Is the head tied? What is stored and what the configuration says may disagree; then
 * the spec has to say. */
static int decide_head(lvlm_compose_parts *parts, const lvlm_compose_spec *spec,
                       lvlm_error *err)
{
    lvlm_compose_part *const text = &parts->text;
    const cJSON *const flag = lvlm_json_get(text->config, "tie_word_embeddings");
    const bool gemma = lvlm_starts_with(type_of(text->config), "gemma");
    const bool says_tied = flag != NULL ? cJSON_IsTrue(flag) : gemma;
    const lvlm_tensor *const head = lvlm_compose_find(text, HEAD "weight");
    const lvlm_tensor *const table =
        lvlm_compose_find(text, WORDS "embed_tokens.weight");
    FAIL_IF(!says_tied && head == NULL && spec->head == NULL, err, LVLM_EFORMAT,
            "text.source: %s: tie_word_embeddings is false and there is no "
            "lm_head.weight; \"head\": \"tied\" takes the table of word vectors",
            text->from->path);
    const bool equal = head != NULL && table != NULL &&
                       (text->from->headers_only ||
                        (head->n_bytes == table->n_bytes &&
                         memcmp(head->data, table->data, (size_t)head->n_bytes) == 0));
    FAIL_IF(says_tied && head != NULL && !equal && spec->head == NULL, err,
            LVLM_EFORMAT,
            "text.source: %s: tie_word_embeddings is true and lm_head.weight differs "
            "from the table of word vectors: say \"head\": \"stored\" or \"tied\"",
            text->from->path);
    FAIL_IF(spec->head != NULL && strcmp(spec->head, "stored") == 0 && head == NULL,
            err, LVLM_EFORMAT, "text.head: \"stored\", but %s has no lm_head.weight",
            text->from->path);
    parts->tied = spec->head != NULL ? strcmp(spec->head, "tied") == 0
                                     : head == NULL || (says_tied && equal);
    if (!parts->tied || head == NULL) return 0;
    const size_t at = (size_t)(head - text->tensors);
    text->n_tensors--; /* a tied head is not stored */
    text->n_left_out++;
    memmove(&text->tensors[at], &text->tensors[at + 1],
            (text->n_tensors - at) * sizeof *text->tensors);
    memmove(&text->originals[at], &text->originals[at + 1],
            (text->n_tensors - at) * sizeof *text->originals);
    return 0;
}

/* ---- sizes ----------------------------------------------------------------------- */

uint64_t lvlm_compose_extent(const lvlm_tensor *t, size_t axis)
{
    return t != NULL && axis < t->shape.n ? t->shape.dims[axis] : 0;
}

uint64_t lvlm_compose_blocks(const lvlm_compose_part *vision)
{
    static const char blocks[] = TOWER "encoder.layers.";
    uint64_t n = 0;
    for (size_t k = 0; k < vision->n_tensors; k++) {
        const char *const name = vision->tensors[k].name;
        if (!lvlm_starts_with(name, blocks)) continue;
        const uint64_t i = strtoull(name + strlen(blocks), NULL, 10);
        if (i + 1 > n) n = i + 1;
    }
    return n;
}

static int measure(lvlm_compose_parts *parts, lvlm_error *err)
{
    const lvlm_compose_part *const vision = &parts->vision;
    lvlm_compose_sizes *const s = &parts->sizes;
    const lvlm_tensor *const kernel =
        lvlm_compose_find(vision, TOWER "embeddings.patch_embedding.weight");
    const lvlm_tensor *const table =
        lvlm_compose_find(&parts->text, WORDS "embed_tokens.weight");
    const lvlm_tensor *const positions =
        lvlm_compose_find(vision, TOWER "embeddings.position_embedding.weight");
    FAIL_IF(kernel == NULL, err, LVLM_EFORMAT,
            "vision.source: %s: no patch embedding; is this a vision tower?",
            vision->from->path);
    FAIL_IF(table == NULL, err, LVLM_EFORMAT,
            "text.source: %s: no table of word vectors; is this a language model?",
            parts->text.from->path);
    FAIL_IF(positions == NULL, err, LVLM_EFORMAT,
            "vision.source: %s: no table of positions", vision->from->path);
    s->width = lvlm_compose_extent(kernel, 0);
    s->patch = lvlm_compose_extent(kernel, 2);
    s->blocks = lvlm_compose_blocks(vision);
    s->positions = lvlm_compose_extent(positions, 0);
    s->has_class_row =
        lvlm_compose_find(vision, TOWER "embeddings.class_embedding") != NULL;
    s->vocabulary = lvlm_compose_extent(table, 0);
    s->text_width = lvlm_compose_extent(table, 1);
    return 0;
}

bool lvlm_compose_is_llava(const lvlm_compose_spec *spec)
{
    return strcmp(spec->kind, "linear") == 0 || strcmp(spec->kind, "mlp") == 0;
}

uint64_t lvlm_compose_image_rows(const lvlm_compose_parts *parts,
                                 const lvlm_compose_spec *spec)
{
    const uint64_t rows = parts->sizes.positions - (strcmp(spec->rows, "all") != 0);
    if (strcmp(spec->kind, "resampler") == 0) return spec->queries;
    return strcmp(spec->kind, "merger") == 0 ? rows / (spec->merge * spec->merge)
                                             : rows;
}

/* ---- all of them ----------------------------------------------------------------- */

int lvlm_compose_parts_open(lvlm_compose_parts *out, const lvlm_compose_spec *spec,
                            const lvlm_open_options *options, lvlm_arena *arena,
                            lvlm_error *err)
{
    *out = (lvlm_compose_parts){ 0 };
    TRY(lvlm_compose_open_part(&out->vision, "vision", "vision.source",
                               spec->vision_source, options, arena, err));
    TRY(lvlm_compose_open_part(&out->text, "text", "text.source", spec->text_source,
                               options, arena, err));
    TRY(open_connector(&out->connector, spec, options, arena, err));
    TRY(decide_head(out, spec, err));
    TRY(measure(out, err));
    return lvlm_compose_choose_words(out, spec, err);
}

void lvlm_compose_close_part(lvlm_compose_part *part)
{
    lvlm_json_free(part->config);
    lvlm_checkpoint_close(part->from);
}

void lvlm_compose_parts_close(lvlm_compose_parts *parts)
{
    lvlm_compose_close_part(&parts->vision);
    lvlm_compose_close_part(&parts->text);
    lvlm_compose_close_part(&parts->connector);
}
