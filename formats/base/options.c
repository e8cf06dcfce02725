/* options.c - command lines by table: parse, usage, help. */
#include "formats/base/options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What every command takes. */
static const lvlm_option common[] = {
    { "threads", "N", LVLM_OPTION_COUNT, offsetof(lvlm_common_args, threads),
      "use N threads (default: all cores); the result is the same for any N" },
    { "json", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, json),
      "print the result as JSON" },
    { "quiet", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, quiet),
      "no progress, no remarks" },
    { "help", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, help),
      "print this text" },
    { "version", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, version),
      "print the version" },
    LVLM_OPTION_END,
};

/* MAX_SEEN: no command comes near so many options. */
enum { COLUMN = 28, WIDTH = 80, MAX_WORD = 256, MAX_SEEN = 64 };

/* ---- values --------------------------------------------------------------------- */

/* "a|b|c" of lower-case words is a closed list. */
static bool is_list(const char *value)
{
    return value != NULL && strchr(value, '|') != NULL &&
           value[strcspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static bool in_list(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; n > 0; at++) {
        const size_t length = strcspn(at, "|");
        if (length == n && strncmp(at, word, n) == 0) return true;
        at += length;
        if (*at == '\0') break;
    }
    return false;
}

static bool parse_whole(uint64_t *out, const char *text, const char **rest)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    *rest = end;
    return errno == 0;
}

static bool parse_count(uint64_t *out, const char *text)
{
    const char *rest;
    return parse_whole(out, text, &rest) && *rest == '\0';
}

static bool parse_bytes(uint64_t *out, const char *text)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = { { "", 1 },
                  { "kB", 1000 },
                  { "MB", 1000000 },
                  { "GB", 1000000000 },
                  { "TB", 1000000000000 },
                  { "KiB", (uint64_t)1 << 10 },
                  { "MiB", (uint64_t)1 << 20 },
                  { "GiB", (uint64_t)1 << 30 },
                  { "TiB", (uint64_t)1 << 40 } };
    const char *rest;
    uint64_t n;
    if (!parse_whole(&n, text, &rest)) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(rest, units[i].name) != 0 || n > UINT64_MAX / units[i].bytes)
            continue;
        *out = n * units[i].bytes;
        return true;
    }
    return false;
}

static bool parse_real(double *out, const char *text)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

static bool add_word(lvlm_words *words, const char *text)
{
    if (words->n == LVLM_MAX_WORDS) return false;
    words->at[words->n++] = text;
    return true;
}

int lvlm_option_number(double *out, const char *name, const char *text, double absent,
                       lvlm_error *err)
{
    *out = absent;
    if (text == NULL) return 0;
    FAIL_IF(!parse_real(out, text) || *out < 0, err, LVLM_EUSAGE,
            "--%s '%s': expected a number of at least 0", name, text);
    return 0;
}

/* Store `text` in the option's field; false when it is malformed. */
static bool store(void *args, const lvlm_option *option, const char *text)
{
    void *field = (char *)args + option->offset;
    switch (option->kind) {
    case LVLM_OPTION_FLAG: *(bool *)field = true; return true;
    case LVLM_OPTION_TEXT:
        *(const char **)field = text;
        return !is_list(option->value) || in_list(option->value, text);
    case LVLM_OPTION_COUNT: return parse_count(field, text);
    case LVLM_OPTION_REAL: return parse_real(field, text);
    case LVLM_OPTION_BYTES: return parse_bytes(field, text);
    case LVLM_OPTION_WORDS: return add_word(field, text);
    }
    return false;
}

/* ---- parsing -------------------------------------------------------------------- */

/* Does `argument` (behind its dashes) name this option? */
static bool names(const lvlm_option *option, const char *argument)
{
    const size_t n = strlen(option->name);
    return strncmp(argument, option->name, n) == 0 &&
           (argument[n] == '\0' || argument[n] == '=');
}

static const lvlm_option *find_in(const lvlm_option *options, const char *argument)
{
    for (; options != NULL && options->name != NULL; options++)
        if (names(options, argument)) return options;
    return NULL;
}

static const lvlm_option *find(const lvlm_command *command, const char *argument)
{
    const lvlm_option *option = find_in(command->options, argument);
    return option != NULL ? option : find_in(common, argument);
}

static int unknown(const lvlm_command *command, const char *argument, lvlm_error *err)
{
    const lvlm_option *const tables[] = { command->options, common };
    char name[MAX_WORD];
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument, "="), argument);
    for (size_t t = 0; t < 2; t++)
        for (const lvlm_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            const size_t distance = lvlm_edit_distance(name, o->name);
            if (distance >= best_distance) continue;
            best = o->name;
            best_distance = distance;
        }
    return lvlm_fail(err, LVLM_EUSAGE, "%s: unknown option --%s; did you mean --%s?",
                     command->name, name, best);
}

/* A walk along argv; `at` is the next argument. */
typedef struct walk {
    const lvlm_command *command;
    int argc;
    char *const *argv;
    int at;
    const lvlm_option *seen[MAX_SEEN];
    size_t n_seen;
    const lvlm_option *words; /* the last one that took several */
} walk;

/* A second value would silently replace the first. */
static int note_once(walk *w, const lvlm_option *option, lvlm_error *err)
{
    if (option->kind == LVLM_OPTION_WORDS) return 0;
    for (size_t i = 0; i < w->n_seen; i++)
        FAIL_IF(w->seen[i] == option, err, LVLM_EUSAGE, "--%s is given twice",
                option->name);
    assert(w->n_seen < MAX_SEEN);
    w->seen[w->n_seen++] = option;
    return 0;
}

/* One "--name", "--name=value", "--name value" or "--name word word...". */
static int parse_option(void *args, walk *w, lvlm_error *err)
{
    const char *argument = w->argv[w->at++] + 2;
    const lvlm_option *option = find(w->command, argument);
    const char *value = strchr(argument, '=');
    if (option == NULL) return unknown(w->command, argument, err);
    TRY(note_once(w, option, err));
    const bool flag = option->kind == LVLM_OPTION_FLAG;
    const bool several = option->kind == LVLM_OPTION_WORDS && value == NULL;
    if (several) w->words = option;
    FAIL_IF(flag && value != NULL, err, LVLM_EUSAGE, "--%s takes no value",
            option->name);
    if (value != NULL) {
        value++;
    } else if (!flag) {
        FAIL_IF(w->at >= w->argc, err, LVLM_EUSAGE, "--%s needs a value: %s",
                option->name, option->value);
        value = w->argv[w->at++];
    }
    while (true) {
        FAIL_IF(!store(args, option, value), err, LVLM_EUSAGE, "--%s '%s': expected %s",
                option->name, value, option->value);
        if (!several || w->at >= w->argc || strncmp(w->argv[w->at], "--", 2) == 0)
            return 0;
        value = w->argv[w->at++];
    }
}

static int check_operands(const lvlm_operands *operands, const walk *w, lvlm_error *err)
{
    const lvlm_command *const command = w->command;
    FAIL_IF(operands->n < command->min_operands && w->words != NULL, err, LVLM_EUSAGE,
            "%s takes %s; %zu given, for all words behind --%s are its own",
            command->name, command->operands, operands->n, w->words->name);
    FAIL_IF(operands->n < command->min_operands || operands->n > command->max_operands,
            err, LVLM_EUSAGE, "%s takes %s; %zu given", command->name,
            command->operands, operands->n);
    return 0;
}

int lvlm_options_parse(void *args, lvlm_operands *operands, const lvlm_command *command,
                       int argc, char *const argv[], lvlm_error *err)
{
    const lvlm_common_args *got = args;
    walk w = { .command = command, .argc = argc, .argv = argv };
    bool only_operands = false;
    *operands = (lvlm_operands){ .n = 0 };
    while (w.at < argc) {
        const char *argument = argv[w.at];
        if (!only_operands && strcmp(argument, "--") == 0) {
            only_operands = true;
            w.at++;
        } else if (!only_operands && strncmp(argument, "--", 2) == 0) {
            TRY(parse_option(args, &w, err));
        } else {
            FAIL_IF(!only_operands && argument[0] == '-' && argument[1] != '\0', err,
                    LVLM_EUSAGE, "%s: unknown option %s; options begin with --",
                    command->name, argument);
            FAIL_IF(operands->n == LVLM_MAX_OPERANDS, err, LVLM_EUSAGE,
                    "%s: too many operands", command->name);
            operands->at[operands->n++] = argument;
            w.at++;
        }
    }
    return got->help || got->version ? 0 : check_operands(operands, &w, err);
}

/* ---- help ----------------------------------------------------------------------- */

/* How many bytes of a text are its next line: whole words, at least one. */
static size_t line_of(const char *text, size_t most)
{
    size_t n = strcspn(text, " ");
    while (text[n] != '\0') {
        const size_t more = n + 1 + strcspn(text + n + 1, " ");
        if (more > most) break;
        n = more;
    }
    return n;
}

/* A word, and in a column beside it or below what it is for. */
static void print_row(lvlm_strbuf *out, const char *left, const char *help)
{
    size_t at = strlen(left) + 2; /* the column where the line stands */
    lvlm_strbuf_printf(out, "  %s", left);
    while (*help != '\0') {
        const size_t n = line_of(help, WIDTH - COLUMN);
        if (at >= COLUMN) lvlm_strbuf_puts(out, "\n"), at = 0;
        lvlm_strbuf_printf(out, "%*s%.*s", (int)(COLUMN - at), "", (int)n, help);
        at = COLUMN + n;
        help += n + strspn(help + n, " ");
    }
    lvlm_strbuf_puts(out, "\n");
}

static void print_options(lvlm_strbuf *out, const lvlm_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char left[MAX_WORD];
        snprintf(left, sizeof left, "--%s%s%s", options->name,
                 options->value != NULL ? " " : "",
                 options->value != NULL ? options->value : "");
        print_row(out, left, options->help);
    }
}

void lvlm_options_help(lvlm_strbuf *out, const char *program,
                       const lvlm_command *command)
{
    lvlm_strbuf_printf(out, "usage: %s %s %s [options]\n\n%s.\n", program,
                       command->name, command->operands, command->summary);
    if (command->help != NULL) lvlm_strbuf_printf(out, "\n%s\n", command->help);
    if (command->options != NULL && command->options->name != NULL) {
        lvlm_strbuf_puts(out, "\noptions\n");
        print_options(out, command->options);
    }
    lvlm_strbuf_puts(out, "\noptions of every command\n");
    print_options(out, common);
}

void lvlm_commands_help(lvlm_strbuf *out, const char *program, const char *summary,
                        const lvlm_command *commands)
{
    lvlm_strbuf_printf(out, "usage: %s COMMAND OPERANDS [options]\n\n%s.\n\ncommands\n",
                       program, summary);
    for (; commands->name != NULL; commands++)
        print_row(out, commands->name, commands->summary);
    lvlm_strbuf_printf(out,
                       "\n\"%s COMMAND --help\" tells more about one of them.\n"
                       "exit status: 0 success, 1 a check failed, 2 wrong usage, 3 bad "
                       "input or I/O\n",
                       program);
}

size_t lvlm_edit_distance(const char *a, const char *b)
{
    size_t row[MAX_WORD + 1];
    const size_t n = strnlen(a, MAX_WORD), m = strnlen(b, MAX_WORD);
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[m];
}
