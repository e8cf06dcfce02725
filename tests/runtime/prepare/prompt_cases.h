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
#include "formats/base/json.h"
#include "runtime/prepare/prompt/messages.h"
#include "tests/support/fixtures.h"

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

/* fixtures/FOLDER/FAMILY/cases.json. Free with lvlm_json_free. */
static inline cJSON *cases_read(const char *folder, const char *family)
{
    char name[CASES_PATH];
    (void)snprintf(name, sizeof name, "%s/cases.json", family);
    return fixture_json(folder, name);
}

static inline const char *case_text(const cJSON *item, const char *key)
{
    return lvlm_json_string(lvlm_json_get(item, key));
}

/* Ids are those of a recorded list. */
static inline void case_ids_are(const int64_t *ids, size_t n, const cJSON *recorded,
                                const char *what)
{
    const cJSON *id;
    size_t i = 0;
    LVLM_JSON_ITEMS (id, recorded) {
        uint64_t want = 0;
        assert_true(lvlm_json_u64(&want, id));
        if (i >= n || ids[i] != (int64_t)want)
            fail_msg("%s: token %zu differs", what, i);
        i++;
    }
    if (i != n) fail_msg("%s: %zu tokens, got %zu", what, i, n);
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
