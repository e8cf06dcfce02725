/* bare_model.h - a model without tensors: a configuration and the side files of its
 * processor. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_BARE_MODEL_H
#define LVLM_TESTS_RUNTIME_PREPARE_BARE_MODEL_H

#include "formats/base/alloc.h"
#include "formats/checkpoint/manifest.h"
#include "tests/runtime/prepare/recorded.h"

enum { BARE_FILES = 4 };

typedef struct bare_model {
    lvlm_side_file files[BARE_FILES];
    char *texts[BARE_FILES];
    lvlm_checkpoint checkpoint;
    lvlm_manifest manifest;
} bare_model;

/* The configuration in fixtures/FOLDER, and no files yet. */
static inline void bare_model_open(bare_model *m, const char *folder)
{
    char name[RECORDED_PATH];
    cJSON *hf = NULL;
    lvlm_error err;
    *m = (bare_model){ .checkpoint = { .path = "model.lvlm", .side_files = m->files } };
    m->manifest.checkpoint = &m->checkpoint;
    (void)snprintf(name, sizeof name, "../%s/config.json", folder);
    lvlm_infile *const config = recorded_file(name);
    assert_int_equal(
        lvlm_json_parse(&hf, (const char *)config->bytes, config->n_bytes, NULL), 0);
    if (lvlm_family_detect(&m->manifest.family, hf, &err) < 0 ||
        lvlm_family_config(&m->manifest.config, m->manifest.family, hf, &err) < 0)
        fail_msg("%s: %s", folder, err.text);
    lvlm_json_free(hf);
    lvlm_infile_close(config);
}

/* Add a file, in order of name. */
static inline void bare_model_add(bare_model *m, const char *name, const char *text)
{
    const size_t i = m->checkpoint.n_side_files++;
    assert_true(i < BARE_FILES);
    m->texts[i] = lvlm_strdup(text);
    m->files[i] = (lvlm_side_file){ .name = name,
                                    .bytes = (unsigned char *)m->texts[i],
                                    .n_bytes = strlen(text) };
}

static inline void bare_model_close(bare_model *m)
{
    for (size_t i = 0; i < m->checkpoint.n_side_files; i++) lvlm_free(m->texts[i]);
    lvlm_json_free(m->manifest.config);
}

#endif
