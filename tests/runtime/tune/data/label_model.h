/* label_model.h - a model of the prompts' fixtures, and what labels need of it. */
#ifndef LVLM_TESTS_RUNTIME_TUNE_DATA_LABEL_MODEL_H
#define LVLM_TESTS_RUNTIME_TUNE_DATA_LABEL_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/batch/inputs.h"
#include "runtime/tune/data/example.h"
#include "runtime/tune/data/labels.h"

typedef struct model {
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
    lvlm_prompter *prompter;
    lvlm_labeller labeller;
    bool tags; /* images are between tags in the text */
} model;

/* `template` NULL: the model's own. Fails the test on an error. */
static inline void open_model(model *m, const char *path, const char *template)
{
    const lvlm_prompt_options options = { .training = true, .chat_template = template };
    lvlm_input_spec spec;
    lvlm_error err = { .text = "" };
    *m = (model){ .tags = false };
    if (lvlm_checkpoint_open(&m->checkpoint, path, NULL, &err) < 0 ||
        lvlm_manifest_build(&m->manifest, m->checkpoint, &err) < 0 ||
        lvlm_input_spec_read(&spec, m->manifest.config, &err) < 0 ||
        lvlm_prompter_open(&m->prompter, &m->manifest, &options, &err) < 0 ||
        lvlm_labeller_init(&m->labeller, &m->manifest,
                           lvlm_prompter_tokenizer(m->prompter), &err) < 0)
        fail_msg("%s", err.text);
    m->tags = spec.splice == LVLM_SPLICE_BETWEEN_TAGS;
}

static inline void close_model(model *m)
{
    lvlm_prompter_close(m->prompter);
    lvlm_manifest_free(&m->manifest);
    lvlm_checkpoint_close(m->checkpoint);
}

#endif
