/* fuzz_recording.c - a recording, and a file of bands beside it, replayed:
 * { "model": NAME, "metadata": {..}, "tensors": {..}, "tolerance": {..} }. */
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "tests/fuzz/fuzz_kit.h"
#include "verify/replay/replay.h"
#include "verify/report/report.h"

static const char *model_of(const cJSON *json)
{
    const char *const name = lvlm_json_string(lvlm_json_get(json, "model"));
    return kit_model(name != NULL && strcmp(name, "paligemma") == 0
                         ? "paligemma-odd/model"
                         : "qwen2_vl-odd/model");
}

static void replay(const char *model, const char *golden, const char *tolerance)
{
    const lvlm_replay_options options = { .threads = 1,
                                          .grads = true,
                                          .tolerance = tolerance };
    lvlm_replay out;
    if (lvlm_replay_run(&out, model, golden, &options, NULL) < 0) return;
    for (size_t i = 0; i < out.n_stages; i++)
        if ((out.stages[i].verdict == LVLM_VERDICT_OK ||
             out.stages[i].verdict == LVLM_VERDICT_EXACT) &&
            !(out.stages[i].error <= out.stages[i].band))
            abort(); /* not a number is never within a band */
    lvlm_replay_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
    cJSON *const json = kit_parse(data, size);
    char *const tolerance = kit_text(json, "tolerance");
    if (size < 65536 && kit_safetensors(&file, json) && file.length < 1 << 17) {
        const char *const golden =
            kit_write("golden.safetensors", file.text, file.length);
        replay(model_of(json), golden,
               tolerance != NULL
                   ? kit_write("tolerance.json", tolerance, strlen(tolerance))
                   : NULL);
    }
    kit_remove("golden.safetensors");
    kit_remove("tolerance.json");
    lvlm_free(tolerance);
    lvlm_strbuf_free(&file);
    lvlm_json_free(json);
    return 0;
}
