/* boxes.c - finds boxes in an answer by their tags and draws outlines. */
#include "runtime/prepare/image/boxes.h"

#include <assert.h>
#include <string.h>

#include "formats/base/text.h"

enum { LOC_BINS = 1024, BOX_BINS = 1000, LOC_BYTES = 9, LOC_DIGITS = 4 };

/* ---- finding -------------------------------------------------------------------- */

/* A label and boxes between tags. */
static const struct tags {
    const char *ref, *ref_end, *box, *box_end;
} all_tags[] = {
    { "<ref>", "</ref>", "<box>", "</box>" },
    { "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>" },
};

static void order(double *low, double *high)
{
    const double first = *low;
    if (first <= *high) return;
    *low = *high;
    *high = first;
}

static int add(lvlm_boxes *out, const double edges[4], const char *label,
               size_t n_bytes, lvlm_error *err)
{
    lvlm_box box = { edges[0], edges[1], edges[2], edges[3],
                     lvlm_arena_strndup(&out->arena, label, n_bytes) };
    if (box.label == NULL) return lvlm_fail_memory(err);
    order(&box.x0, &box.x1);
    order(&box.y0, &box.y1);
    assert(out->n < LVLM_MAX_BOXES);
    out->at[out->n++] = box;
    return 0;
}

/* Parse a number of at most four digits; returns the text after it, or NULL. */
static const char *number(double *out, const char *text, double whole)
{
    size_t n = 0;
    int value = 0;
    for (; n < LOC_DIGITS && text[n] >= '0' && text[n] <= '9'; n++)
        value = 10 * value + (text[n] - '0');
    *out = value >= whole ? 1 : value / whole;
    return n > 0 ? text + n : NULL;
}

/* "<loc0102>" */
static bool is_loc(double *out, const char *text)
{
    return lvlm_starts_with(text, "<loc") &&
           number(out, text + 4, LOC_BINS) == text + 8 && text[8] == '>';
}

/* Bytes of the "<seg012>" that `text` begins with, or 0. */
static size_t seg_bytes(const char *text)
{
    double part;
    return lvlm_starts_with(text, "<seg") &&
                   number(&part, text + 4, LOC_BINS) == text + 7 && text[7] == '>'
               ? 8
               : 0;
}

/* Four locations, a mask's segments, a label up to the next box. */
static int find_locations(lvlm_boxes *out, const char **at, lvlm_error *err)
{
    double yxyx[4];
    const char *label = *at;
    for (size_t i = 0; i < 4; i++, label += LOC_BYTES)
        if (!is_loc(&yxyx[i], label)) return 0;
    for (size_t n; (n = seg_bytes(label)) > 0;) label += n;
    label += strspn(label, " ");
    size_t n = strcspn(label, ";<\n");
    *at = label + n;
    while (n > 0 && label[n - 1] == ' ') n--;
    const double edges[4] = { yxyx[1], yxyx[0], yxyx[3], yxyx[2] };
    return add(out, edges, label, n, err);
}

/* Parse "(200,100),(900,800)" and the tag after it; returns the text after that, or
 * NULL. */
static const char *corners(double edges[4], const char *text, const char *end)
{
    static const char between[4][4] = { "(", ",", "),(", "," };
    for (size_t i = 0; i < 4; i++) {
        if (!lvlm_starts_with(text, between[i])) return NULL;
        text = number(&edges[i], text + strlen(between[i]), BOX_BINS);
        if (text == NULL) return NULL;
    }
    if (*text != ')' || !lvlm_starts_with(text + 1, end)) return NULL;
    return text + 1 + strlen(end);
}

/* State of the scan of an answer. */
typedef struct finder {
    const char *at;
    const char *label; /* of the last reference */
    size_t label_bytes;
} finder;

static int find_between(lvlm_boxes *out, finder *f, const struct tags *tags,
                        lvlm_error *err)
{
    double edges[4];
    if (lvlm_starts_with(f->at, tags->ref)) {
        f->label = f->at + strlen(tags->ref);
        const char *const end = strstr(f->label, tags->ref_end);
        f->label_bytes = end != NULL ? (size_t)(end - f->label) : 0;
        f->at = f->label + f->label_bytes;
    } else if (lvlm_starts_with(f->at, tags->box)) {
        const char *const after =
            corners(edges, f->at + strlen(tags->box), tags->box_end);
        if (after == NULL) return 0;
        f->at = after;
        return add(out, edges, f->label, f->label_bytes, err);
    }
    return 0;
}

int lvlm_boxes_find(lvlm_boxes *out, const char *text, lvlm_error *err)
{
    finder f = { .at = text, .label = text };
    *out = (lvlm_boxes){ .n = 0 };
    out->at = lvlm_arena_alloc(&out->arena, LVLM_MAX_BOXES, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    while ((f.at = strchr(f.at, '<')) != NULL && out->n < LVLM_MAX_BOXES) {
        const char *const before = f.at;
        TRY(find_locations(out, &f.at, err));
        for (size_t i = 0; i < sizeof all_tags / sizeof all_tags[0] && f.at == before;
             i++)
            TRY(find_between(out, &f, &all_tags[i], err));
        if (f.at == before) f.at++;
    }
    return 0;
}

void lvlm_boxes_free(lvlm_boxes *boxes)
{
    lvlm_arena_free(&boxes->arena);
    *boxes = (lvlm_boxes){ .n = 0 };
}

/* ---- drawing -------------------------------------------------------------------- */

static const struct colour {
    const char *name;
    unsigned char rgb[3];
} colours[LVLM_BOX_COLOURS] = {
    { "red", { 230, 25, 75 } },     { "green", { 60, 180, 75 } },
    { "blue", { 0, 130, 200 } },    { "orange", { 245, 130, 48 } },
    { "cyan", { 70, 240, 240 } },   { "magenta", { 240, 50, 230 } },
    { "yellow", { 255, 225, 25 } }, { "purple", { 145, 30, 180 } },
};

const char *lvlm_box_colour(unsigned char rgb[3], size_t i)
{
    const struct colour *const colour = &colours[i % LVLM_BOX_COLOURS];
    memcpy(rgb, colour->rgb, sizeof colour->rgb);
    return colour->name;
}

/* The coordinate 1 belongs to the last pixel. */
static size_t pixel(double part, size_t size)
{
    assert(part >= 0 && part <= 1 && size > 0);
    const size_t at = (size_t)(part * (double)size);
    return at < size ? at : size - 1;
}

void lvlm_box_pixels(size_t pixels[4], const lvlm_box *box, size_t width, size_t height)
{
    pixels[0] = pixel(box->x0, width);
    pixels[1] = pixel(box->y0, height);
    pixels[2] = pixel(box->x1, width);
    pixels[3] = pixel(box->y1, height);
}

/* Paint columns [left, right] of rows [top, bottom]. */
static void fill(lvlm_image *image, size_t left, size_t top, size_t right,
                 size_t bottom, const unsigned char rgb[3])
{
    assert(right < image->width && bottom < image->height);
    for (size_t y = top; y <= bottom; y++)
        for (size_t x = left; x <= right; x++)
            memcpy(image->pixels + 3 * (y * image->width + x), rgb, 3);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Four lines, inside of the box. */
static void draw(lvlm_image *image, const size_t box[4], size_t line,
                 const unsigned char rgb[3])
{
    assert(line > 0 && box[0] <= box[2] && box[1] <= box[3]);
    const size_t left = box[0], top = box[1], right = box[2], bottom = box[3];
    const size_t across = least(line - 1, right - left),
                 down = least(line - 1, bottom - top);
    fill(image, left, top, right, top + down, rgb);
    fill(image, left, bottom - down, right, bottom, rgb);
    fill(image, left, top, left + across, bottom, rgb);
    fill(image, right - across, top, right, bottom, rgb);
}

void lvlm_boxes_draw(lvlm_image *image, const lvlm_boxes *boxes)
{
    enum { LINES = 250 }; /* this many would fill the shorter side */
    const size_t line = 1 + least(image->width, image->height) / LINES;
    for (size_t i = 0; i < boxes->n; i++) {
        unsigned char rgb[3];
        size_t box[4];
        lvlm_box_colour(rgb, i);
        lvlm_box_pixels(box, &boxes->at[i], image->width, image->height);
        draw(image, box, line, rgb);
    }
}
