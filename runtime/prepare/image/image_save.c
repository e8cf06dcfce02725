/* image_save.c - PNG by libpng's simple interface: once for the length, once for the
 * bytes. */
#include "runtime/prepare/image/image_save.h"

#include <png.h>

#include "formats/base/alloc.h"

static int refused(const png_image *png, const char *path, lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EIO, "%s: cannot be written as PNG: %s", path,
                     png->message);
}

int lvlm_image_save(const lvlm_image *image, lvlm_outfile *file, lvlm_error *err)
{
    const char *const path = lvlm_outfile_path(file);
    png_image png = { .version = PNG_IMAGE_VERSION,
                      .width = (png_uint_32)image->width,
                      .height = (png_uint_32)image->height,
                      .format = PNG_FORMAT_RGB };
    png_alloc_size_t n_bytes = 0;
    if (!png_image_write_to_memory(&png, NULL, &n_bytes, 0, image->pixels, 0, NULL))
        return refused(&png, path, err);
    void *const bytes = lvlm_malloc(n_bytes);
    if (bytes == NULL) return lvlm_fail_memory(err);
    int rc = 0;
    if (!png_image_write_to_memory(&png, bytes, &n_bytes, 0, image->pixels, 0, NULL))
        rc = refused(&png, path, err);
    if (rc == 0) {
        lvlm_outfile_write(file, bytes, n_bytes);
        rc = lvlm_outfile_commit(file, err);
    }
    lvlm_free(bytes);
    return rc;
}
