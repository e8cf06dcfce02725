/* tokenizer.h - text to ids and back, with the files of a model.
 *
 *     lvlm_tokenizer *tokenizer = NULL;
 *     lvlm_ids ids = LVLM_IDS_INIT;
 *     lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
 *     if ((rc = lvlm_tokenizer_open(&tokenizer, checkpoint, &err)) < 0 ||
 *         (rc = lvlm_tokenizer_encode(tokenizer, &ids, "a cat", 5, NULL, &err)) < 0 ||
 *         (rc = lvlm_tokenizer_decode(tokenizer, &text, ids.at, ids.n, NULL,
 *                                     &err)) < 0)
 *         ...
 *     lvlm_strbuf_free(&text);
 *     lvlm_ids_free(&ids);
 *     lvlm_tokenizer_close(tokenizer);
 *
 * The files in order of precedence; the first that exists is read:
 *
 *   tokenizer.json             byte-level BPE, or BPE of characters with byte fallback
 *   vocab.json and merges.txt  byte-level BPE, Qwen2's pattern
 *   qwen.tiktoken              ranks of Qwen-VL (2023)
 *   tokenizer.model            SentencePiece BPE or Llama 3's ranks, recognised by
 *                              content
 *
 * This is the behaviour of transformers' AutoTokenizer: tokenizer.json is preferred,
 * and without it the others are converted to one. tokenizer_config.json
 * (added_tokens_decoder, bos_token and the like), or else added_tokens.json and
 * special_tokens_map.json, add their tokens to whichever was read; they never move an
 * id.
 *
 * Ids equal those of the reference for every text: the tokenizers library for
 * tokenizer.json and vocab.json, tiktoken (with Qwen's code around it) for ranks,
 * sentencepiece for its models. No special tokens are added at either end.
 *
 * An open tokenizer is immutable and may be used from any number of threads. A text
 * stream (below), lvlm_ids and lvlm_strbuf belong to one thread at a time. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_TOKENIZER_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/strbuf.h"
#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* Longer texts are refused, in both directions. */
#define LVLM_TEXT_MAX ((size_t)64 << 20)

typedef struct lvlm_tokenizer lvlm_tokenizer;

/* ---- opening ------------------------------------------------------------------- */

/* From the side files of a native file or of a Hugging Face directory, which may be
 * closed afterwards. PaliGemma's processor adds <image>, <loc0000> to <loc1023> and
 * <seg000> to <seg127>: each is one token even if the files lack it, with its id there
 * or else the next free one. Settings that are not followed are noted in the
 * checkpoint. *out is owned: lvlm_tokenizer_close. LVLM_EFORMAT names the file and the
 * problem or, if there is none, the files that were looked for. */
LVLM_MUST_CHECK int lvlm_tokenizer_open(lvlm_tokenizer **out,
                                        const lvlm_checkpoint *checkpoint,
                                        lvlm_error *err);
void lvlm_tokenizer_close(lvlm_tokenizer *tokenizer);

/* ---- text to ids --------------------------------------------------------------- */

/* A growing list of ids. */
typedef struct lvlm_ids {
    int64_t *at;
    size_t n;
    size_t capacity;
} lvlm_ids;

#define LVLM_IDS_INIT                                                                  \
    {                                                                                  \
        NULL, 0, 0                                                                     \
    }

LVLM_MUST_CHECK int lvlm_ids_append(lvlm_ids *ids, int64_t id, lvlm_error *err);
void lvlm_ids_free(lvlm_ids *ids);

/* How special tokens are handled. NULL or all zero: encoding recognises those written
 * in the text, decoding writes them. */
typedef struct lvlm_special {
    bool off; /* encoding treats them as ordinary text; decoding skips them */
    const int64_t *except; /* ... except these */
    size_t n_except;
} lvlm_special;

/* Append the ids of `text`, which may contain NUL and need not be NUL-terminated, to
 * `ids`. Tokens that the files add without calling them special (<loc0000>,
 * <tool_call>) are always recognised. LVLM_EFORMAT: not UTF-8 (the message has the byte
 * offset), too long, or, for Qwen-VL (2023), an <img> without </img> or with a path of
 * over 256 bytes. After a failure `ids` has some of them. */
LVLM_MUST_CHECK int lvlm_tokenizer_encode(const lvlm_tokenizer *tokenizer,
                                          lvlm_ids *ids, const char *text,
                                          size_t n_bytes, const lvlm_special *special,
                                          lvlm_error *err);

/* ---- ids to text --------------------------------------------------------------- */

/* Append the text of `ids` to `text`: always UTF-8, with U+FFFD for invalid bytes,
 * exactly as in the reference. LVLM_EFORMAT: an unknown id. */
LVLM_MUST_CHECK int lvlm_tokenizer_decode(const lvlm_tokenizer *tokenizer,
                                          lvlm_strbuf *text, const int64_t *ids,
                                          size_t n_ids, const lvlm_special *special,
                                          lvlm_error *err);

/* The same id by id, for generation: only complete characters are appended; an
 * incomplete one is kept for the next call. All calls together append the output of
 * lvlm_tokenizer_decode. Tokenizer and special->except must outlive the stream. */
typedef struct lvlm_text_stream {
    const lvlm_tokenizer *tokenizer;
    lvlm_special special;
    lvlm_strbuf held; /* bytes of an incomplete character */
    bool written;     /* some text was written */
    bool cuts_space;  /* if it comes first */
    bool in_path;     /* after the <img> of Qwen-VL (2023) ... */
    bool in_padding;  /* ... and after its path */
} lvlm_text_stream;

void lvlm_text_stream_init(lvlm_text_stream *stream, const lvlm_tokenizer *tokenizer,
                           const lvlm_special *special);
LVLM_MUST_CHECK int lvlm_text_stream_put(lvlm_text_stream *stream, lvlm_strbuf *text,
                                         int64_t id, lvlm_error *err);
/* End of ids: append what is held. The stream may be used again. */
LVLM_MUST_CHECK int lvlm_text_stream_end(lvlm_text_stream *stream, lvlm_strbuf *text,
                                         lvlm_error *err);
void lvlm_text_stream_free(lvlm_text_stream *stream);

/* ---- what there is ------------------------------------------------------------- */

/* One more than the highest id. A model's embedding may have more rows. */
size_t lvlm_tokenizer_size(const lvlm_tokenizer *tokenizer);

/* The id of a token, spelled as in the files ("<|im_end|>", "<loc0000>"); -1: none. */
int64_t lvlm_tokenizer_id(const lvlm_tokenizer *tokenizer, const char *token);

/* The spelling of a token in the files, *n_bytes long, not NUL-terminated; byte-level
 * vocabularies use their alphabet. NULL if there is none. Borrowed. */
const char *lvlm_tokenizer_token(const lvlm_tokenizer *tokenizer, int64_t id,
                                 size_t *n_bytes);
bool lvlm_tokenizer_is_special(const lvlm_tokenizer *tokenizer, int64_t id);

typedef enum lvlm_token_role {
    LVLM_TOKEN_BOS,
    LVLM_TOKEN_EOS,
    LVLM_TOKEN_PAD,
    LVLM_TOKEN_UNK,
    LVLM_N_TOKEN_ROLES
} lvlm_token_role;

/* The id of a role in the files, or -1. */
int64_t lvlm_tokenizer_role(const lvlm_tokenizer *tokenizer, lvlm_token_role role);

LVLM_END_DECLS

#endif
