/* fuzz_safetensors.c - any bytes as a .safetensors file: refused or read safely. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/container/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_infile file = { .bytes = data, .n_bytes = size };
    for (int headers_only = 0; headers_only < 2; headers_only++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_safetensors st;
        lvlm_error err;
        unsigned sum = 0;
        if (lvlm_safetensors_read(&st, &file, headers_only, &arena, &err) == 0)
            for (size_t i = 0; i < st.n_tensors && !headers_only; i++)
                for (uint64_t j = 0; j < st.tensors[i].n_bytes; j++)
                    sum += st.tensors[i].data[j];
        if (sum == 0xffffffffu) abort(); /* the bytes are read for the sanitizer */
        lvlm_safetensors_free(&st);
        lvlm_arena_free(&arena);
    }
    return 0;
}
