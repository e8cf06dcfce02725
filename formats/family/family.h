/* family.h - a family is data: one table has everything that convert, runtime and
 * verify need to know about names, shapes, configuration and parts.
 *
 * A source name is parsed as WRAPPER ROOT SECTION ROW
 *     base_model.model. | model.language_model. | layers.3. | self_attn.q_proj.weight
 * and becomes the native name
 *     text. | blocks.3. | attn.q.weight
 * Generations of names differ only in the root. A root lists the prefixes of all of
 * them, and the longest that matches is used for each name, so mixed checkpoints need
 * no special case.
 *
 * Adding a family: one page family/NAME.c, one line in families.def
 * (CONTRIBUTING.md). */
#ifndef LVLM_FORMATS_FAMILY_FAMILY_H
#define LVLM_FORMATS_FAMILY_FAMILY_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "formats/base/arena.h"
#include "formats/base/error.h"
#include "formats/container/tensor.h"
#include "formats/container/transform.h"

LVLM_BEGIN_DECLS

/* ---- shapes ---------------------------------------------------------------------- */

/* A shape is text: dimensions between commas, each a product of canonical settings and
 * numbers.
 *
 *   "3*vision.hidden, vision.hidden"
 *
 * The configuration resolves it; messages print both, in config.json's
 * words (config_words.h): "[text_config.hidden_size, 3] = [2304, 3]".
 * False if a setting is absent or not a whole number, or the product overflows. */
bool lvlm_shape_resolve(lvlm_shape *out, const char *text, const cJSON *config);

/* ---- tensors -------------------------------------------------------------------- */

enum { LVLM_ROW_DIMS = 6 };

/* A transform with a shape for its axes; all zero: keep (or reshape, if the row has a
 * source shape). Fields as in lvlm_transform. */
typedef struct lvlm_row_transform {
    const char *axes;
    unsigned char select;
    unsigned char index;
    unsigned char order[LVLM_ROW_DIMS];
} lvlm_row_transform;

/* Where and how a checkpoint of some kind stores the values of a native tensor. */
typedef struct lvlm_storage {
    const lvlm_tensor *tensor; /* that holds them; NULL: none, or not looked for */
    lvlm_shape shape;          /* that it must have ... */
    const char *shape_text;    /* ... as the table writes it */
    bool wrong_shape;          /* it has another one */
    lvlm_transform transform;  /* from it to the native tensor */
} lvlm_storage;

/* One native tensor of a section. */
typedef struct lvlm_row {
    const char *native;       /* "attn.q.weight" */
    const char *source;       /* "self_attn.q_proj.weight" */
    const char *shape;        /* of the native tensor */
    const char *source_shape; /* NULL: the same */
    lvlm_row_transform transform;
    /* full native name of the tensor that replaces an absent one */
    const char *tied_to;
    bool connector; /* --init-missing may create it */
    /* what one that is created holds, whatever is asked for the others: "ones", or
     * "sines" of places in a square, [side^2, width]; NULL: as asked, biases zeros */
    const char *made;
    /* if its shape is square, the model uses the identity and stores nothing */
    bool identity_if_square;
    /* a matrix that is not a linear module: a table of vectors, or a weight that
     * torch's attention reads directly */
    bool no_adapter;
} lvlm_row;

/* Rows that repeat together. "{i}" in both prefixes is the block's number. Consecutive
 * sections with the same prefix and count are one sequence of blocks of different
 * kinds. */
typedef struct lvlm_section {
    const char *native; /* full native prefix: "text.blocks.{i}." */
    const char *source; /* after the root: "layers.{i}." */
    /* canonical config path of the number of repetitions; NULL: once */
    const char *count;
    const lvlm_row *rows;    /* ends with native NULL */
    uint64_t first;          /* number of the first of them */
    const char *only_blocks; /* path of a list of blocks; only they have these rows */
    const char *not_blocks; /* ... or of blocks that do not have them; both NULL: all */
} lvlm_section;

/* A tower, a connector, a language model. */
typedef struct lvlm_model_part {
    const lvlm_section *sections; /* in order of use; ends with native NULL */
    const char *when; /* it is there if the configuration says so; NULL: always */
} lvlm_model_part;

enum { LVLM_MAX_PREFIXES = 8, LVLM_MAX_PARTS = 8 };

/* One name space in every generation of names, and the parts in it. */
typedef struct lvlm_root {
    const char *native;                      /* "vision." */
    const char *prefixes[LVLM_MAX_PREFIXES]; /* [0] is the hub's */
    /* the one that the current save_pretrained writes for a new model */
    unsigned char current;
    unsigned char modules; /* the one of the current library's modules in memory */
    lvlm_model_part parts[LVLM_MAX_PARTS]; /* ends with sections NULL */
} lvlm_root;

/* Does a canonical configuration say "text.decoder gemma": does the setting have that
 * word? "connector.bias true" is for switches. */
bool lvlm_config_says(const cJSON *config, const char *when);

/* A named rule for source tensors that are kept but not used. */
typedef struct lvlm_unused_rule {
    const char *name;
    const char *glob; /* matches native root + remainder of the name: "vision.head.*" */
    const char *why;
    /* with "{i}" in the glob: path of a number; only blocks from there on match */
    const char *from;
} lvlm_unused_rule;

/* ---- configuration -------------------------------------------------------------- */

typedef enum lvlm_setting_kind {
    LVLM_SETTING_COUNT,       /* positive integer */
    LVLM_SETTING_MAYBE_COUNT, /* the same, or null, which is a value: "none" */
    LVLM_SETTING_INDEX,       /* integer >= 0 */
    /* the same, or null, which is a value: "none"; a negative number means null */
    LVLM_SETTING_MAYBE_INDEX,
    LVLM_SETTING_NUMBER,       /* positive number */
    LVLM_SETTING_MAYBE_NUMBER, /* the same, or null, which is a value: "none" */
    LVLM_SETTING_BOOL,
    LVLM_SETTING_WORD,     /* text, translated by `words` */
    LVLM_SETTING_WORDS,    /* list of such */
    LVLM_SETTING_SIGNED,   /* whole number of any sign, or a list of such */
    LVLM_SETTING_LIST,     /* of whole numbers >= 0, or of such lists */
    LVLM_SETTING_CONSTANT, /* not read: the fallback is the value */
} lvlm_setting_kind;

/* One word of config.json and our word for it; a list ends with theirs NULL. Words that
 * are not listed are refused. */
typedef struct lvlm_word {
    const char *theirs;
    const char *ours;
} lvlm_word;

/* One canonical setting. */
typedef struct lvlm_setting {
    const char *canonical; /* "text.rope_theta" */
    lvlm_setting_kind kind;
    /* where config.json may have it, in order of precedence: "a.b|c"; the first that is
     * present is used */
    const char *paths;
    /* JSON text of the class default, used if the key is absent (or null, where null is
     * not a value); NULL: required */
    const char *fallback;
    /* the default if the whole section ("a" of "a.b") is absent; NULL: the same as
     * `fallback` */
    const char *without_section;
    const lvlm_word *words; /* WORD */
} lvlm_setting;

/* Settings of a part, or those that only the whole has. */
typedef struct lvlm_setting_table {
    const lvlm_setting *settings; /* ends with canonical NULL */
    const char *when; /* they are there if the configuration says so; NULL: always */
} lvlm_setting_table;

/* ---- projections ---------------------------------------------------------------- */

/* A linear map from vision to language, or a head. */
typedef struct lvlm_projection {
    const char *role; /* "vision_to_text", "text_head" */
    /* without ".weight": "connector.proj"; with "{i}": of every block that has it */
    const char *native;
    const char *form;     /* its kind, if it is present and not tied */
    const char *equation; /* in words and symbols */
    const char *what;     /* what it is, where it comes from */
    const char *missing;  /* what a model without it computes */
    const char *when; /* the row counts if the configuration says so; NULL: always */
} lvlm_projection;

/* ---- behaviours that differ between references ---------------------------------- */

/* What some versions of transformers compute differently from what was trained. */
// clang-format off
#define LVLM_BEHAVIOURS(X)                                            \
    X(LVLM_PADDING_SEEN,              "padding_seen")                 \
    X(LVLM_SUFFIX_SEEN_UNLABELLED,    "suffix_seen_unlabelled")       \
    X(LVLM_CAUSAL_UNTYPED,            "causal_untyped")               \
    X(LVLM_FINAL_SOFTCAP,             "final_softcap")                \
    X(LVLM_IMAGE_ROWS_SCALED,         "image_rows_scaled")            \
    X(LVLM_SLIDING_WINDOW_PREFIX,     "sliding_window_prefix")        \
    X(LVLM_SLIDING_WINDOW,            "sliding_window")               \
    X(LVLM_STORED_HEAD_IGNORED,       "stored_head_ignored")          \
    X(LVLM_VIDEO_POSITIONS_COLLAPSED, "video_positions_collapsed")    \
    X(LVLM_VIDEO_OVERLAPS_TEXT,       "video_overlaps_text")          \
    X(LVLM_IMAGE_TIME_SCALED,         "image_time_scaled")            \
    X(LVLM_VIDEO_SECONDS_TRUNCATED,   "video_seconds_truncated")      \
    X(LVLM_VIDEO_RATE_ASSUMED,        "video_rate_assumed")           \
    X(LVLM_TAPS_LAST,                 "taps_last")                    \
    X(LVLM_TAPS_LEAVING,              "taps_leaving")                 \
    X(LVLM_UNSEEING_ROWS_ATTEND,      "unseeing_rows_attend")
// clang-format on

typedef enum lvlm_behaviour {
    LVLM_AS_TRAINED, /* ends a list of differences */
#define LVLM_BEHAVIOUR(behaviour, name) behaviour,
    LVLM_BEHAVIOURS(LVLM_BEHAVIOUR)
#undef LVLM_BEHAVIOUR
} lvlm_behaviour;

/* Versions that behave so: since <= v < until. */
typedef struct lvlm_difference {
    lvlm_behaviour behaviour;
    const char *since; /* "4.42"; NULL: from the first */
    const char *until; /* first version without it; NULL: still there */
    const char *stage; /* first stage that shows it */
    const char *what;  /* one sentence */
} lvlm_difference;

/* ---- stages of training --------------------------------------------------------- */

/* Exceptions from what a stage of training trains. Stage 1 trains vision and connector,
 * 2 everything, 3 connector and text, "connector" only the connector. A rule inverts
 * that for the weights that it matches. The last rule that matches is used. */
typedef struct lvlm_stage_rule {
    const char *stages; /* those it applies to: "1|2|connector" */
    const char *glob;   /* matches native names: "connector.norm_out.*" */
    /* path of a list of blocks, to match only their tensors; NULL: all that match the
     * glob */
    const char *blocks;
    bool trained;
    const char *why;
} lvlm_stage_rule;

/* ---- dropout --------------------------------------------------------------------- */

/* Where training may drop values. */
typedef enum lvlm_dropout_place {
    LVLM_NO_DROPOUT, /* ends a list */
    /* probabilities of the tower's attention */
    LVLM_DROPOUT_VISION_ATTENTION,
    /* words that are looked up; the rows of images are not dropped */
    LVLM_DROPOUT_TEXT_EMBED,
    /* probabilities of the language model's attention, of that to images too */
    LVLM_DROPOUT_TEXT_ATTENTION,
    /* what its attention and MLP add to a row: after the norm that may follow
     * attention, before that of the MLP */
    LVLM_DROPOUT_TEXT_BRANCHES,
    LVLM_N_DROPOUTS,
} lvlm_dropout_place;

/* A place where a family's training code drops values. */
typedef struct lvlm_dropout_row {
    lvlm_dropout_place place;
    /* where config.json may have the rate: "a.b|c", the first that is present; NULL:
     * nowhere, it is a setting of the training */
    const char *paths;
    bool only_theirs; /* transformers has the place, and the makers' code does not */
} lvlm_dropout_row;

/* The table of word vectors: every family has it. */
#define LVLM_EMBED_TABLE "text.embed.weight"

/* Embeddings are padded, cut and grown without a change of config.json: the rows of
 * `tensor` (native name), if it is present, decide `setting` ("text.vocab"). */
typedef struct lvlm_row_count {
    const char *setting;
    const char *tensor;
} lvlm_row_count;

/* ---- a second kind of file ------------------------------------------------------ */

/* The name and layout of a native tensor in a big_vision .npz. Several rows for one
 * native tensor describe files of different origin: the first whose key is present and
 * whose shape fits is used. */
typedef struct lvlm_npz_row {
    const char *native;   /* as in the family's own row */
    const char *key;      /* after the section's key: "attn/q_einsum/w" */
    const char *shape;    /* of the array, in one block */
    unsigned char select; /* fields as in lvlm_transform, with the shape */
    unsigned char index;  /* for axes; all zero: keep, or reshape */
    unsigned char order[LVLM_ROW_DIMS];
} lvlm_npz_row;

/* Each tensor of a section has one array per block, or one array for all blocks,
 * stacked along a leading axis by scan. */
typedef struct lvlm_npz_section {
    const char *native;       /* as in the family's own section */
    const char *key;          /* "llm/layers/{i}/" */
    const char *stacked;      /* "llm/layers/"; NULL: there are no blocks */
    const char *count;        /* the leading axis: "text.layers" */
    const lvlm_npz_row *rows; /* ends with native NULL */
} lvlm_npz_section;

struct lvlm_checkpoint;

typedef struct lvlm_npz_table {
    /* ends with native NULL; a native tensor without a row is never present */
    const lvlm_npz_section *sections;
    /* Are these the tensors of a model of this family? */
    bool (*recognises)(const struct lvlm_checkpoint *checkpoint);
    /* The text of the config.json that the hub would have for them, derived from their
     * shapes. `assumed` receives a sentence on what neither shapes nor released models
     * of that size decide, or stays NULL. Both are in `arena`. LVLM_ECHECK names a
     * tensor that is missing or has an impossible shape. */
    int (*config)(const char **text, const char **assumed,
                  const struct lvlm_checkpoint *checkpoint, lvlm_arena *arena,
                  lvlm_error *err);
} lvlm_npz_table;

/* ---- the table ------------------------------------------------------------------ */

typedef struct lvlm_family {
    const char *name;       /* "paligemma2" */
    const char *title;      /* "PaliGemma 2" */
    const char *model_type; /* of its config.json */
    /* that of its language model by itself; NULL: text.decoder says it, or there is no
     * such model */
    const char *text_type;
    /* Is a config.json of that type one of this family? NULL: yes. */
    bool (*recognises)(const cJSON *hf_config);
    /* in order, ends with settings NULL; of settings with one name the last counts, in
     * the first one's place */
    const lvlm_setting_table *settings;
    /* Computes settings that follow from others ("vision.grid") or from several keys of
     * config.json, or refuses them. May be NULL. */
    int (*derive)(cJSON *config, const cJSON *hf_config, lvlm_error *err);
    const lvlm_row_count *row_counts;   /* ends with setting NULL */
    const lvlm_root *roots;             /* in order of use; ends with native NULL */
    const lvlm_unused_rule *unused;     /* ends with name NULL */
    const lvlm_projection *projections; /* ends with role NULL */
    const lvlm_difference *differences; /* ends with LVLM_AS_TRAINED */
    const lvlm_stage_rule *stage_rules; /* ends with stages NULL; NULL: none */
    const lvlm_dropout_row *dropouts;   /* ends with LVLM_NO_DROPOUT */
    /* words of the runtime: how images are prepared (prepare/image/vision_settings.c;
     * "tower": as the file's class says, or the tower's own), how a prompt is written
     * (prepare/prompt/prompt_style.c), which tokens of it are learnt
     * (tune/data/labels.c); NULL: it cannot do that for this family */
    const char *processor, *prompts, *labels;
    uint32_t max_positions; /* if config.json has no max_position_embeddings */
    /* Is the head tied if config.json does not say? NULL: yes. */
    bool (*ties)(const cJSON *hf_config);
    /* in a batch without images the reference's training runs the tower on an empty
     * input: gradients are zero, not absent */
    bool blind_gradients;
    /* what a configuration may say that transformers has no form for, such as
     * "connector.kind merger"; ends with NULL; NULL: nothing */
    const char *const *only_here;
    const lvlm_npz_table *npz; /* NULL: big_vision has no such model */
} lvlm_family;

/* All families, ends with NULL. */
const lvlm_family *const *lvlm_families(void);
/* By name, or NULL. Static. */
const lvlm_family *lvlm_family_by_name(const char *name);
/* The family that recognises a config.json. LVLM_EFORMAT names model_type and the known
 * families. */
LVLM_MUST_CHECK int lvlm_family_detect(const lvlm_family **out, const cJSON *hf_config,
                                       lvlm_error *err);

/* The settings that a configuration has, one after another: `config` is canonical, or
 * has at least the words that decide which parts there are.
 *
 *   lvlm_setting_walk walk = { .config = config, .table = family->settings };
 *   while ((setting = lvlm_setting_next(&walk)) != NULL) ... */
typedef struct lvlm_setting_walk {
    const cJSON *config;
    const lvlm_setting_table *table;
    size_t next; /* in the table */
} lvlm_setting_walk;
const lvlm_setting *lvlm_setting_next(lvlm_setting_walk *walk);

/* Can a canonical configuration have that value? A word must be one of the setting's,
 * and a constant is what the page says: parts rely on both. */
LVLM_MUST_CHECK int lvlm_setting_check(const lvlm_setting *setting, const cJSON *value,
                                       lvlm_error *err);

/* The words of a config.json that decide which parts there are; a wrong one is left
 * out: lvlm_family_config reports it. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_family_words(cJSON **out, const lvlm_family *family,
                                      const cJSON *hf_config, lvlm_error *err);

/* The canonical configuration for a config.json, every default filled in, or an error
 * that names the key. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_family_config(cJSON **out, const lvlm_family *family,
                                       const cJSON *hf_config, lvlm_error *err);

/* Is the head tied to the embedding, according to config.json? Versions of transformers
 * read different keys. */
typedef struct lvlm_ties {
    bool tied; /* true somewhere, or false nowhere */
    bool top;  /* the top level's value or its default: from 5.0 on */
    bool text; /* the same of text_config, if present: before 5.0 */
} lvlm_ties;

/* `hf_config` may be NULL: all defaults. */
lvlm_ties lvlm_family_ties(const lvlm_family *family, const cJSON *hf_config);
#define LVLM_TIE_KEY "tie_word_embeddings"

/* "final_softcap" */
const char *lvlm_difference_name(const lvlm_difference *difference);
/* Does `reference` ("trained", "transformers-5.23.0") behave so for this family? Never
 * "trained". The reference has passed lvlm_reference_check. */
bool lvlm_reference_applies(const lvlm_family *family, lvlm_behaviour behaviour,
                            const char *reference);
/* All of the family's differences that apply to `reference`, each as the bit
 * 1 << behaviour: references with the same bits compute the same. */
uint64_t lvlm_reference_behaviours(const lvlm_family *family, const char *reference);
/* Is there a reference that behaves so? */
bool lvlm_family_differs(const lvlm_family *family, lvlm_behaviour behaviour);
/* LVLM_EUSAGE unless `reference` is "trained" or "transformers-X.Y[.Z]". */
LVLM_MUST_CHECK int lvlm_reference_check(const char *reference, lvlm_error *err);
#define LVLM_REFERENCE_TRAINED "trained"

LVLM_END_DECLS

#endif
