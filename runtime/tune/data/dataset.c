/* dataset.c - opens a file of training data and checks its lines; see dataset.h. Its
 * batches: dataset_batch.c. */
#include "runtime/tune/data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "runtime/tune/data/dataset_parts.h"

/* Estimates: bytes of text per token, and tokens that an example has around its
 * text. */
enum { BYTES_PER_TOKEN = 4, FRAME_TOKENS = 16 };

/* ---- one line ------------------------------------------------------------------- */

int dataset_read_example(lvlm_example *out, const lvlm_dataset *d, size_t value,
                         lvlm_error *err)
{
    cJSON *json = NULL;
    *out = (lvlm_example){ .n_images = 0 };
    TRY(lvlm_jsonl_parse(&json, &d->file, value, err));
    const int rc = lvlm_example_read(out, json, lvlm_encoder_tags(d->encoder),
                                     lvlm_encoder_notes(d->encoder), err);
    if (rc < 0) lvlm_jsonl_prefix(err, &d->file, value);
    lvlm_json_free(json);
    return rc;
}

bool dataset_may_skip(const lvlm_dataset *d, int rc)
{
    return d->options.skip_bad && rc != LVLM_ENOMEM;
}

void dataset_leave_out(lvlm_dataset *d, size_t value, const char *why)
{
    if (d->noted[value] & DATASET_NOTED_BAD) return;
    d->noted[value] |= DATASET_NOTED_BAD;
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

/* Does it have the form of the lines before it (LVLM_N_EXAMPLE_FORMS: there are none),
 * and do its images exist? */
static int check_example(const lvlm_dataset *d, lvlm_example *e, lvlm_example_form form,
                         lvlm_error *err)
{
    FAIL_IF(form != LVLM_N_EXAMPLE_FORMS && e->form != form, err, LVLM_EFORMAT,
            "is in %s's form, and the file began in %s's",
            lvlm_example_form_name(e->form), lvlm_example_form_name(form));
    for (size_t i = 0; i < e->n_images; i++)
        TRY(check_image(d, e->images[i], &e->arena, err));
    return 0;
}

/* ---- opening -------------------------------------------------------------------- */

/* Check a line as far as that is possible without reading its images. */
static int check_line(lvlm_dataset *d, size_t value, lvlm_example_form *form,
                      lvlm_error *err)
{
    lvlm_example e;
    int rc = dataset_read_example(&e, d, value, err);
    if (rc == 0 && (rc = check_example(d, &e, *form, err)) < 0)
        lvlm_jsonl_prefix(err, &d->file, value);
    if (rc == 0) {
        *form = e.form;
        d->values[d->n] = value;
        d->lengths[d->n++] = FRAME_TOKENS + e.n_bytes / BYTES_PER_TOKEN +
                             e.n_images * lvlm_encoder_image_tokens(d->encoder);
        d->n_images += e.n_images;
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
        if (rc < 0 && !dataset_may_skip(d, rc)) {
            if (err != NULL) *err = why;
            return rc;
        }
        if (rc < 0) dataset_leave_out(d, i, why.text);
    }
    FAIL_IF(d->n == 0, err, LVLM_EFORMAT, "%s: none of its %zu examples can be used",
            d->file.file->path, d->file.n);
    return d->n_images > 0 ? lvlm_encoder_reads_images(d->encoder, err) : 0;
}

/* The id: of the file's bytes, and of what decides which lines are in which batch. */
static int describe(lvlm_dataset *d, lvlm_error *err)
{
    const lvlm_infile *const file = d->file.file;
    char text[256], order[64] = "";
    TRY(lvlm_digest_bytes(d->id, file->bytes, (size_t)file->n_bytes, err));
    if (d->options.shuffled)
        (void)snprintf(order, sizeof order, ", shuffled by %" PRIu64, d->options.seed);
    (void)snprintf(text, sizeof text, "%s, %zu of %zu by %zu up to %zu%s", d->id, d->n,
                   d->file.n, d->order.batch_size, lvlm_encoder_max_length(d->encoder),
                   order);
    return lvlm_digest_bytes(d->id, text, strlen(text), err);
}

int lvlm_dataset_open(lvlm_dataset *out, const char *path, const lvlm_encoder *encoder,
                      const lvlm_dataset_options *options, lvlm_error *err)
{
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
