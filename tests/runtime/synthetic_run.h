/* synthetic_run.h - a forward of a model in memory over a batch in memory. */
#ifndef LVLM_TESTS_RUNTIME_SYNTHETIC_RUN_H
#define LVLM_TESTS_RUNTIME_SYNTHETIC_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/collect.h"
#include "tests/runtime/synthetic.h"

/* Every stage, or logits and loss. Fails the test on an error. */
static inline lvlm_stage_list synthetic_run(const synthetic *model,
                                            const synthetic *batch,
                                            const lvlm_model_options *options,
                                            bool everything)
{
    lvlm_stage_list list = { .everything = everything };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_model *bound = NULL;
    lvlm_error err = { .text = "" };
    if (lvlm_model_bind(&bound, &model->manifest, options, &err) < 0 ||
        lvlm_model_forward(bound, &batch->checkpoint, "", &sink, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_model_free(bound);
    return list;
}

#endif
