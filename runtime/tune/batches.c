/* batches.c - a folder of ready batches; see batches.h. */
#include "runtime/tune/batches.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/strbuf.h"
#include "runtime/tune/order.h"

enum { MAX_LIST = 1 << 26 }; /* bytes of all names and sizes together */

typedef struct folder {
    const char **paths;   /* (n) sorted by name */
    size_t n, at;         /* the next number */
    size_t *order, epoch; /* (n) of epoch number `epoch` */
    bool shuffled;
    uint64_t seed;
    lvlm_checkpoint *open; /* the batch that was handed out, or NULL */
    lvlm_arena arena;
} folder;

/* ---- as a source ---------------------------------------------------------------- */

static int folder_seek(void *self, size_t i, lvlm_error *err)
{
    folder *const f = self;
    (void)err;
    f->at = i;
    return 0;
}

static int folder_next(void *self, lvlm_batch *out, lvlm_error *err)
{
    folder *const f = self;
    assert(f->n > 0);
    const size_t epoch = f->at / f->n;
    if (f->epoch != epoch) lvlm_order_make(f->order, f->n, f->shuffled, f->seed, epoch);
    f->epoch = epoch;
    assert(f->order[f->at % f->n] < f->n);
    out->name = f->paths[f->order[f->at % f->n]];
    lvlm_checkpoint_close(f->open);
    f->open = NULL;
    TRY(lvlm_checkpoint_open(&f->open, out->name, NULL, err));
    out->tensors = f->open;
    f->at++;
    return 0;
}

static void folder_close(void *self)
{
    folder *const f = self;
    if (f == NULL) return;
    lvlm_checkpoint_close(f->open);
    lvlm_arena_free(&f->arena);
    lvlm_free(f);
}

/* ---- opening -------------------------------------------------------------------- */

static int list_paths(folder *f, const char *path, lvlm_error *err)
{
    char **names;
    size_t n;
    TRY(lvlm_path_list(&names, &n, path, err));
    f->paths = lvlm_arena_alloc(&f->arena, n + 1, sizeof *f->paths);
    f->order = lvlm_arena_alloc(&f->arena, n + 1, sizeof *f->order);
    bool ok = f->paths != NULL && f->order != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        if (fnmatch("batch-*.safetensors", names[i], 0) != 0) continue;
        f->paths[f->n] = lvlm_arena_printf(&f->arena, "%s/%s", path, names[i]);
        ok = f->paths[f->n++] != NULL;
    }
    lvlm_path_list_free(names, n);
    if (!ok) return lvlm_fail_memory(err);
    FAIL_IF(f->n == 0, err, LVLM_EFORMAT, "%s: holds no batch-NNN.safetensors", path);
    return 0;
}

/* The id is computed from names, sizes and order: hashing the contents would be
 * slow. */
static int describe(lvlm_batch_source *out, const folder *f, lvlm_error *err)
{
    lvlm_strbuf list = LVLM_STRBUF_INIT(MAX_LIST);
    char order[64] = "";
    uint64_t most = 0;
    int rc = 0;
    assert(f->n > 0);
    if (f->shuffled) {
        lvlm_strbuf_printf(&list, "shuffled by %" PRIu64 "\n", f->seed);
        (void)snprintf(order, sizeof order, ", shuffled by %" PRIu64, f->seed);
    }
    (void)snprintf(out->how, sizeof out->how, "%zu batches%s", f->n, order);
    for (size_t i = 0; rc == 0 && i < f->n; i++) {
        lvlm_infile *file = NULL;
        rc = lvlm_infile_map(&file, f->paths[i], err);
        if (rc < 0) break;
        lvlm_strbuf_printf(&list, "%" PRIu64 " %s\n", file->n_bytes,
                           lvlm_path_base(f->paths[i]));
        if (file->n_bytes > most) {
            most = file->n_bytes;
            out->largest = i;
        }
        lvlm_infile_close(file);
    }
    size_t number = 0; /* of it in the first epoch */
    while (f->order[number] != out->largest) number++;
    out->largest = number;
    if (rc == 0) rc = lvlm_strbuf_check(&list, err);
    if (rc == 0) rc = lvlm_digest_bytes(out->id, list.text, list.length, err);
    lvlm_strbuf_free(&list);
    return rc;
}

int lvlm_batches_open(lvlm_batch_source *out, const char *path, bool shuffled,
                      uint64_t seed, lvlm_error *err)
{
    folder *const f = lvlm_calloc(1, sizeof *f);
    *out = (lvlm_batch_source){
        .self = f, .seek = folder_seek, .next = folder_next, .close = folder_close
    };
    if (f == NULL) return lvlm_fail_memory(err);
    f->shuffled = shuffled;
    f->seed = seed;
    int rc = list_paths(f, path, err);
    if (rc == 0) {
        lvlm_order_make(f->order, f->n, f->shuffled, f->seed, 0);
        rc = describe(out, f, err);
    }
    if (rc < 0) {
        lvlm_batch_source_close(out);
        return rc;
    }
    out->n = f->n;
    out->held = 1;
    return 0;
}
