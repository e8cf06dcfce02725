/* fuzz_torchfile.c - any bytes as a file of torch.save and as a zip archive: refused,
 * or read without harm. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/base/alloc.h"
#include "formats/torchfile.h"
#include "formats/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes are read for the sanitizer. */
static void look_at(const unsigned char *bytes, uint64_t n)
{
    unsigned sum = 0;
    for (uint64_t i = 0; i < n; i++) sum += bytes[i];
    if (sum == 0xffffffffu) abort();
}

static void read_archive(const lvlm_infile *file)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    lvlm_error err;
    if (lvlm_zip_read(&zip, file, &arena, &err) == 0)
        for (size_t i = 0; i < zip.n_members; i++) {
            const lvlm_zip_member *m = &zip.members[i];
            unsigned char *to = lvlm_malloc((size_t)m->n_bytes + 1);
            if (to == NULL) continue;
            if (lvlm_zip_inflate(to, m, file, &err) == 0) look_at(to, m->n_bytes);
            lvlm_free(to);
            if (lvlm_zip_find(&zip, m->name) != m) abort();
        }
    lvlm_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_infile file = { .bytes = data, .n_bytes = size };
    read_archive(&file);
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
