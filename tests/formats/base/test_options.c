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
    lvlm_real real, share;
    bool force;
    const char *in, *out, *x, *y;
    uint64_t bytes;
    lvlm_words words;
} args;

static const lvlm_option options[] = {
    { "flag", NULL, LVLM_OPTION_FLAG, offsetof(args, flag), "a flag" },
    { "word", "a|bc", LVLM_OPTION_TEXT, offsetof(args, word), "one of a list" },
    { "text", "zeros|normal:STD", LVLM_OPTION_TEXT, offsetof(args, text), "any text" },
    { "count", "N", LVLM_OPTION_COUNT, offsetof(args, count), "a number" },
    { "real", "X", LVLM_OPTION_REAL, offsetof(args, real), "a real number" },
    { "steps", "N", LVLM_OPTION_COUNT, offsetof(args, count), "some", LVLM_COUNTED },
    { "share",
      "P",
      LVLM_OPTION_REAL,
      offsetof(args, share),
      "a share",
      { LVLM_LEAST | LVLM_BELOW, 0, 1 } },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite" },
    { "bytes", "SIZE", LVLM_OPTION_BYTES, offsetof(args, bytes), "a size" },
    { "words", "W...", LVLM_OPTION_WORDS, offsetof(args, words), "one or more" },
    LVLM_OPTION_END,
};

static const lvlm_command command = { "verb",  "A [B]",      1,   2, "does it", NULL,
                                      options, sizeof(args), NULL };

enum { MAX_ARGS = 16 };

/* The words of a line; valid until the next call. */
static int split(char *argv[MAX_ARGS], const char *line)
{
    static char kept[256];
    int argc = 0;
    assert_true(strlen(line) < sizeof kept);
    memcpy(kept, line, strlen(line) + 1);
    for (char *at = kept; *at != '\0' && argc < MAX_ARGS;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at == ' ') *at++ = '\0';
    }
    return argc;
}

static int parse_for(const lvlm_command *of, args *a, lvlm_operands *operands,
                     lvlm_error *err, const char *line)
{
    char *argv[MAX_ARGS];
    const int argc = split(argv, line);
    *a = (args){ .flag = false };
    return lvlm_options_parse(a, operands, "program", of, argc, argv, err);
}

static int parse(args *a, lvlm_operands *operands, lvlm_error *err, const char *line)
{
    return parse_for(&command, a, operands, err, line);
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
    assert_true(a.flag && a.count == 7 && a.real.value == -0.25);
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
    assert_string_equal(a.text, "--"); /* a value, although it looks like an option */
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
        { "a --flga", "verb: unknown option --flga; \"program verb --help\" lists" },
        { "a --cuont=1", "unknown option --cuont; \"program verb --help\" lists" },
        { "a --bites=1", "unknown option --bites; did you mean --bytes?" },
        { "a --theads 3", "unknown option --theads; did you mean --threads?" },
        { "a --wordss=normally", "unknown option --wordss; did you mean --words?" },
        { "a --forced", "unknown option --forced; \"program verb" }, /* never --force */
        { "a --bogus", "unknown option --bogus; \"program verb" },
        { "a --=7", "unknown option --; \"program verb --help\"" },
        { "a -x", "verb: unknown option -x; \"program verb --help\"" },
        { "a -qx", "verb: unknown option -qx; " },
        { "a --flag=1", "--flag takes no value" },
        { "a --count", "--count needs a value: N" },
        { "a --count -1", "--count '-1': expected a whole number" },
        { "a --count 99999999999999999999", "--count '99999999999999999999'" },
        { "a --count 7x", "--count '7x': expected a whole number" },
        { "a --steps 0", "--steps '0': expected a whole number of at least 1" },
        { "a --threads 0", "--threads '0': expected a whole number from 1 to 1024" },
        { "a --threads 1025", "--threads '1025': expected a whole number from 1 to" },
        { "a --share 1", "--share '1': expected a number of at least 0 and below 1" },
        { "a --share -1", "--share '-1': expected a number of at least 0 and below 1" },
        { "a --word b", "--word 'b': expected a|bc" },
        { "a --word=", "--word '': expected a|bc" },
        { "a --real nan", "--real 'nan': expected a number" },
        { "a --bytes 5QB", "--bytes '5QB': expected a size such as 500MB or 5GiB" },
        { "a --bytes 0", "--bytes '0': expected a size such as 500MB or 5GiB" },
        { "a --words", "--words needs a value: W..." },
        { "--words a b", "verb takes A [B]; 0 given, for all words after --words" },
        { "--words=a", "verb takes A [B]; 0 given" },
        { "a --bytes 99999999999TB", "--bytes '99999999999TB': expected a size" },
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

static void more_operands_than_there_is_room_for_are_refused(void **state)
{
    char word[] = "a", *argv[LVLM_MAX_OPERANDS + 1];
    args a = { .flag = false };
    lvlm_operands o = { .n = 0 };
    lvlm_error err = { .text = "" };
    (void)state;
    for (size_t i = 0; i <= LVLM_MAX_OPERANDS; i++) argv[i] = word;
    assert_int_equal(lvlm_options_parse(&a, &o, "program", &command,
                                        LVLM_MAX_OPERANDS + 1, argv, &err),
                     LVLM_EUSAGE);
    assert_non_null(strstr(err.text, "verb: too many operands"));
}

static void one_letter_flags_may_be_joined(void **state)
{
    args a;
    lvlm_operands o;
    (void)state;
    assert_int_equal(parse(&a, &o, NULL, "-q x -f"), 0);
    assert_true(a.common.quiet && a.force && o.n == 1);
    assert_int_equal(parse(&a, &o, NULL, "x --words p -qf"), 0);
    assert_true(a.common.quiet && a.force && a.words.n == 1);
    assert_int_equal(parse(&a, &o, NULL, "-hV"), 0);
    assert_true(a.common.help && a.common.version);
}

static void the_last_of_repeated_options_is_used(void **state)
{
    args a;
    lvlm_operands o;
    (void)state;
    assert_int_equal(parse(&a, &o, NULL, "x --json --count 1 --json --count 2"), 0);
    assert_true(a.common.json && a.count == 2);
}

static void help_comes_before_any_error(void **state)
{
    static const char *const lines[] = {
        "--bogus 3 a b c --help", "--help --count 7x", "--word --help",
        "-h --threads",           "--count -h",
    };
    args a;
    lvlm_operands o;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(&a, &o, NULL, lines[i]), 0);
        assert_true(a.common.help);
    }
}

/* ---- needs ---------------------------------------------------------------------- */

static const lvlm_option needed_options[] = {
    { "in", "FILE", LVLM_OPTION_TEXT, offsetof(args, in), "needed" },
    { "out", "FILE", LVLM_OPTION_TEXT, offsetof(args, out), "this" },
    { "out-too", "DIR", LVLM_OPTION_TEXT, offsetof(args, text), "or this, or both" },
    { "x", "N", LVLM_OPTION_TEXT, offsetof(args, x), "either" },
    { "y", "N", LVLM_OPTION_TEXT, offsetof(args, y), "or" },
    LVLM_OPTION_END,
};

static int refuse_same(const void *arguments, const lvlm_operands *operands,
                       lvlm_error *err)
{
    const args *const a = arguments;
    (void)operands;
    FAIL_IF(strcmp(a->in, "same") == 0, err, LVLM_EUSAGE, "the same");
    return 0;
}

static void needs_are_checked_and_shown(void **state)
{
    static const struct {
        const char *line, *message; /* NULL: fine */
    } cases[] = {
        { "--in a --out b --x 1", NULL },
        { "--in a --out-too b --y 1", NULL },
        { "--in a --out b --out-too c --y 1", NULL },
        { "--out b --x 1", "verb needs --in FILE" },
        { "--in a --x 1", "verb needs --out FILE and/or --out-too DIR" },
        { "--in a --out b", "verb needs --x N | --y N" },
        { "--in a --out b --x 1 --y 2", "--x and --y exclude each other" },
        { "--in same --out b --x 1", "the same" },
        { "--help", NULL },
    };
    static const char needs[] =
        "--in FILE (--out FILE and/or --out-too DIR) (--x N | --y N)";
    lvlm_command needy = { "verb",         "[A]",        0,    1,     "does it",  NULL,
                           needed_options, sizeof(args), NULL, needs, refuse_same };
    lvlm_strbuf usage = LVLM_STRBUF_INIT(1 << 10);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        args a;
        lvlm_operands o;
        lvlm_error err = { .text = "" };
        const int rc = parse_for(&needy, &a, &o, &err, cases[i].line);
        assert_int_equal(rc, cases[i].message == NULL ? 0 : LVLM_EUSAGE);
        if (rc < 0) assert_string_equal(err.text, cases[i].message);
    }
    lvlm_options_usage(&usage, 44, "program", &needy);
    assert_string_equal(usage.text,
                        "usage: program verb [A] --in FILE\n"
                        "                    (--out FILE and/or --out-too DIR)\n"
                        "                    (--x N | --y N)\n"
                        "                    [options]");
    lvlm_strbuf_free(&usage);
}

static void the_verb_may_follow_options(void **state)
{
    static const struct {
        const char *line;
        int at;
    } cases[] = {
        { "verb --json", 0 },
        { "--json verb a", 1 },
        { "--threads 2 verb", 2 },
        { "--threads=2 verb", 1 },
        { "-q --word bc -f verb a", 4 },
        { "--flag --json", 2 },
        { "", 0 },
    };
    const lvlm_command commands[] = { command, { .name = NULL } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *argv[MAX_ARGS];
        const int argc = split(argv, cases[i].line);
        assert_int_equal(lvlm_options_verb(commands, argc, argv), cases[i].at);
    }
}

/* ---- help ----------------------------------------------------------------------- */

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
    assert_non_null(strstr(text.text, "[from 1 to 1024]"));
    assert_non_null(strstr(text.text, "a share [at least 0 and below 1]"));
    assert_non_null(strstr(text.text, "--force, -f"));
    assert_non_null(strstr(text.text, "--help, -h"));
    lvlm_strbuf_free(&text);
}

/* A long text is wrapped in its column; one word may be too long. */
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
        cmocka_unit_test(more_operands_than_there_is_room_for_are_refused),
        cmocka_unit_test(one_letter_flags_may_be_joined),
        cmocka_unit_test(the_last_of_repeated_options_is_used),
        cmocka_unit_test(help_comes_before_any_error),
        cmocka_unit_test(needs_are_checked_and_shown),
        cmocka_unit_test(the_verb_may_follow_options),
        cmocka_unit_test(help_lists_every_option),
        cmocka_unit_test(help_is_80_columns_wide),
        cmocka_unit_test(edit_distance_counts_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
