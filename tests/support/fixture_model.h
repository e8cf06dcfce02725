/* fixture_model.h - the manifest of a fixture's Hugging Face model, for tests. */
#ifndef LVLM_TESTS_SUPPORT_FIXTURE_MODEL_H
#define LVLM_TESTS_SUPPORT_FIXTURE_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "formats/checkpoint/manifest.h"

typedef struct fixture_model {
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
} fixture_model;

/* The manifest of FIXTURES/NAME/model; fails the test on an error. */
static inline void fixture_model_open(fixture_model *m, const char *fixtures,
                                      const char *name)
{
    char path[256];
    lvlm_error err;
    (void)snprintf(path, sizeof path, "%s/%s/model", fixtures, name);
    if (lvlm_checkpoint_open(&m->checkpoint, path, NULL, &err) < 0 ||
        lvlm_manifest_build(&m->manifest, m->checkpoint, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void fixture_model_close(fixture_model *m)
{
    lvlm_manifest_free(&m->manifest);
    lvlm_checkpoint_close(m->checkpoint);
}

#endif
