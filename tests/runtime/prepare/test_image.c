/* test_image.c - recorded files decode to Pillow's pixels; damaged, truncated and too
 * large files are refused, in one line with the reason. */
#include "tests/runtime/prepare/recorded.h"

#include <stdlib.h>

#include "tests/support/scratch.h"

/* ---- recorded files ------------------------------------------------------------- */

static void same_pixels(const cJSON *entry, const char *key, lvlm_alpha alpha)
{
    const char *const name = recorded_word(entry, "file");
    const char *digest = lvlm_json_string(lvlm_json_get(entry, key));
    if (digest == NULL) digest = recorded_word(entry, "rgb");
    const lvlm_image_options options = { .alpha = alpha };
    lvlm_image image = recorded_image(name, &options);
    assert_int_equal(image.width, recorded_count(entry, "width"));
    assert_int_equal(image.height, recorded_count(entry, "height"));
    if (!pixels_are(&image, digest)) fail_msg("%s: other pixels: %s", name, key);
    lvlm_image_free(&image);
}

static void images_decode_to_pillows_pixels(void **state)
{
    (void)state;
    cJSON *const json = recorded_json();
    const cJSON *entry;
    size_t n = 0;
    LVLM_JSON_ITEMS (entry, lvlm_json_get(json, "images")) {
        same_pixels(entry, "rgb", LVLM_ALPHA_DROP);
        same_pixels(entry, "white", LVLM_ALPHA_ON_WHITE);
        n++;
    }
    assert_true(n >= 60);
    lvlm_json_free(json);
}

/* ---- refusals ------------------------------------------------------------------- */

static void refused(const void *bytes, size_t n_bytes,
                    const lvlm_image_options *options, const char *text)
{
    lvlm_image image;
    lvlm_error err;
    assert_int_equal(
        lvlm_image_decode(&image, bytes, n_bytes, "some.file", options, &err),
        LVLM_EFORMAT);
    assert_null(image.pixels);
    if (strncmp(err.text, "some.file: ", 11) != 0 || strstr(err.text, text) == NULL ||
        strchr(err.text, '\n') != NULL)
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
}

/* A truncated file is refused, unless only data after the last pixel is missing.
 * Returns true if it was refused. */
static bool cut_is_safe(const lvlm_infile *file, const lvlm_image *whole, size_t n)
{
    lvlm_image image;
    lvlm_error err;
    unsigned char *const part = malloc(n + 1); /* exact size, for sanitizers */
    memcpy(part, file->bytes, n);
    const int rc = lvlm_image_decode(&image, part, n, "cut", NULL, &err);
    free(part);
    if (rc < 0) return true;
    if (memcmp(image.pixels, whole->pixels, image.width * image.height * 3) != 0)
        fail_msg("%s: other pixels from %zu bytes", file->path, n);
    lvlm_image_free(&image);
    return false;
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    enum { CUTS = 24, TAIL = 24 };
    cJSON *const json = recorded_json();
    const cJSON *entry;
    LVLM_JSON_ITEMS (entry, lvlm_json_get(json, "images")) {
        const char *const name = recorded_word(entry, "file");
        lvlm_image whole = recorded_image(name, NULL);
        lvlm_infile *const file = recorded_file(name);
        const size_t n = (size_t)file->n_bytes;
        for (size_t i = 0; i < CUTS; i++)
            if (!cut_is_safe(file, &whole, (n - TAIL) * i / CUTS) &&
                strstr(name, "animated") == NULL && strstr(name, "turned") == NULL)
                fail_msg("%s: cut after %zu/%d, and taken", name, i, CUTS);
        for (size_t i = 1; i <= TAIL; i++) (void)cut_is_safe(file, &whole, n - i);
        lvlm_infile_close(file);
        lvlm_image_free(&whole);
    }
    lvlm_json_free(json);
}

static void files_of_other_formats_are_refused(void **state)
{
    (void)state;
    refused("", 0, NULL, "is not an image that can be read");
    refused("GIF89a...", 9, NULL, "not a JPEG, PNG or WebP file");
    refused("\xff\xd8\xff\xe0", 4, NULL, "JPEG: is cut off");
    refused("\xff\xd8\xff\xd9", 4, NULL, "JPEG: is damaged");
    refused("\x89PNG\r\n\x1a\n", 8, NULL, "PNG: is cut off");
    refused("\x89PNG\r\n\x1a\n\0\0\0\0IEND\xae\x42\x60\x82", 20, NULL,
            "PNG: is damaged");
    refused("RIFF\x10\0\0\0WEBPVP8 ", 16, NULL, "WebP: is ");
}

static void limits_are_enforced(void **state)
{
    (void)state;
    static const char *const names[] = { "jpeg-420.jpg", "png-rgb.png",
                                         "webp-lossy.webp" };
    static const char *const sizes[] = { "97 x 61", "160 x 120", "90 x 65" };
    for (size_t i = 0; i < 3; i++) {
        lvlm_infile *const file = recorded_file(names[i]);
        const lvlm_image_options pixels = { .max_pixels = 5000 };
        const lvlm_image_options side = { .max_side = 89 };
        const lvlm_image_options bytes = { .max_bytes = 100 };
        refused(file->bytes, file->n_bytes, &pixels, sizes[i]);
        refused(file->bytes, file->n_bytes, &pixels, "at most 5000 are taken");
        refused(file->bytes, file->n_bytes, &side, "at most 89 on a side are taken");
        refused(file->bytes, file->n_bytes, &bytes, "at most 100 are taken");
        lvlm_infile_close(file);
    }
}

/* ---- hostile files -------------------------------------------------------------- */

/* A copy of a recorded file with room for more. */
static unsigned char *copy_of(const char *name, size_t *n, size_t more)
{
    lvlm_infile *const file = recorded_file(name);
    unsigned char *const copy = calloc((size_t)file->n_bytes + more, 1);
    memcpy(copy, file->bytes, (size_t)file->n_bytes);
    *n = (size_t)file->n_bytes;
    lvlm_infile_close(file);
    return copy;
}

static size_t find(const unsigned char *bytes, size_t n, const char *text,
                   size_t length)
{
    for (size_t i = n - length + 1; i-- > 0;)
        if (memcmp(bytes + i, text, length) == 0) return i;
    fail_msg("not found: %s", text);
    return 0;
}

/* Sizes in a header are checked before memory is allocated. */
static void claimed_sizes_are_checked(void **state)
{
    (void)state;
    size_t n;
    unsigned char *bytes = copy_of("jpeg-420.jpg", &n, 0);
    memcpy(bytes + find(bytes, n, "\xff\xc0", 2) + 5, "\xff\xdc\xff\xdc", 4);
    refused(bytes, n, NULL, "JPEG: has 65500 x 65500 pixels, at most 178956970");
    free(bytes);
    bytes = copy_of("webp-lossy.webp", &n, 0);
    memcpy(bytes + find(bytes, n, "\x9d\x01\x2a", 3) + 3, "\xff\x3f\xff\x3f", 4);
    refused(bytes, n, NULL, "WebP: has 16383 x 16383 pixels");
    free(bytes);
    static const unsigned char png[] =
        "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0"
        "\x9b\xab\x9c\x31\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82";
    refused(png, sizeof png - 1, NULL, "PNG: has 2147483647 x 2147483647 pixels");
}

/* Each scan of a progressive file is a pass over the whole image. */
static void too_many_scans_are_refused(void **state)
{
    (void)state;
    enum { COPIES = 1000 };
    size_t n;
    unsigned char *const bytes = copy_of("jpeg-progressive.jpg", &n, 1 << 22);
    const size_t scan = find(bytes, n, "\xff\xda", 2), length = n - 2 - scan;
    assert_true(length * COPIES < 1 << 22);
    for (size_t i = 1; i <= COPIES; i++)
        memmove(bytes + scan + i * length, bytes + scan, length);
    refused(bytes, n + COPIES * length, NULL, "JPEG: has over 500 scans");
    free(bytes);
}

/* Single bytes changed everywhere: an image or an error, and no leak. */
static void changed_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {
        "jpeg-ycck.jpg",    "jpeg-turned-6.jpg",     "png-palette-alpha.png",
        "png-animated.png", "webp-lossy-alpha.webp", "webp-turned-8.webp"
    };
    const lvlm_image_options options = { .alpha = LVLM_ALPHA_ON_WHITE,
                                         .max_pixels = 1 << 20 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n, n_refused = 0;
        unsigned char *const bytes = copy_of(names[i], &n, 0);
        for (size_t at = 0; at < n; at += 1 + n / 400) {
            lvlm_image image;
            lvlm_error err = { 0 };
            bytes[at] ^= (unsigned char)(1 + at % 255);
            if (lvlm_image_decode(&image, bytes, n, "changed", &options, &err) < 0) {
                n_refused++;
                assert_int_equal(strncmp(err.text, "changed: ", 9), 0);
            }
            lvlm_image_free(&image);
            bytes[at] ^= (unsigned char)(1 + at % 255);
        }
        assert_true(n_refused > 0);
        free(bytes);
    }
}

static void missing_files_are_named(void **state)
{
    (void)state;
    lvlm_image image;
    lvlm_error err;
    assert_int_equal(lvlm_image_read(&image, RECORDED "none.png", NULL, &err),
                     LVLM_EIO);
    assert_non_null(strstr(err.text, "none.png"));
    lvlm_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_decode_to_pillows_pixels),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(files_of_other_formats_are_refused),
        cmocka_unit_test(limits_are_enforced),
        cmocka_unit_test(claimed_sizes_are_checked),
        cmocka_unit_test(too_many_scans_are_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(missing_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
