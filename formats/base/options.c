/* options.c - command lines by table: parsing; help is in options_help.c. */
#include "formats/base/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/base/processors.h"
#include "formats/base/text.h"

const lvlm_option lvlm_common_options[] = {
    { "threads", "N", LVLM_OPTION_COUNT, offsetof(lvlm_common_args, threads),
      "use N threads (default: the processors that affinity and cgroups leave); the "
      "result is the same for any N",
      LVLM_FROM_TO(1, LVLM_MAX_THREADS) },
    { "json", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, json),
      "print the result as JSON, an error too" },
    { "color", "auto|always|never", LVLM_OPTION_TEXT,
      offsetof(lvlm_common_args, colour),
      "colour verdicts and errors (default auto: on a terminal, unless NO_COLOR is "
      "set)" },
    { "quiet", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, quiet),
      "no progress, no remarks" },
    { "help", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, help),
      "print this text" },
    { "version", NULL, LVLM_OPTION_FLAG, offsetof(lvlm_common_args, version),
      "print the version" },
    LVLM_OPTION_END,
};

static const struct {
    char letter;
    const char *name;
} letters[] = {
    { 'h', "help" }, { 'V', "version" }, { 'q', "quiet" }, { 'f', "force" }
};

enum { N_LETTERS = sizeof letters / sizeof *letters };

/* MAX_GIVEN: no command comes near so many options. */
enum { MAX_WORD = 256, MAX_GIVEN = 64 };

/* ---- values --------------------------------------------------------------------- */

/* "a|b|c" of lower-case words, or one, is a closed list. */
static bool is_list(const char *value)
{
    return value[strcspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
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

/* By its range. The values of a COUNT are exact far beyond any bound. */
static bool in_range(const lvlm_range *r, double value)
{
    return !((r->bounds & LVLM_LEAST && value < r->from) ||
             (r->bounds & LVLM_ABOVE && value <= r->from) ||
             (r->bounds & LVLM_MOST && value > r->to) ||
             (r->bounds & LVLM_BELOW && value >= r->to) ||
             (r->bounds & LVLM_WHOLE && value != floor(value)));
}

/* Store `text` in the option's field; false when it is malformed. */
static bool store(void *args, const lvlm_option *option, const char *text)
{
    assert(option->kind == LVLM_OPTION_FLAG || text != NULL);
    void *const field = (char *)args + option->offset;
    lvlm_real *const real = field;
    switch (option->kind) {
    case LVLM_OPTION_FLAG: *(bool *)field = true; return true;
    case LVLM_OPTION_TEXT:
        *(const char **)field = text;
        return !is_list(option->value) || lvlm_is_listed(option->value, text);
    case LVLM_OPTION_COUNT:
        return parse_count(field, text) &&
               in_range(&option->range, (double)*(uint64_t *)field);
    case LVLM_OPTION_REAL:
        real->given = true;
        return parse_real(&real->value, text) && in_range(&option->range, real->value);
    case LVLM_OPTION_BYTES: return parse_bytes(field, text) && *(uint64_t *)field > 0;
    case LVLM_OPTION_WORDS: return add_word(field, text);
    }
    return false;
}

/* ---- names ---------------------------------------------------------------------- */

char lvlm_option_letter(const char *name)
{
    for (size_t i = 0; i < N_LETTERS; i++)
        if (strcmp(letters[i].name, name) == 0) return letters[i].letter;
    return '\0';
}

/* Does `argument` (after its dashes) name this option? */
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
    return option != NULL ? option : find_in(lvlm_common_options, argument);
}

static const lvlm_option *find_letter(const lvlm_command *command, char letter)
{
    for (size_t i = 0; i < N_LETTERS; i++)
        if (letters[i].letter == letter) return find(command, letters[i].name);
    return NULL;
}

static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] != '\0';
}

static bool is_long(const char *argument)
{
    return strncmp(argument, "--", 2) == 0;
}

bool lvlm_options_is_flag(const char *argument, const char *name)
{
    const char letter = lvlm_option_letter(name);
    if (is_long(argument)) return strcmp(argument + 2, name) == 0;
    return letter != '\0' && is_option(argument) && strchr(argument, letter) != NULL;
}

int lvlm_options_verb(const lvlm_command *commands, int argc, char *const argv[])
{
    int at = 0;
    for (; at < argc && is_option(argv[at]) && strcmp(argv[at], "--") != 0; at++) {
        const lvlm_option *option = NULL;
        for (const lvlm_command *c = commands; option == NULL && c->name != NULL; c++)
            if (is_long(argv[at])) option = find(c, argv[at] + 2);
        if (option != NULL && option->kind != LVLM_OPTION_FLAG &&
            strchr(argv[at], '=') == NULL)
            at++;
    }
    return at < argc ? at : argc;
}

/* ---- a wrong one ---------------------------------------------------------------- */

bool lvlm_is_near(const char *typed, const char *known)
{
    return 3 * lvlm_edit_distance(typed, known) <= strlen(typed);
}

/* What may be meant. Never what overwrites files. */
static const char *nearest(const lvlm_command *command, const char *name)
{
    const lvlm_option *const tables[] = { command->options, lvlm_common_options };
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t t = 0; t < 2; t++)
        for (const lvlm_option *o = tables[t]; o != NULL && o->name != NULL; o++) {
            const size_t distance = lvlm_edit_distance(name, o->name);
            if (distance >= best_distance || !lvlm_is_near(name, o->name) ||
                strcmp(o->name, "force") == 0)
                continue;
            best = o->name;
            best_distance = distance;
        }
    return best;
}

/* A walk along argv; `at` is the next argument. */
typedef struct walk {
    const char *program;
    const lvlm_command *command;
    int argc;
    char *const *argv;
    int at;
    bool only_operands;
    const lvlm_option *given[MAX_GIVEN];
    size_t n_given;
    const lvlm_option *words; /* the last one that took several */
} walk;

/* `argument` with its dashes, of which `length` bytes are the name. */
static int unknown(const walk *w, const char *argument, size_t length, lvlm_error *err)
{
    char name[MAX_WORD];
    snprintf(name, sizeof name, "%.*s", (int)length, argument);
    const char *const meant = is_long(name) ? nearest(w->command, name + 2) : NULL;
    FAIL_IF(meant != NULL, err, LVLM_EUSAGE,
            "%s: unknown option %s; did you mean --%s?", w->command->name, name, meant);
    return lvlm_fail(
        err, LVLM_EUSAGE,
        "%s: unknown option %s; \"%s %s --help\" lists those that there are",
        w->command->name, name, w->program, w->command->name);
}

static int malformed(const lvlm_option *option, const char *value, lvlm_error *err)
{
    char range[LVLM_RANGE_TEXT];
    FAIL_IF(option->kind == LVLM_OPTION_WORDS, err, LVLM_EUSAGE,
            "--%s: more than %d are given", option->name, LVLM_MAX_WORDS);
    return lvlm_fail(err, LVLM_EUSAGE, "--%s '%s': expected %s", option->name, value,
                     lvlm_option_range(range, option, false));
}

/* ---- parsing -------------------------------------------------------------------- */

static void note(walk *w, const lvlm_option *option)
{
    for (size_t i = 0; i < w->n_given; i++)
        if (w->given[i] == option) return;
    assert(w->n_given < MAX_GIVEN);
    w->given[w->n_given++] = option;
}

/* Values of an option: the arguments that follow, one or, for words, up to the next
 * option. */
static int parse_values(void *args, walk *w, const lvlm_option *option, lvlm_error *err)
{
    assert(option->kind != LVLM_OPTION_FLAG && option->value != NULL);
    FAIL_IF(w->at >= w->argc, err, LVLM_EUSAGE, "--%s needs a value: %s", option->name,
            option->value);
    do {
        const char *const value = w->argv[w->at++];
        if (store(args, option, value)) continue;
        if (is_option(value)) w->at--; /* an option; the value was forgotten */
        return malformed(option, value, err);
    } while (option->kind == LVLM_OPTION_WORDS && w->at < w->argc &&
             !is_option(w->argv[w->at]));
    return 0;
}

/* One "--name", "--name=value", "--name value" or "--name word word...". */
static int parse_long(void *args, walk *w, const char *argument, lvlm_error *err)
{
    const lvlm_option *const option = find(w->command, argument + 2);
    const char *const value = strchr(argument, '=');
    if (option == NULL) return unknown(w, argument, strcspn(argument, "="), err);
    note(w, option);
    if (option->kind == LVLM_OPTION_FLAG) {
        FAIL_IF(value != NULL, err, LVLM_EUSAGE, "--%s takes no value", option->name);
        (void)store(args, option, NULL);
        return 0;
    }
    if (value != NULL)
        return store(args, option, value + 1) ? 0 : malformed(option, value + 1, err);
    if (option->kind == LVLM_OPTION_WORDS) w->words = option;
    return parse_values(args, w, option, err);
}

/* "-q", or several: "-qf". All are flags. */
static int parse_letters(void *args, walk *w, const char *argument, lvlm_error *err)
{
    for (const char *at = argument + 1; *at != '\0'; at++) {
        const lvlm_option *const option = find_letter(w->command, *at);
        if (option == NULL) return unknown(w, argument, strlen(argument), err);
        note(w, option);
        (void)store(args, option, NULL);
    }
    return 0;
}

static int parse_argument(void *args, lvlm_operands *operands, walk *w, lvlm_error *err)
{
    const char *const argument = w->argv[w->at++];
    if (!w->only_operands && strcmp(argument, "--") == 0) {
        w->only_operands = true;
        return 0;
    }
    if (!w->only_operands && is_long(argument))
        return parse_long(args, w, argument, err);
    if (!w->only_operands && is_option(argument))
        return parse_letters(args, w, argument, err);
    FAIL_IF(operands->n == LVLM_MAX_OPERANDS, err, LVLM_EUSAGE, "%s: too many operands",
            w->command->name);
    operands->at[operands->n++] = argument;
    return 0;
}

/* ---- what is needed ------------------------------------------------------------- */

static int check_operands(const lvlm_operands *operands, const walk *w, lvlm_error *err)
{
    assert(w->command->min_operands <= w->command->max_operands);
    const lvlm_command *const command = w->command;
    FAIL_IF(operands->n < command->min_operands && w->words != NULL, err, LVLM_EUSAGE,
            "%s takes %s; %zu given, for all words after --%s are its own",
            command->name, command->operands, operands->n, w->words->name);
    FAIL_IF(operands->n < command->min_operands || operands->n > command->max_operands,
            err, LVLM_EUSAGE, "%s takes %s; %zu given", command->name,
            command->operands, operands->n);
    return 0;
}

static bool is_given(const walk *w, const char *option)
{
    for (size_t i = 0; i < w->n_given; i++) {
        const size_t n = strlen(w->given[i]->name);
        if (strncmp(w->given[i]->name, option, n) == 0 && option[n] == ' ') return true;
    }
    return false;
}

/* One need, of `n` bytes: an option, or in parentheses several that are separated. */
static int check_need(const walk *w, const char *need, size_t n, lvlm_error *err)
{
    const char *given = NULL;
    const bool several = memmem(need, n, " and/or ", strlen(" and/or ")) != NULL;
    for (const char *at = need; at + 2 < need + n; at++) {
        if (!is_long(at) || !is_given(w, at + 2)) continue;
        FAIL_IF(given != NULL && !several, err, LVLM_EUSAGE,
                "%.*s and %.*s exclude each other", (int)strcspn(given, " "), given,
                (int)strcspn(at, " "), at);
        given = at;
    }
    if (given != NULL) return 0;
    const size_t around = *need == '('; /* the parentheses */
    return lvlm_fail(err, LVLM_EUSAGE, "%s needs %.*s", w->command->name,
                     (int)(n - 2 * around), need + around);
}

size_t lvlm_option_need(const char *needs)
{
    if (needs == NULL || *needs == '\0') return 0;
    if (*needs == '(') return strcspn(needs, ")") + 1;
    const size_t n = strcspn(needs, " "); /* "--name VALUE" */
    return n + 1 + strcspn(needs + n + 1, " ");
}

static int check_needs(const walk *w, lvlm_error *err)
{
    const char *at = w->command->needs;
    for (size_t n; (n = lvlm_option_need(at)) > 0; at += n + strspn(at + n, " "))
        TRY(check_need(w, at, n, err));
    return 0;
}

/* The first error counts, unless help is asked for, which may follow it. */
int lvlm_options_parse(void *args, lvlm_operands *operands, const char *program,
                       const lvlm_command *command, int argc, char *const argv[],
                       lvlm_error *err)
{
    assert(argc >= 0 && command->max_operands <= LVLM_MAX_OPERANDS);
    const lvlm_common_args *const got = args;
    walk w = { .program = program, .command = command, .argc = argc, .argv = argv };
    int rc = 0;
    *operands = (lvlm_operands){ .n = 0 };
    while (w.at < argc) {
        const int one = parse_argument(args, operands, &w, rc == 0 ? err : NULL);
        if (rc == 0) rc = one;
    }
    if (got->help || got->version) return 0;
    FAIL_IF(command->unavailable != NULL, err, LVLM_EUSAGE, "%s: %s", command->name,
            command->unavailable);
    TRY(rc);
    TRY(check_operands(operands, &w, err));
    TRY(check_needs(&w, err));
    return command->check != NULL ? command->check(args, operands, err) : 0;
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
