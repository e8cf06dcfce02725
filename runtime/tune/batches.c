/* batches.c - a folder of ready batches; see batches.h. */
#include "runtime/tune/batches.h"

#include <fnmatch.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/random.h"

int lvlm_batches_open(lvlm_batches *out, const char *folder, lvlm_error *err)
{
    char **names;
    size_t n;
    *out = (lvlm_batches){ .arena = LVLM_ARENA_INIT };
    TRY(lvlm_path_list(&names, &n, folder, err));
    out->paths = lvlm_arena_alloc(&out->arena, n + 1, sizeof *out->paths);
    bool ok = out->paths != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        if (fnmatch("batch-*.safetensors", names[i], 0) != 0) continue;
        const char *path = lvlm_arena_printf(&out->arena, "%s/%s", folder, names[i]);
        out->paths[out->n++] = path;
        ok = path != NULL;
    }
    lvlm_path_list_free(names, n);
    if (!ok) return lvlm_fail_memory(err);
    FAIL_IF(out->n == 0, err, LVLM_EFORMAT, "%s: holds no batch-NNN.safetensors",
            folder);
    return 0;
}

void lvlm_batches_free(lvlm_batches *batches)
{
    lvlm_arena_free(&batches->arena);
    *batches = (lvlm_batches){ 0 };
}

const char *lvlm_batches_at(const lvlm_batches *b, size_t i)
{
    const uint64_t walk = lvlm_random_scramble(b->seed) + i / b->n;
    const uint64_t stream = lvlm_random_scramble(walk);
    size_t at = i % b->n;
    if (!b->shuffled) return b->paths[at];
    size_t *const order = lvlm_calloc(b->n, sizeof *order);
    if (order == NULL) return NULL;
    for (size_t j = 0; j < b->n; j++) order[j] = j;
    for (size_t j = b->n - 1; j > 0; j--) {
        uint64_t bits;
        lvlm_random_bits(&bits, stream, j, 1);
        const size_t k = (size_t)(bits % (j + 1)), swap = order[j];
        order[j] = order[k];
        order[k] = swap;
    }
    at = order[at];
    lvlm_free(order);
    return b->paths[at];
}
