/* fixtures.h - the recorded models. Tests visit all of them, so that a new family is
 * tested once its folders are there.
 *
 *   fixtures/NAME/model/                  a checkpoint of Hugging Face
 *   fixtures/NAME/golden*.safetensors     what references compute with it
 *   fixtures/NAME/expected.json           what is published about it, where it has one
 *
 * FAMILY-odd is the main fixture of a family: it has an expected.json with every key of
 * fixtures/README.md. All functions fail the test on an error. */
#ifndef LVLM_TESTS_SUPPORT_FIXTURES_H
#define LVLM_TESTS_SUPPORT_FIXTURES_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/json.h"
#include "formats/family/family.h"

enum { FIXTURE_PATH = 512, FIXTURE_REFERENCES = 4 };

typedef struct fixture {
    char name[64];
    const lvlm_family *family;
    bool is_main; /* FAMILY-odd */
    bool is_long; /* FAMILY-long: hundreds of tokens, or beyond the training length */
    char folder[FIXTURE_PATH], model[FIXTURE_PATH];
    char golden[FIXTURE_PATH], golden64[FIXTURE_PATH];
    /* References to compute as: "trained", the recorded ones, and those of
     * expected.json; only the first of those that compute the same. */
    char references[FIXTURE_REFERENCES][32];
    size_t n_references;
    cJSON *expected; /* NULL: it has none */
} fixture;

typedef struct fixtures {
    fixture *at; /* sorted by name */
    size_t n;
} fixtures;

/* All fixtures with a golden64.safetensors. */
void fixtures_open(fixtures *all);
void fixtures_close(fixtures *all);

/* Does one of the patterns of a list ("vision.*") match `name`, and none of those that
 * begin with "!" ("!vision.class")? */
bool fixture_lists(const cJSON *patterns, const char *name);

/* The folders in fixtures/FOLDER, sorted: one is named after each family. Free with
 * lvlm_path_list_free. */
char **fixture_families(size_t *n, const char *folder);

/* The JSON document in a file below fixtures/. Free with lvlm_json_free. */
cJSON *fixture_json(const char *folder, const char *name);

#endif
