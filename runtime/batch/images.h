/* images.h - the images of one batch, in the form that the vision tower takes.
 *
 *   squares   pixel_values [N, channels, S, S]; where texts attend to them, N is a
 *             multiple of B, and cross_attention_mask [B, T, N / B, 1]
 *   patches   pixel_values [P, channels*frames*patch^2] and image_grid_thw [N, 3]; the
 *             same of videos: pixel_values_videos, video_grid_thw, second_per_grid_ts
 *   tiles     pixel_values [B, M, tiles, channels, S, S], aspect_ratio_ids [B, M],
 *             aspect_ratio_mask [B, M, tiles], cross_attention_mask [B, T, M, tiles] */
#ifndef LVLM_RUNTIME_BATCH_IMAGES_H
#define LVLM_RUNTIME_BATCH_IMAGES_H

#include "runtime/batch/input_tensor.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_image_form {
    LVLM_IMAGES_SQUARES,
    LVLM_IMAGES_PATCHES,
    LVLM_IMAGES_TILES,
} lvlm_image_form;

/* What a tower takes. */
typedef struct lvlm_image_spec {
    const char *tower; /* its word */
    lvlm_image_form form;
    size_t channels;
    size_t side;       /* of a square or a tile ... */
    bool any_side;     /* ... that may have another, if it holds a patch */
    size_t patch;      /* its side */
    size_t frames;     /* patches: frames that one patch spans */
    size_t merge;      /* sides of grids are multiples of it */
    size_t tiles;      /* places for tiles; a square is one tile */
    size_t ratios;     /* tiles: ids of aspect ratios, 0 counted */
    size_t class_rows; /* rows of the features before the patches of each frame */
    size_t class_rows_dropped; /* rows of the tower there that are not features */
    bool per_text; /* squares: each text has as many, in order, and attends to them */
} lvlm_image_spec;

/* Counts of patches: frames or tiles, rows, columns. */
typedef struct lvlm_grid {
    size_t t, h, w;
} lvlm_grid;

typedef struct lvlm_images {
    size_t n;                  /* squares; grids; B*M of tiles; 0: there are none */
    const lvlm_tensor *pixels; /* borrowed; patches: NULL when all are videos */
    lvlm_grid *grids;          /* (n) of patches; images, then videos */
    size_t side;               /* squares and tiles */
    /* patches */
    size_t n_videos;
    const lvlm_tensor *video_pixels;
    double *seconds; /* (n_videos) between two frames of patches; 1 when not given */
    /* tiles, and squares with spec.per_text */
    size_t per_text;     /* M */
    int64_t *aspect_ids; /* (n) 0: there is no such image; NULL: all are there */
    int64_t *live;       /* (n,tiles) 1: a tile of the image */
    int64_t *sees;       /* (B,T,M,tiles) 1: the token sees the tile; NULL: all do */
} lvlm_images;

/* The form and sizes for a canonical configuration, or LVLM_EFORMAT. */
LVLM_MUST_CHECK int lvlm_image_spec_read(lvlm_image_spec *out, const cJSON *config,
                                         lvlm_error *err);

/* Read what is there for B texts of T tokens; without pixels, n is 0. LVLM_EFORMAT
 * names tensor, place, got and expected. */
LVLM_MUST_CHECK int lvlm_images_read(lvlm_images *out, const lvlm_input_source *source,
                                     const lvlm_image_spec *spec, size_t B, size_t T,
                                     lvlm_error *err);

/* How many there are, without the places that stand for none. */
size_t lvlm_images_present(const lvlm_images *images);

/* Patches of all grids [first, end). */
size_t lvlm_images_patches(const lvlm_images *images, size_t first, size_t end);

/* Some of the images of a batch, for a tower: without what texts see of them, and
 * without `seconds`. */
typedef struct lvlm_images_part {
    lvlm_images images; /* borrows from all, and from this struct: do not copy it */
    lvlm_tensor pixels, video_pixels;
} lvlm_images_part;

/* Images [first, first + n) of all. */
void lvlm_images_take(lvlm_images_part *out, const lvlm_images *all,
                      const lvlm_image_spec *spec, size_t first, size_t n);

LVLM_END_DECLS

#endif
