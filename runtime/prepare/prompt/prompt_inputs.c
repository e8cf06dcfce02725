/* prompt_inputs.c - prompts to tensors: ids and masks, types and labels.
 *
 *   images -> notes: how many places -> prompts expand -> rows of [B, T] */
#include "runtime/prepare/prompt/prompt_inputs.h"

#include <assert.h>
#include <string.h>

#include "formats/base/size.h"
#include "formats/base/text.h"
#include "runtime/batch/inputs.h"

/* Limit of one tensor in bytes. */
#define MAX_BYTES (UINT64_C(1) << 40)

/* The inputs under construction. */
typedef struct maker {
    lvlm_prompt_inputs *out;
    lvlm_prompt *const *prompts;
    size_t B, T;
    size_t M; /* the largest number of images in a prompt */
} maker;

/* ---- images ------------------------------------------------------------------- */

static int read_images(maker *m, const lvlm_vision_input *vision, lvlm_error *err)
{
    lvlm_arena *const arena = &m->out->arena;
    size_t *const per_text = lvlm_arena_alloc(arena, m->B, sizeof *per_text);
    size_t n = 0;
    if (per_text == NULL) return lvlm_fail_memory(err);
    for (size_t b = 0; b < m->B; b++) {
        per_text[b] = m->prompts[b]->n_images;
        if (per_text[b] > m->M) m->M = per_text[b];
        n += per_text[b];
    }
    if (n == 0) return 0;
    const char **const images = lvlm_arena_alloc(arena, n, sizeof *images);
    if (images == NULL) return lvlm_fail_memory(err);
    for (size_t b = 0, k = 0; b < m->B; b++)
        for (size_t i = 0; i < per_text[b]; i++, k++)
            images[k] = m->prompts[b]->images[i];
    const lvlm_vision_request request = { images, n, per_text, m->B };
    return lvlm_vision_input_read(&m->out->vision, vision, &request, err);
}

static int read_videos(maker *m, const lvlm_video_input *video, lvlm_error *err)
{
    size_t n = 0;
    for (size_t b = 0; b < m->B; b++) n += m->prompts[b]->n_videos;
    if (n == 0) return 0;
    const lvlm_clip **const clips = lvlm_arena_alloc(&m->out->arena, n, sizeof *clips);
    if (clips == NULL) return lvlm_fail_memory(err);
    for (size_t b = 0, k = 0; b < m->B; b++)
        for (size_t i = 0; i < m->prompts[b]->n_videos; i++, k++)
            clips[k] = m->prompts[b]->videos[i];
    return lvlm_video_input_read(&m->out->video, video, clips, n, err);
}

static int expand(maker *m, lvlm_error *err)
{
    const lvlm_image_note *note = m->out->vision.notes;
    const lvlm_video_note *video = m->out->video.notes;
    for (size_t b = 0; b < m->B; b++) {
        lvlm_prompt *const prompt = m->prompts[b];
        const size_t n = prompt->n_images + prompt->n_videos;
        size_t *const rows = lvlm_arena_alloc(&m->out->arena, n + 1, sizeof *rows);
        if (rows == NULL) return lvlm_fail_memory(err);
        for (size_t i = 0; i < prompt->n_images; i++) rows[i] = (note++)->tokens;
        for (size_t i = prompt->n_images; i < n; i++) rows[i] = (video++)->tokens;
        TRY(lvlm_prompt_expand(prompt, rows, rows + prompt->n_images, err));
        if (prompt->n > m->T) m->T = prompt->n;
    }
    return 0;
}

/* ---- tensors -------------------------------------------------------------------- */

/* A tensor of whole numbers, all of them `value`. */
static int add(int64_t **values, maker *m, const char *name, const lvlm_shape *shape,
               int64_t value, lvlm_error *err)
{
    lvlm_checkpoint *const batch = &m->out->batch;
    uint64_t n_bytes = 0;
    FAIL_IF(!lvlm_shape_bytes(&n_bytes, shape, LVLM_I64) || n_bytes > MAX_BYTES, err,
            LVLM_ENOMEM, "%s: too large", name);
    int64_t *const at = lvlm_arena_alloc(&m->out->arena, (size_t)n_bytes, 1);
    if (at == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; value != 0 && i < n_bytes / sizeof *at; i++) at[i] = value;
    m->out->tensors[batch->n_tensors++] = (lvlm_tensor){ .name = name,
                                                         .dtype = LVLM_I64,
                                                         .shape = *shape,
                                                         .data = (unsigned char *)at,
                                                         .n_bytes = n_bytes };
    *values = at;
    return 0;
}

static int add_rows(int64_t **values, maker *m, const char *name, int64_t value,
                    lvlm_error *err)
{
    const lvlm_shape shape = { 2, { m->B, m->T } };
    return add(values, m, name, &shape, value, err);
}

static int add_ids(maker *m, lvlm_error *err)
{
    int64_t *ids, *mask;
    TRY(add_rows(&ids, m, "input_ids", m->prompts[0]->form.pad, err));
    TRY(add_rows(&mask, m, "attention_mask", 0, err));
    for (size_t b = 0; b < m->B; b++) {
        const lvlm_prompt *const p = m->prompts[b];
        assert(p->n <= m->T);
        memcpy(ids + b * m->T, p->ids, p->n * sizeof *ids);
        for (size_t t = 0; t < p->n; t++) mask[b * m->T + t] = 1;
    }
    return 0;
}

/* Labels are the suffix. */
static int add_suffix(maker *m, lvlm_error *err)
{
    int64_t *types, *labels;
    TRY(add_rows(&types, m, "token_type_ids", 0, err));
    TRY(add_rows(&labels, m, "labels", LVLM_IGNORE_LABEL, err));
    for (size_t b = 0; b < m->B; b++) {
        const lvlm_prompt *const p = m->prompts[b];
        for (size_t i = 0; i < p->n_spans; i++) {
            if (p->spans[i].role != LVLM_ROLE_ASSISTANT) continue;
            for (size_t t = p->spans[i].first; t < p->spans[i].end; t++) {
                types[b * m->T + t] = 1;
                labels[b * m->T + t] = p->ids[t];
            }
        }
    }
    return 0;
}

static int add_types(maker *m, lvlm_error *err)
{
    int64_t *types;
    TRY(add_rows(&types, m, "mm_token_type_ids", 0, err));
    for (size_t b = 0; b < m->B; b++) {
        const lvlm_prompt *const p = m->prompts[b];
        for (size_t t = 0; t < p->n; t++)
            types[b * m->T + t] = p->ids[t] == p->form.image_token   ? 1
                                  : p->ids[t] == p->form.video_token ? 2
                                                                     : 0;
    }
    return 0;
}

/* The end of the tokens to which image `i` is visible: the next image; consecutive
 * images share the end of the last. The only image of a text is visible to its padding
 * too. */
static size_t end_of_visibility(const maker *m, const lvlm_prompt *p, size_t i)
{
    while (i + 1 < p->n_images && p->places[i + 1] == p->places[i] + 1) i++;
    if (i + 1 < p->n_images) return p->places[i + 1];
    return p->n_images == 1 ? m->T : p->n;
}

static int add_visibility(maker *m, lvlm_error *err)
{
    const size_t tiles = m->out->vision.most_tiles, M = m->M;
    const lvlm_image_note *note = m->out->vision.notes;
    const lvlm_shape shape = { 4, { m->B, m->T, M, tiles } };
    int64_t *visible;
    TRY(add(&visible, m, "cross_attention_mask", &shape, 0, err));
    for (size_t b = 0; b < m->B; b++) {
        const lvlm_prompt *const p = m->prompts[b];
        for (size_t i = 0; i < p->n_images; i++, note++) {
            const size_t end = end_of_visibility(m, p, i);
            for (size_t t = p->places[i]; t < end; t++)
                for (size_t k = 0; k < note->rows * note->columns; k++)
                    visible[((b * m->T + t) * M + i) * tiles + k] = 1;
        }
    }
    return 0;
}

static void add_all(lvlm_prompt_inputs *out, const lvlm_vision_tensors *tensors)
{
    for (size_t i = 0; i < tensors->n; i++)
        out->tensors[out->batch.n_tensors++] = tensors->at[i];
}

/* Sort, and fill the checkpoint. */
static void finish(lvlm_prompt_inputs *out)
{
    lvlm_checkpoint *const batch = &out->batch;
    add_all(out, &out->vision.tensors);
    add_all(out, &out->video.tensors);
    qsort(out->tensors, batch->n_tensors, sizeof *out->tensors, lvlm_by_text);
    for (size_t i = 0; i < batch->n_tensors; i++) out->by_name[i] = &out->tensors[i];
    batch->kind = LVLM_CHECKPOINT_PLAIN;
    batch->path = "prompt";
    batch->tensors = out->tensors;
    batch->by_name = out->by_name;
}

int lvlm_prompt_inputs_make(lvlm_prompt_inputs *out, lvlm_prompt *const *prompts,
                            size_t n, const lvlm_vision_input *vision,
                            const lvlm_video_input *video, lvlm_error *err)
{
    maker m = { .out = out, .prompts = prompts, .B = n };
    const lvlm_prompt_form *const form = &prompts[0]->form;
    assert(n > 0);
    memset(out, 0, sizeof *out);
    TRY(read_images(&m, vision, err));
    TRY(read_videos(&m, video, err));
    TRY(expand(&m, err));
    TRY(add_ids(&m, err));
    if (form->prefix) TRY(add_suffix(&m, err));
    if (form->typed) TRY(add_types(&m, err));
    if (form->crossed && m.M > 0) TRY(add_visibility(&m, err));
    finish(out);
    return 0;
}

void lvlm_prompt_inputs_free(lvlm_prompt_inputs *inputs)
{
    lvlm_vision_batch_free(&inputs->vision);
    lvlm_video_batch_free(&inputs->video);
    lvlm_arena_free(&inputs->arena);
    memset(inputs, 0, sizeof *inputs);
}
