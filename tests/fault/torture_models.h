/* torture_models.h - the fixtures that are converted, read and trained. */
#ifndef LVLM_TESTS_FAULT_TORTURE_MODELS_H
#define LVLM_TESTS_FAULT_TORTURE_MODELS_H

#include "tests/fault/import_model.h"
#include "tests/fault/torture.h"

#define PARTS LVLM_FIXTURES "/parts"
#define TORCH LVLM_FIXTURES "/torch-files"
#define NPZ LVLM_FIXTURES "/npz"
#define BATCHES LVLM_FIXTURES "/train/batches"
#define RECORDED LVLM_FIXTURES "/paligemma2-odd"
#define ADAPTED LVLM_FIXTURES "/paligemma-odd/model"
#define ADAPTER LVLM_FIXTURES "/lora/paligemma/end"
#define SPOKEN LVLM_FIXTURES "/mllama-odd"

/* Torture `n` operations on a scratch that has the models they use; `more` makes
 * others; NULL: none. */
static inline void torture_models(const torture_row *rows, size_t n,
                                  void (*more)(scratch *s))
{
    scratch s;
    scratch_make(&s);
    assert_int_equal(import(HUB, scratch_path(&s, "model.lvlm"), NULL), 0);
    assert_int_equal(import(RECORDED "/model", scratch_path(&s, "other.lvlm"), NULL),
                     0);
    assert_int_equal(import(ADAPTED, scratch_path(&s, "adapted.lvlm"), NULL), 0);
    assert_int_equal(import(SPOKEN "/model", scratch_path(&s, "spoken.lvlm"), NULL), 0);
    scratch_copy(&s, HUB, "dir"); /* export fills a directory that is there */
    if (more != NULL) more(&s);
    torture_all(&s, rows, n);
    scratch_remove(&s);
}

#endif
