/* manifest.h - the account of a checkpoint: every native tensor of its family with its
 * source, every source tensor with its use, and all problems.
 *
 * Convert plans from it, verify compares by it, the runtime binds weights by it.
 * Building it never fails because a tensor is missing, unknown or misshapen: those are
 * reported in it. */
#ifndef LVLM_FORMATS_CHECKPOINT_MANIFEST_H
#define LVLM_FORMATS_CHECKPOINT_MANIFEST_H

#include "formats/checkpoint/checkpoint.h"
#include "formats/family/family.h"
#include "formats/family/names.h"
#include "formats/native/ledger.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_target_state {
    LVLM_TARGET_FOUND,    /* has a source */
    LVLM_TARGET_TIED,     /* has the values of another native tensor (row->tied_to) */
    LVLM_TARGET_MADE,     /* native files: created at conversion, see the ledger */
    LVLM_TARGET_IDENTITY, /* the identity: row->identity_if_square and a square shape */
    LVLM_TARGET_MISSING,  /* required and absent */
} lvlm_target_state;

/* One native tensor. */
typedef struct lvlm_target {
    const char *name; /* "text.blocks.0.attn.q.weight" */
    const lvlm_root *root;
    const lvlm_section *section;
    const lvlm_row *row;
    uint64_t block;   /* the {i} of its section */
    lvlm_shape shape; /* of the native tensor */
    lvlm_target_state state;
    /* in the checkpoint that was read; for a native file: in the one that it was
     * converted from. MISSING: the hub's name for it */
    const char *source_name;
    /* in this checkpoint. TIED: its tensor is the one whose bytes equal the tied one's,
     * or NULL */
    lvlm_storage here;
    lvlm_storage hf; /* in a checkpoint of Hugging Face; its tensor is not looked for */
} lvlm_target;

typedef enum lvlm_extra_kind {
    LVLM_EXTRA_UNUSED,    /* kept by a rule */
    LVLM_EXTRA_UNKNOWN,   /* no rule matches it */
    LVLM_EXTRA_DUPLICATE, /* a second source for a target that has one */
} lvlm_extra_kind;

/* A source tensor that belongs to no target. */
typedef struct lvlm_extra {
    const char *canonical; /* native root + remainder: "vision.head.probe" (names.h) */
    const lvlm_tensor *tensor;
    lvlm_extra_kind kind;
    const lvlm_unused_rule *rule; /* UNUSED */
    /* UNKNOWN: nearest known source name; DUPLICATE: the name that is used */
    const char *other;
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
    bool is_cut;        /* by lvlm_manifest_cut */
    lvlm_ledger ledger; /* native files: the checkpoint's; else empty */
    lvlm_arena arena;
} lvlm_manifest;

/* Build the manifest of `checkpoint` (a Hugging Face directory, an .npz or a native
 * file), which must outlive it. LVLM_EFORMAT if the configuration cannot be read or
 * names an unknown family. Ties are decided by presence and bytes; when only headers
 * are read, a head that is present is FOUND. Free with lvlm_manifest_free. */
LVLM_MUST_CHECK int lvlm_manifest_build(lvlm_manifest *out,
                                        const lvlm_checkpoint *checkpoint,
                                        lvlm_error *err);
void lvlm_manifest_free(lvlm_manifest *manifest);

/* Open the native file at `path` and build its manifest; LVLM_EFORMAT if it is anything
 * else. `notes` becomes the checkpoint's, NULL: none. Free with lvlm_manifest_free and
 * lvlm_checkpoint_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_manifest_open(lvlm_manifest *out, lvlm_checkpoint **checkpoint,
                                       const char *path, lvlm_notes *notes,
                                       lvlm_error *err);

/* Leave out the decoder blocks from number `layers` on, as if the model had been made
 * with so few: their targets, and what the configuration lists of them. The checkpoint,
 * its ledger and its digests stay whole. LVLM_EFORMAT if `layers` is 0 or more than
 * there are. */
LVLM_MUST_CHECK int lvlm_manifest_cut(lvlm_manifest *manifest, uint64_t layers,
                                      lvlm_error *err);

/* Is the head tied according to config.json (family.h)? Reads the checkpoint's
 * config.json, or that inside a native file. LVLM_EFORMAT if that cannot be parsed. */
LVLM_MUST_CHECK int lvlm_manifest_ties(lvlm_ties *out, const lvlm_manifest *manifest,
                                       lvlm_error *err);
/* Its maximum number of positions, or the default. A model computes beyond it but was
 * not trained to. */
LVLM_MUST_CHECK int lvlm_manifest_max_positions(uint64_t *out,
                                                const lvlm_manifest *manifest,
                                                lvlm_error *err);

/* The canonical form of its name in a Hugging Face checkpoint (names.h). NULL: out of
 * memory. */
char *lvlm_target_canonical(const lvlm_target *target, lvlm_arena *arena);

/* Does a native file store a tensor for this target? */
bool lvlm_target_is_stored(const lvlm_target *target);

/* By native name; NULL if the family has no such tensor. O(log n). */
const lvlm_target *lvlm_manifest_find(const lvlm_manifest *manifest, const char *name);
/* The target of the same name in block `block` of its section; NULL if absent. */
const lvlm_target *lvlm_manifest_find_in_block(const lvlm_manifest *manifest,
                                               const lvlm_target *target,
                                               uint64_t block);

/* The weight of a row of the family's projections; NULL if this model does not have it,
 * or has one in each block. */
const lvlm_target *lvlm_manifest_projection(const lvlm_manifest *manifest,
                                            const lvlm_projection *row);

/* An extra tensor by canonical name; NULL if there is none. O(log n). */
const lvlm_tensor *lvlm_manifest_find_extra(const lvlm_manifest *manifest,
                                            const char *canonical);

/* Report every problem, one line each: missing targets, wrong shapes and types in order
 * of use, then unknown and duplicate source tensors. Returns the number of lines;
 * `line` may be NULL to count. */
size_t lvlm_manifest_problems(const lvlm_manifest *manifest,
                              void (*line)(void *user, const char *text), void *user);

LVLM_END_DECLS

#endif
