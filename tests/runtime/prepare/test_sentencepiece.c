/* test_sentencepiece.c - SentencePiece models: merges, prefixes and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "tests/runtime/prepare/text_files.h"

static void put_piece(lvlm_strbuf *out, const char *text, float score, int type)
{
    const char head[] = { 10, (char)(strlen(text) + 2 + 5 + 2), 10,
                          (char)strlen(text) };
    const char tail[] = { 24, (char)type };
    lvlm_strbuf_append(out, head, sizeof head);
    lvlm_strbuf_puts(out, text);
    lvlm_strbuf_append(out, "\x15", 1);
    lvlm_strbuf_append(out, &score, sizeof score);
    lvlm_strbuf_append(out, tail, sizeof tail);
}

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED };

/* <unk>, <s>, a, b, ab, abb, and a user-defined piece, "bb". */
static void put_pieces(lvlm_strbuf *out)
{
    put_piece(out, "<unk>", 0, UNKNOWN);
    put_piece(out, "<s>", 0, CONTROL);
    put_piece(out, "ab", -1, NORMAL);
    put_piece(out, "ba", -1, NORMAL);
    put_piece(out, "a", -3, NORMAL);
    put_piece(out, "b", -4, NORMAL);
    put_piece(out, "xx", 0, USER_DEFINED);
    put_piece(out, "\u2581", -5, NORMAL);
}

#define BPE "\x12\x02\x18\x02"
#define AS_IT_IS "\x1a\x04\x18\x00\x20\x00" /* no dummy prefix, spaces kept */

static lvlm_tokenizer *open_pieces(const lvlm_strbuf *model)
{
    text_files files = { .paligemma = false };
    text_files_add_bytes(&files, "tokenizer.model", model->text, model->length);
    return text_files_opened(&files);
}

static void pieces_merge_by_score_and_then_from_the_left(void **state)
{
    lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16);
    (void)state;
    put_pieces(&model);
    lvlm_strbuf_append(&model, BPE AS_IT_IS, 10);
    lvlm_tokenizer *const t = open_pieces(&model);
    text_files_give(t, "aba", "2 4");
    text_files_give(t, "bab", "3 5");
    text_files_give(t, "a  b", "4 7 7 5");
    text_files_give(t, "axxx", "4 6 0");           /* cut out first, from the left */
    text_files_give(t, "a\u00e9\u00e8b", "4 0 5"); /* one for a run */
    text_files_give(t, "<s>ab<unk>", "1 2 0");
    assert_false(lvlm_tokenizer_is_special(t, 6));
    lvlm_tokenizer_close(t);
    lvlm_strbuf_free(&model);
}

static void pieces_have_a_prefix_unless_the_model_says_no(void **state)
{
    lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16), text = LVLM_STRBUF_INIT(100);
    const int64_t ids[] = { 7, 4, 7, 5 };
    (void)state;
    put_pieces(&model);
    lvlm_strbuf_append(&model, BPE, 4);
    lvlm_tokenizer *const t = open_pieces(&model);
    text_files_give(t, "  a  b ", "7 4 7 5");
    text_files_give(t, "   ", "");
    assert_int_equal(lvlm_tokenizer_decode(t, &text, ids, 4, NULL, NULL), 0);
    assert_string_equal(text.text, "a b");
    lvlm_tokenizer_close(t);
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&model);
}

static void sentencepiece_refuses_what_would_change_ids(void **state)
{
    static const struct {
        const char *more;
        size_t n;
        const char *message;
    } bad[] = {
        { "", 0, "of kind 1, only 2 (BPE)" },
        { BPE "\x1a\x03\x12\x01x", 9, "table of characters" },
        { "\x12\x05\x18\x02\xc0\x01\x01", 7, "spaces as suffix" },
        { "\x12\x05\x18\x02\x98\x02\x01", 7, "there is no piece <0x00>" },
        { BPE "\x0a\x05\x0a\x01q\x18\x05", 11, "piece 8 is of type 5" },
        { BPE "\x0a\x03\x0a\x01\xff", 9, "piece 8 is not UTF-8" },
        { BPE "\x0a\x03\x0a\x01"
              "a",
          9, "token 'a' is duplicate" },
        { BPE "\x0a\x00", 6, "token 8 is empty" },
        { BPE "\x0a\x05\x0a\x01q\x18\x02", 11, "a second one for what is unknown" },
        { BPE "\x0a\x7f", 6, "broken protobuf" },
        { BPE "\x0f", 5, "broken protobuf" },
        { BPE "\x0a\x02\x0a\x05", 8, "broken protobuf" },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "broken protobuf" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16);
        text_files files = { .paligemma = false };
        put_pieces(&model);
        lvlm_strbuf_append(&model, bad[i].more, bad[i].n);
        text_files_add_bytes(&files, "tokenizer.model", model.text, model.length);
        text_files_refused(&files, bad[i].message);
        lvlm_strbuf_free(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_merge_by_score_and_then_from_the_left),
        cmocka_unit_test(pieces_have_a_prefix_unless_the_model_says_no),
        cmocka_unit_test(sentencepiece_refuses_what_would_change_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
