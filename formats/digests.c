/* digests.c - SHA-256 of many tensors by a few threads; see digests.h. */
#include "formats/digests.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/workers.h"
#include "formats/native.h"

/* A tensor is hashed in pieces of this size, which then leave the resident set. */
#define PIECE ((uint64_t)8 << 20)

typedef struct work {
    const lvlm_checkpoint *file;
    const lvlm_digests_run *run;
    lvlm_hex_digest *out;
    uint64_t total;
    atomic_ullong done;
} work;

static bool is_wanted(const lvlm_digests_run *run, const lvlm_tensor *tensor)
{
    return run->wants == NULL || run->wants(tensor);
}

/* ---- computing ------------------------------------------------------------------ */

static int hash_tensor(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    const lvlm_tensor *const t = &w->file->tensors[i];
    const lvlm_infile *const map = w->file->files[t->file].map;
    lvlm_digest digest = LVLM_DIGEST_INIT;
    if (!is_wanted(w->run, t)) return 0;
    int rc = lvlm_digest_start(&digest, err);
    for (uint64_t at = 0; at < t->n_bytes && rc == 0; at += PIECE) {
        const uint64_t n = t->n_bytes - at < PIECE ? t->n_bytes - at : PIECE;
        rc = lvlm_digest_update(&digest, t->data + at, (size_t)n, err);
        lvlm_infile_done_with(map, t->offset + at, n);
        const uint64_t done = atomic_fetch_add(&w->done, n) + n;
        if (w->run->progress != NULL) w->run->progress(w->run->user, done, w->total);
    }
    if (rc == 0) rc = lvlm_digest_finish(&digest, w->out[i], err);
    lvlm_digest_free(&digest);
    return rc;
}

int lvlm_digests_compute(lvlm_hex_digest *out, const lvlm_checkpoint *file,
                         const lvlm_digests_run *run, lvlm_error *err)
{
    work w = { .file = file, .run = run, .out = out };
    for (size_t i = 0; i < file->n_tensors; i++)
        if (is_wanted(run, &file->tensors[i])) w.total += file->tensors[i].n_bytes;
    return lvlm_workers_each(run->threads, file->n_tensors, hash_tensor, &w, err);
}

/* ---- comparing ------------------------------------------------------------------ */

/* Names the first tensor that is another one than recorded. */
static int compare(const lvlm_checkpoint *file, const cJSON *recorded,
                   const lvlm_digests_run *run, lvlm_hex_digest *got, lvlm_error *err)
{
    const cJSON *next = lvlm_json_first_member(recorded);
    const char *expected = NULL;
    size_t first = 0, n = 0;
    char more[48] = "";
    for (size_t i = 0; i < file->n_tensors; i++) {
        const lvlm_tensor *const t = &file->tensors[i];
        const bool paired = next != NULL && strcmp(next->string, t->name) == 0;
        const char *const hex =
            lvlm_json_string(paired ? next : lvlm_json_get(recorded, t->name));
        if (paired) next = next->next;
        if (!is_wanted(run, t) || (hex != NULL && strcmp(hex, got[i]) == 0)) continue;
        if (n++ > 0) continue;
        first = i;
        expected = hex;
    }
    if (n == 0) return 0;
    if (n > 1)
        (void)snprintf(more, sizeof more, "; so %s %zu more", n > 2 ? "are" : "is",
                       n - 1);
    return lvlm_fail(err, LVLM_ECHECK,
                     "%s: tensor '%s' is corrupt: its SHA-256 is %s, recorded is %s%s",
                     file->path, file->tensors[first].name, got[first],
                     expected != NULL ? expected : "none", more);
}

int lvlm_digests_check(const lvlm_checkpoint *file, const cJSON *recorded,
                       const lvlm_digests_run *run, lvlm_error *err)
{
    lvlm_hex_digest *const got = lvlm_calloc(file->n_tensors + 1, sizeof *got);
    if (got == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_digests_compute(got, file, run, err);
    if (rc == 0) rc = compare(file, recorded, run, got, err);
    lvlm_free(got);
    return rc;
}

/* ---- native files --------------------------------------------------------------- */

int lvlm_native_check_tensors(const lvlm_checkpoint *native,
                              const lvlm_digests_run *run, lvlm_error *err)
{
    cJSON *recorded = NULL;
    TRY(lvlm_native_meta_json(&recorded, native, "digests", err));
    const int rc = lvlm_digests_check(native, recorded, run, err);
    lvlm_json_free(recorded);
    return rc;
}

static bool is_below(const lvlm_tensor *tensor, const char *prefix)
{
    return strncmp(tensor->name, prefix, strlen(prefix)) == 0;
}

bool lvlm_native_runs_with(const lvlm_tensor *tensor)
{
    return !is_below(tensor, LVLM_NATIVE_UNUSED) &&
           !is_below(tensor, LVLM_NATIVE_FRAMES) && !is_below(tensor, LVLM_NATIVE_PAD);
}

static bool is_side_file(const lvlm_tensor *tensor)
{
    return is_below(tensor, LVLM_NATIVE_FILES);
}

int lvlm_native_check_side_files(const lvlm_checkpoint *checkpoint, size_t threads,
                                 lvlm_error *err)
{
    const lvlm_digests_run run = { .threads = threads, .wants = is_side_file };
    if (checkpoint->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    return lvlm_native_check_tensors(checkpoint, &run, err);
}
