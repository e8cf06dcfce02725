/* test_options.c - one table: parse, help, and the nearest word for a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/options.h"

typedef struct args {
    lvlm_common_args common;
    bool flag;
    const char *word;
    const char *text;
    uint64_t count;
    double real;
    uint64_t bytes;
    lvlm_words words;
} args;

static const lvlm_option options[] = {
    { "flag", NULL, LVLM_OPTION_FLAG, offsetof(args, flag), "a flag" },
    { "word", "a|bc", LVLM_OPTION_TEXT, offsetof(args, word), "one of a list" },
    { "text", "zeros|normal:STD", LVLM_OPTION_TEXT, offsetof(args, text), "any text" },
    { "count", "N", LVLM_OPTION_COUNT, offsetof(args, count), "a number" },
    { "real", "X", LVLM_OPTION_REAL, offsetof(args, real), "a real number" },
    { "bytes", "SIZE", LVLM_OPTION_BYTES, offsetof(args, bytes), "a size" },
    { "words", "W...", LVLM_OPTION_WORDS, offsetof(args, words), "one or more" },
    LVLM_OPTION_END,
};

static const lvlm_command command = { "verb",  "A [B]",      1,   2, "does it", NULL,
                                      options, sizeof(args), NULL };

enum { MAX_ARGS = 16 };

static int parse(args *a, lvlm_operands *operands, lvlm_error *err, const char *line)
{
    char *argv[MAX_ARGS];
    int argc = 0;
    static char kept[256]; /* operands point into it */
    assert_true(strlen(line) < sizeof kept);
    memcpy(kept, line, strlen(line) + 1);
    for (char *at = kept; *at != '\0' && argc < MAX_ARGS;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at == ' ') *at++ = '\0';
    }
    *a = (args){ .flag = false };
    return lvlm_options_parse(a, operands, &command, argc, argv, err);
}

static void options_parse_every_kind_anywhere(void **state)
{
    args a;
    lvlm_operands o;
    (void)state;
    assert_int_equal(parse(&a, &o, NULL,
                           "--flag x --word=bc --text=normal:1 --count 7 --real "
                           "-2.5e-1 y --bytes 5GB"),
                     0);
    assert_true(a.flag && a.count == 7 && a.real == -0.25);
    assert_string_equal(a.word, "bc");
    assert_string_equal(a.text, "normal:1");
    assert_true(a.bytes == 5000000000u);
    assert_int_equal(o.n, 2);
    assert_string_equal(o.at[1], "y");
    assert_int_equal(parse(&a, &o, NULL, "--threads 3 --json -- --flag"), 0);
    assert_true(a.common.threads == 3 && a.common.json && !a.flag);
    assert_string_equal(o.at[0], "--flag");
    assert_int_equal(parse(&a, &o, NULL, "--bytes 3MiB x"), 0);
    assert_true(a.bytes == 3u << 20);
    assert_int_equal(parse(&a, &o, NULL, "--bytes 100kB x"), 0);
    assert_true(a.bytes == 100000);
    assert_int_equal(parse(&a, &o, NULL, "--bytes 2gb x"), 0);
    assert_true(a.bytes == 2000000000u);
    assert_int_equal(parse(&a, &o, NULL, "--text -- --count=5 - --"), 0);
    assert_string_equal(a.text, "--"); /* a value, whatever it looks like */
    assert_true(a.count == 5 && o.n == 1);
    assert_string_equal(o.at[0], "-");
    assert_int_equal(parse(&a, &o, NULL, "--text= x"), 0);
    assert_string_equal(a.text, "");
    assert_int_equal(parse(&a, &o, NULL, "--help"), 0); /* operands do not count */
}

static void words_go_up_to_the_next_option(void **state)
{
    args a;
    lvlm_operands o;
    (void)state;
    assert_int_equal(parse(&a, &o, NULL, "x --words p q --flag --words=r y"), 0);
    assert_true(a.flag && a.words.n == 3 && o.n == 2);
    assert_string_equal(a.words.at[1], "q");
    assert_string_equal(a.words.at[2], "r");
    assert_int_equal(parse(&a, &o, NULL, "--words p q -- x"), 0);
    assert_true(a.words.n == 2 && o.n == 1);
}

static void options_refuse_with_a_reason(void **state)
{
    static const struct {
        const char *line, *message;
    } bad[] = {
        { "", "verb takes A [B]; 0 given" },
        { "a b c", "verb takes A [B]; 3 given" },
        { "a --flga", "unknown option --flga; did you mean --flag?" },
        { "a --flga=1", "unknown option --flga; did you mean --flag?" },
        { "a --wrod=normally", "unknown option --wrod; did you mean --word?" },
        { "a --=7", "unknown option --; did you mean" },
        { "a --count 1 --count 2", "--count is given twice" },
        { "a --json --flag --json", "--json is given twice" },
        { "a b c d e f g h i", "verb: too many operands" },
        { "a -f", "unknown option -f; options begin with --" },
        { "a --flag=1", "--flag takes no value" },
        { "a --count", "--count needs a value: N" },
        { "a --count -1", "--count '-1': expected N" },
        { "a --count 99999999999999999999", "--count '99999999999999999999'" },
        { "a --count 7x", "--count '7x': expected N" },
        { "a --word b", "--word 'b': expected a|bc" },
        { "a --real nan", "--real 'nan': expected X" },
        { "a --bytes 5QB", "--bytes '5QB': expected SIZE" },
        { "a --words", "--words needs a value: W..." },
        { "--words a b", "verb takes A [B]; 0 given, for all words behind --words" },
        { "--words=a", "verb takes A [B]; 0 given" },
        { "a --bytes 99999999999TB", "--bytes '99999999999TB': expected SIZE" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        args a;
        lvlm_operands o;
        lvlm_error err = { .text = "" };
        assert_int_equal(parse(&a, &o, &err, bad[i].line), LVLM_EUSAGE);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
    }
}

static void help_lists_every_option(void **state)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
    (void)state;
    lvlm_options_help(&text, "program", &command);
    assert_non_null(strstr(text.text, "usage: program verb A [B] [options]"));
    for (const lvlm_option *o = options; o->name != NULL; o++) {
        assert_non_null(strstr(text.text, o->name));
        assert_non_null(strstr(text.text, o->help));
    }
    assert_non_null(strstr(text.text, "--threads N"));
    lvlm_strbuf_free(&text);
}

/* A long text goes on in its column, word for word; one word may be too long. */
static void help_is_80_columns_wide(void **state)
{
    static const lvlm_option wordy[] = {
        { .name = "one",
          .help = "a text that is longer than what is left of the line beside it" },
        { .name = "another-with-a-long-name",
          .value = "VALUE",
          .help = "a-word-that-is-longer-than-the-fifty-two-columns-of-a-line then" },
        LVLM_OPTION_END
    };
    lvlm_command wide = command;
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 16);
    (void)state;
    wide.options = wordy;
    lvlm_options_help(&text, "program", &wide);
    static const char want[] =
        "  --one                     "
        "a text that is longer than what is left of the line\n"
        "                            beside it\n"
        "  --another-with-a-long-name VALUE\n"
        "                            "
        "a-word-that-is-longer-than-the-fifty-two-columns-of-a-line\n"
        "                            then\n";
    assert_non_null(strstr(text.text, want));
    lvlm_strbuf_free(&text);
}

static void edit_distance_counts_changes(void **state)
{
    (void)state;
    assert_int_equal(lvlm_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(lvlm_edit_distance("", "abc"), 3);
    assert_int_equal(lvlm_edit_distance("same", "same"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_parse_every_kind_anywhere),
        cmocka_unit_test(words_go_up_to_the_next_option),
        cmocka_unit_test(options_refuse_with_a_reason),
        cmocka_unit_test(help_lists_every_option),
        cmocka_unit_test(help_is_80_columns_wide),
        cmocka_unit_test(edit_distance_counts_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
