/* tower.c - what all vision towers share; see tower.h. */
#include "runtime/vision/tower.h"

#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/numeric.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/patchify.h"

static const vision_tower *const towers[] = { &siglip_tower, &openclip_tower,
                                              &qwen2_tower, &tiles_tower, NULL };

int tower_choose(const vision_tower **out, const cJSON *config, lvlm_error *err)
{
    const char *word = lvlm_json_string(lvlm_json_path(config, "vision.tower"));
    for (size_t i = 0; towers[i] != NULL; i++) {
        if (word == NULL || strcmp(towers[i]->word, word) != 0) continue;
        *out = towers[i];
        return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "configuration: vision.tower '%s' is not one that can be run",
                     word != NULL ? word : "(none)");
}

int seen_emit(stages *s, const char *name, const real *data, const vision_rows *seen,
              size_t C, lvlm_error *err)
{
    lvlm_shape shape = seen->shape;
    shape.dims[shape.n++] = C;
    return stages_emit(s, name, data, shape, err);
}

void seen_all_to_all(size_t *lo, size_t *hi, size_t R, size_t P)
{
    for (size_t r = 0; r < R; r++) {
        lo[r] = r / P * P;
        hi[r] = lo[r] + P;
    }
}

int tower_project_squares(real *out, const lvlm_tensor *pixels, size_t patch,
                          lvlm_stored weight, const real *bias, size_t C,
                          const ops_scratch *scratch, lvlm_error *err)
{
    const size_t n = pixels->shape.n, channels = (size_t)pixels->shape.dims[n - 3];
    const size_t side = (size_t)pixels->shape.dims[n - 1];
    const size_t numel = channels * side * side; /* of one image */
    const size_t P = (side / patch) * (side / patch), dim = channels * patch * patch;
    const size_t n_images = (size_t)lvlm_tensor_numel(pixels) / numel;
    real *image = NULL, *patches = NULL;
    void *memory = NULL;
    const workspace_slot slots[] = { { &image, numel, 1 }, { &patches, P, dim } };
    TRY(workspace_allocate(&memory, slots, 2, "patches", err));
    for (size_t i = 0; i < n_images; i++) {
        lvlm_convert_values(image, LVLM_REAL_DTYPE,
                            pixels->data + i * numel * lvlm_dtype_bytes(pixels->dtype),
                            pixels->dtype, numel);
        patchify_forward(patches, image, channels, side, side, patch);
        linear_forward(out + i * P * C, patches, weight, bias, P, dim, C, scratch);
    }
    lvlm_free(memory);
    return 0;
}
