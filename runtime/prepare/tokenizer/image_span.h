/* image_span.h - how Qwen-VL (2023) encodes an image: <img>, one id per byte of the
 * path, padding up to 256, </img>.
 *
 * The ids of the bytes are their values, regardless of the tokens with these ids. */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_IMAGE_SPAN_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_IMAGE_SPAN_H

#include "runtime/prepare/tokenizer/tokenizer.h"

LVLM_BEGIN_DECLS

enum { IMAGE_SPAN_IDS = 256 };

typedef struct image_span {
    int64_t start, end, pad; /* ids; -1: the tokenizer has no such spans */
} image_span;

/* Rewrite the spans in ids[from...): the text between <img> and </img> becomes its
 * bytes, padded. LVLM_EFORMAT: <img> without </img>, a special token between them, or
 * over 256 bytes. */
LVLM_MUST_CHECK int image_span_wrap(const image_span *span,
                                    const lvlm_tokenizer *tokenizer, lvlm_ids *ids,
                                    size_t from, lvlm_error *err);

LVLM_END_DECLS

#endif
