/* decode.c - ids to text: token -> bytes -> complete UTF-8 characters. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "runtime/prepare/tokenizer/byte_level.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"
#include "runtime/prepare/tokenizer/unicode_newer.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* ---- text ------------------------------------------------------------------------ */

/* All text is written here. */
static void write_text(lvlm_text_stream *s, lvlm_strbuf *text, const char *bytes,
                       size_t n)
{
    if (n > 0 && bytes[0] == ' ' && s->cuts_space && !s->written) {
        s->cuts_space = false;
        bytes++;
        n--;
    }
    s->written |= n > 0;
    lvlm_strbuf_append(text, bytes, n);
}

/* Write the complete characters of the held bytes and, with `all`, the invalid
 * remainder. */
static void write_parts(lvlm_text_stream *s, lvlm_strbuf *text, bool all)
{
    const char *const bytes = s->held.text;
    const size_t n = s->held.length;
    size_t at = 0, length;
    while (at < n) {
        const size_t good = lvlm_utf8_invalid_at(bytes + at, n - at);
        write_text(s, text, bytes + at, good);
        if ((at += good) == n) break;
        if (lvlm_utf8_next(&length, bytes + at, n - at) == LVLM_UTF8_BEGUN && !all)
            break;
        if (s->tokenizer->broken == BROKEN_BY_BYTE) length = 1;
        write_text(s, text, REPLACEMENT, strlen(REPLACEMENT));
        at += length;
    }
    if (at > 0) memmove(s->held.text, bytes + at, n - at);
    s->held.length = n - at;
}

/* The held bytes are complete: write them, as text or as U+FFFD. */
static void write_held(lvlm_text_stream *s, lvlm_strbuf *text)
{
    const size_t n = s->held.length;
    if (n == 0) return;
    if (s->tokenizer->broken != BROKEN_BY_RUN || lvlm_utf8_valid(s->held.text, n)) {
        write_parts(s, text, true);
        return;
    }
    for (size_t i = 0; i < n; i++)
        write_text(s, text, REPLACEMENT, strlen(REPLACEMENT));
    s->held.length = 0;
}

/* ---- tokens ---------------------------------------------------------------------- */

/* In the byte alphabet; a token that is not spelled in it is written as is. So is an
 * added one, while the tokenizers library decodes its letters as bytes if it can. */
static void hold_alphabet(lvlm_strbuf *held, const char *token, size_t n)
{
    const size_t start = held->length;
    for (size_t at = 0; at < n;) {
        uint32_t c;
        at += unicode_next(&c, token + at, n - at);
        const int byte = byte_level_byte(c);
        if (byte < 0) {
            held->length = start;
            lvlm_strbuf_append(held, token, n);
            return;
        }
        const char one = (char)byte;
        lvlm_strbuf_append(held, &one, 1);
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The byte of "<0x41>", or -1. */
static int byte_of(const char *token, size_t n)
{
    if (n != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>') return -1;
    const int high = hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void write_spaced(lvlm_text_stream *s, lvlm_strbuf *text, const char *token,
                         size_t n)
{
    const size_t n_mark = strlen(TOKENIZER_SPACE_MARK);
    for (const char *end = token + n, *mark; token < end; token = mark) {
        mark = memmem(token, (size_t)(end - token), TOKENIZER_SPACE_MARK, n_mark);
        if (mark == NULL) mark = end;
        write_text(s, text, token, (size_t)(mark - token));
        if (mark == end) break;
        write_text(s, text, " ", 1);
        mark += n_mark;
    }
}

static void put_byte(lvlm_text_stream *s, lvlm_strbuf *text, unsigned char byte)
{
    lvlm_strbuf_append(&s->held, &byte, 1);
    if (s->tokenizer->broken != BROKEN_BY_RUN) write_parts(s, text, false);
}

static void put_spaced(lvlm_text_stream *s, lvlm_strbuf *text, const char *token,
                       size_t n)
{
    const int byte = byte_of(token, n);
    if (byte >= 0) {
        put_byte(s, text, (unsigned char)byte);
        return;
    }
    write_held(s, text);
    if (s->tokenizer->cut == CUT_OF_EACH) s->cuts_space = true;
    write_spaced(s, text, token, n);
}

static void put_token(lvlm_text_stream *s, lvlm_strbuf *text, const char *token,
                      size_t n, bool added)
{
    if (s->tokenizer->spelling == SPELLING_ALPHABET && !added)
        hold_alphabet(&s->held, token, n);
    else
        lvlm_strbuf_append(&s->held, token, n);
    write_parts(s, text, false);
}

/* Between <img> and </img> the ids below 256 are bytes, up to the first padding. */
static bool put_in_image(lvlm_text_stream *s, lvlm_strbuf *text, int64_t id)
{
    const image_span *const images = &s->tokenizer->images;
    if (images->start < 0) return false;
    if (id == images->start || id == images->end) {
        s->in_path = id == images->start;
        s->in_padding = false;
    }
    s->in_padding |= s->in_path && id == images->pad;
    if (s->in_padding) return true;
    if (!s->in_path || id > 255) return false;
    put_byte(s, text, (unsigned char)id);
    return true;
}

/* ---- streams --------------------------------------------------------------------- */

/* No id was passed yet. */
static void start_again(lvlm_text_stream *s)
{
    s->cuts_space = s->tokenizer->cut != CUT_NONE;
    s->written = s->in_path = s->in_padding = false;
}

void lvlm_text_stream_init(lvlm_text_stream *stream, const lvlm_tokenizer *tokenizer,
                           const lvlm_special *special)
{
    assert(tokenizer != NULL);
    *stream = (lvlm_text_stream){ .tokenizer = tokenizer,
                                  .held = LVLM_STRBUF_INIT(LVLM_TEXT_MAX) };
    if (special != NULL) stream->special = *special;
    start_again(stream);
}

int lvlm_text_stream_put(lvlm_text_stream *s, lvlm_strbuf *text, int64_t id,
                         lvlm_error *err)
{
    const lvlm_tokenizer *const t = s->tokenizer;
    const added_token *const added = added_tokens_by_id(&t->added, id);
    size_t n;
    const char *const token = lvlm_tokenizer_token(t, id, &n);
    FAIL_IF(token == NULL, err, LVLM_EFORMAT,
            "id %" PRId64 " is not a token's; the tokenizer has %zu", id,
            lvlm_tokenizer_size(t));
    if (!put_in_image(s, text, id) &&
        !(added != NULL && added->special && special_is_off(&s->special, id))) {
        if (t->spelling == SPELLING_SPACES)
            put_spaced(s, text, token, n);
        else
            put_token(s, text, token, n, added != NULL);
    }
    TRY(lvlm_strbuf_check(&s->held, err));
    return lvlm_strbuf_check(text, err);
}

int lvlm_text_stream_end(lvlm_text_stream *s, lvlm_strbuf *text, lvlm_error *err)
{
    write_held(s, text);
    start_again(s);
    return lvlm_strbuf_check(text, err);
}

void lvlm_text_stream_free(lvlm_text_stream *stream)
{
    lvlm_strbuf_free(&stream->held);
}

int lvlm_tokenizer_decode(const lvlm_tokenizer *tokenizer, lvlm_strbuf *text,
                          const int64_t *ids, size_t n_ids, const lvlm_special *special,
                          lvlm_error *err)
{
    lvlm_text_stream stream;
    int rc = 0;
    lvlm_text_stream_init(&stream, tokenizer, special);
    for (size_t i = 0; i < n_ids && rc == 0; i++)
        rc = lvlm_text_stream_put(&stream, text, ids[i], err);
    if (rc == 0) rc = lvlm_text_stream_end(&stream, text, err);
    lvlm_text_stream_free(&stream);
    return rc;
}
