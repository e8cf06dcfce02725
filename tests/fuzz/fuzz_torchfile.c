/* fuzz_torchfile.c - any bytes as a file of torch.save: refused, or read unharmed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/torchfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes are read for the sanitizer. */
static void look_at(const unsigned char *bytes, uint64_t n)
{
    unsigned sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += bytes[i];
    if (sum == 0xffffffffu) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_infile file = { .bytes = data, .n_bytes = size };
    for (int headers_only = 0; headers_only < 2; headers_only++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_torchfile torch;
        lvlm_error err;
        if (lvlm_torchfile_read(&torch, &file, headers_only, &arena, &err) == 0) {
            for (size_t i = 0; i < torch.n_tensors && !headers_only; i++)
                look_at(torch.tensors[i].data, torch.tensors[i].n_bytes);
            lvlm_torchfile_free(&torch);
        }
        lvlm_arena_free(&arena);
    }
    return 0;
}
