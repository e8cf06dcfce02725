/* vision_file.h - private to the settings of images and videos: where a processor's
 * settings are among a model's files, and values read from there.
 *
 * Absent or null ones leave *out as it is. LVLM_EFORMAT names file and key, got and
 * expected. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_FILE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_FILE_H

#include <cjson/cJSON.h>

#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

typedef struct vision_file {
    const char *name;    /* what messages call it */
    const cJSON *object; /* the settings, in ... */
    cJSON *json;         /* ... the whole file; owned */
    lvlm_notes *notes;   /* the checkpoint's */
    bool videos;         /* those of videos */
} vision_file;

/* Those for videos may be in the file for images. LVLM_EFORMAT: there is none. Free
 * with vision_file_free, also after a failure. */
LVLM_MUST_CHECK int vision_file_find(vision_file *out,
                                     const lvlm_checkpoint *checkpoint, bool videos,
                                     lvlm_error *err);
void vision_file_free(vision_file *file);

/* The error of a value at `path`, which may go through objects ("size.height"). */
int vision_file_wrong(const vision_file *file, const char *path, const char *expected,
                      lvlm_error *err);

/* Null is the default in transformers 5, and false in earlier versions: noted where
 * they differ. */
LVLM_MUST_CHECK int vision_file_flag(bool *out, const vision_file *file,
                                     const char *key, lvlm_error *err);
/* A whole number of at least 1. */
LVLM_MUST_CHECK int vision_file_count(uint64_t *out, const vision_file *file,
                                      const char *path, lvlm_error *err);
/* A number above 0. */
LVLM_MUST_CHECK int vision_file_above_0(double *out, const vision_file *file,
                                        const char *key, lvlm_error *err);

LVLM_END_DECLS

#endif
