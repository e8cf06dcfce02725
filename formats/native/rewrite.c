/* rewrite.c - writes one native file from another; see rewrite.h. */
#include "formats/native/rewrite.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/workers.h"
#include "formats/native/native_writer.h"

enum { PIECE = 256 * 1024 }; /* copied at a time: still in cache when it is hashed */

typedef struct work {
    const lvlm_rewrite *rewrite;
    lvlm_native_writer writer;
    atomic_ullong done; /* bytes */
} work;

struct lvlm_rewrite_sink {
    work *work;
    uint64_t at;
    lvlm_digest digest;
};

/* ---- one tensor ----------------------------------------------------------------- */

void lvlm_rewrite_put(lvlm_rewrite_sink *sink, const void *bytes, size_t n_bytes)
{
    work *const w = sink->work;
    lvlm_outfile_write_at(w->writer.file, sink->at, bytes, n_bytes, &sink->digest);
    sink->at += n_bytes;
    const uint64_t done = atomic_fetch_add(&w->done, n_bytes) + n_bytes;
    if (w->rewrite->progress != NULL)
        w->rewrite->progress(w->rewrite->progress_user, done);
}

/* Copied through a buffer: the bytes hashed must be the bytes written, even if the
 * mapped source is modified meanwhile. */
static int copy(lvlm_rewrite_sink *sink, const lvlm_tensor *t, lvlm_error *err)
{
    unsigned char *const buffer = lvlm_malloc(PIECE);
    if (buffer == NULL) return lvlm_fail_memory(err);
    for (uint64_t at = 0; at < t->n_bytes; at += PIECE) {
        const size_t n = (size_t)(t->n_bytes - at < PIECE ? t->n_bytes - at : PIECE);
        memcpy(buffer, t->data + at, n);
        lvlm_rewrite_put(sink, buffer, n);
    }
    lvlm_free(buffer);
    return 0;
}

/* Does `got` equal the digest that the source records for its tensor? */
static int check_source(const work *w, const lvlm_tensor *t, const lvlm_hex_digest got,
                        lvlm_error *err)
{
    const char *recorded = lvlm_native_digest_of(w->rewrite->source, t);
    FAIL_IF(strcmp(recorded, got) != 0, err, LVLM_ECHECK,
            "tensor '%s' is corrupt: its SHA-256 is %s, recorded is %s", t->name, got,
            recorded);
    return 0;
}

static int check_changed(const work *w, const lvlm_tensor *t, lvlm_error *err)
{
    lvlm_hex_digest got;
    TRY(lvlm_digest_bytes(got, t->data, (size_t)t->n_bytes, err));
    return check_source(w, t, got, err);
}

static int write_tensor(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    const lvlm_rewrite *const r = w->rewrite;
    const lvlm_tensor *const t = &r->source->tensors[i];
    const bool changes = r->changes(r->user, t);
    lvlm_rewrite_sink sink = { w, w->writer.starts[i], LVLM_DIGEST_INIT };
    if (changes) TRY(check_changed(w, t, err));
    int rc = lvlm_digest_start(&sink.digest, err);
    if (rc == 0 && changes)
        rc = r->write(r->user, t, &sink, err);
    else if (rc == 0)
        rc = copy(&sink, t, err);
    assert(rc < 0 || sink.at == w->writer.starts[i] + t->n_bytes);
    if (rc == 0) rc = lvlm_outfile_check(w->writer.file, err);
    if (rc == 0) rc = lvlm_digest_finish(&sink.digest, w->writer.digests[i], err);
    if (rc == 0 && !changes) rc = check_source(w, t, w->writer.digests[i], err);
    lvlm_digest_free(&sink.digest);
    return rc;
}

/* ---- the file ------------------------------------------------------------------- */

static int write_all(work *w, lvlm_hex_digest root, lvlm_error *err)
{
    const lvlm_rewrite *const r = w->rewrite;
    TRY(lvlm_workers_each(r->threads, r->source->n_tensors, write_tensor, w, err));
    if (r->finish != NULL) TRY(r->finish(r->user, err));
    TRY(lvlm_checkpoint_unchanged(r->source, err));
    if (r->other != NULL) TRY(lvlm_checkpoint_unchanged(r->other, err));
    return lvlm_native_writer_finish(&w->writer, root, err);
}

/* Everything except the provenance is the source's, which was checked when it was
 * opened. */
int lvlm_rewrite_run(const lvlm_rewrite *rewrite, lvlm_outfile *file,
                     lvlm_hex_digest root, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = rewrite->source;
    const cJSON *const m = cp->metadata;
    work w = { .rewrite = rewrite };
    char *provenance = NULL;
    assert(cp->native != NULL);
    TRY(lvlm_json_print(&provenance, rewrite->provenance, err));
    const lvlm_native_meta meta = { lvlm_json_string(lvlm_json_get(m, "family")),
                                    lvlm_json_string(lvlm_json_get(m, "config")),
                                    provenance,
                                    lvlm_json_string(lvlm_json_get(m, "ledger")) };
    int rc = lvlm_native_writer_open(&w.writer, &meta, cp->tensors, cp->n_tensors, file,
                                     err);
    if (rc == 0) rc = write_all(&w, root, err);
    lvlm_native_writer_close(&w.writer);
    lvlm_free(provenance);
    return rc;
}

/* ---- what was done to the values ------------------------------------------------ */

int lvlm_provenance_add(cJSON *provenance, const char *member, uint64_t n,
                        lvlm_error *err)
{
    uint64_t before = 0;
    (void)lvlm_json_u64(&before, lvlm_json_get(provenance, member));
    cJSON_DeleteItemFromObjectCaseSensitive(provenance, member);
    FAIL_IF(cJSON_AddNumberToObject(provenance, member, (double)(before + n)) == NULL,
            err, LVLM_ENOMEM, "out of memory");
    return 0;
}

bool lvlm_provenance_changed(const cJSON *provenance)
{
    return lvlm_json_get(provenance, LVLM_PROVENANCE_STEPS) != NULL ||
           lvlm_json_get(provenance, LVLM_PROVENANCE_ADAPTERS) != NULL;
}
