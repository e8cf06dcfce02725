/* checksum.c - digests of all tensors by a few threads, then compared in file order. */
#include "verify/checksum.h"

#include <stdatomic.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/digest.h"
#include "formats/base/json.h"
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

/* Digests come in file order too; a renamed tensor breaks the pairing by name. */
static void compare(size_t *n, const work *w, const cJSON *digests)
{
    const cJSON *item = lvlm_json_first_member(digests);
    for (size_t i = 0; i < w->cp->n_tensors; i++) {
        const char *name = w->cp->tensors[i].name;
        const bool paired = item != NULL && strcmp(item->string, name) == 0;
        const char *expected =
            lvlm_json_string(paired ? item : lvlm_json_get(digests, name));
        if (expected == NULL || strcmp(expected, w->got[i]) != 0)
            report(w->options, n, name, expected != NULL ? expected : "none recorded",
                   w->got[i]);
        if (paired) item = item->next;
    }
    const cJSON *left;
    LVLM_JSON_MEMBERS (left, digests)
        if (lvlm_checkpoint_find(w->cp, left->string) == NULL)
            report(w->options, n, left->string, lvlm_json_string(left),
                   "no such tensor");
}

static int check_header(size_t *n, const work *w, lvlm_error *err)
{
    hex_digest got;
    const char *expected = lvlm_json_string(lvlm_json_get(w->cp->metadata, "root"));
    TRY(lvlm_native_root(got, w->cp, err));
    if (strcmp(expected, got) != 0) report(w->options, n, "header", expected, got);
    return 0;
}

int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                  const lvlm_checksum_options *options, lvlm_error *err)
{
    work w = { .cp = native, .options = options };
    cJSON *digests = NULL;
    int rc;

    FAIL_IF(native->kind != LVLM_CHECKPOINT_NATIVE, err, LVLM_EUSAGE,
            "%s: is no native file; only those carry digests", native->path);
    *n_corrupt = 0;
    w.got = lvlm_calloc(native->n_tensors + 1, sizeof *w.got);
    if (w.got == NULL) return lvlm_fail_memory(err);
    if ((rc = check_header(n_corrupt, &w, err)) < 0 ||
        (rc = lvlm_native_meta_json(&digests, native, "digests", err)) < 0 ||
        (rc = lvlm_workers_each(options->threads, native->n_tensors, hash_tensor, &w,
                                err)) < 0)
        goto done;
    compare(n_corrupt, &w, digests);
done:
    lvlm_json_free(digests);
    lvlm_free(w.got);
    return rc;
}
