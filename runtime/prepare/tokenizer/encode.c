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

/* One text on its way. */
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

int lvlm_tokenizer_encode(const lvlm_tokenizer *t, lvlm_ids *ids, const char *text,
                          size_t n_bytes, const lvlm_special *special, lvlm_error *err)
{
    assert(t != NULL && (text != NULL || n_bytes == 0));
    encoder e = { .t = t, .special = special, .ids = ids };
    FAIL_IF(n_bytes > LVLM_TEXT_MAX, err, LVLM_EFORMAT,
            "the text has %zu bytes, at most %zu", n_bytes, LVLM_TEXT_MAX);
    const size_t bad = lvlm_utf8_invalid_at(text, n_bytes);
    FAIL_IF(bad < n_bytes, err, LVLM_EFORMAT, "the text is not UTF-8 at byte %zu", bad);
    const size_t from = ids->n;
    int rc = cut_added(&e, &t->added.raw, text, n_bytes, take_raw, err);
    if (rc == 0) rc = image_span_wrap(&t->images, t, ids, from, err);
    bpe_scratch_free(&e.scratch);
    return rc;
}
