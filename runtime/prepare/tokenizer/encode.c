/* encode.c - text to ids, stage by stage (tokenizer_parts.h). */
#include <assert.h>

#include "formats/base/list.h"
#include "formats/base/utf8.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

int lvlm_ids_append(lvlm_ids *ids, int64_t id, lvlm_error *err)
{
    TRY(lvlm_list_room(&ids->at, &ids->capacity, ids->n, sizeof *ids->at, err));
    ids->at[ids->n++] = id;
    return 0;
}

void lvlm_ids_free(lvlm_ids *ids)
{
    lvlm_free(ids->at);
    *ids = (lvlm_ids)LVLM_IDS_INIT;
}

/* ---- a text ---------------------------------------------------------------------- */

/* The state of one text. */
typedef struct encoder {
    const lvlm_tokenizer *t;
    const lvlm_special *special;
    lvlm_ids *ids;
    bpe_scratch scratch;
} encoder;

static int take_word(void *user, const char *word, size_t n_bytes, lvlm_error *err)
{
    encoder *const e = user;
    return bpe_encode(&e->t->model, &e->scratch, e->ids, word, n_bytes, err);
}

typedef int take_text(encoder *e, const char *text, size_t n_bytes, lvlm_error *err);

/* Extract the added tokens of `matcher`; the text between them goes to `rest`. */
static int cut_added(encoder *e, const added_matcher *matcher, const char *text,
                     size_t n_bytes, take_text *rest, lvlm_error *err)
{
    added_cursor cursor = { 0 };
    added_match match;
    size_t done = 0;
    while (added_matcher_next(&match, &cursor, matcher, text, n_bytes, e->special)) {
        if (match.start > done) TRY(rest(e, text + done, match.start - done, err));
        TRY(lvlm_ids_append(e->ids, match.token->id, err));
        done = match.end;
    }
    return done < n_bytes ? rest(e, text + done, n_bytes - done, err) : 0;
}

static int take_words(encoder *e, const char *text, size_t n_bytes, lvlm_error *err)
{
    return word_split_apply(&e->t->words, text, n_bytes, take_word, e, err);
}

static int take_normal(encoder *e, const char *text, size_t n_bytes, lvlm_error *err)
{
    return cut_added(e, &e->t->added.normalized, text, n_bytes, take_words, err);
}

static int take_raw(encoder *e, const char *text, size_t n_bytes, lvlm_error *err)
{
    lvlm_strbuf form = LVLM_STRBUF_INIT(INT32_MAX);
    int rc;
    if (e->t->form.n == 0) return take_normal(e, text, n_bytes, err);
    if ((rc = normal_form_apply(&e->t->form, &form, text, n_bytes, err)) == 0)
        rc = take_normal(e, form.text, form.length, err);
    lvlm_strbuf_free(&form);
    return rc;
}

/* ---- paths of images ------------------------------------------------------------- */

/* The first `id` at or after `at`, or ids->n. */
static size_t find_id(const lvlm_ids *ids, size_t at, int64_t id)
{
    while (at < ids->n && ids->at[at] != id) at++;
    return at;
}

/* Append the bytes of the tokens in ids[at, end), and padding. */
static int append_path(const lvlm_tokenizer *t, lvlm_ids *out, const lvlm_ids *ids,
                       size_t at, size_t end, lvlm_error *err)
{
    size_t n = 0;
    assert(at <= end && end <= ids->n);
    for (; at < end; at++) {
        size_t n_bytes;
        const char *const text = lvlm_tokenizer_token(t, ids->at[at], &n_bytes);
        FAIL_IF(lvlm_tokenizer_is_special(t, ids->at[at]), err, LVLM_EFORMAT,
                "%.*s between <img> and </img>", (int)n_bytes, text);
        for (size_t i = 0; i < n_bytes; i++, n++)
            TRY(lvlm_ids_append(out, (unsigned char)text[i], err));
    }
    FAIL_IF(n > IMAGE_SPAN_IDS, err, LVLM_EFORMAT,
            "%zu bytes between <img> and </img>, at most %d", n, IMAGE_SPAN_IDS);
    for (; n < IMAGE_SPAN_IDS; n++) TRY(lvlm_ids_append(out, t->images.pad, err));
    return 0;
}

/* Append ids with paths spelled out. */
static int append_spelled(const lvlm_tokenizer *t, lvlm_ids *out, const lvlm_ids *ids,
                          lvlm_error *err)
{
    for (size_t at = 0; at < ids->n; at++) {
        TRY(lvlm_ids_append(out, ids->at[at], err));
        if (ids->at[at] != t->images.start) continue;
        const size_t end = find_id(ids, at, t->images.end);
        FAIL_IF(end == ids->n, err, LVLM_EFORMAT, "<img> without </img>");
        TRY(append_path(t, out, ids, at + 1, end, err));
        TRY(lvlm_ids_append(out, t->images.end, err));
        at = end;
    }
    return 0;
}

/* ---- all of it ------------------------------------------------------------------- */

int lvlm_tokenizer_encode(const lvlm_tokenizer *t, lvlm_ids *ids, const char *text,
                          size_t n_bytes, const lvlm_special *special, lvlm_error *err)
{
    assert(t != NULL && (text != NULL || n_bytes == 0));
    const bool spells = t->images.start >= 0;
    lvlm_ids plain = LVLM_IDS_INIT;
    encoder e = { .t = t, .special = special, .ids = spells ? &plain : ids };
    FAIL_IF(n_bytes > LVLM_TEXT_MAX, err, LVLM_EFORMAT,
            "the text has %zu bytes, at most %zu", n_bytes, LVLM_TEXT_MAX);
    const size_t bad = lvlm_utf8_invalid_at(text, n_bytes);
    FAIL_IF(bad < n_bytes, err, LVLM_EFORMAT, "the text is not UTF-8 at byte %zu", bad);
    int rc = cut_added(&e, &t->added.raw, text, n_bytes, take_raw, err);
    if (rc == 0 && spells) rc = append_spelled(t, ids, &plain, err);
    lvlm_ids_free(&plain);
    bpe_scratch_free(&e.scratch);
    return rc;
}
