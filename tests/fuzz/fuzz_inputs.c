/* fuzz_inputs.c - a batch for each family: { "model": NAME, "tensors": {..} } through
 * inputs, packing, the towers' layout and the whole model, forward and backward, and as
 * the beginning of an answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/generate/session.h"
#include "runtime/model.h"
#include "tests/fuzz/fuzz_kit.h"

enum { MAX_IDS = 512, MAX_PIXELS = 1 << 15 };

static const char *const names[] = { "qwen2_vl",   "qwen2_5_vl", "paligemma",
                                     "paligemma2", "mllama",     "qwen_vl" };

static bool trains(void *user, const lvlm_manifest *manifest, const lvlm_target *target)
{
    (void)user;
    (void)manifest;
    (void)target;
    return true;
}

/* The model of a family, opened once. */
static lvlm_model *model_of(const cJSON *json)
{
    static lvlm_model *models[sizeof names / sizeof *names];
    const lvlm_model_options options = { .threads = 1, .trains = trains };
    const char *const name = lvlm_json_string(lvlm_json_get(json, "model"));
    char fixture[64];
    size_t i = 0;
    while (i + 1 < sizeof names / sizeof *names &&
           (name == NULL || strcmp(name, names[i]) != 0))
        i++;
    (void)snprintf(fixture, sizeof fixture, "%s-odd/model", names[i]);
    if (models[i] == NULL &&
        lvlm_model_open(&models[i], kit_model(fixture), &options, NULL) < 0)
        abort();
    return models[i];
}

/* Attention is quadratic: large inputs are skipped here. */
static bool is_small(const lvlm_checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *const t = &cp->tensors[i];
        const bool pixels = strncmp(t->name, "pixel", 5) == 0;
        if (lvlm_tensor_numel(t) > (pixels ? MAX_PIXELS : MAX_IDS) &&
            (pixels || strcmp(t->name, "input_ids") == 0))
            return false;
    }
    return true;
}

static int no_stage(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    (void)user;
    (void)stage;
    (void)err;
    return 0;
}

static void compute(lvlm_model *model, const lvlm_checkpoint *batch)
{
    const lvlm_stage_sink sink = { .take = no_stage };
    lvlm_session *session = NULL;
    lvlm_model_step step;
    uint64_t n_bytes;
    (void)!lvlm_model_forward(model, batch, "", &sink, NULL);
    (void)!lvlm_model_backward_bytes(model, &n_bytes, batch, "", NULL);
    (void)!lvlm_model_backward(model, &step, batch, "", 0, NULL);
    if (lvlm_session_begin(&session, model, batch, "", NULL, NULL) == 0)
        (void)!lvlm_session_step(session, 1, NULL);
    lvlm_session_end(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
    lvlm_checkpoint *batch = NULL;
    cJSON *const json = kit_parse(data, size);
    if (kit_safetensors(&file, json) &&
        lvlm_checkpoint_open(&batch,
                             kit_write("in.safetensors", file.text, file.length), NULL,
                             NULL) == 0 &&
        is_small(batch))
        compute(model_of(json), batch);
    lvlm_checkpoint_close(batch);
    kit_remove("in.safetensors");
    lvlm_strbuf_free(&file);
    lvlm_json_free(json);
    return 0;
}
