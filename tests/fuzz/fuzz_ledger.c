/* fuzz_ledger.c - any bytes as a ledger; what is accepted is written back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/native/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_strbuf text = LVLM_STRBUF_INIT(64 << 20);
    lvlm_ledger ledger, again;
    lvlm_error err;
    if (lvlm_ledger_read(&ledger, (const char *)data, size, &arena, &err) == 0) {
        lvlm_ledger_print(&text, &ledger);
        if (lvlm_strbuf_check(&text, &err) < 0 ||
            lvlm_ledger_read(&again, text.text, text.length, &arena, &err) < 0 ||
            again.n_entries != ledger.n_entries)
            abort();
    }
    lvlm_strbuf_free(&text);
    lvlm_arena_free(&arena);
    return 0;
}
