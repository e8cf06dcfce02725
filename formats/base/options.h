/* options.h - one row per option: parsing, usage and help come from the same table.
 *
 *   static const lvlm_option options[] = {
 *       { "dtype", "keep|f32|bf16|f16", LVLM_OPTION_TEXT, offsetof(struct args, dtype),
 *         "stored type of the weights (default keep)" },
 *       ...
 *       LVLM_OPTION_END };
 *   static const lvlm_command command = { "hf2native", "SRC MODEL", 2, 2, "Hugging Face
 *       directory to native file", "longer help...", options, run };
 *
 * Options may be anywhere, as "--name VALUE" or "--name=VALUE"; -h, -V, -q and -f are
 * --help, --version, --quiet and --force, and may be joined (-qf); "--" ends options.
 * Of an option that is repeated the last one counts. Unknown or malformed ones are
 * LVLM_EUSAGE and name a known option that is near, or where to look. This file does
 * not print. */
#ifndef LVLM_FORMATS_BASE_OPTIONS_H
#define LVLM_FORMATS_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"
#include "formats/base/notes.h"
#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_option_kind {
    LVLM_OPTION_FLAG,  /* bool: present or not */
    LVLM_OPTION_TEXT,  /* const char *: borrowed from argv */
    LVLM_OPTION_COUNT, /* uint64_t: whole decimal number */
    LVLM_OPTION_REAL,  /* lvlm_real: finite */
    LVLM_OPTION_BYTES, /* uint64_t: above 0, with optional KB MB GB TB (powers of 1000)
                          or KiB MiB GiB TiB */
    LVLM_OPTION_WORDS, /* lvlm_words: every word up to the next option, or the one
                          after "="; repeated, they add up */
} lvlm_option_kind;

/* A number of which 0 means 0. */
typedef struct lvlm_real {
    double value;
    bool given;
} lvlm_real;

/* Which numbers a COUNT or a REAL takes: from it come the check, the message and what
 * help says. All zero: any. */
typedef struct lvlm_range {
    unsigned bounds; /* bits: */
    double from, to;
} lvlm_range;

enum {
    LVLM_LEAST = 1, /* `from` and more */
    LVLM_ABOVE = 2, /* more than `from` */
    LVLM_MOST = 4,  /* `to` and less */
    LVLM_BELOW = 8, /* less than `to` */
    LVLM_WHOLE = 16 /* a REAL without a fraction */
};

// clang-format off
#define LVLM_AT_LEAST(n)   { LVLM_LEAST, (n), 0 }
#define LVLM_FROM_TO(n, m) { LVLM_LEAST | LVLM_MOST, (n), (m) }
#define LVLM_MORE_THAN(n)  { LVLM_ABOVE, (n), 0 }
/* 0 is the field of an option that was not given, so it is not a value of a COUNT that
 * has a default. */
#define LVLM_COUNTED       LVLM_AT_LEAST(1)
// clang-format on

enum { LVLM_MAX_WORDS = 64 };

typedef struct lvlm_words {
    const char *at[LVLM_MAX_WORDS]; /* borrowed from argv */
    size_t n;
} lvlm_words;

typedef struct lvlm_option {
    const char *name;  /* without dashes */
    const char *value; /* its placeholder in help; "a|b|c" (only words in lower case) is
                          also the closed list of a TEXT value */
    lvlm_option_kind kind;
    size_t offset; /* of the field in the arguments struct */
    const char *help;
    lvlm_range range;
} lvlm_option;

// clang-format off
#define LVLM_OPTION_END { NULL, NULL, LVLM_OPTION_FLAG, 0, NULL }
// clang-format on

/* What every command takes; first member of every arguments struct. */
typedef struct lvlm_common_args {
    bool help;
    bool version;
    bool json;
    bool quiet;
    uint64_t threads;   /* 0: as many as there are processors for us */
    const char *colour; /* --color; NULL: auto */
} lvlm_common_args;

enum { LVLM_MAX_OPERANDS = 256 };

typedef struct lvlm_operands {
    const char *at[LVLM_MAX_OPERANDS];
    size_t n;
} lvlm_operands;

typedef struct lvlm_command {
    const char *name;     /* the verb */
    const char *operands; /* "SRC MODEL" */
    size_t min_operands;
    size_t max_operands;
    const char *summary; /* one line */
    const char
        *help; /* paragraphs that teach: what it does, what it checks, exit status,
                            an example; may be NULL */
    const lvlm_option *options;
    size_t args_bytes; /* of the arguments; their first member is lvlm_common_args */
    /* Returns 0; 1 if a check failed, as the command has printed; or a negative code,
     * with `err` to be reported. Notes are printed after it. */
    int (*run)(const void *args, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err);
    /* The options that a command needs, as the usage line has them after the operands,
     * or NULL: "--inputs IN --out OUT" both; "(--data FILE | --batches DIR)" exactly
     * one; "(--out FILE and/or --adapter-out DIR)" one at least. */
    const char *needs;
    /* Do the options go together? LVLM_EUSAGE; may be NULL. */
    int (*check)(const void *args, const lvlm_operands *operands, lvlm_error *err);
    /* Why this build does not have the command: "needs ..."; NULL: it has. */
    const char *unavailable;
} lvlm_command;

/* Parse argv[0..argc), from which the verb has been taken out, into `args` (args_bytes,
 * zero) and `operands`, and check both. With --help or --version among them nothing is
 * an error. */
LVLM_MUST_CHECK int lvlm_options_parse(void *args, lvlm_operands *operands,
                                       const char *program, const lvlm_command *command,
                                       int argc, char *const argv[], lvlm_error *err);

/* Which of argv[0..argc) is the verb: the first that is neither an option of every
 * command or of any of `commands`, nor the value of one. `argc`: there is none. */
int lvlm_options_verb(const lvlm_command *commands, int argc, char *const argv[]);

/* Is `argument` that flag of every command, by its long or short name ("--help", "-h",
 * "-qh")? */
bool lvlm_options_is_flag(const char *argument, const char *name);

/* The options of every command; ends with name NULL. */
extern const lvlm_option lvlm_common_options[];
/* The letter of an option; 0: it has none. */
char lvlm_option_letter(const char *name);

/* The length of the first of `needs`, NULL or "": 0. Others follow after a space. */
size_t lvlm_option_need(const char *needs);

/* "usage: PROGRAM VERB OPERANDS NEEDS [options]" in lines of `width` columns, without a
 * new line at the end. */
void lvlm_options_usage(lvlm_strbuf *out, size_t width, const char *program,
                        const lvlm_command *command);

/* The usage, the help text, and a row per option. */
void lvlm_options_help(lvlm_strbuf *out, const char *program,
                       const lvlm_command *command);

/* Whole-program help: usage and a row per command. commands[] ends with name NULL. */
void lvlm_commands_help(lvlm_strbuf *out, const char *program, const char *summary,
                        const lvlm_command *commands);

/* Which values an option takes: "a whole number from 1 to 1024", or in `short_form`,
 * for help, "from 1 to 1024" and "" where every number is one. */
enum { LVLM_RANGE_TEXT = 96 };
const char *lvlm_option_range(char text[LVLM_RANGE_TEXT], const lvlm_option *option,
                              bool short_form);

/* Is `known` so near to the word `typed` that it may be meant? At most a third of its
 * letters differ. */
bool lvlm_is_near(const char *typed, const char *known);

/* Edit distance of two words (Levenshtein), for "did you mean". Strings beyond 256
 * bytes are compared by their first 256. */
size_t lvlm_edit_distance(const char *a, const char *b);

LVLM_END_DECLS

#endif
