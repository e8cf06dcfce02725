/* family.h - a family is data: one table says everything that convert, runtime and
 * verify need to know about names, shapes, configuration and parts.
 *
 * A source name is read as   WRAPPER ROOT SECTION ROW
 *     base_model.model. | model.language_model. | layers.3. | self_attn.q_proj.weight
 * and becomes the native name
 *     text. | blocks.3. | attn.q.weight
 * Every generation of names that exists in the wild differs in the root alone; a
 * root lists all of them, and the longest one that fits is taken, name by name, so
 * mixed checkpoints need no special case.
 *
 * Shapes are symbols (LVLM_DIMS) that the configuration resolves, so that an error
 * can say "expected [q_dim, hidden] = [2048, 2304]".
 *
 * Adding a family: one page family/NAME.c, one line in families.def
 * (CONTRIBUTING.md). */
#ifndef LVLM_FORMATS_FAMILY_H
#define LVLM_FORMATS_FAMILY_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "formats/base/arena.h"
#include "formats/base/error.h"
#include "formats/tensor.h"
#include "formats/transform.h"

LVLM_BEGIN_DECLS

/* ---- symbols -------------------------------------------------------------------- */

/* X(symbol, name in messages, product of canonical config paths or numbers) */
// clang-format off
#define LVLM_DIMS(X)                                                                                      \
    X(ONE, "1", "1")                                                                                      \
    X(TWO, "2", "2")                                                                                      \
    X(THREE, "3", "3")                                                                                    \
    X(VISION_LAYERS, "vision_layers", "vision.layers")                                                    \
    X(VISION_HIDDEN, "vision_hidden", "vision.hidden")                                                    \
    X(VISION_MLP, "vision_mlp", "vision.mlp")                                                             \
    X(VISION_HEADS, "vision_heads", "vision.heads")                                                       \
    X(VISION_HEAD_DIM, "vision_head_dim", "vision.head_dim")                                              \
    X(VISION_QKV, "3*vision_hidden", "3 vision.hidden")                                                   \
    X(VISION_OUT, "vision_out", "vision.out")                                                             \
    X(CHANNELS, "channels", "vision.channels")                                                            \
    X(PATCH, "patch", "vision.patch")                                                                     \
    X(FRAMES, "frames", "vision.frames")                                                                  \
    X(PATCH_DIM, "channels*patch^2", "vision.channels vision.patch vision.patch")                         \
    X(PATCH_VOLUME, "channels*frames*patch^2", "vision.channels vision.frames vision.patch vision.patch") \
    X(POSITIONS, "positions", "vision.grid vision.grid")                                                  \
    X(CLASS_POSITIONS, "rows", "vision.rows")                                                             \
    X(TILES, "tiles", "vision.tiles")                                                                     \
    X(ASPECTS, "aspects+1", "vision.aspect_ids")                                                          \
    X(TILE_VECTORS, "tiles*vision_hidden", "vision.tiles vision.hidden")                                  \
    X(TILE_TABLES, "tiles*rows*vision_hidden", "vision.tiles vision.rows vision.hidden")                  \
    X(MERGED, "merge^2*vision_hidden", "vision.merge vision.merge vision.hidden")                         \
    X(QUERIES, "queries", "connector.queries")                                                            \
    X(CONNECTOR_HIDDEN, "connector_hidden", "connector.hidden")                                           \
    X(CONNECTOR_QKV, "3*connector_hidden", "3 connector.hidden")                                          \
    X(HIDDEN, "hidden", "text.hidden")                                                                    \
    X(MLP, "mlp", "text.mlp")                                                                             \
    X(LAYERS, "layers", "text.layers")                                                                    \
    X(HEADS, "heads", "text.heads")                                                                       \
    X(KV_HEADS, "kv_heads", "text.kv_heads")                                                              \
    X(HEAD_DIM, "head_dim", "text.head_dim")                                                              \
    X(Q_DIM, "q_dim", "text.heads text.head_dim")                                                         \
    X(QKV_DIM, "3*q_dim", "3 text.heads text.head_dim")                                                   \
    X(KV_DIM, "kv_dim", "text.kv_heads text.head_dim")                                                    \
    X(VOCAB, "vocab", "text.vocab")                                                                       \
    X(EMBED_ROWS, "embed_rows", "text.embed_rows")
// clang-format on

typedef enum lvlm_dim {
    LVLM_DIM_NONE = 0, /* ends a shape */
#define LVLM_DIM_ENUM(symbol, name, product) LVLM_DIM_##symbol,
    LVLM_DIMS(LVLM_DIM_ENUM)
#undef LVLM_DIM_ENUM
        LVLM_N_DIMS,
} lvlm_dim;

/* ---- tensors -------------------------------------------------------------------- */

enum { LVLM_ROW_DIMS = 6 };

/* A transform with symbols for extents; all zero: keep (or reshape, when the source
 * has a shape of its own). Fields as in lvlm_transform. */
typedef struct lvlm_row_transform {
    unsigned char axes[LVLM_ROW_DIMS]; /* lvlm_dim */
    unsigned char select;
    unsigned char index;
    unsigned char order[LVLM_ROW_DIMS];
} lvlm_row_transform;

/* One native tensor of a section. */
typedef struct lvlm_row {
    const char *native;                        /* "attn.q.weight" */
    const char *source;                        /* "self_attn.q_proj.weight" */
    unsigned char shape[LVLM_ROW_DIMS];        /* lvlm_dim: the native shape */
    unsigned char source_shape[LVLM_ROW_DIMS]; /* lvlm_dim; empty: the same */
    lvlm_row_transform transform;
    const char *tied_to; /* full native name that stands in when the source has none */
    bool connector;      /* --init-missing may make it */
    bool not_square;     /* where its shape is square, the model has the identity in its
                            place and stores nothing */
    bool no_adapter; /* a matrix that is no linear map of its own: a table of vectors,
                        or one that torch's attention reads past its module */
} lvlm_row;

/* Rows that repeat together. "{i}" in both prefixes is the block's number. Sections
 * that follow one another with the same prefix and count are one sequence of blocks of
 * different kinds. */
typedef struct lvlm_section {
    const char *native; /* full native prefix: "text.blocks.{i}." */
    const char *source; /* behind the root: "layers.{i}." */
    unsigned char root; /* index into the family's roots */
    const char
        *count; /* canonical config path of the number of repetitions; NULL: once */
    const lvlm_row *rows;    /* ends with native NULL */
    const char *only_blocks; /* path of a list of blocks that alone have these rows */
    const char *not_blocks;  /* ... or that do not have them; NULL: no list counts */
} lvlm_section;

enum { LVLM_MAX_PREFIXES = 8 };

/* One part's name space in every generation of names. */
typedef struct lvlm_root {
    const char *native;                      /* "vision." */
    const char *prefixes[LVLM_MAX_PREFIXES]; /* [0] is the hub's */
    unsigned char
        current; /* which one current save_pretrained writes for a new model */
    unsigned char modules; /* which one the current library's modules have in memory */
} lvlm_root;

/* Source tensors that are kept but not used, by a rule with a name. */
typedef struct lvlm_unused_rule {
    const char *name;
    const char *glob; /* over native root + the rest of the name: "vision.head.*" */
    const char *why;
} lvlm_unused_rule;

/* ---- configuration -------------------------------------------------------------- */

typedef enum lvlm_setting_kind {
    LVLM_SETTING_COUNT,        /* positive integer */
    LVLM_SETTING_MAYBE_COUNT,  /* the same, or null, which is a value: "none" */
    LVLM_SETTING_INDEX,        /* integer >= 0 */
    LVLM_SETTING_MAYBE_INDEX,  /* the same, or null, which is a value: "none"; a number
                                  below 0 says so too */
    LVLM_SETTING_NUMBER,       /* positive number */
    LVLM_SETTING_MAYBE_NUMBER, /* the same, or null, which is a value: "none" */
    LVLM_SETTING_BOOL,
    LVLM_SETTING_WORD,     /* text, translated by `words` */
    LVLM_SETTING_LIST,     /* of whole numbers >= 0, or of such lists */
    LVLM_SETTING_CONSTANT, /* not read: the fallback is the value */
} lvlm_setting_kind;

/* One word of config.json and what it means here; a list ends with theirs NULL. A word
 * that is not listed is refused. */
typedef struct lvlm_word {
    const char *theirs;
    const char *ours;
} lvlm_word;

/* One canonical setting. */
typedef struct lvlm_setting {
    const char *canonical; /* "text.rope_theta" */
    lvlm_setting_kind kind;
    const char *paths; /* where config.json may have it, best first: "a.b|c"; the first
                             that is there counts */
    const char *fallback; /* JSON text of the class default when the key is absent (or
                             null, where null is no value); NULL: must be there */
    const char *without_section; /* the default when the whole section ("a" of "a.b") is
                                    absent, where it is another; NULL: the same */
    const lvlm_word *words;      /* WORD */
} lvlm_setting;

/* ---- projections ---------------------------------------------------------------- */

/* A linear map that carries vision into language, or a head. */
typedef struct lvlm_projection {
    const char *role;   /* "vision_to_text", "text_head" */
    const char *native; /* without ".weight": "connector.proj"; with "{i}": the one of
                           every block that has it */
    const char *form;   /* as commands.md lists them, when it is present and its own */
    const char *equation; /* in words and symbols */
    const char *what;     /* what it is, where it comes from */
    const char *missing;  /* what a model without it does */
} lvlm_projection;

/* ---- behaviours that differ between references ---------------------------------- */

/* A place where a version of transformers computes something else than what was
 * trained. Active for transformers versions since <= v < until. */
typedef struct lvlm_difference {
    const char *name;  /* "final_softcap" */
    const char *since; /* "4.42"; NULL: from the first */
    const char *until; /* first version without it; NULL: still there */
    const char *stage; /* first stage that shows it */
    const char *what;  /* one sentence */
} lvlm_difference;

/* ---- stages of training --------------------------------------------------------- */

/* Weights that a stage of training treats otherwise than the part they stand in: 1
 * trains vision and connector, 2 everything, 3 connector and text, connector that
 * alone. Where rules overlap the last one counts. */
typedef struct lvlm_stage_rule {
    const char *stages; /* those it holds in: "1 2 connector" */
    const char *glob;   /* over native names: "connector.norm_out.*" */
    const char *blocks; /* path of a list of blocks; only their tensors are meant; NULL:
                           whatever the glob fits */
    bool trained;
    const char *why;
} lvlm_stage_rule;

/* The table of word vectors: every family has it. */
#define LVLM_EMBED_TABLE "text.embed.weight"

/* Tables are padded, cut and grown without a word in config.json: the rows of `tensor`
 * (native name), where it is there, decide `setting` ("text.vocab"). */
typedef struct lvlm_row_count {
    const char *setting;
    const char *tensor;
} lvlm_row_count;

/* ---- a second kind of file ------------------------------------------------------ */

/* How a native tensor is called in a big_vision .npz and lies there. Several rows for
 * one native tensor are files of different makers: of those whose key is there the
 * first one whose shape fits counts. */
typedef struct lvlm_npz_row {
    const char *native;                 /* as in the family's own row */
    const char *key;                    /* behind the section's: "attn/q_einsum/w" */
    unsigned char shape[LVLM_ROW_DIMS]; /* lvlm_dim: of the array, in one block */
    unsigned char select; /* fields as in lvlm_transform, with the shape */
    unsigned char index;  /* for axes; all zero: keep, or reshape */
    unsigned char order[LVLM_ROW_DIMS];
} lvlm_npz_row;

/* Blocks are arrays of their own, or all of them stand stacked in one array behind a
 * leading axis, as scan wrote it: name by name. */
typedef struct lvlm_npz_section {
    const char *native;       /* as in the family's own section */
    const char *key;          /* "llm/layers/{i}/" */
    const char *stacked;      /* "llm/layers/"; NULL: there are no blocks */
    unsigned char n;          /* lvlm_dim: the leading axis */
    const lvlm_npz_row *rows; /* ends with native NULL */
} lvlm_npz_section;

struct lvlm_checkpoint;

typedef struct lvlm_npz_table {
    const lvlm_npz_section *sections; /* ends with native NULL; a native tensor that has
                                         no row is never there */
    /* Are these tensors one of ours? */
    bool (*recognises)(const struct lvlm_checkpoint *checkpoint);
    /* The text of the config.json that the hub would have beside them, from their
     * shapes. `assumed` receives a sentence about what shapes do not say and no
     * released model of that size settles, or stays NULL. Both live in `arena`.
     * LVLM_ECHECK names a tensor that is missing or has no possible shape. */
    int (*config)(const char **text, const char **assumed,
                  const struct lvlm_checkpoint *checkpoint, lvlm_arena *arena,
                  lvlm_error *err);
} lvlm_npz_table;

/* ---- the table ------------------------------------------------------------------ */

typedef struct lvlm_family {
    const char *name;  /* "paligemma2" */
    const char *title; /* "PaliGemma 2" */
    /* Is this config.json one of ours? */
    bool (*recognises)(const cJSON *hf_config);
    const lvlm_setting *settings; /* ends with canonical NULL */
    /* Settings that follow from others ("vision.grid"); may refuse. May be NULL. */
    int (*derive)(cJSON *config, lvlm_error *err);
    const lvlm_row_count *row_counts;   /* ends with setting NULL */
    const lvlm_root *roots;             /* ends with native NULL */
    const lvlm_section *sections;       /* in order of use; ends with native NULL */
    const lvlm_unused_rule *unused;     /* ends with name NULL */
    const lvlm_projection *projections; /* ends with role NULL */
    const lvlm_difference *differences; /* ends with name NULL */
    const lvlm_stage_rule *stage_rules; /* ends with stages NULL; NULL: none */
    uint32_t max_positions;  /* of a config.json without max_position_embeddings */
    bool untied_unless_said; /* a config.json without tie_word_embeddings means that
                                   the head is a matrix of its own */
    bool blind_gradients;    /* where a batch holds no image, the makers' training runs
                             the tower on nothing: gradients are zero, not absent */
    const lvlm_npz_table *npz; /* NULL: big_vision has no such model */
} lvlm_family;

/* All families, ends with NULL. */
const lvlm_family *const *lvlm_families(void);
/* By name, or NULL. Borrowed, lives for ever. */
const lvlm_family *lvlm_family_by_name(const char *name);
/* The one that recognises a config.json; LVLM_EFORMAT names model_type and the families
 * that are known. */
LVLM_MUST_CHECK int lvlm_family_detect(const lvlm_family **out, const cJSON *hf_config,
                                       lvlm_error *err);

/* The canonical configuration for a config.json, every default filled in, or an error
 * that names the key. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_family_config(cJSON **out, const lvlm_family *family,
                                       const cJSON *hf_config, lvlm_error *err);

/* Whether the head is the table of word vectors, as config.json has it. Versions of
 * transformers look in different places. */
typedef struct lvlm_ties {
    bool tied; /* what the document means: some place says so, or none says no */
    bool top;  /* what its top level says or leaves to the default: from 5.0 on */
    bool text; /* the same of text_config, where there is one: before 5.0 */
} lvlm_ties;

/* `hf_config` may be NULL: says nothing. */
lvlm_ties lvlm_family_ties(const lvlm_family *family, const cJSON *hf_config);
#define LVLM_TIE_KEY "tie_word_embeddings"

/* Is `difference` in force under `reference` ("trained", "transformers-5.23.0")?
 * Never under "trained". The reference has been checked by lvlm_reference_check. */
bool lvlm_reference_applies(const lvlm_family *family, const char *difference,
                            const char *reference);
/* LVLM_EUSAGE unless `reference` is "trained" or "transformers-X.Y[.Z]". */
LVLM_MUST_CHECK int lvlm_reference_check(const char *reference, lvlm_error *err);
#define LVLM_REFERENCE_TRAINED "trained"

/* Value of a symbol under a canonical configuration; false when a path is not there or
 * the product overflows. */
bool lvlm_dim_value(uint64_t *out, lvlm_dim dim, const cJSON *config);
/* Resolve a row's symbols; false likewise. */
bool lvlm_dims_shape(lvlm_shape *out, const unsigned char dims[LVLM_ROW_DIMS],
                     const cJSON *config);
/* Appends "[q_dim, hidden]". */
void lvlm_dims_print(lvlm_strbuf *out, const unsigned char dims[LVLM_ROW_DIMS]);

LVLM_END_DECLS

#endif
