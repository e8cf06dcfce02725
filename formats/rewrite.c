/* rewrite.c - one native file out of another; see rewrite.h. */
#include "formats/rewrite.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/workers.h"
#include "formats/safetensors.h"

enum { PIECE = 256 * 1024 }; /* copied at a time: hashing finds it in cache */

typedef char hex_digest[LVLM_DIGEST_HEX + 1];

typedef struct work {
    const lvlm_rewrite *rewrite;
    lvlm_outfile *file;
    uint64_t *starts;    /* (n_tensors) where each begins in the new file */
    hex_digest *digests; /* (n_tensors) of what was written */
    cJSON *config, *ledger;
    lvlm_native_meta meta;
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
    lvlm_outfile_write_at(w->file, sink->at, bytes, n_bytes, &sink->digest);
    sink->at += n_bytes;
    const uint64_t done = atomic_fetch_add(&w->done, n_bytes) + n_bytes;
    if (w->rewrite->progress != NULL)
        w->rewrite->progress(w->rewrite->progress_user, done);
}

/* By a buffer: what is hashed must be what is written, whoever writes to the mapped
 * source meanwhile. */
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

/* Is `got` the digest that the source has for its tensor? */
static int check_source(const work *w, const lvlm_tensor *t, const hex_digest got,
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
    hex_digest got;
    TRY(lvlm_digest_bytes(got, t->data, (size_t)t->n_bytes, err));
    return check_source(w, t, got, err);
}

static int write_tensor(void *user, size_t i, lvlm_error *err)
{
    work *const w = user;
    const lvlm_rewrite *const r = w->rewrite;
    const lvlm_tensor *const t = &r->source->tensors[i];
    const bool changes = r->changes(r->user, t);
    lvlm_rewrite_sink sink = { w, w->starts[i], LVLM_DIGEST_INIT };
    if (changes) TRY(check_changed(w, t, err));
    int rc = lvlm_digest_start(&sink.digest, err);
    if (rc == 0 && changes)
        rc = r->write(r->user, t, &sink, err);
    else if (rc == 0)
        rc = copy(&sink, t, err);
    assert(rc < 0 || sink.at == w->starts[i] + t->n_bytes);
    if (rc == 0) rc = lvlm_outfile_check(w->file, err);
    if (rc == 0) rc = lvlm_digest_finish(&sink.digest, w->digests[i], err);
    if (rc == 0 && !changes) rc = check_source(w, t, w->digests[i], err);
    lvlm_digest_free(&sink.digest);
    return rc;
}

/* ---- the file ------------------------------------------------------------------- */

static int read_meta(work *w, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = w->rewrite->source;
    TRY(lvlm_native_meta_json(&w->config, cp, "config", err));
    TRY(lvlm_native_meta_json(&w->ledger, cp, "ledger", err));
    w->meta =
        (lvlm_native_meta){ lvlm_json_string(lvlm_json_get(cp->metadata, "family")),
                            w->config, w->rewrite->provenance, w->ledger };
    w->starts = lvlm_calloc(cp->n_tensors + 1, sizeof *w->starts);
    w->digests = lvlm_calloc(cp->n_tensors + 1, sizeof *w->digests);
    return w->starts != NULL && w->digests != NULL ? 0 : lvlm_fail_memory(err);
}

/* The header: once without digests, for its length, and once with them. */
static int compose(lvlm_strbuf *out, const work *w, hex_digest *digests,
                   lvlm_error *err)
{
    const lvlm_checkpoint *const cp = w->rewrite->source;
    return lvlm_native_header(out, &w->meta, cp->tensors, cp->n_tensors, digests, err);
}

static int write_all(work *w, char root[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    const lvlm_checkpoint *const cp = w->rewrite->source;
    const size_t max = LVLM_SAFETENSORS_MAX_HEADER + 2 * LVLM_NATIVE_ALIGN_DATA;
    lvlm_strbuf blank = LVLM_STRBUF_INIT(max), header = LVLM_STRBUF_INIT(max);
    int rc = compose(&blank, w, NULL, err);
    uint64_t at = blank.length;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        w->starts[i] = at;
        at += cp->tensors[i].n_bytes;
    }
    if (rc == 0)
        rc =
            lvlm_workers_each(w->rewrite->threads, cp->n_tensors, write_tensor, w, err);
    if (rc == 0 && w->rewrite->finish != NULL)
        rc = w->rewrite->finish(w->rewrite->user, err);
    if (rc == 0) rc = compose(&header, w, w->digests, err);
    if (rc == 0) rc = lvlm_native_find_root(root, header.text, header.length, err);
    if (rc == 0) rc = lvlm_checkpoint_unchanged(cp, err);
    if (rc == 0 && w->rewrite->other != NULL)
        rc = lvlm_checkpoint_unchanged(w->rewrite->other, err);
    if (rc == 0) {
        assert(header.length == blank.length);
        lvlm_outfile_write_at(w->file, 0, header.text, header.length, NULL);
        rc = lvlm_outfile_commit(w->file, err);
    }
    lvlm_strbuf_free(&blank);
    lvlm_strbuf_free(&header);
    return rc;
}

int lvlm_rewrite_run(const lvlm_rewrite *rewrite, lvlm_outfile *file,
                     char root[LVLM_DIGEST_HEX + 1], lvlm_error *err)
{
    work w = { .rewrite = rewrite, .file = file };
    int rc = read_meta(&w, err);
    if (rc == 0) rc = write_all(&w, root, err);
    lvlm_json_free(w.config);
    lvlm_json_free(w.ledger);
    lvlm_free(w.starts);
    lvlm_free(w.digests);
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
