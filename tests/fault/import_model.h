/* import_model.h - a fixture as a native file. */
#ifndef LVLM_TESTS_FAULT_IMPORT_MODEL_H
#define LVLM_TESTS_FAULT_IMPORT_MODEL_H

#include "convert/import.h"

#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"
#define SHARDED LVLM_FIXTURES "/paligemma2-bf16/model"

static inline int import(const char *source, const char *native, lvlm_error *err)
{
    const lvlm_import_options options = { .change_dtype = false };
    const lvlm_run run = { .threads = 1 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_outfile *file = NULL;
    lvlm_import *im = NULL;
    int rc = lvlm_import_plan(&im, source, &options, err);
    if (rc == 0) rc = lvlm_outfile_open(&file, native, true, err);
    if (rc == 0) rc = lvlm_import_execute(im, file, &run, root, err);
    lvlm_outfile_close(file);
    lvlm_import_free(im);
    return rc;
}

#endif
