/* tokenizer_parts.h - what an open tokenizer is made of, for the files of this folder.
 *
 *   text -> raw added tokens -> normal form -> normalized added tokens -> words -> BPE
 *
 * A reader per file format fills it in; encode.c and decode.c run it. */
#ifndef LVLM_RUNTIME_INPUT_TOKENIZER_PARTS_H
#define LVLM_RUNTIME_INPUT_TOKENIZER_PARTS_H

#include "runtime/input/added_tokens.h"
#include "runtime/input/bpe.h"
#include "runtime/input/image_span.h"
#include "runtime/input/normal_form.h"
#include "runtime/input/tokenizer.h"
#include "runtime/input/word_split.h"

LVLM_BEGIN_DECLS

/* How the text of a token becomes bytes. */
typedef enum token_spelling {
    SPELLING_BYTES,    /* they are its bytes */
    SPELLING_ALPHABET, /* it is spelled in the byte alphabet */
    SPELLING_SPACES,   /* text with U+2581 for spaces, or <0x00> to <0xFF> */
} token_spelling;

/* What becomes of bytes that are no UTF-8. */
typedef enum broken_text {
    BROKEN_BY_PART, /* one U+FFFD for each part that begins like a character */
    BROKEN_BY_BYTE, /* one for each of them */
    BROKEN_BY_RUN,  /* one for each byte of the run of <0x..> tokens around them */
} broken_text;

/* Spaces that decoding drops at the beginning of a text. */
typedef enum cut_spaces {
    CUT_NONE,
    CUT_ONE,
    CUT_OF_EACH, /* one of each token, until something is written */
} cut_spaces;

struct lvlm_tokenizer {
    bpe model;
    added_tokens added;
    normal_form form;
    word_split words;
    token_spelling spelling;
    broken_text broken;
    cut_spaces cut;
    image_span images;
    const char *end_of_text; /* has the roles that no file gives; NULL: nothing has */
    int64_t roles[LVLM_N_TOKEN_ROLES];
};

/* The files beside the vocabulary, parsed, or NULL where there is none. */
typedef struct tokenizer_files {
    cJSON *config;      /* tokenizer_config.json */
    cJSON *special_map; /* special_tokens_map.json */
    cJSON *added;       /* added_tokens.json */
} tokenizer_files;

/* The readers: model, normal form, words, decoding, and the added tokens that the file
 * or its makers' code has. What is left out is as lvlm_tokenizer_open set it. */
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

/* Note what tokenizer_config.json says that could change ids and is not followed. */
LVLM_MUST_CHECK int tokenizer_note_config(const cJSON *config, lvlm_notes *notes,
                                          lvlm_error *err);

/* Add and mark the tokens that these files name, and set the roles. */
LVLM_MUST_CHECK int tokenizer_apply_config(lvlm_tokenizer *t,
                                           const tokenizer_files *files,
                                           lvlm_error *err);

/* U+2581, which many vocabularies have in place of a space. */
#define TOKENIZER_SPACE_MARK "\xe2\x96\x81"

/* Add a token: under the id that the model has for its text, or else the next free one.
 * LVLM_EFORMAT when that is not `stated` (-1: nothing is). One that is there already
 * stays as it is, but becomes special if `token` is. */
LVLM_MUST_CHECK int tokenizer_add(lvlm_tokenizer *t, const char *text, size_t n_bytes,
                                  added_token token, int64_t stated, lvlm_error *err);

/* The flags and the text of an added token as JSON has them; absent ones are false,
 * `normalized` the opposite of `special`. */
LVLM_MUST_CHECK int tokenizer_read_added(const char **text, added_token *token,
                                         const cJSON *json, lvlm_error *err);

/* { TOKEN: ID, ... } */
LVLM_MUST_CHECK int tokenizer_read_vocab(vocabulary *vocab, const cJSON *json,
                                         lvlm_error *err);

/* How Qwen's models and Llama 3 cut words; they differ in the digits at a time. */
#define TOKENIZER_PATTERN(digits)                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TOKENIZER_QWEN_PATTERN TOKENIZER_PATTERN("\\p{N}")
#define TOKENIZER_LLAMA3_PATTERN TOKENIZER_PATTERN("\\p{N}{1,3}")

LVLM_END_DECLS

#endif
