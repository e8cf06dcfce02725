/* fixtures.c - see fixtures.h. */
#include "tests/support/fixtures.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/checkpoint/checkpoint.h"

static lvlm_checkpoint *open_golden(const char *path)
{
    lvlm_checkpoint *golden = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&golden, path, NULL, &err) < 0) fail_msg("%s", err.text);
    return golden;
}

static void add_reference(fixture *f, const char *reference)
{
    const uint64_t bits = lvlm_reference_behaviours(f->family, reference);
    for (size_t i = 0; i < f->n_references; i++)
        if (lvlm_reference_behaviours(f->family, f->references[i]) == bits) return;
    assert_true(f->n_references < FIXTURE_REFERENCES);
    (void)snprintf(f->references[f->n_references++], sizeof f->references[0], "%s",
                   reference);
}

/* Reads the metadata of the fixture's recordings. */
static void read_goldens(fixture *f)
{
    char **names;
    size_t n;
    assert_int_equal(lvlm_path_list(&names, &n, f->folder, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char path[2 * FIXTURE_PATH];
        if (strncmp(names[i], "golden", strlen("golden")) != 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        lvlm_checkpoint *const golden = open_golden(path);
        add_reference(f,
                      lvlm_json_string(lvlm_json_get(golden->metadata, "reference")));
        lvlm_checkpoint_close(golden);
    }
    lvlm_path_list_free(names, n);
}

static const lvlm_family *family_of(const fixture *f)
{
    lvlm_checkpoint *const golden = open_golden(f->golden64);
    const char *const name =
        lvlm_json_string(lvlm_json_get(golden->metadata, "family"));
    const lvlm_family *const *family = lvlm_families();
    assert_non_null(name);
    while (*family != NULL && strcmp((*family)->name, name) != 0) family++;
    lvlm_checkpoint_close(golden);
    return *family;
}

/* False: the folder holds no recording, or its family is not in families.def yet. */
static bool describe(fixture *f, const char *name)
{
    char path[2 * FIXTURE_PATH];
    const cJSON *item;
    *f = (fixture){ .family = NULL };
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    (void)snprintf(f->folder, FIXTURE_PATH, LVLM_FIXTURES "/%s", f->name);
    (void)snprintf(f->model, FIXTURE_PATH, LVLM_FIXTURES "/%s/model", f->name);
    (void)snprintf(f->golden, FIXTURE_PATH, LVLM_FIXTURES "/%s/golden.safetensors",
                   f->name);
    (void)snprintf(f->golden64, FIXTURE_PATH, LVLM_FIXTURES "/%s/golden64.safetensors",
                   f->name);
    if (!lvlm_path_exists(f->golden64)) return false;
    f->family = family_of(f);
    if (f->family == NULL) return false;
    (void)snprintf(path, sizeof path, "%s-odd", f->family->name);
    f->is_main = strcmp(path, f->name) == 0;
    f->is_long = strstr(f->name, "-long") != NULL;
    add_reference(f, LVLM_REFERENCE_TRAINED);
    read_goldens(f);
    (void)snprintf(path, sizeof path, "%s/expected.json", f->folder);
    if (lvlm_path_exists(path)) f->expected = fixture_json(f->name, "expected.json");
    if (f->is_main && f->expected == NULL) fail_msg("%s: is not there", path);
    LVLM_JSON_ITEMS (item, lvlm_json_get(f->expected, "references"))
        add_reference(f, lvlm_json_string(item));
    return true;
}

void fixtures_open(fixtures *all)
{
    char **names;
    size_t n;
    assert_int_equal(lvlm_path_list_others(&names, &n, LVLM_FIXTURES, NULL), 0);
    *all = (fixtures){ .at = calloc(n, sizeof *all->at) };
    assert_non_null(all->at);
    for (size_t i = 0; i < n; i++) all->n += describe(&all->at[all->n], names[i]);
    lvlm_path_list_free(names, n);
    assert_true(all->n > 0);
}

void fixtures_close(fixtures *all)
{
    for (size_t i = 0; i < all->n; i++) lvlm_json_free(all->at[i].expected);
    free(all->at);
}

bool fixture_lists(const cJSON *patterns, const char *name)
{
    bool matches = false;
    const cJSON *item;
    LVLM_JSON_ITEMS (item, patterns) {
        const char *const pattern = lvlm_json_string(item);
        if (*pattern == '!' && fnmatch(pattern + 1, name, 0) == 0) return false;
        matches |= fnmatch(pattern, name, 0) == 0;
    }
    return matches;
}

char **fixture_families(size_t *n, const char *folder)
{
    char path[FIXTURE_PATH], **names;
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s", folder);
    assert_int_equal(lvlm_path_list_others(&names, n, path, NULL), 0);
    for (const lvlm_family *const *f = lvlm_families(); *f != NULL; f++) {
        bool found = false;
        for (size_t i = 0; i < *n; i++) found |= strcmp(names[i], (*f)->name) == 0;
        if (!found) fail_msg("%s: no folder of %s", path, (*f)->name);
    }
    return names;
}

cJSON *fixture_json(const char *folder, const char *name)
{
    char path[FIXTURE_PATH];
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    lvlm_error err;
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/%s", folder, name);
    if (lvlm_infile_open(&file, path, &err) < 0 ||
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, &err) <
            0)
        fail_msg("%s: %s", path, err.text);
    lvlm_infile_close(file);
    return json;
}
