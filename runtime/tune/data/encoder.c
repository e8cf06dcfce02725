/* encoder.c - examples to tensors; see encoder.h. */
#include "runtime/tune/data/encoder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/reshape/resolution.h"
#include "runtime/tune/data/jsonl.h"

/* Estimated cost in tokens of an image without a fixed size: of patches; of tiles,
 * whose cost is in the tower. */
enum { PATCHES_TOKENS = 256, TILES_TOKENS = 1600 };

/* ---- opening -------------------------------------------------------------------- */

static size_t image_tokens(const lvlm_input_spec *spec)
{
    if (spec->images.form == LVLM_IMAGES_SQUARES)
        return lvlm_image_rows_square(&spec->rows, &spec->images);
    return spec->images.form == LVLM_IMAGES_PATCHES ? PATCHES_TOKENS : TILES_TOKENS;
}

/* List the members of the tars. *list: the first of them. */
static int list_tars(const lvlm_tar_index **list, lvlm_encoder *e, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof e->tars / sizeof *e->tars; i++) {
        const char *const path = e->options.data[i];
        if (path == NULL || !lvlm_jsonl_is_tar(path)) continue;
        TRY(lvlm_tar_index_open(&e->tars[i], path, err));
        e->tars[i].next = *list;
        *list = &e->tars[i];
    }
    return 0;
}

/* Settings are noted only if there are videos (lvlm_encoder_reads_videos). */
static int open_videos(lvlm_encoder *e, lvlm_error *err)
{
    const lvlm_video_options options = { .notes = e->options.notes };
    e->checkpoint->notes = NULL;
    const int rc =
        lvlm_video_input_open(&e->video, &e->manifest, &options, &e->no_video);
    e->checkpoint->notes = e->options.notes;
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : 0;
}

static int open_model(lvlm_encoder *e, const char *model, lvlm_error *err)
{
    const lvlm_open_options open = { .notes = e->options.notes };
    if (e->options.resolution > 0)
        return lvlm_resolution_open(&e->manifest, &e->checkpoint, model,
                                    e->options.resolution, e->options.notes, err);
    TRY(lvlm_checkpoint_open(&e->checkpoint, model, &open, err));
    return lvlm_manifest_build(&e->manifest, e->checkpoint, err);
}

static int open_all(lvlm_encoder *e, const char *model, lvlm_error *err)
{
    const lvlm_prompt_options options = { .training = true,
                                          .chat_template = e->options.chat_template };
    TRY(open_model(e, model, err));
    TRY(lvlm_input_spec_read(&e->spec, e->manifest.config, err));
    e->tags = e->spec.splice == LVLM_SPLICE_BETWEEN_TAGS;
    e->image_tokens = image_tokens(&e->spec);
    TRY(lvlm_prompter_open(&e->prompter, &e->manifest, &options, err));
    TRY(lvlm_labeller_init(&e->labeller, &e->manifest,
                           lvlm_prompter_tokenizer(e->prompter), err));
    /* LLaVA's makers drop transparency */
    lvlm_vision_options images = {
        .drop_alpha = lvlm_prompter_template(e->prompter) != NULL,
        .pad_to_square = e->options.pad_to_square,
    };
    TRY(list_tars(&images.image.tars, e, err));
    /* a model without it still trains on text */
    const int rc =
        lvlm_vision_input_open(&e->vision, &e->manifest, &images, &e->no_vision);
    if (rc == LVLM_EUSAGE) {
        if (err != NULL) *err = e->no_vision;
        return rc;
    }
    if (rc == LVLM_ENOMEM) return lvlm_fail_memory(err);
    if (rc < 0) e->vision = NULL;
    return open_videos(e, err);
}

int lvlm_encoder_open(lvlm_encoder **out, const char *model,
                      const lvlm_encoder_options *options, lvlm_error *err)
{
    lvlm_encoder *const e = lvlm_calloc(1, sizeof *e);
    if (e == NULL) return lvlm_fail_memory(err);
    e->options = *options;
    if (e->options.max_length == 0) e->options.max_length = SIZE_MAX;
    const int rc = open_all(e, model, err);
    if (rc < 0)
        lvlm_encoder_close(e);
    else
        *out = e;
    return rc;
}

void lvlm_encoder_close(lvlm_encoder *e)
{
    if (e == NULL) return;
    lvlm_vision_input_close(e->vision);
    lvlm_video_input_close(e->video);
    lvlm_prompter_close(e->prompter);
    lvlm_manifest_free(&e->manifest);
    lvlm_checkpoint_close(e->checkpoint);
    for (size_t i = 0; i < sizeof e->tars / sizeof *e->tars; i++)
        lvlm_tar_index_close(&e->tars[i]);
    lvlm_free(e);
}

int lvlm_encoder_reads_images(const lvlm_encoder *e, lvlm_error *err)
{
    if (e->vision != NULL) return 0;
    assert(e->no_vision.code < 0);
    if (err != NULL) *err = e->no_vision;
    return e->no_vision.code;
}

int lvlm_encoder_reads_videos(const lvlm_encoder *e, lvlm_error *err)
{
    lvlm_video_input *noted = NULL;
    if (e->video != NULL) {
        const int rc = lvlm_video_input_open(&noted, &e->manifest, NULL, err);
        lvlm_video_input_close(noted);
        return rc;
    }
    assert(e->no_video.code < 0);
    if (err != NULL) *err = e->no_video;
    return e->no_video.code;
}

const char *lvlm_encoder_template(const lvlm_encoder *e)
{
    return lvlm_prompter_template(e->prompter);
}

const char *lvlm_encoder_image_path(const lvlm_encoder *e, const char *name,
                                    lvlm_arena *arena)
{
    return e->options.images == NULL || *name == '/' || lvlm_tar_inside(name) != NULL
               ? lvlm_arena_strndup(arena, name, strlen(name))
               : lvlm_arena_printf(arena, "%s/%s", e->options.images, name);
}

lvlm_clip *lvlm_encoder_clip(const lvlm_encoder *e, const lvlm_clip *clip,
                             lvlm_arena *arena)
{
    lvlm_clip *const copy = lvlm_arena_alloc(arena, 1, sizeof *copy);
    const char **const files =
        lvlm_arena_alloc(arena, clip->n_files + 1, sizeof *files);
    if (copy == NULL || files == NULL) return NULL;
    for (size_t i = 0; i < clip->n_files; i++) {
        files[i] = lvlm_encoder_image_path(e, clip->files[i], arena);
        if (files[i] == NULL) return NULL;
    }
    *copy = (lvlm_clip){ files, clip->n_files, clip->fps };
    return copy;
}

/* ---- prompts -------------------------------------------------------------------- */

/* A batch in the making. */
typedef struct job {
    const lvlm_encoder *e;
    lvlm_encoded *out;
    lvlm_example *const *examples;
    size_t n;
    lvlm_prompt *prompts; /* (n) */
    lvlm_prompt **list;   /* (n) pointers to them */
} job;

static int check_ids(const lvlm_encoder *e, const lvlm_prompt *p, lvlm_error *err)
{
    const lvlm_labeller *const l = &e->labeller;
    const size_t end = p->document ? p->n - 1 : p->n; /* a document may end with it */
    size_t n = 0, k = 0;
    while (k < end && p->ids[k] != l->padding) k++;
    if (!l->hidden || k == end) return 0;
    const char *const token =
        lvlm_tokenizer_token(lvlm_prompter_tokenizer(e->prompter), l->padding, &n);
    return lvlm_fail(err, LVLM_EFORMAT,
                     "the text holds %.*s, which this family's fine-tuning hides as "
                     "padding",
                     (int)n, token);
}

static int write_prompt(const job *j, size_t i, lvlm_error *err)
{
    lvlm_prompt *const p = &j->prompts[i];
    TRY(lvlm_prompt_write(p, j->e->prompter, &j->examples[i]->messages, err));
    TRY(check_ids(j->e, p, err));
    if (p->n_images > 0) TRY(lvlm_encoder_reads_images(j->e, err));
    for (size_t k = 0; k < p->n_images; k++) {
        p->images[k] = lvlm_encoder_image_path(j->e, p->images[k], &p->arena);
        if (p->images[k] == NULL) return lvlm_fail_memory(err);
    }
    FAIL_IF(p->n_videos > 0 && j->e->video == NULL, err, j->e->no_video.code, "%s",
            j->e->no_video.text);
    for (size_t k = 0; k < p->n_videos; k++) {
        p->videos[k] = lvlm_encoder_clip(j->e, p->videos[k], &p->arena);
        if (p->videos[k] == NULL) return lvlm_fail_memory(err);
    }
    return 0;
}

/* ---- labels and length ---------------------------------------------------------- */

static size_t cut_length(const lvlm_encoder *e, const lvlm_prompt *p)
{
    return p->n < e->options.max_length ? p->n : e->options.max_length;
}

/* Truncation must not reach the tokens of an image or the tag that closes it. */
static int check_cut(const lvlm_encoder *e, const lvlm_prompt *p, lvlm_error *err)
{
    const int64_t image = e->spec.image_token;
    const int64_t close = e->tags ? image + 1 : image;
    for (size_t t = cut_length(e, p); t < p->n; t++)
        FAIL_IF(p->ids[t] == image || p->ids[t] == close ||
                    p->ids[t] == e->spec.video_token,
                err, LVLM_EFORMAT,
                "%s would be cut: token %zu of %zu is of it, and --max-length is %zu",
                p->ids[t] == e->spec.video_token ? "a video" : "an image", t + 1, p->n,
                e->options.max_length);
    return 0;
}

/* Set the labels of one text.  row (T), all ignored before */
static int make_labels(int64_t *row, const job *j, size_t i, lvlm_error *err)
{
    const lvlm_prompt *const p = &j->prompts[i];
    const size_t length = cut_length(j->e, p);
    size_t n_targets = 0;
    assert(i < j->n);
    TRY(check_cut(j->e, p, err));
    int64_t *const labels = lvlm_calloc(p->n, sizeof *labels);
    if (labels == NULL) return lvlm_fail_memory(err);
    lvlm_labels_make(labels, &j->e->labeller, p);
    memcpy(row, labels, length * sizeof *row);
    lvlm_free(labels);
    for (size_t t = 1; t < length; t++) n_targets += row[t] != LVLM_IGNORE_LABEL;
    FAIL_IF(
        n_targets == 0 && length == p->n, err, LVLM_EFORMAT,
        "nothing of it is learnt: by the rules of this family's fine-tuning none of "
        "its %zu tokens belongs to an answer",
        p->n);
    FAIL_IF(n_targets == 0, err, LVLM_EFORMAT,
            "nothing is left to learn: it has %zu tokens, and --max-length keeps %zu",
            p->n, length);
    j->out->n_targets += n_targets;
    j->out->cut[i] = length < p->n;
    return 0;
}

/* ---- tensors -------------------------------------------------------------------- */

/* Tensors with a cell per token, [B, T, ...]; tensors that are not needed or made
 * here. */
static const char of_tokens[] =
    "input_ids|attention_mask|token_type_ids|cross_attention_mask";
static const char left_out[] = "mm_token_type_ids|labels";

static void add(lvlm_encoded *out, const lvlm_tensor *tensor)
{
    assert(out->batch.n_tensors < LVLM_ENCODED_TENSORS);
    out->tensors[out->batch.n_tensors++] = *tensor;
}

/* The first `T` cells of every row. */
static int add_cut(const job *j, const lvlm_tensor *from, size_t T, lvlm_error *err)
{
    lvlm_tensor to = *from;
    const size_t old = (size_t)from->shape.dims[1];
    if (T < old) {
        assert(from->shape.n >= 2 && from->shape.dims[0] == j->n);
        const size_t cell = (size_t)from->n_bytes / (j->n * old);
        unsigned char *const data = lvlm_arena_alloc(&j->out->arena, j->n, T * cell);
        if (data == NULL) return lvlm_fail_memory(err);
        for (size_t b = 0; b < j->n; b++)
            memcpy(data + b * T * cell, from->data + b * old * cell, T * cell);
        to.data = data;
        to.map = NULL;
        to.shape.dims[1] = T;
        to.n_bytes = (uint64_t)j->n * T * cell;
    }
    add(j->out, &to);
    return 0;
}

static int add_labels(size_t *bad, const job *j, size_t T, lvlm_error *err)
{
    int64_t *const labels = lvlm_arena_alloc(&j->out->arena, j->n, T * sizeof *labels);
    if (labels == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < j->n * T; i++) labels[i] = LVLM_IGNORE_LABEL;
    for (*bad = 0; *bad < j->n; ++*bad)
        TRY(make_labels(labels + *bad * T, j, *bad, err));
    const lvlm_tensor tensor = { .name = "labels",
                                 .dtype = LVLM_I64,
                                 .shape = { 2, { j->n, T } },
                                 .data = (const unsigned char *)labels,
                                 .n_bytes = (uint64_t)j->n * T * sizeof *labels };
    add(j->out, &tensor);
    return 0;
}

static void finish(lvlm_encoded *out)
{
    lvlm_checkpoint *const batch = &out->batch;
    qsort(out->tensors, batch->n_tensors, sizeof *out->tensors, lvlm_by_text);
    for (size_t i = 0; i < batch->n_tensors; i++) out->by_name[i] = &out->tensors[i];
    batch->kind = LVLM_CHECKPOINT_PLAIN;
    batch->path = "batch";
    batch->tensors = out->tensors;
    batch->by_name = out->by_name;
}

/* Check the batch as the model does: tokens beyond its tables, unpaired tags of
 * images. */
static int check_batch(const job *j, lvlm_error *err)
{
    lvlm_inputs in;
    const int rc = lvlm_inputs_read(&in, &j->out->batch, "", &j->e->spec, NULL, err);
    lvlm_inputs_free(&in);
    return rc;
}

/* The batch could not be encoded: find an example that cannot be encoded by itself. */
static int find_bad(size_t *bad, const job *j, int rc, lvlm_error *err)
{
    assert(rc < 0);
    *bad = j->n == 1 ? 0 : j->n;
    for (size_t i = 0; rc != LVLM_ENOMEM && j->n > 1 && i < j->n; i++) {
        lvlm_encoded *one = NULL;
        lvlm_error reason;
        size_t none;
        const int alone = lvlm_encode(&one, &none, j->e, &j->examples[i], 1, &reason);
        lvlm_encoded_free(one);
        if (alone == 0) continue;
        *bad = i;
        if (err != NULL) *err = reason;
        return alone;
    }
    return rc;
}

static int make_tensors(const job *j, size_t *bad, lvlm_error *err)
{
    size_t T = 0;
    assert(j->out->batch.n_tensors == 0);
    for (size_t i = 0; i < j->n; i++)
        if (cut_length(j->e, &j->prompts[i]) > T) T = cut_length(j->e, &j->prompts[i]);
    const lvlm_checkpoint *const made = &j->out->inputs.batch;
    for (size_t i = 0; i < made->n_tensors; i++)
        if (lvlm_is_listed(of_tokens, made->tensors[i].name))
            TRY(add_cut(j, &made->tensors[i], T, err));
        else if (!lvlm_is_listed(left_out, made->tensors[i].name))
            add(j->out, &made->tensors[i]);
    TRY(add_labels(bad, j, T, err));
    finish(j->out);
    return 0;
}

static int encode(const job *j, size_t *bad, lvlm_error *err)
{
    for (*bad = 0; *bad < j->n; ++*bad) TRY(write_prompt(j, *bad, err));
    int rc = lvlm_prompt_inputs_make(&j->out->inputs, j->list, j->n, j->e->vision,
                                     j->e->video, err);
    if (rc < 0) return find_bad(bad, j, rc, err);
    TRY(make_tensors(j, bad, err));
    rc = check_batch(j, err);
    return rc < 0 ? find_bad(bad, j, rc, err) : 0;
}

/* Allocate what the job needs. */
static int prepare(job *j, lvlm_arena *scratch, lvlm_error *err)
{
    j->out = lvlm_calloc(1, sizeof *j->out);
    if (j->out == NULL) return lvlm_fail_memory(err);
    j->out->cut = lvlm_arena_alloc(&j->out->arena, j->n, sizeof *j->out->cut);
    j->prompts = lvlm_arena_alloc(scratch, j->n, sizeof *j->prompts);
    j->list = lvlm_arena_alloc(scratch, j->n, sizeof *j->list);
    if (j->out->cut == NULL || j->prompts == NULL || j->list == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < j->n; i++) j->list[i] = &j->prompts[i];
    return 0;
}

int lvlm_encode(lvlm_encoded **out, size_t *bad, const lvlm_encoder *encoder,
                lvlm_example *const *examples, size_t n, lvlm_error *err)
{
    job j = { .e = encoder, .examples = examples, .n = n };
    lvlm_arena scratch = LVLM_ARENA_INIT;
    assert(n > 0 && examples != NULL);
    *bad = n;
    int rc = prepare(&j, &scratch, err);
    if (rc == 0) {
        rc = encode(&j, bad, err);
        for (size_t i = 0; i < n; i++) lvlm_prompt_free(&j.prompts[i]);
    }
    if (rc == LVLM_ENOMEM) *bad = n;
    if (rc == 0)
        *out = j.out;
    else
        lvlm_encoded_free(j.out);
    lvlm_arena_free(&scratch);
    return rc;
}

void lvlm_encoded_free(lvlm_encoded *encoded)
{
    if (encoded == NULL) return;
    lvlm_prompt_inputs_free(&encoded->inputs);
    lvlm_arena_free(&encoded->arena);
    lvlm_free(encoded);
}
