/* resolution.c - tables of positions interpolated, everything else as it is; see
 * resolution.h. */
#include "formats/reshape/resolution.h"

#include <assert.h>

#include "formats/base/text.h"
#include "formats/native/digests.h"
#include "formats/reshape/reshape.h"

static int add_tensor(void *reshape, const lvlm_tensor *t, const lvlm_tensor *out,
                      lvlm_error *err)
{
    lvlm_reshape *const r = reshape;
    lvlm_step *step = NULL;
    TRY(lvlm_reshape_copy(&step, r, out, t, err));
    if (lvlm_shape_equal(&t->shape, &out->shape)) return 0;
    assert(lvlm_starts_with(t->name, "vision.positions."));
    step->kind = LVLM_STEP_WRITTEN;
    step->write = lvlm_reshape_positions;
    step->user = r->grid;
    return 0;
}

/* The model as it is to be, in place of the one that was opened. */
static int reshape(lvlm_checkpoint **out, lvlm_reshape *r, lvlm_error *err)
{
    lvlm_native_meta meta;
    TRY(lvlm_native_check_side_files(r->model, 1, err));
    TRY(lvlm_reshape_config(r, err));
    TRY(lvlm_reshape_lay_out(r, add_tensor, r, err));
    TRY(lvlm_reshape_meta(&meta, r, err));
    return lvlm_native_view(out, r->model, &meta, &r->plan, err);
}

int lvlm_resolution_open(lvlm_manifest *out, lvlm_checkpoint **checkpoint,
                         const char *path, uint64_t pixels, lvlm_notes *notes,
                         lvlm_error *err)
{
    lvlm_reshape r;
    if (pixels == 0) return lvlm_manifest_open(out, checkpoint, path, notes, err);
    *out = (lvlm_manifest){ 0 };
    *checkpoint = NULL;
    int rc = lvlm_reshape_open(&r, path, notes, err);
    r.resolution = pixels;
    if (rc == 0 && pixels != r.pixels[0]) {
        rc = lvlm_within(reshape(checkpoint, &r, err), err, "%s: ", path);
        if (rc == 0) rc = lvlm_manifest_build(out, *checkpoint, err);
    } else if (rc == 0) {
        *out = r.manifest;
        *checkpoint = r.model;
        r.manifest = (lvlm_manifest){ 0 };
        r.model = NULL;
    }
    lvlm_reshape_free(&r);
    return rc;
}
