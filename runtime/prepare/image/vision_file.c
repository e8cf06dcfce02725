/* vision_file.c - see vision_file.h. */
#include "runtime/prepare/image/vision_file.h"

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"

enum { SHOWN = 64 }; /* bytes of a value in messages */

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

int vision_file_find(vision_file *out, const lvlm_checkpoint *checkpoint, bool videos,
                     lvlm_error *err)
{
    const place *const at = videos ? &of_videos : &of_images;
    *out = (vision_file){ .notes = checkpoint->notes, .videos = videos };
    TRY(lvlm_side_file_json(&out->json, checkpoint, "processor_config.json", err));
    out->object = lvlm_json_get(out->json, at->member);
    out->name = at->name;
    if (out->object != NULL) return 0; /* null is invalid too */
    lvlm_json_free(out->json);
    out->json = NULL;
    for (size_t i = 0; out->json == NULL && at->files[i] != NULL; i++) {
        out->name = at->files[i];
        TRY(lvlm_side_file_json(&out->json, checkpoint, out->name, err));
    }
    FAIL_IF(out->json == NULL, err, LVLM_EFORMAT,
            "has no %s, so %s cannot be prepared for it; convert again from a "
            "directory that has one",
            at->files[0], at->what);
    out->object = out->json;
    return 0;
}

void vision_file_free(vision_file *file)
{
    lvlm_json_free(file->json);
    *file = (vision_file){ .name = NULL };
}

/* ---- values --------------------------------------------------------------------- */

int vision_file_wrong(const vision_file *file, const char *path, const char *expected,
                      lvlm_error *err)
{
    char *text = NULL;
    if (lvlm_json_print(&text, lvlm_json_path(file->object, path), NULL) < 0)
        return lvlm_fail_memory(err);
    const int rc = lvlm_fail(err, LVLM_EFORMAT, "%s: %s is %.*s, expected %s",
                             file->name, path, SHOWN, text, expected);
    lvlm_free(text);
    return rc;
}

int vision_file_flag(bool *out, const vision_file *file, const char *key,
                     lvlm_error *err)
{
    const cJSON *const item = lvlm_json_get(file->object, key);
    if (item == NULL || (cJSON_IsNull(item) && !*out)) return 0;
    if (cJSON_IsNull(item))
        return lvlm_notes_add(file->notes, err,
                              "%s: '%s' is null: counts as true, as in transformers 5; "
                              "earlier versions read it as false",
                              file->name, key);
    if (!cJSON_IsBool(item)) return vision_file_wrong(file, key, "true or false", err);
    *out = cJSON_IsTrue(item);
    return 0;
}

int vision_file_count(uint64_t *out, const vision_file *file, const char *path,
                      lvlm_error *err)
{
    const cJSON *const item = lvlm_json_path(file->object, path);
    if (item == NULL || cJSON_IsNull(item)) return 0;
    if (!lvlm_json_u64(out, item) || *out == 0)
        return vision_file_wrong(file, path, "a whole number of at least 1", err);
    return 0;
}

int vision_file_above_0(double *out, const vision_file *file, const char *key,
                        lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(file->object, key);
    if (item != NULL && (!lvlm_json_double(out, item) || !(*out > 0)))
        return vision_file_wrong(file, key, "a number above 0", err);
    return 0;
}
