/* pass_images.c - the images of a pass: tower and connector, forward and backward.
 *
 *   pixels -> tower, or the store that has its features -> connector
 *     -> rows of the images */
#include <assert.h>
#include <string.h>

#include "runtime/block/workspace.h"
#include "runtime/model/pipeline.h"

/* ---- forward -------------------------------------------------------------------- */

/* Do the features depend only on the images and the file, and does nobody want more? */
static bool features_are_stored(const pass *t)
{
    const pipeline *const p = t->p;
    const noise *const n = t->noise;
    return p->store != NULL && !t->shows_tower &&
           !p->gradients.trains[LVLM_PART_VISION] &&
           (n == NULL || n->rates[LVLM_DROPOUT_VISION_ATTENTION] == 0);
}

/* From the store, or computed and put there. */
static int stored_features(pass *t, lvlm_error *err)
{
    const lvlm_feature_store *const store = t->p->store;
    const features *const f = &t->features;
    lvlm_tensor rows = { .name = "features",
                         .dtype = LVLM_REAL_DTYPE,
                         .shape = { 2, { f->R, f->C } },
                         .data = (const unsigned char *)f->rows };
    bool found = false;
    FAIL_IF(!lvlm_shape_bytes(&rows.n_bytes, &rows.shape, rows.dtype), err, LVLM_ENOMEM,
            "the features are too large");
    TRY(store->find(store->user, &found, &t->inputs.images, &rows, f->rows, err));
    if (found) {
        stages_advance(&t->stages, t->tower_stages);
        return 0;
    }
    TRY(pass_forward_tower(t, TAPE_NOTHING, true, err));
    return store->keep(store->user, &rows, err);
}

int pass_forward_images(pass *t, tape_keep tower, bool connector, lvlm_error *err)
{
    const pipeline *const p = t->p;
    assert(pass_has_images(t) && t->scratch.data != NULL);
    TRY(workspace_array(&t->features.rows, &t->connector_memory, t->features.R,
                        t->features.C, "images", err));
    TRY(workspace_array(&t->image_rows, &t->memory, t->n_image_rows,
                        p->text.config.block.hidden, "images", err));
    const connector_kind *const projection = p->connector->kind;
    if (features_are_stored(t))
        TRY(stored_features(t, err));
    else
        TRY(pass_forward_tower(t, tower, t->shows_images, err));
    if (t->stages.left == 0) return 0;
    TRY(projection->tape_make(p->connector, &t->connector_tape, &t->connector_memory,
                              &t->features, connector, err));
    TRY(projection->forward(p->connector, t->connector_tape, t->image_rows,
                            &t->features, &t->stages, &t->scratch, err));
    if (tower == TAPE_NOTHING && !connector) workspace_free(&t->connector_memory);
    return 0;
}

/* ---- backward ------------------------------------------------------------------- */

int pass_backward_images(pass *t, const real *dimage_rows, lvlm_error *err)
{
    const pipeline *const p = t->p;
    const size_t n = p->gradients.trains[LVLM_PART_VISION] ? t->features.R : 0;
    real *drows = NULL;
    transformer_grads grads;
    workspace memory = { .pool = &t->p->pool };
    int rc = 0;
    assert(dimage_rows != NULL && t->connector_tape != NULL);
    TRY(workspace_array(&drows, &memory, n, t->features.C, "images", err));
    if (n > 0) memset(drows, 0, n * t->features.C * sizeof *drows);
    p->connector->kind->backward(p->connector, t->connector_tape, drows, dimage_rows,
                                 &t->features, &t->scratch);
    stages_advance(&t->stages, 1);
    if (n > 0 &&
        (rc = transformer_grads_make(&grads, &memory, t->tower_tape, err)) == 0)
        rc =
            p->tower->kind->backward(p->tower, t->tower_tape, &grads, drows,
                                     &t->features, &t->inputs.images, &t->scratch, err);
    workspace_free(&memory);
    return rc;
}
