/* checksum.c - digests of all tensors by a few threads, then compared in file order. */
#include "verify/checksum.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/digest.h"
#include "formats/base/workers.h"
#include "formats/native.h"

/* A tensor is hashed in pieces of this size, each given back to the kernel when
 * done. */
#define PIECE ((uint64_t)8 << 20)

typedef char hex_digest[LVLM_DIGEST_HEX + 1];

typedef struct work {
    const lvlm_checkpoint *cp;
    const lvlm_checksum_options *options;
    hex_digest *got;
    atomic_ullong done;
} work;

static int hash_tensor(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    const lvlm_tensor *const t = &w->cp->tensors[i];
    const lvlm_infile *map = w->cp->files[0].map;
    lvlm_digest digest = LVLM_DIGEST_INIT;
    int rc = lvlm_digest_start(&digest, err);
    for (uint64_t at = 0; at < t->n_bytes && rc == 0; at += PIECE) {
        const uint64_t n = t->n_bytes - at < PIECE ? t->n_bytes - at : PIECE;
        rc = lvlm_digest_update(&digest, t->data + at, (size_t)n, err);
        lvlm_infile_done_with(map, t->offset + at, n);
        const uint64_t done = atomic_fetch_add(&w->done, n) + n;
        if (w->options->progress != NULL)
            w->options->progress(w->options->progress_user, done);
    }
    if (rc == 0) rc = lvlm_digest_finish(&digest, w->got[i], err);
    lvlm_digest_free(&digest);
    return rc;
}

/* ---- comparing ------------------------------------------------------------------ */

static void report(const lvlm_checksum_options *options, size_t *n, const char *name,
                   const char *expected, const char *got)
{
    (*n)++;
    if (options->corrupt != NULL) options->corrupt(options->user, name, expected, got);
}

static void compare(size_t *n, const work *w)
{
    for (size_t i = 0; i < w->cp->n_tensors; i++) {
        const char *expected = lvlm_native_digest_of(w->cp, &w->cp->tensors[i]);
        if (strcmp(expected, w->got[i]) != 0)
            report(w->options, n, w->cp->tensors[i].name, expected, w->got[i]);
    }
}

int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                  const lvlm_checksum_options *options, lvlm_error *err)
{
    work w = { .cp = native, .options = options };

    assert(native->kind == LVLM_CHECKPOINT_NATIVE);
    *n_corrupt = 0;
    w.got = lvlm_calloc(native->n_tensors + 1, sizeof *w.got);
    if (w.got == NULL) return lvlm_fail_memory(err);
    const int rc =
        lvlm_workers_each(options->threads, native->n_tensors, hash_tensor, &w, err);
    if (rc == 0) compare(n_corrupt, &w);
    lvlm_free(w.got);
    return rc;
}
