/* fuzz_processor.c - any bytes as a processor's settings, for every kind of tower. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/prepare/image/video_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The part of a canonical configuration that is read. */
#define CONFIG(splice, vision)                                                         \
    "{\"text\":{\"splice\":\"" splice                                                  \
    "\",\"vocab\":9},\"tokens\":{\"image\":8,\"video\":7},"                            \
    "\"connector\":{\"kind\":\"linear\"},"                                             \
    "\"vision\":{\"channels\":3,\"patch\":14," vision "}}"
static const struct {
    lvlm_family family;
    const char *config;
} models[] = {
    { { .title = "fuzz", .processor = "siglip" },
      CONFIG("image_tokens", "\"tower\":\"siglip\",\"image\":28,\"grid\":2") },
    { { .title = "fuzz", .processor = "qwen2" },
      CONFIG("image_tokens", "\"tower\":\"qwen2\",\"frames\":2,\"merge\":2") },
    { { .title = "fuzz", .processor = "tiles" },
      CONFIG("cross_attention",
             "\"tower\":\"tiles\",\"image\":28,\"tiles\":4,\"aspect_ids\":9") },
};

/* Those of videos, where there are any: the same file has them. */
static void open_videos(const lvlm_manifest *manifest)
{
    lvlm_video_input *input = NULL;
    lvlm_error err = { 0 };
    if (strcmp(manifest->family->processor, "qwen2") == 0 &&
        lvlm_video_input_open(&input, manifest, NULL, &err) < 0 &&
        strncmp(err.text, "fuzz: preprocessor_config.json: ", 32) != 0)
        abort();
    lvlm_video_input_close(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_side_file file = { "preprocessor_config.json", data, size };
    const lvlm_checkpoint checkpoint = { .path = "fuzz",
                                         .side_files = &file,
                                         .n_side_files = 1 };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        lvlm_manifest manifest = { .checkpoint = &checkpoint,
                                   .family = &models[i].family };
        const char *const config = models[i].config;
        lvlm_vision_input *input = NULL;
        lvlm_error err = { 0 };
        if (lvlm_json_parse(&manifest.config, config, strlen(config), &err) < 0)
            abort();
        if (lvlm_vision_input_open(&input, &manifest, NULL, &err) < 0 &&
            strncmp(err.text, "fuzz: preprocessor_config.json: ", 32) != 0)
            abort(); /* the configurations above are good */
        lvlm_vision_input_close(input);
        open_videos(&manifest);
        lvlm_json_free(manifest.config);
    }
    return 0;
}
