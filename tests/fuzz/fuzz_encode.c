/* fuzz_encode.c - training examples: { "model": NAME, "examples": [..] } are read,
 * encoded with the model's own tokenizer, prompts and processor, and accepted by the
 * model as inputs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/checkpoint/manifest.h"
#include "runtime/batch/inputs.h"
#include "runtime/tune/data/encoder.h"
#include "tests/fuzz/fuzz_kit.h"

enum { MAX_EXAMPLES = 4, MAX_LENGTH = 256 };

static const char *const names[] = { "qwen2_vl", "paligemma", "mllama", "qwen_vl" };

typedef struct talker {
    lvlm_encoder *encoder;
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
    lvlm_input_spec spec;
} talker;

/* The model that is named, opened once. */
static const talker *talker_of(const cJSON *json)
{
    static talker talkers[sizeof names / sizeof *names];
    const lvlm_encoder_options options = { .images = LVLM_FIXTURES "/images",
                                           .max_length = MAX_LENGTH };
    const char *const name = lvlm_json_string(lvlm_json_get(json, "model"));
    char fixture[64];
    size_t i = 0;
    while (i + 1 < sizeof names / sizeof *names &&
           (name == NULL || strcmp(name, names[i]) != 0))
        i++;
    talker *const t = &talkers[i];
    if (t->encoder != NULL) return t;
    (void)snprintf(fixture, sizeof fixture, "prompts/%s/model", names[i]);
    const char *const path = kit_model(fixture);
    if (lvlm_encoder_open(&t->encoder, path, &options, NULL) < 0 ||
        lvlm_checkpoint_open(&t->checkpoint, path, NULL, NULL) < 0 ||
        lvlm_manifest_build(&t->manifest, t->checkpoint, NULL) < 0 ||
        lvlm_input_spec_read(&t->spec, t->manifest.config, NULL) < 0)
        abort();
    return t;
}

static void encode(const talker *t, lvlm_example *const *examples, size_t n)
{
    lvlm_encoded *encoded = NULL;
    lvlm_inputs inputs;
    size_t bad = 0;
    lvlm_error err;
    if (lvlm_encode(&encoded, &bad, t->encoder, examples, n, &err) < 0) {
        if (bad >= n) abort();
        return;
    }
    if (lvlm_inputs_read(&inputs, &encoded->batch, "", &t->spec, NULL, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        abort(); /* the model accepts what was encoded */
    }
    lvlm_inputs_free(&inputs);
    lvlm_encoded_free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_example examples[MAX_EXAMPLES], *at[MAX_EXAMPLES];
    cJSON *const json = kit_parse(data, size);
    const cJSON *item;
    size_t n = 0;
    if (json == NULL) return 0;
    const talker *const t = talker_of(json);
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "examples")) {
        if (n == MAX_EXAMPLES) break;
        at[n] = &examples[n];
        if (lvlm_example_read(at[n], item, t->encoder->tags, NULL, NULL) < 0)
            lvlm_example_free(at[n]);
        else
            n++;
    }
    if (n > 0) encode(t, at, n);
    for (size_t i = 0; i < n; i++) lvlm_example_free(at[i]);
    lvlm_json_free(json);
    return 0;
}
