/* vision_file.c - see vision_file.h. */
#include "runtime/prepare/image/vision_file.h"

#include "formats/base/json.h"
#include "formats/container/side_file.h"

/* A member of processor_config.json, or the first of these files. */
typedef struct place {
    const char *member, *name, *what;
    const char *files[3];
} place;

static const place of_images = { "image_processor",
                                 "processor_config.json: image_processor",
                                 "images",
                                 { "preprocessor_config.json" } };
static const place of_videos = { "video_processor",
                                 "processor_config.json: video_processor",
                                 "videos",
                                 { "video_preprocessor_config.json",
                                   "preprocessor_config.json" } };

int vision_file_find(const cJSON **object, cJSON **json, const char **name,
                     const lvlm_checkpoint *checkpoint, bool videos, lvlm_error *err)
{
    const place *const at = videos ? &of_videos : &of_images;
    TRY(lvlm_side_file_json(json, checkpoint, "processor_config.json", err));
    *object = lvlm_json_get(*json, at->member);
    *name = at->name;
    if (*object != NULL) return 0; /* null is invalid too */
    lvlm_json_free(*json);
    *json = NULL;
    for (size_t i = 0; *json == NULL && at->files[i] != NULL; i++) {
        *name = at->files[i];
        TRY(lvlm_side_file_json(json, checkpoint, *name, err));
    }
    FAIL_IF(*json == NULL, err, LVLM_EFORMAT,
            "has no %s, so %s cannot be prepared for it; convert again from a "
            "directory that has one",
            at->files[0], at->what);
    *object = *json;
    return 0;
}
