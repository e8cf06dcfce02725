/* fuzz_examples.c - any bytes as a file of training data: every value is refused, or an
 * example that ends in an answer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/base/json.h"
#include "runtime/tune/data/example.h"
#include "runtime/tune/data/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_value(const lvlm_jsonl *file, size_t i, bool tags)
{
    lvlm_error err;
    lvlm_example example;
    cJSON *json = NULL;
    if (lvlm_jsonl_parse(&json, file, i, &err) < 0) return;
    if (lvlm_example_read(&example, json, tags, NULL, &err) == 0) {
        const lvlm_messages *const m = &example.messages;
        if (m->n == 0 || m->at[m->n - 1].role != LVLM_ROLE_ASSISTANT) abort();
    }
    lvlm_example_free(&example);
    lvlm_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "data";
    const lvlm_infile file = { .bytes = data, .n_bytes = size, .path = path };
    lvlm_jsonl values;
    lvlm_error err;
    if (lvlm_jsonl_read(&values, &file, &err) == 0)
        for (size_t i = 0; i < values.n; i++)
            for (int tags = 0; tags < 2; tags++) read_value(&values, i, tags);
    lvlm_jsonl_close(&values);
    return 0;
}
