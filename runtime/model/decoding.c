/* decoding.c - one text and the tokens after it, in one precision.
 *
 *   begin   inputs -> the forward of pipeline.c, keys and values kept -> last logits
 *   step    one token at the next column and position, seeing all -> its logits
 *
 * A step's row is a batch of its own: an lvlm_packing of one row that points into the
 * session. Later rows see the images that the text's last row sees. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/block/workspace.h"
#include "runtime/model/pipeline.h"

enum {
    MAX_ROWS = 1 << 23, /* positions stay exact in float */
    CHUNK = 64,         /* rows that memory grows by, at least */
};

/* The row of a step, as a packing has it. */
typedef struct step_row {
    size_t cell; /* its column, after the text's; padding counts */
    size_t lo, hi, window_lo;
    int64_t id, image_row, type, positions[3];
    /* as in the cross view */
    size_t view_lo, view_hi;
    bool sees;
} step_row;

typedef struct decoding {
    struct lvlm_session base;
    pipeline *p;
    int64_t *tokens; /* (rows) ids of real tokens, from the first one on */
    size_t *columns; /* (rows) theirs; padding before them counts */
    size_t rows, capacity;
    kv_cache cache;
    step_row row;
    lvlm_packing packing;       /* of the row; owns nothing */
    lvlm_cross_view cross_view; /* the same */
    bool has_view;              /* some image is there */
    decoder_tape tape;          /* of steps */
    real *logits;               /* (V) */
    workspace memory;           /* of tape and logits */
    ops_scratch scratch;        /* of steps */
    workspace scratch_memory;
} decoding;

/* ---- memory --------------------------------------------------------------------- */

/* For steps that attend to up to `rows` rows. */
static int make_scratch(decoding *d, size_t rows, lvlm_error *err)
{
    const pipeline *const p = d->p;
    const size_t keys = d->cross_view.n_keys > rows ? d->cross_view.n_keys : rows;
    assert(rows > 0 && p->n_threads > 0);
    const size_t numel =
        LARGEST(transformer_scratch(&p->text.config.block, 1, keys, p->n_threads),
                head_scratch(&p->head, p->n_threads),
                adapters_scratch(&p->adapters, p->n_threads));
    workspace_free(&d->scratch_memory);
    TRY(workspace_array(&d->scratch.data, &d->scratch_memory, numel, 1, "scratch",
                        err));
    d->scratch.numel = numel;
    d->scratch.n_threads = p->n_threads;
    d->scratch.terms = p->terms;
    return 0;
}

/* Room for `rows` rows in all. */
static int reserve(decoding *d, size_t rows, lvlm_error *err)
{
    FAIL_IF(rows > MAX_ROWS, err, LVLM_ENOMEM, "a text of %zu tokens, at most %d", rows,
            MAX_ROWS);
    assert(d->rows <= d->capacity);
    if (rows <= d->capacity) return 0;
    const size_t wanted = rows + rows / 2 + CHUNK;
    int64_t *const tokens = lvlm_realloc(d->tokens, wanted, sizeof *tokens);
    if (tokens == NULL) return lvlm_fail_memory(err);
    d->base.tokens = d->tokens = tokens; /* the old ones are gone, whatever follows */
    size_t *const columns = lvlm_realloc(d->columns, wanted, sizeof *columns);
    if (columns == NULL) return lvlm_fail_memory(err);
    d->columns = columns;
    const decoder *const text = &d->p->text;
    const size_t image_rows = d->has_view ? cross_rows(&d->cross_view) : 0;
    TRY(kv_cache_reserve(&d->cache, &text->config.block, text->blocks,
                         text->config.layers, wanted, image_rows, err));
    TRY(make_scratch(d, wanted, err));
    d->capacity = wanted; /* last: a failure before is tried again */
    return 0;
}

void decoding_end(struct lvlm_session *session)
{
    decoding *const d = (decoding *)session;
    kv_cache_free(&d->cache);
    lvlm_free(d->tokens);
    lvlm_free(d->columns);
    workspace_free(&d->memory);
    workspace_free(&d->scratch_memory);
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

static void point_at_row(decoding *d, const pass *t)
{
    step_row *const r = &d->row;
    const lvlm_packing *const p = &t->packing;
    d->packing = (lvlm_packing){
        .B = 1,
        .T = 1,
        .N = 1,
        .cell = &r->cell,
        .ids = &r->id,
        .image_row = &r->image_row,
        .types = &r->type,
        .axes = p->axes,
        .positions = r->positions,
        .lo = &r->lo,
        .hi = &r->hi,
        .window_lo = p->window_lo != NULL ? &r->window_lo : NULL,
    };
    d->cross_view = (lvlm_cross_view){ .n_tiles = t->cross_view.n_tiles,
                                       .n_keys = t->cross_view.n_keys,
                                       .lo = &r->view_lo,
                                       .hi = &r->view_hi,
                                       .sees = &r->sees };
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

/* The row after the text's last one, but for its id. */
static void place_first_row(decoding *d, const pass *t)
{
    step_row *const r = &d->row;
    const lvlm_packing *const p = &t->packing;
    assert(p->B == 1 && p->N > 0 && d->rows == p->N);
    place_after(
        r->positions, p,
        d->p->text.config.rope.positions.overlaps || t->inputs.positions != NULL);
    r->cell = p->cell[p->N - 1] + 1;
    r->hi = p->N + 1;
    r->image_row = -1;
    r->type = 1;
    if (!d->has_view) return;
    r->view_lo = t->cross_view.lo[p->N - 1];
    r->view_hi = t->cross_view.hi[p->N - 1];
    r->sees = t->cross_view.sees[p->N - 1];
}

/* What callers read. */
static void publish(decoding *d)
{
    const decoder_config *const c = &d->p->text.config;
    const int64_t end = c->first_position + (int64_t)c->max_positions;
    int64_t next = 0;
    for (size_t axis = 0; axis < d->packing.axes; axis++)
        if (d->row.positions[axis] > next) next = d->row.positions[axis];
    d->base.n_tokens = d->rows;
    d->base.room = next < end ? (size_t)(end - next) : 0;
}

static void note_tokens(decoding *d, const pass *t)
{
    const lvlm_packing *const p = &t->packing;
    for (size_t n = 0; n < p->N; n++) {
        d->tokens[n] = t->inputs.ids[p->cell[n]];
        d->columns[n] = p->cell[n];
    }
    d->rows = p->N;
}

/* The text through the decoder into the cache, and the last row's logits. */
static int read_text(decoding *d, pass *t, lvlm_error *err)
{
    const pipeline *const p = d->p;
    const size_t last = t->packing.N - 1;
    assert(t->packing.N <= d->capacity && d->cache.rows == 0);
    const lvlm_cross_view *const cross_view = pass_cross_view(t);
    workspace memory = { 0 };
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

static void start_evaluating(pipeline *p)
{
    p->adapters.noise.active = false;
    ops_threads(p->n_threads);
}

static int begin(decoding *d, pass *t, const lvlm_checkpoint *inputs,
                 const char *prefix, lvlm_error *err)
{
    const size_t V = d->p->head.config.vocab;
    TRY(pass_read(t, inputs, prefix, err));
    TRY(check_text(t, prefix, err));
    pass_announce(t);
    TRY(workspace_array(&d->logits, &d->memory, 1, V, "logits", err));
    d->base.logits = (lvlm_tensor){ .name = "logits",
                                    .dtype = LVLM_REAL_DTYPE,
                                    .shape = SHAPE(V),
                                    .data = (const unsigned char *)d->logits,
                                    .n_bytes = V * sizeof *d->logits };
    d->has_view = pass_cross_view(t) != NULL;
    point_at_row(d, t);
    TRY(reserve(d, t->packing.N, err));
    TRY(pass_make_scratch(t, err));
    start_evaluating(d->p);
    if (pass_has_images(t)) TRY(pass_forward_images(t, TAPE_NOTHING, false, err));
    TRY(read_text(d, t, err));
    note_tokens(d, t);
    place_first_row(d, t);
    publish(d);
    const decoder_tape_options options = { .cross_view =
                                               d->has_view ? &d->cross_view : NULL,
                                           .cache = &d->cache };
    return decoder_tape_make(&d->tape, &d->memory, &d->p->text, &d->packing, &options,
                             err);
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
    d->base.engine = &LVLM_REAL_ENGINE;
    const int rc = begin(d, &t, inputs, prefix, err);
    pass_free(&t);
    if (rc < 0) {
        decoding_end(&d->base);
        return rc;
    }
    *out = &d->base;
    return 0;
}

/* ---- what comes after it -------------------------------------------------------- */

/* The oldest row that the window still holds. */
static void slide(decoding *d)
{
    const size_t window = d->p->text.config.sliding_window;
    step_row *const r = &d->row;
    if (d->packing.window_lo == NULL) return;
    while (r->window_lo < d->rows && d->columns[r->window_lo] + window <= r->cell)
        r->window_lo++;
}

int decoding_step(struct lvlm_session *session, int64_t id, lvlm_error *err)
{
    decoding *const d = (decoding *)session;
    const pipeline *const p = d->p;
    step_row *const r = &d->row;
    stages silent = stages_silent();
    assert(d->rows > 0 && d->rows == d->cache.rows);
    FAIL_IF(id < 0 || (uint64_t)id >= p->text.config.embed_rows, err, LVLM_EUSAGE,
            "token %lld, expected 0 to %zu", (long long)id,
            p->text.config.embed_rows - 1);
    for (size_t axis = 0; axis < 3; axis++)
        FAIL_IF(r->positions[axis] >= LVLM_MAX_POSITIONS, err, LVLM_ENOMEM,
                "a text of more than %d positions", LVLM_MAX_POSITIONS);
    TRY(reserve(d, d->rows + 1, err));
    r->id = id;
    slide(d);
    start_evaluating(d->p);
    TRY(decoder_forward(&p->text, &d->tape, NULL, d->has_view ? &d->cross_view : NULL,
                        &silent, &d->scratch, err));
    head_project(d->logits, d->tape.normed, &p->head, 1, &d->scratch);
    d->tokens[d->rows] = id;
    d->columns[d->rows++] = r->cell++;
    r->hi++;
    for (size_t axis = 0; axis < 3; axis++) r->positions[axis]++;
    publish(d);
    return 0;
}
