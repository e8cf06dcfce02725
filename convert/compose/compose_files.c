/* compose_files.c - files of a composed model that say how pictures and conversations
 * are prepared for it; see compose_files.h. */
#include "convert/compose/compose_files.h"

#include <string.h>

#include "convert/part_files.h"
#include "formats/base/json.h"
#include "formats/family/chat_templates.h"

#define CLIP "CLIPImageProcessor"
#define SIGLIP "SiglipImageProcessor"

static const char pictures_file[] = "preprocessor_config.json";

/* ---- pictures ------------------------------------------------------------------- */

uint64_t lvlm_compose_side(const lvlm_compose_parts *parts)
{
    enum { OF_CLASS = 224 }; /* the default of both kinds */
    uint64_t side = OF_CLASS;
    (void)lvlm_json_u64(&side, lvlm_json_get(parts->vision.config, "image_size"));
    return side;
}

/* As the towers were released. */
static bool add_settings(cJSON *to, bool clip, uint64_t side)
{
    static const double clip_mean[] = { 0.48145466, 0.4578275, 0.40821073 };
    static const double clip_std[] = { 0.26862954, 0.26130258, 0.27577711 };
    static const double half[] = { 0.5, 0.5, 0.5 };
    static const char *const flags[] = { "do_resize", "do_rescale", "do_normalize",
                                         "do_convert_rgb" };
    enum { BICUBIC = 3 };
    const double S = (double)side;
    cJSON *const crop = clip ? cJSON_AddObjectToObject(to, "crop_size") : NULL;
    cJSON *const size = cJSON_AddObjectToObject(to, "size");
    bool ok = size != NULL && (!clip || crop != NULL);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        ok = ok && cJSON_AddTrueToObject(to, flags[i]) != NULL;
    if (ok && clip)
        ok = cJSON_AddTrueToObject(to, "do_center_crop") != NULL &&
             cJSON_AddNumberToObject(crop, "height", S) != NULL &&
             cJSON_AddNumberToObject(crop, "width", S) != NULL &&
             cJSON_AddNumberToObject(size, "shortest_edge", S) != NULL;
    else if (ok)
        ok = cJSON_AddNumberToObject(size, "height", S) != NULL &&
             cJSON_AddNumberToObject(size, "width", S) != NULL;
    return ok &&
           lvlm_json_set(to, "image_mean",
                         cJSON_CreateDoubleArray(clip ? clip_mean : half, 3)) &&
           lvlm_json_set(to, "image_std",
                         cJSON_CreateDoubleArray(clip ? clip_std : half, 3)) &&
           cJSON_AddNumberToObject(to, "resample", BICUBIC) != NULL &&
           cJSON_AddNumberToObject(to, "rescale_factor", 1.0 / 255) != NULL;
}

/* Settings of another model's processor are not this one's; the class is named as all
 * versions read it. */
static bool adopt(cJSON *settings, bool clip)
{
    static const char old[] = "feature_extractor_type";
    static const char type[] = "image_processor_type";
    const bool was_clip = lvlm_json_get(settings, old) != NULL;
    const cJSON *const named = lvlm_json_get(settings, type);
    cJSON_DeleteItemFromObjectCaseSensitive(settings, "image_seq_length");
    if ((named == NULL || cJSON_IsNull(named)) &&
        !lvlm_json_set(settings, type,
                       cJSON_CreateString(clip || was_clip ? CLIP : SIGLIP)))
        return false;
    cJSON_DeleteItemFromObjectCaseSensitive(settings, old);
    return lvlm_json_set(settings, "processor_class",
                         cJSON_CreateString("LlavaProcessor"));
}

/* Pictures become squares before anything else. */
static bool pad(cJSON *settings)
{
    return lvlm_json_set(settings, "image_processor_type",
                         cJSON_CreateString("LlavaImageProcessor")) &&
           lvlm_json_set(settings, "do_pad", cJSON_CreateBool(true));
}

int lvlm_compose_pictures(char **out, const lvlm_compose_parts *parts,
                          const lvlm_compose_spec *spec, lvlm_notes *notes,
                          lvlm_error *err)
{
    const bool clip = parts->sizes.has_class_row;
    cJSON *json = NULL;
    TRY(lvlm_within(lvlm_part_pictures(&json, parts->vision.from, err), err,
                    "vision.source: "));
    if (json == NULL) {
        const uint64_t side = lvlm_compose_side(parts);
        json = cJSON_CreateObject();
        if (json == NULL || !add_settings(json, clip, side)) {
            lvlm_json_free(json);
            return lvlm_fail_memory(err);
        }
        const int rc = lvlm_notes_add(
            notes, err,
            "vision.source has no %s: written is how %s towers are released, with "
            "pictures of %llu",
            pictures_file, clip ? "CLIP's" : "SigLIP's", (unsigned long long)side);
        if (rc < 0) lvlm_json_free(json);
        TRY(rc);
    }
    const bool ok = adopt(json, clip) && (!spec->pads_pictures || pad(json));
    const int rc = ok ? lvlm_json_print_pretty(out, json, err) : lvlm_fail_memory(err);
    lvlm_json_free(json);
    return rc;
}

/* ---- conversations -------------------------------------------------------------- */

const char *lvlm_compose_template(const lvlm_compose_spec *spec)
{
    return spec->chat_template != NULL ? lvlm_chat_template(spec->chat_template) : NULL;
}
