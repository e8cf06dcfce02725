/* dataset.c - lines of a file of training data, and batches of them; see dataset.h. */
#include "runtime/tune/data/dataset.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"

/* Estimates: bytes of text per token, and tokens that an example has around its
 * text. */
enum { BYTES_PER_TOKEN = 4, FRAME_TOKENS = 16 };

enum { MAX_NAME = 1 << 16, MAX_NAMED = 8 }; /* bytes and lines of a batch's name */

/* What lvlm_dataset.noted says of a line. */
enum { NOTED_BAD = 1, NOTED_CUT = 2 };

/* ---- one line ------------------------------------------------------------------- */

/* Messages begin with the line's place. Free with lvlm_example_free, also after a
 * failure. */
static int read_example(lvlm_example *out, const lvlm_dataset *d, size_t value,
                        lvlm_error *err)
{
    cJSON *json = NULL;
    *out = (lvlm_example){ .n_images = 0 };
    TRY(lvlm_jsonl_parse(&json, &d->file, value, err));
    const int rc =
        lvlm_example_read(out, json, d->encoder->tags, d->encoder->options.notes, err);
    if (rc < 0) lvlm_jsonl_prefix(err, &d->file, value);
    lvlm_json_free(json);
    return rc;
}

/* May a line that failed with `rc` be left out, so that the run continues? */
static bool may_skip(const lvlm_dataset *d, int rc)
{
    assert(rc < 0);
    return d->options.skip_bad && rc != LVLM_ENOMEM;
}

/* Report and count a bad line, once. */
static void leave_out(lvlm_dataset *d, size_t value, const char *why)
{
    assert(value < d->file.n);
    if (d->noted[value] & NOTED_BAD) return;
    d->noted[value] |= NOTED_BAD;
    d->counts.bad++;
    if (d->options.tell != NULL) d->options.tell(d->options.user, why);
}

static int check_image(const lvlm_dataset *d, const char *name, lvlm_arena *arena,
                       lvlm_error *err)
{
    static const char *const fetched[] = { "http://", "https://", "data:" };
    for (size_t k = 0; k < sizeof fetched / sizeof fetched[0]; k++)
        FAIL_IF(lvlm_starts_with(name, fetched[k]), err, LVLM_EFORMAT,
                "'%.64s': images are not fetched, expected a file", name);
    const char *const path = lvlm_encoder_image_path(d->encoder, name, arena);
    if (path == NULL) return lvlm_fail_memory(err);
    FAIL_IF(!lvlm_path_exists(path), err, LVLM_EIO, "%s: there is no such image", path);
    return 0;
}

/* How many frames there are; each must exist. */
static int count_frames(size_t *n, const lvlm_dataset *d, const lvlm_clip *clip,
                        lvlm_arena *arena, lvlm_error *err)
{
    lvlm_clip frames;
    const lvlm_clip *const named = lvlm_encoder_clip(d->encoder, clip, arena);
    if (named == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_clip_frames(&frames, named, arena, NULL, err));
    *n += frames.n_files;
    return 0;
}

/* Does it have the form of the conversations before it (LVLM_N_EXAMPLE_FORMS: there are
 * none), and do its images and the frames of its videos exist? Counts those. */
static int check_example(size_t *n_frames, const lvlm_dataset *d, lvlm_example *e,
                         lvlm_example_form form, lvlm_error *err)
{
    FAIL_IF(form != LVLM_N_EXAMPLE_FORMS && !e->messages.document && e->form != form,
            err, LVLM_EFORMAT, "is in %s's form, and the file began in %s's",
            lvlm_example_form_name(e->form), lvlm_example_form_name(form));
    for (size_t i = 0; d->file.pairs == NULL && i < e->n_images; i++)
        TRY(check_image(d, e->images[i], &e->arena, err));
    for (size_t i = 0; i < e->n_videos; i++)
        TRY(count_frames(n_frames, d, &e->videos[i], &e->arena, err));
    return 0;
}

/* ---- opening -------------------------------------------------------------------- */

/* Check a line as far as that is possible without reading its images. */
static int check_line(lvlm_dataset *d, size_t value, lvlm_example_form *form,
                      lvlm_error *err)
{
    lvlm_example e;
    size_t n_frames = 0;
    int rc = read_example(&e, d, value, err);
    if (rc == 0 && (rc = check_example(&n_frames, d, &e, *form, err)) < 0)
        lvlm_jsonl_prefix(err, &d->file, value);
    if (rc == 0) {
        if (!e.messages.document) *form = e.form;
        d->values[d->n] = value;
        d->lengths[d->n++] = FRAME_TOKENS + e.n_bytes / BYTES_PER_TOKEN +
                             (e.n_images + n_frames) * d->encoder->image_tokens;
        d->n_images += e.n_images;
        d->n_videos += e.n_videos;
        d->counts.left_out += e.left_out;
    }
    lvlm_example_free(&e);
    return rc;
}

static int look_at_all(lvlm_dataset *d, lvlm_error *err)
{
    lvlm_example_form form = LVLM_N_EXAMPLE_FORMS;
    lvlm_error why;
    d->values = lvlm_calloc(d->file.n, sizeof *d->values);
    d->lengths = lvlm_calloc(d->file.n, sizeof *d->lengths);
    d->noted = lvlm_calloc(d->file.n, 1);
    if (d->values == NULL || d->lengths == NULL || d->noted == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < d->file.n; i++) {
        const int rc = check_line(d, i, &form, &why);
        if (rc < 0 && !may_skip(d, rc)) {
            if (err != NULL) *err = why;
            return rc;
        }
        if (rc < 0) leave_out(d, i, why.text);
    }
    FAIL_IF(d->n == 0, err, LVLM_EFORMAT, "%s: none of its %zu examples can be used",
            d->file.file->path, d->file.n);
    if (d->n_images > 0) TRY(lvlm_encoder_reads_images(d->encoder, err));
    return d->n_videos > 0 ? lvlm_encoder_reads_videos(d->encoder, err) : 0;
}

/* The id: of the file's bytes, and of what decides which lines are in which batch. */
static int describe(lvlm_dataset *d, lvlm_error *err)
{
    const lvlm_infile *const file = d->file.file;
    char text[256], order[64] = "";
    TRY(lvlm_digest_bytes(d->sha256, file->bytes, (size_t)file->n_bytes, err));
    if (d->options.shuffled)
        (void)snprintf(order, sizeof order, ", shuffled by %" PRIu64, d->options.seed);
    (void)snprintf(text, sizeof text, "%s, %zu of %zu by %zu up to %zu%s", d->sha256,
                   d->n, d->file.n, d->order.batch_size, d->encoder->options.max_length,
                   order);
    (void)snprintf(d->how, sizeof d->how, "%zu of %zu examples, %zu per batch%s", d->n,
                   d->file.n, d->order.batch_size, order);
    return lvlm_digest_bytes(d->id, text, strlen(text), err);
}

int lvlm_dataset_open(lvlm_dataset *out, const char *path, const lvlm_encoder *encoder,
                      const lvlm_dataset_options *options, lvlm_error *err)
{
    assert(encoder != NULL && options != NULL);
    *out = (lvlm_dataset){ .encoder = encoder, .options = *options };
    TRY(lvlm_jsonl_open(&out->file, path, err));
    TRY(look_at_all(out, err));
    out->order =
        (lvlm_order){ .n = out->n,
                      .batch_size = options->batch_size > 0 ? options->batch_size : 1,
                      .lengths = out->lengths,
                      .shuffled = options->shuffled,
                      .seed = options->seed };
    TRY(lvlm_order_init(&out->order, err));
    return describe(out, err);
}

void lvlm_dataset_close(lvlm_dataset *d)
{
    lvlm_order_free(&d->order);
    lvlm_free(d->values);
    lvlm_free(d->lengths);
    lvlm_free(d->noted);
    lvlm_jsonl_close(&d->file);
    *d = (lvlm_dataset){ .n = 0 };
}

/* ---- a batch -------------------------------------------------------------------- */

/* A batch in the making, of those of its examples that can be used. */
typedef struct maker {
    lvlm_dataset *d;
    lvlm_dataset_batch *out;
    lvlm_example *examples; /* (n) */
    lvlm_example **list;    /* (n_list) those that can be used ... */
    size_t *values;         /* ... and where in the file they are */
    size_t n, n_list;
} maker;

static int add_note(maker *m, size_t value, const char *bad, lvlm_error *err)
{
    lvlm_arena *const arena = &m->out->arena;
    assert(value < m->d->file.n);
    lvlm_dataset_note *const note = lvlm_arena_alloc(arena, 1, sizeof *note);
    if (note == NULL) return lvlm_fail_memory(err);
    note->value = value;
    if (bad != NULL) {
        note->bad = lvlm_arena_strndup(arena, bad, strlen(bad));
        if (note->bad == NULL) return lvlm_fail_memory(err);
    }
    *m->out->end = note;
    m->out->end = &note->next;
    return 0;
}

/* Example `at` of the list cannot be used, because of `why`: note it, or fail. */
static int drop(maker *m, size_t at, int rc, const lvlm_error *why, lvlm_error *err)
{
    if (!may_skip(m->d, rc)) {
        if (err != NULL) *err = *why;
        return rc;
    }
    assert(at < m->n_list);
    TRY(add_note(m, m->values[at], why->text, err));
    m->n_list--;
    for (size_t i = at; i < m->n_list; i++) {
        m->list[i] = m->list[i + 1];
        m->values[i] = m->values[i + 1];
    }
    return 0;
}

static int read_examples(maker *m, const size_t *examples, lvlm_error *err)
{
    for (size_t i = 0; i < m->n; i++) {
        assert(examples[i] < m->d->n);
        const size_t value = m->d->values[examples[i]], at = m->n_list++;
        lvlm_error why;
        m->list[at] = &m->examples[i];
        m->values[at] = value;
        const int rc = read_example(m->list[at], m->d, value, &why);
        if (rc < 0) TRY(drop(m, at, rc, &why, err));
    }
    return 0;
}

/* Retry without the example that cannot be used. */
static int encode(maker *m, lvlm_error *err)
{
    while (m->n_list > 0) {
        lvlm_error why;
        size_t bad;
        const int rc = lvlm_encode(&m->out->encoded, &bad, m->d->encoder, m->list,
                                   m->n_list, &why);
        if (rc == 0) return 0;
        if (bad == m->n_list) {
            if (err != NULL) *err = why;
            return rc;
        }
        lvlm_jsonl_prefix(&why, &m->d->file, m->values[bad]);
        TRY(drop(m, bad, rc, &why, err));
    }
    return 0;
}

/* "data.jsonl lines 3, 17". */
static int name_batch(maker *m, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_NAME);
    lvlm_strbuf_printf(&text, "%s %s%s", m->d->file.file->path,
                       m->d->file.pairs != NULL ? "pair" : "line",
                       m->n_list == 1 ? "" : "s");
    for (size_t i = 0; i < m->n_list && i < MAX_NAMED; i++)
        lvlm_strbuf_printf(&text, "%s%" PRIu32, i > 0 ? ", " : " ",
                           m->d->file.values[m->values[i]].line);
    if (m->n_list > MAX_NAMED)
        lvlm_strbuf_printf(&text, " and %zu more", m->n_list - MAX_NAMED);
    int rc = lvlm_strbuf_check(&text, err);
    if (rc == 0) {
        m->out->name = lvlm_arena_strndup(&m->out->arena, text.text, text.length);
        if (m->out->name == NULL) rc = lvlm_fail_memory(err);
    }
    lvlm_strbuf_free(&text);
    return rc;
}

static int make(maker *m, const size_t *examples, lvlm_error *err)
{
    TRY(read_examples(m, examples, err));
    TRY(encode(m, err));
    if (m->n_list == 0) return 0;
    for (size_t i = 0; i < m->n_list; i++)
        if (m->out->encoded->cut[i]) TRY(add_note(m, m->values[i], NULL, err));
    return name_batch(m, err);
}

/* Batch number `i` into *out, whose notes stay. */
static int make_batch(lvlm_dataset_batch *out, lvlm_dataset *d, size_t i,
                      lvlm_error *err)
{
    lvlm_arena scratch = LVLM_ARENA_INIT;
    maker m = { .d = d, .out = out };
    const size_t *examples;
    TRY(lvlm_order_batch(&examples, &m.n, &d->order, i, err));
    m.examples = lvlm_arena_alloc(&scratch, m.n, sizeof *m.examples);
    m.list = lvlm_arena_alloc(&scratch, m.n, sizeof *m.list);
    m.values = lvlm_arena_alloc(&scratch, m.n, sizeof *m.values);
    const bool ok = m.examples != NULL && m.list != NULL && m.values != NULL;
    const int rc = ok ? make(&m, examples, err) : lvlm_fail_memory(err);
    for (size_t k = 0; ok && k < m.n; k++) lvlm_example_free(&m.examples[k]);
    lvlm_arena_free(&scratch);
    return rc;
}

int lvlm_dataset_make(lvlm_dataset_batch **out, lvlm_dataset *d, size_t i, size_t n,
                      lvlm_error *err)
{
    lvlm_dataset_batch *const b = lvlm_calloc(1, sizeof *b);
    assert(n > 0);
    if (b == NULL) return lvlm_fail_memory(err);
    b->end = &b->notes;
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < n && b->encoded == NULL; k++)
        rc = make_batch(b, d, i + k, err);
    if (rc < 0)
        lvlm_dataset_batch_free(b);
    else
        *out = b;
    return rc;
}

void lvlm_dataset_batch_free(lvlm_dataset_batch *batch)
{
    if (batch == NULL) return;
    lvlm_encoded_free(batch->encoded);
    lvlm_arena_free(&batch->arena);
    lvlm_free(batch);
}

void lvlm_dataset_note_batch(lvlm_dataset *d, const lvlm_dataset_batch *batch)
{
    for (const lvlm_dataset_note *n = batch->notes; n != NULL; n = n->next) {
        if (n->bad != NULL) {
            leave_out(d, n->value, n->bad);
        } else if (!(d->noted[n->value] & NOTED_CUT)) {
            d->noted[n->value] |= NOTED_CUT;
            d->counts.cut++;
        }
    }
}

int lvlm_dataset_check(lvlm_dataset *d, lvlm_error *err)
{
    bool any = false;
    assert(d->n > 0);
    for (size_t i = 0; i < d->order.n_batches; i++) {
        lvlm_dataset_batch *batch = NULL;
        TRY(lvlm_dataset_make(&batch, d, i, 1, err));
        lvlm_dataset_note_batch(d, batch);
        any |= batch->encoded != NULL;
        lvlm_dataset_batch_free(batch);
    }
    FAIL_IF(!any, err, LVLM_EFORMAT, "%s: none of its examples can be used",
            d->file.file->path);
    return 0;
}
