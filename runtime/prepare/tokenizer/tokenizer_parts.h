/* tokenizer_parts.h - the parts of an open tokenizer, private to this folder.
 *
 *   text -> raw added tokens -> normal form -> normalized added tokens -> words -> BPE
 *
 * A reader per file format fills it in; encode.c and decode.c run it. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_TOKENIZER_PARTS_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_TOKENIZER_PARTS_H

#include "runtime/prepare/tokenizer/added_tokens.h"
#include "runtime/prepare/tokenizer/bpe.h"
#include "runtime/prepare/tokenizer/normal_form.h"
#include "runtime/prepare/tokenizer/tokenizer.h"
#include "runtime/prepare/tokenizer/word_split.h"

LVLM_BEGIN_DECLS

/* How the text of a token is converted to bytes. */
typedef enum token_spelling {
    SPELLING_BYTES,    /* the text is the bytes */
    SPELLING_ALPHABET, /* it is spelled in the byte alphabet */
    SPELLING_SPACES,   /* text with U+2581 for spaces, or <0x00> to <0xFF> */
} token_spelling;

/* How bytes that are not UTF-8 are replaced. */
typedef enum broken_text {
    BROKEN_BY_PART, /* one U+FFFD for each part that begins like a character */
    BROKEN_BY_BYTE, /* one for each of them */
    BROKEN_BY_RUN,  /* one for each byte of the run of <0x..> tokens around them */
} broken_text;

/* Spaces that decoding drops at the start of a text. */
typedef enum cut_spaces {
    CUT_NONE,
    CUT_ONE,
    CUT_OF_EACH, /* one from each token, until something is written */
} cut_spaces;

/* How Qwen-VL (2023) encodes an image: <img>, one id per byte of the path, padding up
 * to 256, </img>. The ids of the bytes are their values, regardless of the tokens with
 * these ids. encode.c writes them, decode.c reads them. */
typedef struct image_span {
    int64_t start, end, pad; /* ids; -1: the tokenizer has no such spans */
} image_span;

enum { IMAGE_SPAN_IDS = 256 };

struct lvlm_tokenizer {
    bpe model;
    added_tokens added;
    normal_form form;
    word_split words;
    token_spelling spelling;
    broken_text broken;
    cut_spaces cut;
    image_span images;
    const char *end_of_text; /* used for roles that no file gives; NULL: none */
    int64_t roles[LVLM_N_TOKEN_ROLES];
};

/* The files next to the vocabulary, parsed, or NULL. */
typedef struct tokenizer_files {
    cJSON *config;      /* tokenizer_config.json */
    cJSON *special_map; /* special_tokens_map.json */
    cJSON *added;       /* added_tokens.json */
} tokenizer_files;

/* The readers set model, normal form, words, decoding and the added tokens of the file
 * or of the reference implementation. Everything else is as lvlm_tokenizer_open set
 * it. */
LVLM_MUST_CHECK int tokenizer_read_json(lvlm_tokenizer *t, const lvlm_side_file *file,
                                        lvlm_error *err);
LVLM_MUST_CHECK int tokenizer_read_vocab_and_merges(lvlm_tokenizer *t,
                                                    const lvlm_side_file *vocab,
                                                    const lvlm_side_file *merges,
                                                    lvlm_error *err);
LVLM_MUST_CHECK int tokenizer_read_qwen(lvlm_tokenizer *t, const lvlm_side_file *file,
                                        lvlm_error *err);
LVLM_MUST_CHECK int tokenizer_read_sentencepiece(lvlm_tokenizer *t,
                                                 const lvlm_side_file *file,
                                                 lvlm_error *err);
/* With Llama 3's own special tokens, unless `config` lists added tokens. */
LVLM_MUST_CHECK int tokenizer_read_llama3(lvlm_tokenizer *t, const lvlm_side_file *file,
                                          const cJSON *config, lvlm_error *err);

/* Note settings of tokenizer_config.json that could change ids but are not followed. */
LVLM_MUST_CHECK int tokenizer_note_config(const cJSON *config, lvlm_notes *notes,
                                          lvlm_error *err);

/* Add and mark the tokens that these files name, and set the roles. */
LVLM_MUST_CHECK int tokenizer_apply_config(lvlm_tokenizer *t,
                                           const tokenizer_files *files,
                                           lvlm_error *err);

/* U+2581, which replaces a space in many vocabularies. */
#define TOKENIZER_SPACE_MARK "\xe2\x96\x81"

/* Add a token with the id that the model has for its text, or else the next free one.
 * LVLM_EFORMAT if that is not `stated` (-1: unknown). An existing token keeps its
 * entry, but becomes special if `token` is. */
LVLM_MUST_CHECK int tokenizer_add(lvlm_tokenizer *t, const char *text, size_t n_bytes,
                                  added_token token, int64_t stated, lvlm_error *err);

/* The flags and the text of an added token in JSON; absent flags are false, and
 * `normalized` is the opposite of `special`. */
LVLM_MUST_CHECK int tokenizer_read_added(const char **text, added_token *token,
                                         const cJSON *json, lvlm_error *err);

/* A number of at most nine decimal digits; false: the text is not one. */
bool tokenizer_parse_number(uint64_t *out, const char *text, size_t n_bytes);

/* A merge written as "LEFT RIGHT". */
LVLM_MUST_CHECK int tokenizer_read_merge(bpe *model, const char *text, size_t n_bytes,
                                         size_t rank, lvlm_error *err);

/* { TOKEN: ID, ... } */
LVLM_MUST_CHECK int tokenizer_read_vocab(vocabulary *vocab, const cJSON *json,
                                         lvlm_error *err);

/* The word patterns of Qwen and Llama 3, which differ in the number of digits per
 * word. */
#define TOKENIZER_PATTERN(digits)                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TOKENIZER_QWEN_PATTERN TOKENIZER_PATTERN("\\p{N}")
#define TOKENIZER_LLAMA3_PATTERN TOKENIZER_PATTERN("\\p{N}{1,3}")

LVLM_END_DECLS

#endif
