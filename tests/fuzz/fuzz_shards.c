/* fuzz_shards.c - any bytes as a shard index; names never leave the directory. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/container/shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_shards shards;
    lvlm_error err;
    if (lvlm_shards_parse(&shards, (const char *)data, size, ".safetensors", &arena,
                          &err) == 0) {
        for (size_t i = 0; i < shards.n_files; i++)
            if (strchr(shards.files[i], '/') != NULL || shards.files[i][0] == '.')
                abort();
        for (size_t i = 0; i < shards.n_entries; i++)
            if (shards.entries[i].file >= shards.n_files) abort();
    }
    lvlm_arena_free(&arena);
    return 0;
}
