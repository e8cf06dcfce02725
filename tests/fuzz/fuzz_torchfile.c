/* fuzz_torchfile.c - any bytes as a file of torch.save: refused or read safely. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "formats/container/torchfile.h"
#include "formats/container/transform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes are read for the sanitizer. */
static void read_values(const lvlm_tensor *tensor)
{
    const lvlm_elements elements = lvlm_tensor_elements(tensor);
    unsigned char one[8];
    unsigned sum = 0;
    for (uint64_t i = 0; i < elements.n; i++) {
        lvlm_elements_read(one, i, 1, &elements);
        for (size_t k = 0; k < elements.bytes; k++) sum += one[k];
    }
    if (sum == 0xffffffffu) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_infile file = { .bytes = data, .n_bytes = size };
    static const lvlm_read ways[] = { LVLM_READ_ALL, LVLM_READ_HEADERS,
                                      LVLM_READ_IN_PLACE };
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_archive torch;
        lvlm_error err;
        if (lvlm_torchfile_read(&torch, &file, ways[way], &arena, &err) == 0) {
            for (size_t i = 0; i < torch.n_tensors; i++)
                if (ways[way] != LVLM_READ_HEADERS) read_values(&torch.tensors[i]);
            lvlm_free(torch.copies);
        }
        lvlm_arena_free(&arena);
    }
    return 0;
}
