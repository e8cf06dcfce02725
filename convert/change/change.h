/* change.h - surgery on a native file: its vocabulary resized, its pictures' resolution
 * changed, its language model or its tower exchanged for another one of the same shape.
 *
 *   lvlm_change_plan      opens MODEL and the sources, checks that they fit, and plans
 *                         the new file; reads headers and side files
 *   lvlm_change_execute   writes it; MODEL is never modified
 *
 * What changes follows from the family's table (reshape.h): a tensor whose shape the
 * configuration says differently gets new rows (change_words.c) or interpolated
 * positions. Everything else is copied and compared with its digest. Distinct objects
 * may be used from distinct threads. */
#ifndef LVLM_CONVERT_CHANGE_CHANGE_H
#define LVLM_CONVERT_CHANGE_CHANGE_H

#include "convert/compose/compose_parts.h"
#include "convert/grow.h"
#include "formats/base/outfile.h"
#include "formats/base/run.h"
#include "formats/reshape/reshape.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_change_options {
    uint64_t vocab;      /* rows of the word tables; 0: as many as there are */
    lvlm_init new_rows;  /* what those that are added hold */
    uint64_t resolution; /* pixels of a picture's side; 0: as it is */
    /* Where the new language model and the new tower are: a directory of either by
     * itself, a whole model of the family, or a native file; NULL: not exchanged. Word
     * tables may have any number of rows if `vocab` says how many there are to be, and
     * a tower may be made for `resolution` already. */
    const char *text, *vision;
    lvlm_notes *notes; /* receives what is kept or lost; NULL: none */
} lvlm_change_options;

/* A part that is exchanged. */
typedef struct lvlm_change_part {
    const char *role;        /* "text", "vision": its native names begin so */
    lvlm_checkpoint *from;   /* holds the tensors; NULL: it is not exchanged */
    lvlm_compose_part bare;  /* a part by itself, opened as compose does */
    lvlm_checkpoint *joined; /* ... as a checkpoint of the model's family */
    lvlm_manifest manifest;
    size_t n_tensors; /* that are exchanged */
    size_t n_kept;    /* that nothing reads, and that the source does not have */
} lvlm_change_part;

enum { LVLM_CHANGE_PARTS = 2 };

typedef struct lvlm_change {
    lvlm_change_options options;
    lvlm_reshape to;
    lvlm_change_part parts[LVLM_CHANGE_PARTS];
} lvlm_change;

/* LVLM_EFORMAT names the option, the tensor or the setting, what it is and what was
 * expected. Free *out with lvlm_change_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_change_plan(lvlm_change *out, const char *model,
                                     const lvlm_change_options *options,
                                     lvlm_error *err);
/* Write the file and commit it; `root` receives its root digest. LVLM_ECHECK names a
 * tensor that is corrupt, of the model or of a source that records digests. */
LVLM_MUST_CHECK int lvlm_change_execute(lvlm_change *change, lvlm_outfile *file,
                                        const lvlm_run *run, lvlm_hex_digest root,
                                        lvlm_error *err);
void lvlm_change_free(lvlm_change *change);

LVLM_END_DECLS

#endif
