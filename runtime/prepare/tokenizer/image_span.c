/* image_span.c - tokens to bytes; the inverse is in decode.c. */
#include "runtime/prepare/tokenizer/image_span.h"

#include <assert.h>
#include <string.h>

/* The first `id` at or after `at`, or ids->n. */
static size_t find_id(const lvlm_ids *ids, size_t at, int64_t id)
{
    while (at < ids->n && ids->at[at] != id) at++;
    return at;
}

/* Append the bytes of the tokens in old[at, end), and padding. */
static int append_path(const image_span *span, const lvlm_tokenizer *tokenizer,
                       lvlm_ids *out, const lvlm_ids *old, size_t at, size_t end,
                       lvlm_error *err)
{
    size_t n = 0;
    assert(at <= end && end <= old->n);
    for (; at < end; at++) {
        size_t n_bytes;
        const char *const text = lvlm_tokenizer_token(tokenizer, old->at[at], &n_bytes);
        FAIL_IF(lvlm_tokenizer_is_special(tokenizer, old->at[at]), err, LVLM_EFORMAT,
                "%.*s between <img> and </img>", (int)n_bytes, text);
        for (size_t i = 0; i < n_bytes; i++, n++)
            TRY(lvlm_ids_append(out, (unsigned char)text[i], err));
    }
    FAIL_IF(n > IMAGE_SPAN_IDS, err, LVLM_EFORMAT,
            "%zu bytes between <img> and </img>, at most %d", n, IMAGE_SPAN_IDS);
    for (; n < IMAGE_SPAN_IDS; n++) TRY(lvlm_ids_append(out, span->pad, err));
    return 0;
}

static int append_all(const image_span *span, const lvlm_tokenizer *tokenizer,
                      lvlm_ids *out, const lvlm_ids *old, lvlm_error *err)
{
    for (size_t at = 0; at < old->n; at++) {
        TRY(lvlm_ids_append(out, old->at[at], err));
        if (old->at[at] != span->start) continue;
        const size_t end = find_id(old, at, span->end);
        FAIL_IF(end == old->n, err, LVLM_EFORMAT, "<img> without </img>");
        TRY(append_path(span, tokenizer, out, old, at + 1, end, err));
        TRY(lvlm_ids_append(out, span->end, err));
        at = end;
    }
    return 0;
}

int image_span_wrap(const image_span *span, const lvlm_tokenizer *tokenizer,
                    lvlm_ids *ids, size_t from, lvlm_error *err)
{
    lvlm_ids old = LVLM_IDS_INIT;
    int rc = 0;
    assert(from <= ids->n);
    if (span->start < 0 || find_id(ids, from, span->start) == ids->n) return 0;
    for (size_t i = from; i < ids->n && rc == 0; i++)
        rc = lvlm_ids_append(&old, ids->at[i], err);
    ids->n = from;
    if (rc == 0) rc = append_all(span, tokenizer, ids, &old, err);
    lvlm_ids_free(&old);
    return rc;
}
