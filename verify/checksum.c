/* checksum.c - digests of all tensors by a few threads, then compared in file order. */
#include "verify/checksum.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/native/digests.h"
#include "formats/native/native.h"

typedef struct work {
    const lvlm_checkpoint *cp;
    const lvlm_checksum_options *options;
    lvlm_hex_digest *got;
} work;

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
    const lvlm_digests_run run = { .threads = options->threads,
                                   .progress = options->progress,
                                   .user = options->progress_user };
    const int rc = lvlm_digests_compute(w.got, native, &run, err);
    if (rc == 0) compare(n_corrupt, &w);
    lvlm_free(w.got);
    return rc;
}
