/* prompt_cases.h - reads fixtures/prompts/FAMILY/cases.json. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_PROMPT_CASES_H
#define LVLM_TESTS_RUNTIME_PREPARE_PROMPT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "runtime/prepare/prompt/messages.h"

#ifndef LVLM_FIXTURES /* set by the build */
#define LVLM_FIXTURES "fixtures"
#endif

enum { CASES_PATH = 512, CASES_IMAGES = 8 };

/* Its folder model/, or cases.json; valid until `path` is. */
static inline const char *cases_path(char path[CASES_PATH], const char *family,
                                     const char *name)
{
    (void)snprintf(path, CASES_PATH, LVLM_FIXTURES "/prompts/%s/%s", family, name);
    return path;
}

/* Free with lvlm_json_free. */
static inline cJSON *cases_read(const char *family)
{
    char path[CASES_PATH];
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    assert_int_equal(
        lvlm_infile_open(&file, cases_path(path, family, "cases.json"), NULL), 0);
    assert_int_equal(
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, NULL),
        0);
    lvlm_infile_close(file);
    return json;
}

static inline const char *case_text(const cJSON *item, const char *key)
{
    return lvlm_json_string(lvlm_json_get(item, key));
}

/* A case's conversation, as read by the commands. */
static inline int case_messages(lvlm_messages *out, const cJSON *item, lvlm_error *err)
{
    const char *images[CASES_IMAGES];
    size_t n = 0;
    const cJSON *image;
    LVLM_JSON_ITEMS (image, lvlm_json_get(item, "images"))
        images[n++] = lvlm_json_string(image);
    if (lvlm_json_get(item, "messages") == NULL)
        return lvlm_messages_make(out, case_text(item, "system"),
                                  case_text(item, "prompt"), case_text(item, "suffix"),
                                  images, n, err);
    char *json = NULL;
    assert_int_equal(lvlm_json_print(&json, lvlm_json_get(item, "messages"), err), 0);
    const int rc = lvlm_messages_parse(out, json, strlen(json), images, n, NULL, err);
    lvlm_free(json);
    return rc;
}

#endif
