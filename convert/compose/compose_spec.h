/* compose_spec.h - the description of a composed model: SPEC.json.
 *
 *   { "format": "lvlm-compose-1",
 *     "dtype": "bf16",                       stored type; absent: as in the parts
 *     "vision": {
 *       "source": "clip-vit-large-patch14",  a directory or native file, of a part or
 *                                            of a whole model; relative to the spec
 *       "layer": -2,                         states that are the features: a number or
 *                                            a list; 0 enters the first block, -1
 *                                            leaves the last one
 *       "rows": "patches" },                 without class row; "all"; "drop_first"
 *     "connector": {
 *       "kind": "mlp",                       "linear", "mlp", "merger", "resampler"
 *       "layers": 2,                         of "mlp": 1 to 8 linear maps
 *       "activation": "gelu", "bias": true,  between them: "gelu", "gelu_pytorch_tanh",
 *                                            "quick_gelu", "silu", "relu", "linear"
 *       "merge": 2, "queries": 64, "heads": 8,
 *       "weights": "connector.safetensors",  { linear_1, linear_2 ... }.{ weight,
 *                                            bias }, or { weight, bias };
 *                                            mm_projector.bin
 *       "init": { "weights": "normal:0.02", "seed": 1 } },     in place of weights
 *     "text": { "source": "Qwen2-0.5B",
 *               "head": "stored" },          or "tied", where both are possible
 *     "image_token": {
 *       "text": "<image>",
 *       "id": 151646,                        a row of the table of word vectors, or
 *                                            "next": the tokenizer's, or a new one
 *       "new_rows": "mean", "seed": 1 },     "mean", "zeros", "normal:STD"
 *     "vocabulary_multiple": 64,             of the rows of the word tables
 *     "splice": "replace", "images_per_row": 4,
 *     "template": "chatml" }                 "llava", "vicuna_v1", "gemma"; absent or
 *                                            "source": the language model's own
 *
 * Unknown keys are errors. Messages begin with the spec's path and name the key. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_SPEC_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_SPEC_H

#include "convert/grow.h"
#include "formats/family/parts.h"

LVLM_BEGIN_DECLS

/* Most states that are the features, and linear maps of a connector. */
enum { LVLM_COMPOSE_MAX_LAYERS = 8, LVLM_COMPOSE_MAX_MAPS = CONNECTOR_MAX_LAYERS };

/* Texts are in the arena that the spec was read into; NULL where a key is absent. */
typedef struct lvlm_compose_spec {
    const char *path;
    const char *dtype;
    const char *vision_source; /* resolved against the spec's folder, as all paths */
    int64_t layers[LVLM_COMPOSE_MAX_LAYERS];
    uint64_t n_layers;
    const char *rows;
    const char *kind;
    uint64_t n_maps; /* "layers" of the connector: 1 of "linear" */
    uint64_t merge, queries, heads;
    const char *activation;
    bool bias;
    const char *weights;
    lvlm_init init; /* NONE: there are `weights` */
    const char *text_source;
    const char *head;
    const char *image_text;
    bool image_id_next;
    uint64_t image_id;
    lvlm_init new_rows; /* NONE: not said */
    uint64_t vocabulary_multiple;
    uint64_t images_per_row;
    bool pads_pictures;        /* made squares first, as LLaVA's makers do */
    const char *chat_template; /* "source", or a name of chat_templates.h */
} lvlm_compose_spec;

/* LVLM_EIO, LVLM_EFORMAT. Sizes of the parts are not checked here. */
LVLM_MUST_CHECK int lvlm_compose_spec_read(lvlm_compose_spec *out, const char *path,
                                           lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
