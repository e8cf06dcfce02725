/* compose_parts.h - the parts of a composed model: what they are, and their tensors
 * under the names of LLaVA's layout. Compose's own, and change's.
 *
 *   vision      CLIP or SigLIP: a tower, a model of tower and text, or a whole LLaVA
 *   text        Llama, Qwen2, Gemma, Gemma 2, or a whole LLaVA
 *   connector   the tensors of a file or of a whole LLaVA; those that it lacks are
 *               left to be made
 *
 * A whole LLaVA is a directory of transformers or of its makers (compose_makers.h), or
 * a native file. */
#ifndef LVLM_CONVERT_COMPOSE_COMPOSE_PARTS_H
#define LVLM_CONVERT_COMPOSE_COMPOSE_PARTS_H

#include "convert/compose/compose_spec.h"
#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* Names in LLaVA's layout. */
#define COMPOSE_TOWER "vision_tower.vision_model."
#define COMPOSE_CONNECTOR "multi_modal_projector."
#define COMPOSE_WORDS "language_model.model."
#define COMPOSE_HEAD "language_model.lm_head."

typedef struct lvlm_compose_part {
    const char *role;      /* "vision", "text", "connector": its key in the spec */
    const char *called;    /* what messages begin with: "text.source" */
    lvlm_checkpoint *from; /* NULL: there is none */
    const char *type;      /* model_type; of the connector NULL */
    cJSON *config;         /* of the tower or language model only, owned */
    lvlm_tensor *tensors;  /* those that are taken, renamed; in the arena */
    const lvlm_tensor **originals; /* (n_tensors) as the source has them */
    size_t n_tensors;
    size_t n_left_out; /* tensors of the source that belong to another part */
    lvlm_hex_digest
        *digests; /* of from->files, once lvlm_compose_digest_files is called */
} lvlm_compose_part;

/* What the parts are, in numbers, from their tensors. */
typedef struct lvlm_compose_sizes {
    uint64_t width, blocks, positions, patch; /* of the tower */
    bool has_class_row;
    uint64_t text_width, vocabulary;
} lvlm_compose_sizes;

typedef struct lvlm_compose_parts {
    lvlm_compose_part vision, text, connector;
    lvlm_compose_sizes sizes;
    bool tied; /* the head is the table of word vectors */
    uint64_t image_id;
    bool adds_token; /* the image token is not in the tokenizer's files yet */
    uint64_t rows;   /* of the word tables, those that are added included */
    lvlm_growth growths[2];
    size_t n_growths;
    lvlm_tensor stored[2]; /* the tables of `growths` */
} lvlm_compose_parts;

/* Open them and choose their tensors. LVLM_EFORMAT says what a source is that is not
 * what the spec calls it. Free with lvlm_compose_parts_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_compose_parts_open(lvlm_compose_parts *out,
                                            const lvlm_compose_spec *spec,
                                            const lvlm_open_options *options,
                                            lvlm_arena *arena, lvlm_error *err);
void lvlm_compose_parts_close(lvlm_compose_parts *parts);

/* The same for one tower or language model: a `role`. The texts and `arena` must
 * outlive the part; free it with lvlm_compose_close_part, also after a failure. */
LVLM_MUST_CHECK int lvlm_compose_open_part(lvlm_compose_part *out, const char *role,
                                           const char *called, const char *path,
                                           const lvlm_open_options *options,
                                           lvlm_arena *arena, lvlm_error *err);
void lvlm_compose_close_part(lvlm_compose_part *part);

/* A tensor that is taken, by its name in LLaVA's layout; NULL: there is none. */
const lvlm_tensor *lvlm_compose_find(const lvlm_compose_part *part, const char *name);

/* Its extent along an axis; 0 if it has none. */
uint64_t lvlm_compose_extent(const lvlm_tensor *tensor, size_t axis);

/* Is the connector of linear maps, as LLaVA's is? */
bool lvlm_compose_is_llava(const lvlm_compose_spec *spec);

/* Blocks of a tower, from the names of its tensors. */
uint64_t lvlm_compose_blocks(const lvlm_compose_part *vision);

/* Rows of one image in the text. */
uint64_t lvlm_compose_image_rows(const lvlm_compose_parts *parts,
                                 const lvlm_compose_spec *spec);

/* Choose the image token's id, and the rows of the word tables. For
 * lvlm_compose_parts_open. */
LVLM_MUST_CHECK int lvlm_compose_choose_words(lvlm_compose_parts *parts,
                                              const lvlm_compose_spec *spec,
                                              lvlm_error *err);
/* A file of the language model with the image token added; *out is NULL if that
 * changes nothing in it. Owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_compose_tokenizer(char **out, const lvlm_side_file *file,
                                           const lvlm_compose_parts *parts,
                                           const lvlm_compose_spec *spec,
                                           lvlm_error *err);

/* An added_tokens.json for a tokenizer.model that has none; *out is NULL where it is
 * not needed. Owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_compose_added_tokens(char **out,
                                              const lvlm_compose_parts *parts,
                                              const lvlm_compose_spec *spec,
                                              lvlm_error *err);

/* config.json of the composed model. *out is owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_compose_config(char **out, const lvlm_compose_parts *parts,
                                        const lvlm_compose_spec *spec, lvlm_error *err);
/* processor_config.json: how LlavaProcessor counts the rows of an image. Owned. */
LVLM_MUST_CHECK int lvlm_compose_processor(char **out, const lvlm_compose_parts *parts,
                                           const lvlm_compose_spec *spec,
                                           lvlm_error *err);

/* Check the sizes that concern two parts (compose_check.c); the others are those of the
 * family's table. LVLM_EFORMAT names the first two that do not meet, whose they are,
 * and what would make them meet. */
LVLM_MUST_CHECK int lvlm_compose_check(const lvlm_compose_spec *spec,
                                       const lvlm_compose_parts *parts,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
