/* image_jpeg.c - JPEG by libjpeg-turbo with its defaults, like Pillow: the slow integer
 * transform, smooth upsampling of colour. */
#include <assert.h>
#include <setjmp.h>
#include <stdio.h> // jpeglib.h needs FILE

#include <jerror.h>
#include <jpeglib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/image/image_codec.h"

/* A progressive file may have any number of scans, each over the whole image. Encoders
 * write about ten. */
enum { MAX_SCANS = 500 };

typedef struct reader {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const image_bytes *file;
    picture *out;
    unsigned char *row; /* of grey or CMYK; NULL for RGB */
    bool complete;      /* all rows are read */
    lvlm_error *err;
    int rc;
} reader;

/* ---- what libjpeg calls --------------------------------------------------------- */

/* The context is a reader, whose first member is `c`. */

static void on_error(j_common_ptr c)
{
    reader *const r = (reader *)(void *)c;
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    r->rc = lvlm_fail(
        r->err, c->err->msg_code == JERR_OUT_OF_MEMORY ? LVLM_ENOMEM : LVLM_EFORMAT,
        "is damaged: %s", text);
    longjmp(r->escape, 1);
}

static void ignore_message(j_common_ptr c)
{
    (void)c;
}

/* All input is in memory from the start. Data after the last row may be missing. */
static boolean on_end(j_decompress_ptr c)
{
    reader *const r = (reader *)(void *)c;
    if (!r->complete)
        r->rc = lvlm_fail(r->err, LVLM_EFORMAT, "is cut off: the image data end early");
    longjmp(r->escape, 1);
}

static void count_scans(j_common_ptr c)
{
    reader *const r = (reader *)(void *)c;
    if (r->c.input_scan_number <= MAX_SCANS) return;
    r->rc = lvlm_fail(r->err, LVLM_EFORMAT, "has over %d scans", MAX_SCANS);
    longjmp(r->escape, 1);
}

/* ---- colours -------------------------------------------------------------------- */

static void grey_to_rgb(unsigned char *rgb, const unsigned char *grey, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) rgb[3 * i + c] = grey[i];
}

/* x * y / 255, rounded. */
static unsigned part_of(unsigned x, unsigned y)
{
    const unsigned product = x * y + 128;
    return ((product >> 8) + product) >> 8;
}

/* Files store 255 minus the ink. */
static void cmyk_to_rgb(unsigned char *rgb, const unsigned char *cmyk, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned light = cmyk[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] =
                (unsigned char)(light - part_of(255u - cmyk[4 * i + c], light));
    }
}

/* ---- reading -------------------------------------------------------------------- */

static void open_reader(reader *r)
{
    r->progress = (struct jpeg_progress_mgr){ .progress_monitor = count_scans };
    jpeg_create_decompress(&r->c);
    jpeg_mem_src(&r->c, r->file->bytes, r->file->n_bytes);
    r->c.src->fill_input_buffer = on_end;
    r->c.progress = &r->progress;
}

static int read_header(reader *r, lvlm_error *err)
{
    (void)jpeg_read_header(&r->c, TRUE);
    const int n = r->c.num_components;
    FAIL_IF(n != 1 && n != 3 && n != 4, err, LVLM_EFORMAT,
            "has %d colour components, expected 1, 3 or 4", n);
    r->c.out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    TRY(picture_make(r->out, r->c.image_width, r->c.image_height, 3, r->file, err));
    if (n == 3) return 0;
    r->row = lvlm_malloc(r->out->width * (size_t)n);
    return r->row != NULL ? 0 : lvlm_fail_memory(err);
}

static void read_rows(reader *r)
{
    const size_t width = r->out->width;
    assert(r->c.output_width == width && r->c.output_height == r->out->height);
    for (size_t y = 0; y < r->out->height; y++) {
        unsigned char *const rgb = r->out->pixels + y * width * 3;
        JSAMPROW row = r->row != NULL ? r->row : rgb;
        (void)jpeg_read_scanlines(&r->c, &row, 1);
        if (r->c.num_components == 1) grey_to_rgb(rgb, row, width);
        if (r->c.num_components == 4) cmyk_to_rgb(rgb, row, width);
    }
    r->complete = true;
}

static int read_all(reader *r, lvlm_error *err)
{
    TRY(read_header(r, err));
    (void)jpeg_start_decompress(&r->c);
    read_rows(r);
    (void)jpeg_finish_decompress(&r->c); /* damaged data after the last row fail */
    return 0;
}

/* libjpeg jumps to r->escape on failure. */
static void guarded(reader *r)
{
    if (setjmp(r->escape) != 0) return;
    open_reader(r);
    r->rc = read_all(r, r->err);
}

static int decode_jpeg(picture *out, const image_bytes *file, lvlm_error *err)
{
    reader r = { .file = file, .out = out, .err = err };
    r.c.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = on_error;
    r.errors.output_message = ignore_message;
    guarded(&r);
    jpeg_destroy_decompress(&r.c);
    lvlm_free(r.row);
    return r.rc;
}

static bool is_jpeg(const image_bytes *file)
{
    static const unsigned char start[] = { 0xff, 0xd8, 0xff };
    return file->n_bytes >= sizeof start &&
           memcmp(file->bytes, start, sizeof start) == 0;
}

const image_codec jpeg_codec = { "JPEG", is_jpeg, decode_jpeg };
