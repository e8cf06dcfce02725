/* answer.c - an answer as text, and the boxes in it; see answer.h. */
#include "runtime/cli/answer.h"
#include "formats/cli/terminal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "runtime/prepare/image/boxes.h"
#include "runtime/prepare/image/image_save.h"

void answer_init(answer *a, const lvlm_prompter *prompter, bool silent)
{
    *a = (answer){ .text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX), .silent = silent };
    lvlm_text_stream_init(&a->stream, lvlm_prompter_tokenizer(prompter),
                          lvlm_prompter_answer(prompter));
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
    assert(text->text != NULL);
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

static void print_box(lvlm_printer *to, const lvlm_box *box, const char *colour,
                      const lvlm_image *image)
{
    size_t p[4];
    lvlm_box_pixels(p, box, image->width, image->height);
    lvlm_printer_line(to, "%-8s %zu,%zu - %zu,%zu%s%s\n", colour, p[0], p[1], p[2],
                      p[3], *box->label != '\0' ? "  " : "", box->label);
    lvlm_printer_object(to, NULL);
    lvlm_printer_text(to, "colour", colour);
    lvlm_printer_text(to, "label", box->label);
    lvlm_printer_list(to, "pixels");
    for (size_t i = 0; i < 4; i++) lvlm_printer_count(to, NULL, p[i]);
    lvlm_printer_end(to);
    lvlm_printer_end(to);
}

int answer_draw(const answer *a, const prompting *p, lvlm_outfile *file,
                lvlm_printer *to, lvlm_error *err)
{
    const lvlm_image_options options = { .alpha = LVLM_ALPHA_ON_WHITE };
    assert(p->prompt.n_images > 0);
    lvlm_image image = { .pixels = NULL };
    lvlm_boxes boxes;
    int rc = lvlm_boxes_find(&boxes, a->text.text, err);
    if (rc < 0 ||
        (rc = lvlm_image_read(&image, p->prompt.images[0], &options, err)) < 0)
        goto done;
    lvlm_boxes_draw(&image, &boxes);
    lvlm_printer_list(to, "boxes");
    for (size_t i = 0; i < boxes.n; i++) {
        unsigned char rgb[3];
        print_box(to, &boxes.at[i], lvlm_box_colour(rgb, i), &image);
    }
    lvlm_printer_end(to);
    rc = lvlm_image_save(&image, file, err);
done:
    lvlm_image_free(&image);
    lvlm_boxes_free(&boxes);
    return rc;
}
