/* image_png.c - PNG by libpng, which returns raw samples. They are interpreted here
 * like in Pillow: no gamma, no profile, high bytes of 16 bits. */
#include <assert.h>
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/image/image_codec.h"

enum { SIGNATURE = 8, PALETTE = 256 };

typedef struct reader {
    png_structp png;
    png_infop info;
    const image_bytes *file;
    size_t used; /* bytes of it */
    picture *out;
    lvlm_error *err;
    int rc;
    /* an allocation failed: libpng tolerates some failures, we do not */
    bool no_memory;
    jmp_buf escape;
    unsigned char *row; /* samples of one row: the only buffer besides pixels */
    /* of the file */
    unsigned depth, type;
    bool has_key;         /* one grey level or colour is transparent: ... */
    unsigned char key[3]; /* ... this one, of 8 bits */
    unsigned char palette[PALETTE][4]; /* RGBA */
} reader;

/* ---- what libpng calls ---------------------------------------------------------- */

static void on_error(png_structp png, png_const_charp text)
{
    reader *const r = png_get_error_ptr(png);
    if (r->rc == 0 && !r->no_memory)
        r->rc = lvlm_fail(r->err, LVLM_EFORMAT, "is damaged: %s", text);
    longjmp(r->escape, 1);
}

static void ignore_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void *allocate(png_structp png, png_alloc_size_t n_bytes)
{
    reader *const r = png_get_mem_ptr(png);
    void *const block = lvlm_malloc(n_bytes);
    if (block == NULL) r->no_memory = true;
    return block;
}

static void release(png_structp png, void *block)
{
    (void)png;
    lvlm_free(block);
}

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    reader *const r = png_get_io_ptr(png);
    if (n > r->file->n_bytes - r->used) {
        r->rc = lvlm_fail(r->err, LVLM_EFORMAT, "is cut off: the image data end early");
        png_error(png, "cut off");
    }
    memcpy(to, r->file->bytes + r->used, n);
    r->used += n;
}

/* ---- samples to colours --------------------------------------------------------- */

/* A grey sample of any depth, as 8 bits. */
static unsigned char grey_level(const reader *r, const unsigned char *sample)
{
    if (r->depth < 8) return (unsigned char)(*sample * (255u / ((1u << r->depth) - 1)));
    if (r->depth == 8) return *sample;
    if (r->type == PNG_COLOR_TYPE_GRAY_ALPHA) return sample[0];
    return sample[0] != 0 ? 255 : sample[1];
}

static bool is_key(const reader *r, const unsigned char *rgb)
{
    return r->has_key && memcmp(rgb, r->key, sizeof r->key) == 0;
}

/* One pixel of `step` bytes.  to (4) */
static void colour(unsigned char *to, const reader *r, const unsigned char *from)
{
    const size_t sample = r->depth == 16 ? 2 : 1;
    if (r->type == PNG_COLOR_TYPE_PALETTE) {
        memcpy(to, r->palette[*from], 4);
        return;
    }
    const bool is_grey = (r->type & PNG_COLOR_MASK_COLOR) == 0;
    for (size_t c = 0; c < 3; c++)
        to[c] = is_grey ? grey_level(r, from) : from[c * sample];
    to[3] = is_key(r, to) ? 0 : 255;
    if (r->type & PNG_COLOR_MASK_ALPHA) to[3] = from[(is_grey ? 1 : 3) * sample];
}

/* The columns in a row: first, first + apart, ... */
typedef struct columns {
    size_t first, apart, n;
} columns;

static void colour_row(const reader *r, size_t y, const columns *c, size_t step)
{
    picture *const out = r->out;
    assert(c->n == 0 || c->first + (c->n - 1) * c->apart < out->width);
    unsigned char *const to = out->pixels + y * out->width * out->channels;
    unsigned char rgba[4];
    for (size_t i = 0; i < c->n; i++) {
        colour(rgba, r, r->row + i * step);
        memcpy(to + (c->first + i * c->apart) * out->channels, rgba, out->channels);
    }
}

/* ---- reading -------------------------------------------------------------------- */

/* Read transparency and palette. Returns true if any pixel can be transparent. */
static bool read_colours(reader *r)
{
    png_colorp colours = NULL;
    png_bytep alphas = NULL;
    png_color_16p key = NULL;
    int n_colours = 0, n_alphas = 0;
    const bool has_trns =
        png_get_tRNS(r->png, r->info, &alphas, &n_alphas, &key) == PNG_INFO_tRNS;
    for (size_t i = 0; i < PALETTE; i++) r->palette[i][3] = 255;
    if (r->type == PNG_COLOR_TYPE_PALETTE) {
        (void)png_get_PLTE(r->png, r->info, &colours, &n_colours);
        for (int i = 0; i < n_colours && i < PALETTE; i++) {
            r->palette[i][0] = colours[i].red;
            r->palette[i][1] = colours[i].green;
            r->palette[i][2] = colours[i].blue;
        }
        for (int i = 0; has_trns && i < n_alphas && i < PALETTE; i++)
            r->palette[i][3] = alphas[i];
        return has_trns;
    }
    if (has_trns && key != NULL) {
        /* Pillow compares the low byte with 8-bit levels, whatever the depth. */
        r->has_key = true;
        const bool is_grey = r->type == PNG_COLOR_TYPE_GRAY;
        const unsigned grey = r->depth == 1 && key->gray != 0 ? 255u : key->gray;
        r->key[0] = (unsigned char)(is_grey ? grey : key->red);
        r->key[1] = (unsigned char)(is_grey ? grey : key->green);
        r->key[2] = (unsigned char)(is_grey ? grey : key->blue);
    }
    return r->has_key || (r->type & PNG_COLOR_MASK_ALPHA) != 0;
}

static int read_header(reader *r, lvlm_error *err)
{
    static const unsigned char aside[] = /* chunks that do not affect the pixels */
        "cHRM\0gAMA\0iCCP\0sBIT\0sRGB\0bKGD\0hIST\0oFFs\0pCAL\0pHYs\0sCAL\0sPLT\0"
        "tEXt\0zTXt\0iTXt\0tIME";
    png_set_read_fn(r->png, r, read_bytes);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, aside,
                                (int)(sizeof aside / 5));
    png_read_info(r->png, r->info);
    r->depth = png_get_bit_depth(r->png, r->info);
    r->type = png_get_color_type(r->png, r->info);
    const size_t channels = read_colours(r) ? 4 : 3;
    return picture_make(r->out, png_get_image_width(r->png, r->info),
                        png_get_image_height(r->png, r->info), channels, r->file, err);
}

/* The rows of one pass over an interlaced image (Adam7), each of some columns. */
static void read_pass(const reader *r, unsigned pass, size_t step)
{
    static const size_t first_row[] = { 0, 0, 4, 0, 2, 0, 1 };
    static const size_t row_apart[] = { 8, 8, 8, 4, 4, 2, 2 };
    static const size_t first_column[] = { 0, 4, 0, 2, 0, 1, 0 };
    static const size_t column_apart[] = { 8, 8, 4, 4, 2, 2, 1 };
    assert(pass < PNG_INTERLACE_ADAM7_PASSES);
    columns c = { first_column[pass], column_apart[pass], 0 };
    if (r->out->width > c.first) c.n = (r->out->width - c.first - 1) / c.apart + 1;
    for (size_t y = first_row[pass]; c.n > 0 && y < r->out->height;
         y += row_apart[pass]) {
        png_read_row(r->png, r->row, NULL);
        colour_row(r, y, &c, step);
    }
}

static int read_pixels(reader *r, lvlm_error *err)
{
    const columns all = { 0, 1, r->out->width };
    png_set_packing(r->png);
    png_read_update_info(r->png, r->info);
    const size_t row_bytes = png_get_rowbytes(r->png, r->info);
    const size_t step = row_bytes / r->out->width;
    r->row = lvlm_malloc(row_bytes);
    if (r->row == NULL) return lvlm_fail_memory(err);
    if (png_get_interlace_type(r->png, r->info) != PNG_INTERLACE_NONE) {
        for (unsigned pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++)
            read_pass(r, pass, step);
        return 0;
    }
    for (size_t y = 0; y < r->out->height; y++) {
        png_read_row(r->png, r->row, NULL);
        colour_row(r, y, &all, step);
    }
    return 0;
}

static int read_all(reader *r, lvlm_error *err)
{
    TRY(read_header(r, err));
    return read_pixels(r, err);
}

/* libpng jumps to r->escape on failure. */
static void guarded(reader *r)
{
    if (setjmp(r->escape) != 0) return;
    r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error,
                                      ignore_warning, r, allocate, release);
    if (r->png != NULL) r->info = png_create_info_struct(r->png);
    r->rc = r->info != NULL ? read_all(r, r->err) : lvlm_fail_memory(r->err);
}

static int decode_png(picture *out, const image_bytes *file, lvlm_error *err)
{
    reader r = { .file = file, .out = out, .err = err };
    guarded(&r);
    if (r.rc == 0 && r.no_memory) r.rc = lvlm_fail_memory(err);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    lvlm_free(r.row);
    return r.rc;
}

static bool is_png(const image_bytes *file)
{
    return file->n_bytes >= SIGNATURE && png_sig_cmp(file->bytes, 0, SIGNATURE) == 0;
}

const image_codec png_codec = { "PNG", is_png, decode_png };
