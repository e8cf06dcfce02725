/* fuzz_ledger.c - any bytes as a ledger; what is accepted is written back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/base/json.h"
#include "formats/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_ledger ledger, again;
    cJSON *json = NULL, *written = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&json, (const char *)data, size, &err) < 0) return 0;
    if (lvlm_ledger_read(&ledger, json, &arena, &err) == 0) {
        if (lvlm_ledger_write(&written, &ledger, &err) < 0 ||
            lvlm_ledger_read(&again, written, &arena, &err) < 0 ||
            again.n_entries != ledger.n_entries)
            abort();
        lvlm_json_free(written);
    }
    lvlm_json_free(json);
    lvlm_arena_free(&arena);
    return 0;
}
