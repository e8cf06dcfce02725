/* fuzz_messages.c - conversations, and answers that name boxes.
 *
 * A conversation that parses has text, a file or a video in every part, and videos that
 * are given fill those without frames; boxes are inside the image, also when drawn. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/image/boxes.h"
#include "runtime/prepare/prompt/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_videos(lvlm_messages *m)
{
    static const char *const folder[] = { "c" };
    static const lvlm_clip clips[] = { { folder, 1, 2 }, { folder, 1, 0 } };
    lvlm_error err;
    if (lvlm_messages_give_videos(m, clips, 2, &err) < 0) return;
    if (m->n_unplaced_videos != 0 && m->n_unplaced_videos != 2) abort();
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++)
            if (m->at[i].parts[j].video != NULL &&
                m->at[i].parts[j].video->n_files == 0)
                abort();
}

static void read_conversation(const char *json, size_t n_bytes)
{
    static const char *const images[] = { "a", "b" };
    lvlm_messages m;
    lvlm_error err;
    if (lvlm_messages_parse(&m, json, n_bytes, images, 2, NULL, &err) == 0) {
        if (m.n == 0 || m.n_unplaced > 2) abort();
        for (size_t i = 0; i < m.n; i++)
            for (size_t j = 0; j < m.at[i].n_parts; j++) {
                const lvlm_part *const part = &m.at[i].parts[j];
                if ((part->text != NULL) + (part->image != NULL) +
                        (part->video != NULL) !=
                    1)
                    abort();
            }
        give_videos(&m);
    }
    lvlm_messages_free(&m);
}

static void draw_boxes(const char *text)
{
    enum { WIDTH = 7, HEIGHT = 3 };
    lvlm_boxes boxes;
    lvlm_image image;
    lvlm_error err;
    if (lvlm_image_make(&image, WIDTH, HEIGHT, &err) < 0) return;
    memset(image.pixels, 0, WIDTH * HEIGHT * 3);
    if (lvlm_boxes_find(&boxes, text, &err) == 0) {
        for (size_t i = 0; i < boxes.n; i++) {
            size_t p[4];
            lvlm_box_pixels(p, &boxes.at[i], WIDTH, HEIGHT);
            if (p[0] > p[2] || p[1] > p[3] || p[2] >= WIDTH || p[3] >= HEIGHT) abort();
        }
        lvlm_boxes_draw(&image, &boxes);
    }
    lvlm_boxes_free(&boxes);
    lvlm_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = lvlm_malloc(size + 1);
    if (text == NULL) return 0;
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    read_conversation(text, size);
    draw_boxes(text);
    lvlm_free(text);
    return 0;
}
