/* vision_rows.c - see vision_rows.h. */
#include "runtime/prepare/image/vision_rows.h"

#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/container/side_file.h"

static const char file[] = "processor_config.json";

static int check(const cJSON *json, uint64_t expected, uint64_t side, lvlm_error *err)
{
    const cJSON *const size = lvlm_json_given(json, "patch_size");
    const cJSON *const more = lvlm_json_given(json, "num_additional_image_tokens");
    const char *const strategy =
        lvlm_json_string(lvlm_json_get(json, "vision_feature_select_strategy"));
    uint64_t patch = 0, added = 0;
    if (size == NULL) return 0;
    FAIL_IF(!lvlm_json_u64(&patch, size) || patch == 0, err, LVLM_EFORMAT,
            "%s: patch_size is not a whole number of at least 1", file);
    FAIL_IF(more != NULL && !lvlm_json_u64(&added, more), err, LVLM_EFORMAT,
            "%s: num_additional_image_tokens is not a whole number", file);
    const uint64_t dropped = strategy != NULL && strcmp(strategy, "default") == 0;
    const uint64_t patches = (side / patch) * (side / patch);
    /* 4.45 and 4.46 have no such key, and always add one */
    if (more == NULL && patches + 1 == expected + dropped) return 0;
    FAIL_IF(patches + added != expected + dropped, err, LVLM_EFORMAT,
            "%s: writes %" PRIu64 " placeholders for an image (%" PRIu64
            " patches of %" PRIu64 ", %" PRIu64 " more, %" PRIu64
            " dropped), the model has %" PRIu64 " rows for it",
            file, patches + added - dropped, patches, patch, added, dropped, expected);
    return 0;
}

int vision_rows_check(const lvlm_checkpoint *checkpoint, const lvlm_input_spec *model,
                      uint64_t side, lvlm_error *err)
{
    cJSON *json = NULL;
    if (model->images.form != LVLM_IMAGES_SQUARES ||
        strcmp(model->rows.connector, "mlp") != 0)
        return 0;
    TRY(lvlm_side_file_json(&json, checkpoint, file, err));
    const int rc =
        check(json, lvlm_image_rows_square(&model->rows, &model->images), side, err);
    lvlm_json_free(json);
    return rc;
}
