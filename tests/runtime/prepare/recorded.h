/* recorded.h - reads fixtures/images/expected.json. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_RECORDED_H
#define LVLM_TESTS_RUNTIME_PREPARE_RECORDED_H

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/digest.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "runtime/prepare/image/image.h"

#ifndef LVLM_FIXTURES /* set by the build */
#define LVLM_FIXTURES "fixtures"
#endif
#define RECORDED LVLM_FIXTURES "/images/"

enum { RECORDED_PATH = 512 };

/* Its file NAME; valid until `path` is. */
static inline const char *recorded_path(char path[RECORDED_PATH], const char *name)
{
    const int n = snprintf(path, RECORDED_PATH, "%s%s", RECORDED, name);
    assert_true(n > 0 && n < RECORDED_PATH);
    return path;
}

static inline lvlm_infile *recorded_file(const char *name)
{
    char path[RECORDED_PATH];
    lvlm_infile *file = NULL;
    assert_int_equal(lvlm_infile_open(&file, recorded_path(path, name), NULL), 0);
    return file;
}

/* Free with lvlm_json_free. */
static inline cJSON *recorded_json(void)
{
    lvlm_infile *const file = recorded_file("expected.json");
    cJSON *json = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, &err) <
        0)
        fail_msg("expected.json: %s", err.text);
    lvlm_infile_close(file);
    return json;
}

static inline const char *recorded_word(const cJSON *entry, const char *key)
{
    const char *const word = lvlm_json_string(lvlm_json_get(entry, key));
    if (word == NULL) fail_msg("expected.json: no %s", key);
    return word;
}

static inline size_t recorded_count(const cJSON *entry, const char *key)
{
    uint64_t value = 0;
    if (!lvlm_json_u64(&value, lvlm_json_get(entry, key)))
        fail_msg("expected.json: no %s", key);
    return (size_t)value;
}

static inline bool digest_is(const void *bytes, size_t n_bytes, const char *hex)
{
    char got[LVLM_DIGEST_HEX + 1];
    assert_int_equal(lvlm_digest_bytes(got, bytes, n_bytes, NULL), 0);
    return strcmp(got, hex) == 0;
}

static inline bool pixels_are(const lvlm_image *image, const char *hex)
{
    return digest_is(image->pixels, image->width * image->height * 3, hex);
}

/* The image in file NAME, which must decode. */
static inline lvlm_image recorded_image(const char *name,
                                        const lvlm_image_options *options)
{
    char path[RECORDED_PATH];
    lvlm_image image;
    lvlm_error err;
    if (lvlm_image_read(&image, recorded_path(path, name), options, &err) < 0)
        fail_msg("%s", err.text);
    return image;
}

#endif
