/* prompt_run.h - a model folder, a prompt, and the tensors that come of both. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_PROMPT_RUN_H
#define LVLM_TESTS_RUNTIME_PREPARE_PROMPT_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/digest.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "tests/runtime/prepare/prompt_cases.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

/* A model folder, a case and its results. */
typedef struct run {
    lvlm_checkpoint *cp;
    lvlm_manifest manifest;
    lvlm_vision_input *vision;
    lvlm_prompter *prompter;
    lvlm_messages messages;
    lvlm_prompt prompt;
    lvlm_prompt_inputs inputs;
} run;

static inline void open_model(run *r, const char *folder)
{
    const lvlm_open_options headers = { .headers_only = true };
    lvlm_error err;
    memset(r, 0, sizeof *r);
    if (lvlm_checkpoint_open(&r->cp, folder, &headers, &err) < 0 ||
        lvlm_manifest_build(&r->manifest, r->cp, &err) < 0 ||
        lvlm_vision_input_open(&r->vision, &r->manifest, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void close_model(run *r)
{
    lvlm_vision_input_close(r->vision);
    lvlm_manifest_free(&r->manifest);
    lvlm_checkpoint_close(r->cp);
}

static inline int write_prompt(run *r, const cJSON *item, lvlm_error *err)
{
    const lvlm_prompt_options options = { .raw =
                                              cJSON_IsTrue(lvlm_json_get(item, "raw")),
                                          .chat_template = case_text(item, "template"),
                                          .date = case_text(item, "date") };
    TRY(lvlm_prompter_open(&r->prompter, &r->manifest, &options, err));
    TRY(case_messages(&r->messages, item, err));
    return lvlm_prompt_write(&r->prompt, r->prompter, &r->messages, err);
}

static inline int make_inputs(run *r, lvlm_error *err)
{
    lvlm_prompt *const prompts[] = { &r->prompt };
    return lvlm_prompt_inputs_make(&r->inputs, prompts, 1, r->vision, NULL, err);
}

/* A tensor of the batch is the recorded one, whose name is the key of `want`. */
static inline void check_tensor(const run *r, const cJSON *want, const char *what)
{
    const lvlm_tensor *const got = lvlm_checkpoint_find(&r->inputs.batch, want->string);
    char hex[LVLM_DIGEST_HEX + 1];
    if (got == NULL) fail_msg("%s: %s is missing", what, want->string);
    cJSON *const shape = lvlm_shape_json(&got->shape);
    if (!cJSON_Compare(shape, lvlm_json_get(want, "shape"), true))
        fail_msg("%s: %s: another shape", what, want->string);
    lvlm_json_free(shape);
    assert_string_equal(lvlm_dtype_name(got->dtype), case_text(want, "dtype"));
    assert_int_equal(lvlm_digest_bytes(hex, got->data, (size_t)got->n_bytes, NULL), 0);
    if (strcmp(hex, case_text(want, "sha256")) != 0)
        fail_msg("%s: %s differs", what, want->string);
}

static inline void finish(run *r)
{
    lvlm_prompt_inputs_free(&r->inputs);
    lvlm_prompt_free(&r->prompt);
    lvlm_messages_free(&r->messages);
    lvlm_prompter_close(r->prompter);
    r->prompter = NULL;
}

/* Replaces files of a copy of the model; null removes the file. */
static inline void exchange(scratch *s, const cJSON *files)
{
    const cJSON *file;
    LVLM_JSON_MEMBERS (file, files) {
        char name[128];
        const char *const text = lvlm_json_string(file);
        snprintf(name, sizeof name, "model/%s", file->string);
        if (text != NULL)
            scratch_write(s, name, text, strlen(text));
        else
            assert_int_equal(unlink(scratch_path(s, name)), 0);
    }
}

/* Opens the prompter of a model with one file removed or replaced by `text`; `notes`
 * receives what it skips. */
static inline int open_changed(const char *family, const char *file, const char *text,
                               const lvlm_prompt_options *options, lvlm_notes *notes,
                               lvlm_error *err)
{
    char folder[CASES_PATH];
    scratch s;
    cJSON *const files = cJSON_CreateObject();
    cJSON_AddItemToObject(files, file,
                          text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
    cases_path(folder, family, "model");
    scratch_make(&s);
    scratch_copy(&s, folder, "model");
    exchange(&s, files);
    lvlm_json_free(files);
    run r;
    open_model(&r, scratch_path(&s, "model"));
    r.cp->notes = notes;
    const int rc = lvlm_prompter_open(&r.prompter, &r.manifest, options, err);
    if (rc < 0) r.prompter = NULL;
    finish(&r);
    close_model(&r);
    scratch_remove(&s);
    return rc;
}

static inline void refuses_file(const char *family, const char *file, const char *text,
                                const char *message)
{
    lvlm_error err = { .text = "" };
    assert_int_equal(open_changed(family, file, text, NULL, NULL, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL)
        fail_msg("%s: expected '%s', got '%s'", family, message, err.text);
}

#endif
