/* tokenizer_parts.h - what an open tokenizer is made of, for the files of this folder.
 *
 *   text -> raw added tokens -> normal form -> normalized added tokens -> words -> BPE
 *
 * A reader per file format fills it in; encode.c and decode.c run it. */
#ifndef LVLM_RUNTIME_INPUT_TOKENIZER_PARTS_H
#define LVLM_RUNTIME_INPUT_TOKENIZER_PARTS_H

#include "runtime/input/added_tokens.h"
#include "runtime/input/bpe.h"
#include "runtime/input/normal_form.h"
#include "runtime/input/tokenizer.h"
#include "runtime/input/word_split.h"

/* How the text of a token becomes bytes. */
typedef enum token_spelling {
    SPELLING_BYTES,    /* they are its bytes */
    SPELLING_ALPHABET, /* it is spelled in the byte alphabet */
    SPELLING_SPACES,   /* text with U+2581 for spaces, or <0x00> to <0xFF> */
} token_spelling;

/* What becomes of bytes that are no UTF-8. */
typedef enum broken_text {
    BROKEN_BY_PART, /* one U+FFFD for each part that begins like a character */
    BROKEN_BY_RUN,  /* one for each byte of the run of <0x..> tokens around them */
} broken_text;

struct lvlm_tokenizer {
    bpe model;
    added_tokens added;
    normal_form form;
    word_split words;
    token_spelling spelling;
    broken_text broken;
    bool cut_first_space; /* decoding drops one space at the beginning */
    int64_t roles[LVLM_N_TOKEN_ROLES];
};

/* What all readers may look at. */
typedef struct tokenizer_files {
    const lvlm_tokenizer_source *source;
    cJSON *config; /* tokenizer_config.json, or NULL */
} tokenizer_files;

/* The readers: model, normal form, words, decoding and the file's own added tokens.
 * Messages do not name the file. */
LVLM_MUST_CHECK int tokenizer_read_json(lvlm_tokenizer *t, const lvlm_side_file *file,
                                        lvlm_error *err);

/* Add a token: under the id that the model has for its text, or else the next free one.
 * LVLM_EFORMAT when that is not `stated` (-1: nothing is). */
LVLM_MUST_CHECK int tokenizer_add(lvlm_tokenizer *t, const char *text, size_t n_bytes,
                                  added_token token, int64_t stated, lvlm_error *err);

/* Read the flags and the text of an added token as JSON has them; absent ones are
 * false, `normalized` the opposite of `special`. */
LVLM_MUST_CHECK int tokenizer_read_added(const char **text, added_token *token,
                                         const cJSON *json, lvlm_error *err);

/* Qwen2's, and with 3 in place of 1 Llama 3's, way to cut words: `digits` at a time. */
const char *tokenizer_pattern(int digits);

#endif
