/* digests.c - SHA-256 of many tensors in parallel; see digests.h. */
#include "formats/native/digests.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/workers.h"
#include "formats/container/safetensors.h"
#include "formats/native/native.h"

/* A tensor is hashed in pieces of this size, whose pages are then released. */
#define PIECE ((uint64_t)8 << 20)

typedef struct work {
    const lvlm_checkpoint *file;
    lvlm_selects selects;
    const lvlm_run *run;
    lvlm_hex_digest *out;
    uint64_t total;
    atomic_ullong done;
} work;

static bool is_wanted(lvlm_selects selects, const lvlm_tensor *tensor)
{
    return selects == NULL || selects(tensor);
}

/* ---- computing ------------------------------------------------------------------ */

static int hash_tensor(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    const lvlm_tensor *const t = &w->file->tensors[i];
    if (!is_wanted(w->selects, t)) return 0;
    lvlm_digest digest = lvlm_digest_start();
    for (uint64_t at = 0; at < t->n_bytes; at += PIECE) {
        const uint64_t n = t->n_bytes - at < PIECE ? t->n_bytes - at : PIECE;
        lvlm_digest_update(&digest, t->data + at, (size_t)n);
        lvlm_tensor_done_with(t, at, n);
        const uint64_t done = atomic_fetch_add(&w->done, n) + n;
        if (w->run->progress != NULL) w->run->progress(w->run->user, done, w->total);
    }
    return lvlm_digest_finish(&digest, w->out[i], err);
}

int lvlm_digests_compute(lvlm_hex_digest *out, const lvlm_checkpoint *file,
                         lvlm_selects selects, const lvlm_run *run, lvlm_error *err)
{
    assert(!file->headers_only);
    assert(run->threads > 0);
    work w = { .file = file, .selects = selects, .run = run, .out = out };
    for (size_t i = 0; i < file->n_tensors; i++)
        if (is_wanted(selects, &file->tensors[i])) w.total += file->tensors[i].n_bytes;
    return lvlm_workers_each(run->threads, file->n_tensors, hash_tensor, &w, err);
}

/* ---- comparing ------------------------------------------------------------------ */

/* Report the first tensor whose digest differs. */
static int compare(const lvlm_checkpoint *file, lvlm_selects selects,
                   lvlm_hex_digest *got, lvlm_error *err)
{
    size_t first = 0, n = 0;
    char more[48] = "";
    for (size_t i = file->n_tensors; i > 0; i--) {
        const lvlm_tensor *const t = &file->tensors[i - 1];
        if (!is_wanted(selects, t) ||
            strcmp(got[i - 1], lvlm_native_digest_of(file, t)) == 0)
            continue;
        first = i - 1;
        n++;
    }
    if (n == 0) return 0;
    if (n > 1)
        (void)snprintf(more, sizeof more, "; so %s %zu more", n > 2 ? "are" : "is",
                       n - 1);
    const lvlm_tensor *const t = &file->tensors[first];
    return lvlm_fail(err, LVLM_ECHECK,
                     "tensor '%s' is corrupt: its SHA-256 is %s, recorded is %s%s",
                     t->name, got[first], lvlm_native_digest_of(file, t), more);
}

int lvlm_digests_check(const lvlm_checkpoint *file, lvlm_selects selects,
                       const lvlm_run *run, lvlm_error *err)
{
    assert(file->digests != NULL); /* lvlm_native_check_seal */
    lvlm_hex_digest *const got = lvlm_calloc(file->n_tensors + 1, sizeof *got);
    if (got == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_digests_compute(got, file, selects, run, err);
    if (rc == 0) rc = compare(file, selects, got, err);
    lvlm_free(got);
    return rc;
}

/* ---- sealing -------------------------------------------------------------------- */

typedef struct sealing {
    const lvlm_tensor *tensors;
    lvlm_hex_digest *out;
} sealing;

static int hash_in_memory(void *user, size_t i, lvlm_error *err)
{
    const sealing *const s = user;
    const lvlm_tensor *const t = &s->tensors[i];
    return lvlm_digest_bytes(s->out[i], t->data, (size_t)t->n_bytes, err);
}

static int add_digests(cJSON *metadata, const sealing *s, size_t n_tensors,
                       lvlm_error *err)
{
    cJSON *const all = cJSON_CreateObject();
    char *text = NULL;
    bool ok = all != NULL;
    for (size_t i = 0; i < n_tensors && ok; i++)
        ok = cJSON_AddStringToObject(all, s->tensors[i].name, s->out[i]) != NULL;
    int rc = ok ? lvlm_json_print(&text, all, err) : lvlm_fail_memory(err);
    if (rc == 0 && cJSON_AddStringToObject(metadata, "digests", text) == NULL)
        rc = lvlm_fail_memory(err);
    lvlm_free(text);
    lvlm_json_free(all);
    return rc;
}

/* The header is composed with zeros for the root; then its digest replaces them. */
static int add_root(cJSON *metadata, const lvlm_tensor *tensors, size_t n_tensors,
                    lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(2 * (size_t)LVLM_SAFETENSORS_MAX_HEADER);
    lvlm_hex_digest root;
    cJSON *const member = cJSON_AddStringToObject(metadata, "root", lvlm_zero_digest);
    int rc = member != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0)
        rc = lvlm_safetensors_header(&header, tensors, n_tensors, metadata,
                                     LVLM_SAFETENSORS_ALIGN, err);
    if (rc == 0) rc = lvlm_digest_bytes(root, header.text, header.length, err);
    if (rc == 0 && cJSON_SetValuestring(member, root) == NULL)
        rc = lvlm_fail_memory(err);
    lvlm_strbuf_free(&header);
    return rc;
}

int lvlm_seal(cJSON *metadata, const lvlm_tensor *tensors, size_t n_tensors,
              size_t threads, lvlm_error *err)
{
    assert(lvlm_json_get(metadata, "root") == NULL);
    sealing s = { .tensors = tensors };
    s.out = lvlm_calloc(n_tensors + 1, sizeof *s.out);
    if (s.out == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_workers_each(threads, n_tensors, hash_in_memory, &s, err);
    if (rc == 0) rc = add_digests(metadata, &s, n_tensors, err);
    lvlm_free(s.out);
    return rc < 0 ? rc : add_root(metadata, tensors, n_tensors, err);
}

/* ---- native files --------------------------------------------------------------- */

static bool is_side_file(const lvlm_tensor *tensor)
{
    return lvlm_native_section_of(NULL, tensor->name) == LVLM_SECTION_FILES;
}

bool lvlm_native_runs_with(const lvlm_tensor *tensor)
{
    return lvlm_native_is_model(tensor) || is_side_file(tensor);
}

int lvlm_native_check_side_files(const lvlm_checkpoint *checkpoint, size_t threads,
                                 lvlm_error *err)
{
    const lvlm_run run = { .threads = threads };
    if (checkpoint->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    return lvlm_within(lvlm_digests_check(checkpoint, is_side_file, &run, err), err,
                       "%s: ", checkpoint->path);
}
