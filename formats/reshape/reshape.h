/* reshape.h - a native file as it is to be with other sizes: rows of its word tables,
 * pixels of a picture's side.
 *
 *   lvlm_reshape_open       opens the file
 *   lvlm_reshape_config     edits config.json and the files of the picture's processor,
 *                           and makes the canonical configuration from it again
 *   lvlm_reshape_lay_out    plans every tensor; one whose shape the configuration says
 *                           differently is the caller's to fill
 *   lvlm_reshape_meta       configuration, provenance and ledger of the result
 *
 * Everything that is not of another shape is copied and compared with its digest.
 * resolution.h is the whole for pictures; lvlm-convert change adds words and parts.
 * Distinct objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_RESHAPE_RESHAPE_H
#define LVLM_FORMATS_RESHAPE_RESHAPE_H

#include "formats/checkpoint/manifest.h"
#include "formats/container/plan.h"
#include "formats/native/native_writer.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_reshape_file {
    const char *name, *text;
} lvlm_reshape_file;

enum { LVLM_RESHAPE_FILES = 3 };

typedef struct lvlm_reshape {
    uint64_t vocab;      /* rows of the word tables; 0: as many as there are */
    uint64_t resolution; /* pixels of a picture's side; 0: as it is */
    lvlm_checkpoint *model;
    lvlm_manifest manifest;
    cJSON *config;                               /* canonical, of the result */
    lvlm_reshape_file files[LVLM_RESHAPE_FILES]; /* side files with another text */
    size_t n_files;
    uint64_t rows[2], pixels[2]; /* before and after; equal where nothing changes */
    uint64_t grid[2];            /* places of a side of the square of positions */
    size_t n_reshaped;           /* tensors of another shape */
    cJSON *provenance;
    lvlm_plan plan;
    lvlm_arena arena;
} lvlm_reshape;

/* Open the native file at `path`; rows and pixels are what it has. Free with
 * lvlm_reshape_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_reshape_open(lvlm_reshape *out, const char *path,
                                      lvlm_notes *notes, lvlm_error *err);
void lvlm_reshape_free(lvlm_reshape *reshape);

/* Set `config`, `files`, `rows`, `pixels` and `grid`, from `vocab` and `resolution`.
 * LVLM_EFORMAT names the option or the setting. */
LVLM_MUST_CHECK int lvlm_reshape_config(lvlm_reshape *reshape, lvlm_error *err);

/* Add the step for tensor `t` of the model, which is to be `out`: a native name, a type
 * and the new shape. */
typedef int (*lvlm_reshape_add)(void *user, const lvlm_tensor *t,
                                const lvlm_tensor *out, lvlm_error *err);

/* Plan the file in the model's order: `add` is called for tensors of the model and
 * those that nothing reads; of the others, padding is new, side files are copied or
 * edited, and the source's frames are left out if shapes change, because its files
 * cannot be given back then. */
LVLM_MUST_CHECK int lvlm_reshape_lay_out(lvlm_reshape *reshape, lvlm_reshape_add add,
                                         void *user, lvlm_error *err);

/* Plan a copy of tensor `t` of the model as `out`; `step`, of which the caller may make
 * another kind, is valid until the next one and may be NULL. */
LVLM_MUST_CHECK int lvlm_reshape_copy(lvlm_step **step, lvlm_reshape *reshape,
                                      const lvlm_tensor *out, const lvlm_tensor *t,
                                      lvlm_error *err);

/* The lvlm_write of a step that interpolates inputs[0] (..., C + from x from, W) to
 * (..., C + to x to, W): the C rows before the square, of a class row, are kept;
 * bicubic, a = -0.75, corners not aligned, indices clamped to the border, without
 * antialiasing even when shrinking, as torch's interpolate(mode="bicubic",
 * align_corners=False); in double, rounded once. `grid`: lvlm_reshape's, from and
 * to. */
LVLM_MUST_CHECK int lvlm_reshape_positions(void *grid, const lvlm_step *step,
                                           lvlm_sink *sink, lvlm_error *err);

/* Complete `provenance`, which begins as the model's, and print the members of the new
 * file; they live as long as `reshape`. The ledger stays, as after training: it says
 * where the tensors came from, the provenance what was done to them. */
LVLM_MUST_CHECK int lvlm_reshape_meta(lvlm_native_meta *out, lvlm_reshape *reshape,
                                      lvlm_error *err);

/* Set { "from": ..., "to": ... } in the provenance, where "from" stays that of the
 * first change. False: out of memory. */
bool lvlm_reshape_record(cJSON *provenance, const char *member, const uint64_t pair[2]);

LVLM_END_DECLS

#endif
