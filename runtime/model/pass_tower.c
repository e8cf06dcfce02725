/* pass_tower.c - the tower of a pass, forward.
 *
 * Images do not see each other. Where nothing is kept and no stage of the tower is
 * wanted, they go through it in parts of about PART_PATCHES patches, so that the memory
 * of its activations does not grow with their number; and those that no text sees, such
 * as the places of absent ones, are left out. */
#include <assert.h>
#include <string.h>

#include "runtime/block/workspace.h"
#include "runtime/model/pipeline.h"

/* As many as products need to be fast. */
enum { PART_PATCHES = 4096 };

bool pass_tower_is_cut(const pass *t, tape_keep keep)
{
    const noise *const n = t->noise;
    return keep == TAPE_NOTHING && !t->shows_tower &&
           (n == NULL || n->rates[LVLM_DROPOUT_VISION_ATTENTION] == 0);
}

/* ---- which images go together ---------------------------------------------------- */

/* Does any text see the image? */
static bool is_seen(const pass *t, size_t image)
{
    const lvlm_cross_view *const view = pass_cross_view(t);
    const size_t tiles = t->p->spec.images.tiles;
    if (view == NULL) return true;
    for (size_t i = 0; i < view->n_tiles; i++)
        if (view->tiles[i] / tiles == image) return true;
    return false;
}

size_t pass_tower_part(const pass *t, size_t first)
{
    const lvlm_images *const images = &t->inputs.images;
    const bool seen = is_seen(t, first);
    size_t n = 1;
    assert(first < images->n);
    while (first + n < images->n && is_seen(t, first + n) == seen &&
           lvlm_images_patches(images, first, first + n + 1) <= PART_PATCHES)
        n++;
    return n;
}

/* ---- forward --------------------------------------------------------------------- */

/* Through the tower at once: f->rows of these images. */
static int run(pass *t, const features *f, const lvlm_images *images, tape_keep keep,
               stages *s, lvlm_error *err)
{
    const vision_tower *const tower = t->p->tower;
    TRY(tower->kind->tape_make(tower, &t->tower_tape, &t->tower_memory, f, keep, err));
    TRY(tower->kind->forward(tower, t->tower_tape, f, images, s, &t->scratch, err));
    if (keep == TAPE_NOTHING) workspace_free(&t->tower_memory);
    return 0;
}

int pass_tower_plan(features *out, lvlm_images_part *part, const pass *t, size_t first,
                    size_t n, lvlm_arena *arena, lvlm_error *err)
{
    const vision_tower *const tower = t->p->tower;
    lvlm_images_take(part, &t->inputs.images, &t->p->spec.images, first, n);
    return tower->kind->plan(tower, out, &part->images, arena, err);
}

/* Images [first, first + n) to rows from number *row on, which is advanced. */
static int run_part(pass *t, size_t *row, size_t first, size_t n, bool is_wanted,
                    lvlm_error *err)
{
    const size_t C = t->features.C;
    lvlm_images_part part;
    lvlm_arena arena = { 0 };
    features f;
    stages silent = stages_silent();
    int rc = pass_tower_plan(&f, &part, t, first, n, &arena, err);
    if (rc == 0) {
        f.rows = t->features.rows + *row * C;
        *row += f.R;
        assert(f.C == C && *row <= t->features.R);
        if (is_wanted)
            rc = run(t, &f, &part.images, TAPE_NOTHING, &silent, err);
        else
            memset(f.rows, 0, f.R * C * sizeof *f.rows);
    }
    lvlm_arena_free(&arena);
    return rc;
}

static int run_in_parts(pass *t, bool all, lvlm_error *err)
{
    const size_t images = t->inputs.images.n;
    size_t row = 0, shown = 0;
    for (size_t first = 0, n; first < images; first += n) {
        n = pass_tower_part(t, first);
        TRY(run_part(t, &row, first, n, all || is_seen(t, first), err));
        const size_t done = t->tower_stages * row / t->features.R;
        stages_advance(&t->stages, done - shown);
        shown = done;
    }
    assert(row == t->features.R);
    return 0;
}

int pass_forward_tower(pass *t, tape_keep keep, bool all, lvlm_error *err)
{
    if (pass_tower_is_cut(t, keep))
        TRY(run_in_parts(t, all, err));
    else
        TRY(run(t, &t->features, &t->inputs.images, keep, &t->stages, err));
    if (keep == TAPE_NOTHING) weights_release_pages(&t->p->weights, "vision.");
    return 0;
}
