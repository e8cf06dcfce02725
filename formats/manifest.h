/* manifest.h - the account of a checkpoint: every native tensor of its family with
 * its source, every source tensor with its use, and everything that does not add up.
 *
 * Convert plans from it, verify judges by it, the runtime binds weights by it.
 * Building never fails because a tensor is missing, unknown or misshapen: that is
 * what it reports. */
#ifndef LVLM_FORMATS_MANIFEST_H
#define LVLM_FORMATS_MANIFEST_H

#include "formats/checkpoint.h"
#include "formats/family.h"
#include "formats/ledger.h"
#include "formats/names.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_target_state {
    LVLM_TARGET_FOUND,    /* has a source */
    LVLM_TARGET_TIED,     /* has the values of another native tensor (row->tied_to) */
    LVLM_TARGET_MADE,     /* native files: was made at conversion, says the ledger */
    LVLM_TARGET_IDENTITY, /* the identity: row->not_square, and it would be square */
    LVLM_TARGET_MISSING,  /* should be there and is not */
} lvlm_target_state;

/* One native tensor. */
typedef struct lvlm_target {
    const char *name; /* "text.blocks.0.attn.q.weight" */
    const lvlm_section *section;
    const lvlm_row *row;
    uint64_t block;                 /* the {i} of its section */
    lvlm_shape shape;               /* as native tensor */
    lvlm_shape source_shape;        /* of the source's tensor that it comes from ... */
    lvlm_transform transform;       /* ... and where in it; for a native file: of the
                                       Hugging Face tensor, whatever it came from */
    lvlm_shape held_shape;          /* that `source` should have here ... */
    const unsigned char *held_dims; /* ... and its symbols (LVLM_ROW_DIMS) */
    lvlm_target_state state;
    const lvlm_tensor
        *source; /* FOUND, MADE: where its values are. TIED: the tensor whose
                                  bytes equal the tied one's, or NULL */
    const char
        *source_name; /* in the Hugging Face checkpoint (from the ledger for a native
                                  file); MISSING: the hub's name for it */
    bool
        wrong_shape; /* FOUND: the source does not have the shape that it should have */
} lvlm_target;

typedef enum lvlm_extra_kind {
    LVLM_EXTRA_UNUSED,    /* kept by a rule */
    LVLM_EXTRA_UNKNOWN,   /* no rule knows it */
    LVLM_EXTRA_DUPLICATE, /* a second name for a target that has one already */
} lvlm_extra_kind;

/* One source tensor that is not a target's. */
typedef struct lvlm_extra {
    const lvlm_tensor *tensor;
    lvlm_extra_kind kind;
    const lvlm_unused_rule *rule; /* UNUSED */
    const char *canonical; /* native root + rest: "vision.head.probe" (names.h) */
    const char *other;     /* UNKNOWN: nearest known source name; DUPLICATE: the name
                                     that was taken */
} lvlm_extra;

typedef struct lvlm_manifest {
    const lvlm_checkpoint *checkpoint; /* borrowed */
    const lvlm_family *family;
    cJSON *config;        /* canonical; owned here */
    lvlm_target *targets; /* in order of use */
    size_t n_targets;
    lvlm_target **by_name; /* the same, sorted by name */
    lvlm_extra *extras;    /* in order of name */
    size_t n_extras;
    lvlm_ledger ledger; /* native files: the checkpoint's; else empty */
    lvlm_arena arena;
} lvlm_manifest;

/* Account for `checkpoint` (a Hugging Face directory, an .npz or a native file),
 * which must outlive the manifest. LVLM_EFORMAT when the configuration cannot be read
 * or names an unknown family. Ties are decided by presence and bytes; with headers
 * only a head that is present counts as FOUND. Free with lvlm_manifest_free. */
LVLM_MUST_CHECK int lvlm_manifest_build(lvlm_manifest *out,
                                        const lvlm_checkpoint *checkpoint,
                                        lvlm_error *err);
void lvlm_manifest_free(lvlm_manifest *manifest);

/* Open the native file at `path` and account for it; LVLM_EFORMAT when it is anything
 * else. `notes` becomes the checkpoint's, NULL: none. Free with lvlm_manifest_free and
 * lvlm_checkpoint_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_manifest_open(lvlm_manifest *out, lvlm_checkpoint **checkpoint,
                                       const char *path, lvlm_notes *notes,
                                       lvlm_error *err);

/* What the model's config.json says about the head (family.h): the checkpoint's own, or
 * the one that a native file carries. LVLM_EFORMAT when that one cannot be read. */
LVLM_MUST_CHECK int lvlm_manifest_ties(lvlm_ties *out, const lvlm_manifest *manifest,
                                       lvlm_error *err);
/* How many positions it says a text may have, or its absence means: a model computes
 * beyond them, and was not trained to. */
LVLM_MUST_CHECK int lvlm_manifest_max_positions(uint64_t *out,
                                                const lvlm_manifest *manifest,
                                                lvlm_error *err);

/* How a target's values lie in target->source: its transform, or keep in a native
 * file. */
const lvlm_transform *lvlm_manifest_transform(const lvlm_manifest *manifest,
                                              const lvlm_target *target);

/* Does a native file hold a tensor of its own for this target? */
bool lvlm_target_is_stored(const lvlm_target *target);

/* By native name; NULL when the family has no such tensor. O(log n). */
const lvlm_target *lvlm_manifest_find(const lvlm_manifest *manifest, const char *name);

/* A tensor that is not a target's, by canonical name; NULL when there is none. O(log
 * n). */
const lvlm_tensor *lvlm_manifest_find_extra(const lvlm_manifest *manifest,
                                            const char *canonical);

/* Everything that is wrong, one line each: missing targets, wrong shapes and types in
 * order of use, then unknown and duplicate source tensors. Returns the number of lines;
 * `line` may be NULL to count. */
size_t lvlm_manifest_problems(const lvlm_manifest *manifest,
                              void (*line)(void *user, const char *text), void *user);

LVLM_END_DECLS

#endif
