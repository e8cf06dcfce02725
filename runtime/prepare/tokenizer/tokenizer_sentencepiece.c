/* tokenizer_sentencepiece.c - reads a SentencePiece model of kind BPE (a protobuf).
 *
 *   1  pieces: 1 text, 2 score (float), 3 type
 *   2  trainer: 3 kind of model, 24 spaces as suffix, 35 byte fallback
 *   3  normalizer: 2 table of characters, 3 dummy prefix, 4 spaces removed, 5 escaped
 *
 * Two neighbours merge if their concatenation is a piece, highest score first.
 * User-defined pieces are extracted before; control pieces and the unknown piece are
 * special tokens. Other kinds of models, tables of characters, spaces as suffix and
 * unused pieces would change ids and are refused. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/bytes.h"
#include "formats/base/list.h"
#include "formats/base/utf8.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

typedef enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN,
    PIECE_CONTROL,
    PIECE_USER_DEFINED,
    PIECE_UNUSED,
    PIECE_BYTE,
} piece_type;

enum { MODEL_BPE = 2 };

/* ---- protobuf -------------------------------------------------------------------- */

/* A message and its last field read. */
typedef struct message {
    const unsigned char *at, *end;
    uint64_t number;            /* of the field */
    uint64_t value;             /* a varint's, or the bits of a fixed one */
    const unsigned char *bytes; /* of a string or message, or NULL ... */
    size_t n_bytes;             /* ... and how many */
} message;

static bool read_varint(uint64_t *out, message *m)
{
    *out = 0;
    for (unsigned shift = 0; m->at < m->end && shift < 64; shift += 7) {
        const unsigned char byte = *m->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool read_fixed(message *m, size_t n)
{
    if ((size_t)(m->end - m->at) < n) return false;
    m->value = lvlm_load_le(m->at, n);
    m->at += n;
    return true;
}

static bool read_bytes(message *m)
{
    uint64_t n;
    if (!read_varint(&n, m) || n > (uint64_t)(m->end - m->at)) return false;
    m->bytes = m->at;
    m->n_bytes = (size_t)n;
    m->at += n;
    return true;
}

/* The next field: 1, 0 at the end, or LVLM_EFORMAT. */
static int next_field(message *m, lvlm_error *err)
{
    uint64_t tag;
    bool fine;
    if (m->at == m->end) return 0;
    if (!read_varint(&tag, m)) tag = 7;
    m->number = tag >> 3;
    m->bytes = NULL;
    switch (tag & 7) {
    case 0: fine = read_varint(&m->value, m); break;
    case 1: fine = read_fixed(m, 8); break;
    case 2: fine = read_bytes(m); break;
    case 5: fine = read_fixed(m, 4); break;
    default: fine = false;
    }
    FAIL_IF(!fine, err, LVLM_EFORMAT, "not a SentencePiece model: broken protobuf");
    return 1;
}

static message inside(const message *m)
{
    assert(m->bytes != NULL);
    return (message){ .at = m->bytes, .end = m->bytes + m->n_bytes };
}

/* ---- settings -------------------------------------------------------------------- */

/* The defaults are the format's. */
typedef struct settings {
    uint64_t kind;
    bool suffix, byte_fallback;
    bool table, dummy_prefix, remove_spaces, escape_spaces;
} settings;

static int read_trainer(settings *s, message m, lvlm_error *err)
{
    int more;
    while ((more = next_field(&m, err)) > 0) {
        if (m.bytes != NULL) continue;
        if (m.number == 3) s->kind = m.value;
        if (m.number == 24) s->suffix = m.value != 0;
        if (m.number == 35) s->byte_fallback = m.value != 0;
    }
    return more;
}

static int read_normalizer(settings *s, message m, lvlm_error *err)
{
    int more;
    while ((more = next_field(&m, err)) > 0) {
        if (m.number == 2 && m.bytes != NULL) s->table = m.n_bytes > 0;
        if (m.bytes != NULL) continue;
        if (m.number == 3) s->dummy_prefix = m.value != 0;
        if (m.number == 4) s->remove_spaces = m.value != 0;
        if (m.number == 5) s->escape_spaces = m.value != 0;
    }
    return more;
}

/* In SentencePiece's order. */
static int apply_settings(lvlm_tokenizer *t, const settings *s, lvlm_error *err)
{
    const char *const space = s->escape_spaces ? TOKENIZER_SPACE_MARK : " ";
    FAIL_IF(s->kind != MODEL_BPE, err, LVLM_EFORMAT,
            "a SentencePiece model of kind %" PRIu64 ", only 2 (BPE) is supported",
            s->kind);
    FAIL_IF(s->table, err, LVLM_EFORMAT,
            "a SentencePiece model with a table of characters is not supported");
    FAIL_IF(s->suffix, err, LVLM_EFORMAT,
            "a SentencePiece model with spaces as suffix is not supported");
    if (s->remove_spaces)
        TRY(normal_form_add(&t->form, NORMAL_SQUEEZE_SPACES, NULL, NULL, err));
    if (s->dummy_prefix)
        TRY(normal_form_add(&t->form, NORMAL_PREPEND, NULL, space, err));
    if (s->escape_spaces)
        TRY(normal_form_add(&t->form, NORMAL_REPLACE, " ", TOKENIZER_SPACE_MARK, err));
    if (s->remove_spaces)
        TRY(normal_form_add(&t->form, NORMAL_TRIM_END, space, NULL, err));
    t->spelling = SPELLING_SPACES;
    t->broken = BROKEN_BY_BYTE;
    t->cut = s->remove_spaces ? CUT_OF_EACH : s->dummy_prefix ? CUT_ONE : CUT_NONE;
    t->model.byte_fallback = s->byte_fallback;
    return 0;
}

/* ---- pieces ---------------------------------------------------------------------- */

typedef struct piece {
    uint32_t id;
    uint32_t order; /* monotonic in the score */
    bool merges;    /* may be the result of a merge */
} piece;

typedef struct pieces {
    piece *at;
    size_t n, capacity;
} pieces;

/* Floats compare like their bits, after the bits of negative ones are inverted. */
static uint32_t order_of_score(uint64_t bits)
{
    const uint32_t b = (uint32_t)bits;
    return b & 0x80000000u ? ~b : b | 0x80000000u;
}

static int take_piece(lvlm_tokenizer *t, const char *text, size_t n_bytes, uint64_t id,
                      uint64_t type, lvlm_error *err)
{
    const added_token special = { .special = true };
    const added_token defined = { .normalized = true, .verbatim = true };
    FAIL_IF(!lvlm_utf8_valid(text, n_bytes), err, LVLM_EFORMAT,
            "piece %" PRIu64 " is not UTF-8", id);
    TRY(vocabulary_add(&t->model.vocab, text, n_bytes, id, err));
    switch (type) {
    case PIECE_NORMAL:
    case PIECE_BYTE: return 0;
    case PIECE_UNKNOWN:
        FAIL_IF(t->model.unk != VOCABULARY_NO_ID, err, LVLM_EFORMAT,
                "piece %" PRIu64 " is a second one for what is unknown", id);
        t->model.unk = (uint32_t)id;
        return tokenizer_add(t, text, n_bytes, special, -1, err);
    case PIECE_CONTROL: return tokenizer_add(t, text, n_bytes, special, -1, err);
    case PIECE_USER_DEFINED: return tokenizer_add(t, text, n_bytes, defined, -1, err);
    default:
        return lvlm_fail(err, LVLM_EFORMAT,
                         "piece %" PRIu64 " is of type %" PRIu64 ", not supported", id,
                         type);
    }
}

static int read_piece(lvlm_tokenizer *t, pieces *list, message m, lvlm_error *err)
{
    const char *text = "";
    size_t n_bytes = 0;
    uint64_t type = PIECE_NORMAL, score = 0;
    int more;
    while ((more = next_field(&m, err)) > 0) {
        if (m.number == 1 && m.bytes != NULL) {
            text = (const char *)m.bytes;
            n_bytes = m.n_bytes;
        }
        if (m.number == 2 && m.bytes == NULL) score = m.value;
        if (m.number == 3 && m.bytes == NULL) type = m.value;
    }
    if (more < 0) return more;
    const size_t id = list->n;
    TRY(lvlm_list_room(&list->at, &list->capacity, id, sizeof *list->at, err));
    list->at[list->n++] = (piece){ (uint32_t)id, order_of_score(score),
                                   type == PIECE_NORMAL || type == PIECE_USER_DEFINED };
    /* an unused slot */
    if (type == PIECE_UNUSED && n_bytes == 1 && text[0] == '\0') return 0;
    return take_piece(t, text, n_bytes, id, type, err);
}

/* The highest score first. */
static int by_order(const void *a, const void *b)
{
    const piece *const x = a, *const y = b;
    return x->order > y->order ? -1 : x->order < y->order;
}

/* A rank is the number of pieces with a higher score, so equal scores have equal
 * ranks. */
static int rank_pieces(bpe *model, pieces *list, lvlm_error *err)
{
    assert(list->n > 0 && model->rank_of == NULL);
    model->rank_of = lvlm_calloc(list->n, sizeof *model->rank_of);
    if (model->rank_of == NULL) return lvlm_fail_memory(err);
    qsort(list->at, list->n, sizeof *list->at, by_order);
    size_t rank = 0;
    for (size_t i = 0; i < list->n; i++) {
        const piece *const p = &list->at[i];
        if (p->order != list->at[rank].order) rank = i;
        model->rank_of[p->id] = p->merges ? (uint32_t)rank : BPE_NO_RANK;
    }
    return 0;
}

static int check_fallback(bpe *model, lvlm_error *err)
{
    const unsigned missing = bpe_find_bytes(model);
    FAIL_IF(!model->byte_fallback && model->unk == VOCABULARY_NO_ID, err, LVLM_EFORMAT,
            "there is neither byte fallback nor a piece for what is unknown");
    FAIL_IF(model->byte_fallback && missing < 256, err, LVLM_EFORMAT,
            "byte fallback, but there is no piece <0x%02X>", missing);
    return 0;
}

static int read_model(lvlm_tokenizer *t, pieces *list, message m, lvlm_error *err)
{
    settings s = {
        .kind = 1, .dummy_prefix = true, .remove_spaces = true, .escape_spaces = true
    };
    int more;
    while ((more = next_field(&m, err)) > 0) {
        if (m.bytes == NULL) continue;
        if (m.number == 1) TRY(read_piece(t, list, inside(&m), err));
        if (m.number == 2) TRY(read_trainer(&s, inside(&m), err));
        if (m.number == 3) TRY(read_normalizer(&s, inside(&m), err));
    }
    if (more < 0) return more;
    FAIL_IF(list->n == 0, err, LVLM_EFORMAT, "not a SentencePiece model: no pieces");
    TRY(apply_settings(t, &s, err));
    TRY(check_fallback(&t->model, err));
    return rank_pieces(&t->model, list, err);
}

int tokenizer_read_sentencepiece(lvlm_tokenizer *t, const lvlm_side_file *file,
                                 lvlm_error *err)
{
    pieces list = { 0 };
    const int rc = read_model(
        t, &list, (message){ .at = file->bytes, .end = file->bytes + file->n_bytes },
        err);
    lvlm_free(list.at);
    return rc;
}
