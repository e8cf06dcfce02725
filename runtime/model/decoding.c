/* decoding.c - a text is read, in one precision; see decoding.h.
 *
 *   inputs -> the forward of pipeline.c, keys and values kept -> last logits
 *
 * Later rows have the columns and positions after it, attend to all of it, and to the
 * images that its last row attends to. */
#include "runtime/model/decoding.h"

#include <assert.h>

#include "formats/base/alloc.h"

enum {
    MAX_ROWS = 1 << 23, /* positions stay exact in float */
    CHUNK = 64,         /* rows that memory grows by, at least */
};

/* ---- memory --------------------------------------------------------------------- */

static int reserve(decoding *d, size_t rows, size_t image_rows, lvlm_error *err)
{
    FAIL_IF(rows > MAX_ROWS, err, LVLM_ENOMEM, "a text of %zu tokens, at most %d", rows,
            MAX_ROWS);
    assert(d->cache.rows <= d->cache.capacity);
    if (rows <= d->cache.capacity) return 0;
    const size_t wanted = rows + rows / 2 + CHUNK;
    int64_t *const tokens = lvlm_realloc(d->tokens, wanted, sizeof *tokens);
    if (tokens == NULL) return lvlm_fail_memory(err);
    d->base.tokens = d->tokens = tokens; /* the old ones are gone, whatever follows */
    size_t *const columns = lvlm_realloc(d->columns, wanted, sizeof *columns);
    if (columns == NULL) return lvlm_fail_memory(err);
    d->columns = columns;
    const decoder *const text = &d->p->text;
    return kv_cache_reserve(&d->cache, &text->config.block, text->blocks,
                            text->config.layers, wanted, image_rows, err);
}

int decoding_reserve(decoding *d, size_t rows, lvlm_error *err)
{
    return reserve(d, rows, 0, err);
}

int decoding_reserve_logits(decoding *d, size_t n, lvlm_error *err)
{
    const size_t V = d->p->head.config.vocab;
    if (n <= d->n_logits) return 0;
    real *const logits = lvlm_realloc(d->logits, n, V * sizeof *logits);
    if (logits == NULL) return lvlm_fail_memory(err);
    d->logits = logits;
    d->n_logits = n;
    d->base.logits.data = (const unsigned char *)(logits + (d->base.n_new - 1) * V);
    return 0;
}

static lvlm_tensor cached_tensor(const char *name, const void *x, lvlm_dtype dtype,
                                 size_t rows, size_t K)
{
    return (lvlm_tensor){ .name = name,
                          .dtype = dtype,
                          .shape = SHAPE(rows, K),
                          .data = x,
                          .n_bytes = rows * K * lvlm_dtype_bytes(dtype) };
}

bool decoding_cached(const struct lvlm_session *session, lvlm_tensor *keys,
                     lvlm_tensor *values, size_t block)
{
    const decoding *const d = (const decoding *)session;
    const decoder *const text = &d->p->text;
    const size_t K = text->config.block.kv_heads * text->config.block.head_dim;
    if (block >= d->cache.n_blocks) return false;
    const transformer_cache *const b = &d->cache.blocks[block];
    const size_t rows =
        text->blocks[block].is_cross ? d->cache.image_rows : d->cache.rows;
    if (rows == 0 || b->k == NULL || b->v == NULL) return false;
    *keys = cached_tensor("keys", b->k, b->dtype, rows, K);
    *values = cached_tensor("values", b->v, b->dtype, rows, K);
    return true;
}

void decoding_end(struct lvlm_session *session)
{
    decoding *const d = (decoding *)session;
    kv_cache_free(&d->cache);
    lvlm_free(d->tokens);
    lvlm_free(d->columns);
    lvlm_free(d->logits);
    lvlm_free(d);
}

/* ---- the text ------------------------------------------------------------------- */

/* One text; padding after its last token is left out. */
static int check_text(pass *t, const char *prefix, lvlm_error *err)
{
    lvlm_packing *const p = &t->packing;
    FAIL_IF(p->B != 1, err, LVLM_EFORMAT,
            "%sinput_ids: %zu texts, expected one; give them one by one", prefix, p->B);
    FAIL_IF(t->inputs.begins != NULL && p->lo[p->N - 1] != 0, err, LVLM_EFORMAT,
            "%sposition_ids: several texts in the row, expected one; give them one by "
            "one",
            prefix);
    p->T = p->cell[p->N - 1] + 1;
    return 0;
}

/* Positions continue after the largest; after the last where the batch brings them, and
 * where the reference lets text overlap a clip. */
static void place_after(int64_t positions[3], const lvlm_packing *p, bool overlaps)
{
    int64_t most = p->positions[0];
    assert(p->N > 0);
    for (size_t i = 1; i < p->axes * p->N; i++)
        if (p->positions[i] > most) most = p->positions[i];
    for (size_t axis = 0; axis < p->axes; axis++)
        positions[axis] = (overlaps ? p->positions[axis * p->N + p->N - 1] : most) + 1;
}

void decoding_publish(decoding *d, size_t n)
{
    const decoder_config *const c = &d->p->text.config;
    const size_t V = d->p->head.config.vocab;
    const int64_t end = c->first_position + (int64_t)c->max_positions;
    int64_t next = 0;
    assert(n > 0 && n <= d->n_logits);
    for (size_t axis = 0; axis < c->rope.axes; axis++)
        if (d->next[axis] > next) next = d->next[axis];
    d->base.n_tokens = d->cache.rows;
    d->base.cache_bytes = kv_cache_bytes(&d->cache, &c->block, d->p->text.blocks);
    d->base.n_new = n;
    d->base.vocab = d->p->text.config.embed_rows;
    d->base.room = next < end ? (size_t)(end - next) : 0;
    d->base.logits =
        (lvlm_tensor){ .name = "logits",
                       .dtype = LVLM_REAL_DTYPE,
                       .shape = SHAPE(V),
                       .data = (const unsigned char *)(d->logits + (n - 1) * V),
                       .n_bytes = V * sizeof *d->logits };
}

static void note_tokens(decoding *d, const pass *t)
{
    const lvlm_packing *const p = &t->packing;
    for (size_t n = 0; n < p->N; n++) {
        d->tokens[n] = t->inputs.ids[p->cell[n]];
        d->columns[n] = p->cell[n];
    }
}

/* The text through the decoder into the cache, and the last row's logits. */
static int read_text(decoding *d, pass *t, lvlm_error *err)
{
    const pipeline *const p = d->p;
    const size_t last = t->packing.N - 1;
    assert(t->packing.N <= d->cache.capacity && d->cache.rows == 0);
    const lvlm_cross_view *const cross_view = pass_cross_view(t);
    workspace memory = { .pool = &t->p->pool };
    decoder_tape tape;
    int rc;
    const decoder_tape_options o = { .cross_view = cross_view,
                                     .cache = &d->cache,
                                     .wanted = &last,
                                     .n_wanted = 1,
                                     .stages = &t->stages };
    if ((rc = decoder_tape_make(&tape, &memory, &p->text, &t->packing, &o, err)) < 0 ||
        (rc = decoder_forward(&p->text, &tape, t->image_rows, cross_view, &t->stages,
                              &t->scratch, err)) < 0)
        goto done;
    head_project(d->logits, tape.normed, &p->head, 1, &t->scratch);
done:
    workspace_free(&memory);
    return rc;
}

static int begin(decoding *d, pass *t, const lvlm_checkpoint *inputs,
                 const char *prefix, lvlm_error *err)
{
    TRY(pass_read(t, inputs, prefix, err));
    TRY(check_text(t, prefix, err));
    pass_announce(t);
    const lvlm_cross_view *const cross_view = pass_cross_view(t);
    TRY(decoding_reserve_logits(d, 1, err));
    TRY(reserve(d, t->packing.N, cross_view != NULL ? cross_rows(cross_view) : 0, err));
    TRY(pass_make_scratch(t, err));
    pipeline_evaluates(d->p);
    if (pass_has_images(t)) TRY(pass_forward_images(t, TAPE_NOTHING, false, err));
    TRY(read_text(d, t, err));
    note_tokens(d, t);
    place_after(
        d->next, &t->packing,
        d->p->text.config.rope.positions.overlaps || t->inputs.positions != NULL);
    decoding_publish(d, 1);
    return 0;
}

int decoding_begin(struct lvlm_session **out, void *model,
                   const lvlm_checkpoint *inputs, const char *prefix,
                   const lvlm_stage_sink *sink, lvlm_error *err)
{
    decoding *const d = lvlm_calloc(1, sizeof *d);
    assert(inputs != NULL && prefix != NULL);
    pass t = { .p = model, .unlabelled = true, .stages = stages_silent() };
    if (d == NULL) return lvlm_fail_memory(err);
    if (sink != NULL) t.stages.sink = sink;
    d->p = model;
    d->cache.dtype = d->p->cache_dtype;
    d->base.engine = &LVLM_REAL_ENGINE;
    d->base.n_new = 1;
    const int rc = begin(d, &t, inputs, prefix, err);
    pass_free(&t);
    if (rc < 0) {
        decoding_end(&d->base);
        return rc;
    }
    *out = &d->base;
    return 0;
}
