/* answer.c - an answer as text, and the boxes in it; see answer.h. */
#include "runtime/cli/answer.h"
#include "formats/cli/terminal.h"

#include <stdio.h>
#include <string.h>

#include "runtime/prepare/image/boxes.h"
#include "runtime/prepare/image/image_save.h"

void answer_init(answer *a, const prompting *p, bool silent)
{
    *a = (answer){ .text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX), .silent = silent };
    lvlm_text_stream_init(&a->stream, lvlm_prompter_tokenizer(p->prompter),
                          lvlm_prompter_answer(p->prompter));
    lvlm_strbuf_puts(&a->text, "");
}

void answer_free(answer *a)
{
    lvlm_text_stream_free(&a->stream);
    lvlm_strbuf_free(&a->text);
}

static void print_rest(answer *a)
{
    if (a->silent || a->printed == a->text.length) return;
    lvlm_print_made_text(a->text.text + a->printed, a->text.length - a->printed);
    fflush(stdout);
    a->printed = a->text.length;
}

int answer_take(answer *a, int64_t id, lvlm_error *err)
{
    size_t n;
    if (lvlm_tokenizer_token(a->stream.tokenizer, id, &n) == NULL) return 0;
    TRY(lvlm_text_stream_put(&a->stream, &a->text, id, err));
    TRY(lvlm_strbuf_check(&a->text, err));
    print_rest(a);
    return 0;
}

static void replace_zeros(lvlm_strbuf *text)
{
    lvlm_strbuf clean = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    if (strlen(text->text) == text->length) return;
    for (size_t at = 0; at <= text->length; at += strlen(text->text + at) + 1) {
        if (at > 0) lvlm_strbuf_puts(&clean, "\xef\xbf\xbd");
        lvlm_strbuf_puts(&clean, text->text + at);
    }
    lvlm_strbuf_free(text);
    *text = clean;
}

int answer_end(answer *a, lvlm_error *err)
{
    TRY(lvlm_text_stream_end(&a->stream, &a->text, err));
    TRY(lvlm_strbuf_check(&a->text, err));
    print_rest(a);
    if (!a->silent) putchar('\n');
    replace_zeros(&a->text);
    return lvlm_strbuf_check(&a->text, err);
}

/* ---- boxes ---------------------------------------------------------------------- */

/* { "colour": "red", "label": "cat", "pixels": [left, top, right, bottom] } */
static int list_box(cJSON *list, const char *colour, const lvlm_box *box,
                    const size_t pixels[4], lvlm_error *err)
{
    cJSON *const item = cJSON_CreateObject();
    cJSON *edges = NULL;
    bool fine = item != NULL && cJSON_AddItemToArray(list, item) &&
                cJSON_AddStringToObject(item, "colour", colour) != NULL &&
                cJSON_AddStringToObject(item, "label", box->label) != NULL &&
                (edges = cJSON_AddArrayToObject(item, "pixels")) != NULL;
    for (size_t i = 0; fine && i < 4; i++) {
        cJSON *const edge = cJSON_CreateNumber((double)pixels[i]);
        fine = edge != NULL && cJSON_AddItemToArray(edges, edge);
    }
    return fine ? 0 : lvlm_fail_memory(err);
}

static int say(const lvlm_boxes *boxes, const lvlm_image *image, cJSON *json,
               lvlm_error *err)
{
    cJSON *const list = json != NULL ? cJSON_AddArrayToObject(json, "boxes") : NULL;
    if (json != NULL && list == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < boxes->n; i++) {
        const lvlm_box *const box = &boxes->at[i];
        unsigned char rgb[3];
        size_t p[4];
        const char *const colour = lvlm_box_colour(rgb, i);
        lvlm_box_pixels(p, box, image->width, image->height);
        if (list != NULL)
            TRY(list_box(list, colour, box, p, err));
        else
            printf("%-8s %zu,%zu - %zu,%zu%s%s\n", colour, p[0], p[1], p[2], p[3],
                   *box->label != '\0' ? "  " : "", box->label);
    }
    return 0;
}

int answer_draw(const answer *a, const prompting *p, lvlm_outfile *file, cJSON *json,
                lvlm_error *err)
{
    const lvlm_image_options options = { .alpha = LVLM_ALPHA_ON_WHITE };
    lvlm_image image = { .pixels = NULL };
    lvlm_boxes boxes;
    int rc = lvlm_boxes_find(&boxes, a->text.text, err);
    if (rc < 0 ||
        (rc = lvlm_image_read(&image, p->prompt.images[0], &options, err)) < 0)
        goto done;
    lvlm_boxes_draw(&image, &boxes);
    if ((rc = say(&boxes, &image, json, err)) < 0) goto done;
    rc = lvlm_image_save(&image, file, err);
done:
    lvlm_image_free(&image);
    lvlm_boxes_free(&boxes);
    return rc;
}
