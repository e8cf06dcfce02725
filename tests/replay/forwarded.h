/* forwarded.h - a forward of a native file over inputs, for tests. */
#ifndef LVLM_TESTS_REPLAY_FORWARDED_H
#define LVLM_TESTS_REPLAY_FORWARDED_H

#include "runtime/collect.h"
#include "tests/convert/converted.h"

/* Its stages, or logits and loss; free the list. Fails the test on an error. */
static inline lvlm_stage_list
must_forward(const char *native, const lvlm_checkpoint *inputs, const char *prefix,
             const lvlm_model_options *options, bool everything)
{
    lvlm_stage_list list = { .everything = everything };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_model *model = NULL;
    lvlm_error err;
    if (lvlm_model_open(&model, native, options, &err) < 0 ||
        lvlm_model_forward(model, inputs, prefix, &sink, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_model_free(model);
    return list;
}

#endif
