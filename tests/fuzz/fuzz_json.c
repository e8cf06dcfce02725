/* fuzz_json.c - a document that parses is printed, and parses again to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *json = NULL, *again = NULL;
    char *text = NULL, *second = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&json, (const char *)data, size, &err) < 0) return 0;
    if (lvlm_json_print(&text, json, &err) < 0 ||
        lvlm_json_parse(&again, text, strlen(text), &err) < 0 ||
        lvlm_json_print(&second, again, &err) < 0 || strcmp(text, second) != 0)
        abort();
    lvlm_free(text);
    lvlm_free(second);
    lvlm_json_free(json);
    lvlm_json_free(again);
    return 0;
}
