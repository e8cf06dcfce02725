/* compose_makers.c - config.json of LLaVA's makers to a spec, and to the configurations
 * of its parts. */
#include "convert/compose/compose_makers.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/text.h"

bool compose_is_makers(const cJSON *config)
{
    return lvlm_json_get(config, "mm_vision_tower") != NULL;
}

static int read_config(cJSON **out, const char *folder, lvlm_arena *arena,
                       lvlm_error *err)
{
    const char *const path = lvlm_arena_printf(arena, "%s/config.json", folder);
    return path != NULL ? lvlm_json_load(out, path, err) : lvlm_fail_memory(err);
}

bool compose_is_makers_folder(const char *path)
{
    lvlm_arena arena = { 0 };
    cJSON *config = NULL;
    const bool is = lvlm_path_is_directory(path) &&
                    read_config(&config, path, &arena, NULL) == 0 &&
                    compose_is_makers(config);
    lvlm_json_free(config);
    lvlm_arena_free(&arena);
    return is;
}

/* ---- spec ------------------------------------------------------------------------ */

static const char *word_of(const cJSON *config, const char *key, const char *fallback)
{
    const char *const text = lvlm_json_string(lvlm_json_get(config, key));
    return text != NULL ? text : fallback;
}

/* Settings that change what is computed and that no spec has. */
static int check_settings(const cJSON *config, lvlm_error *err)
{
    static const struct {
        const char *key, *followed, *fallback;
    } words[] = {
        { "mm_projector_type",
          "linear|mlp1x_gelu|mlp2x_gelu|mlp3x_gelu|mlp4x_gelu|mlp5x_gelu|mlp6x_gelu|"
          "mlp7x_gelu|mlp8x_gelu",
          "linear" },
        { "mm_vision_select_feature", "patch|cls_patch", "patch" },
        { "mm_patch_merge_type", "flat", "flat" },
        { "image_aspect_ratio", "square|pad", "square" },
        { "mm_resampler_type", "none", "none" },
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *const said = word_of(config, words[i].key, words[i].fallback);
        FAIL_IF(!lvlm_is_listed(words[i].followed, said), err, LVLM_EFORMAT,
                "config.json: %s '%s' is not followed; known: %s", words[i].key, said,
                words[i].followed);
    }
    FAIL_IF(cJSON_IsTrue(lvlm_json_get(config, "s2")), err, LVLM_EFORMAT,
            "config.json: s2, features of several sizes, is not followed");
    return 0;
}

/* Linear maps of "linear" or "mlp2x_gelu". */
static uint64_t count_maps(const cJSON *config)
{
    const char *const type = word_of(config, "mm_projector_type", "linear");
    return lvlm_starts_with(type, "mlp") ? (uint64_t)(type[3] - '0') : 1;
}

int compose_makers_spec(lvlm_compose_spec *out, const char *path, const char *vision,
                        lvlm_arena *arena, lvlm_error *err)
{
    cJSON *config = NULL;
    double layer = -2;
    int rc = read_config(&config, path, arena, err);
    if (rc == 0) rc = check_settings(config, err);
    (void)lvlm_json_double(&layer, lvlm_json_get(config, "mm_vision_select_layer"));
    const uint64_t n_maps = rc == 0 ? count_maps(config) : 1;
    const bool patches =
        strcmp(word_of(config, "mm_vision_select_feature", "patch"), "patch") == 0;
    const bool pads =
        strcmp(word_of(config, "image_aspect_ratio", "square"), "pad") == 0;
    *out = (lvlm_compose_spec){ .path = path,
                                .vision_source = vision != NULL ? vision : path,
                                .layers = { (int64_t)layer },
                                .n_layers = 1,
                                .rows = patches ? "patches" : "all",
                                .kind = n_maps == 1 ? "linear" : "mlp",
                                .n_maps = n_maps,
                                .activation = "gelu",
                                .bias = true,
                                .weights = path,
                                .text_source = path,
                                .image_text = "<image>",
                                .image_id_next = true,
                                .new_rows = { .kind = LVLM_INIT_MEAN },
                                .vocabulary_multiple = 64,
                                .images_per_row = 1,
                                .pads_pictures = pads,
                                .chat_template = "vicuna_v1" };
    lvlm_json_free(config);
    return rc;
}

/* ---- parts ----------------------------------------------------------------------- */

/* The name may end in sizes: "openai/clip-vit-large-patch14-336". */
static int check_name(const char *name, uint64_t patch, uint64_t side, lvlm_error *err)
{
    static const char before[] = "-patch";
    const char *const sizes = strstr(name, before);
    char *end;
    if (sizes == NULL) return 0;
    const uint64_t said_patch = strtoull(sizes + strlen(before), &end, 10);
    uint64_t said_side = 224; /* what OpenAI leaves out */
    if (said_patch == 0) return 0;
    if (end[0] == '-' && end[1] >= '0' && end[1] <= '9')
        said_side = strtoull(end + 1, NULL, 10);
    FAIL_IF(said_patch != patch || said_side != side, err, LVLM_EFORMAT,
            "config.json: mm_vision_tower '%s' has patches of %" PRIu64
            " in pictures of %" PRIu64
            ", the tensors of the tower are for patches of %" PRIu64
            " in pictures of %" PRIu64,
            name, said_patch, said_side, patch, side);
    return 0;
}

int compose_makers_tower(cJSON *out, const lvlm_compose_part *part, const char *name,
                         lvlm_error *err)
{
    static const char first[] = COMPOSE_TOWER "encoder.layers.0.mlp.fc1.weight";
    static const char embeddings[] = COMPOSE_TOWER "embeddings.";
    char text[96];
    (void)snprintf(text, sizeof text, "%spatch_embedding.weight", embeddings);
    const lvlm_tensor *const kernel = lvlm_compose_find(part, text);
    (void)snprintf(text, sizeof text, "%sposition_embedding.weight", embeddings);
    const uint64_t rows = lvlm_compose_extent(lvlm_compose_find(part, text), 0);
    const uint64_t width = lvlm_compose_extent(kernel, 0);
    const uint64_t patch = lvlm_compose_extent(kernel, 2);
    const uint64_t grid = rows > 0 ? (uint64_t)(sqrt((double)rows - 1) + 0.5) : 0;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        { "hidden_size", width },
        { "intermediate_size", lvlm_compose_extent(lvlm_compose_find(part, first), 0) },
        { "num_hidden_layers", lvlm_compose_blocks(part) },
        { "num_attention_heads", width / 64 }, /* of all of OpenAI's */
        { "image_size", grid * patch },
        { "patch_size", patch },
    };
    TRY(check_name(name, patch, grid * patch, err));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!lvlm_json_set(out, numbers[i].key,
                           cJSON_CreateNumber((double)numbers[i].value)))
            return lvlm_fail_memory(err);
    return lvlm_json_set(out, "model_type", cJSON_CreateString("clip_vision_model"))
               ? 0
               : lvlm_fail_memory(err);
}

int compose_makers_text(cJSON *config, lvlm_error *err)
{
    static const char others[] =
        "tune_mm_mlp_adapter|freeze_mm_mlp_adapter|unfreeze_mm_vision_tower|"
        "use_mm_proj|"
        "image_aspect_ratio|image_grid_pinpoints|image_crop_resolution|"
        "image_split_resolution|tokenizer_model_max_length|tokenizer_padding_side|"
        "architectures|_name_or_path";
    static const char *const classes[] = { "LlamaForCausalLM" };
    const cJSON *item = lvlm_json_first_member(config);
    while (item != NULL) {
        const cJSON *const next = item->next;
        if (lvlm_starts_with(item->string, "mm_") ||
            lvlm_is_listed(others, item->string))
            cJSON_DeleteItemFromObjectCaseSensitive(config, item->string);
        item = next;
    }
    return lvlm_json_set(config, "model_type", cJSON_CreateString("llama")) &&
                   lvlm_json_set(config, "architectures",
                                 cJSON_CreateStringArray(classes, 1))
               ? 0
               : lvlm_fail_memory(err);
}
