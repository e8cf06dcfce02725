/* options.h - one row an option: parsing, usage and help come from the same table.
 *
 *   static const lvlm_option options[] = {
 *       { "dtype", "keep|f32|bf16|f16", LVLM_OPTION_TEXT, offsetof(struct args, dtype),
 *         "stored type of the weights (default keep)" },
 *       ...
 *       LVLM_OPTION_END };
 *   static const lvlm_command command = { "hf2native", "SRC MODEL", 2, 2, "Hugging Face
 *       directory to native file", "longer help...", options, run };
 *
 * Options may stand anywhere after the verb, as "--name VALUE" or "--name=VALUE";
 * "--" ends them. Unknown, repeated-without-being-words, or malformed ones are
 * LVLM_EUSAGE and name the nearest known option. This file does not print. */
#ifndef LVLM_FORMATS_BASE_OPTIONS_H
#define LVLM_FORMATS_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"
#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_option_kind {
    LVLM_OPTION_FLAG,  /* bool: present or not */
    LVLM_OPTION_TEXT,  /* const char *: borrowed from argv */
    LVLM_OPTION_COUNT, /* uint64_t: whole decimal number */
    LVLM_OPTION_REAL,  /* double: finite */
    LVLM_OPTION_BYTES, /* uint64_t: number with optional KB MB GB TB (powers of 1000)
                          or KiB MiB GiB TiB */
    LVLM_OPTION_WORDS, /* lvlm_words: every word up to the next option, or the one
                          behind "="; may be given again and again */
} lvlm_option_kind;

enum { LVLM_MAX_WORDS = 64 };

typedef struct lvlm_words {
    const char *at[LVLM_MAX_WORDS]; /* borrowed from argv */
    size_t n;
} lvlm_words;

typedef struct lvlm_option {
    const char *name; /* without dashes */
    const char
        *value; /* what stands for the value in help; "a|b|c" (only words in lower
                          case) is also the closed list of a TEXT value */
    lvlm_option_kind kind;
    size_t offset; /* of the field in the arguments struct */
    const char *help;
} lvlm_option;

#define LVLM_OPTION_END                                                                \
    {                                                                                  \
        NULL, NULL, LVLM_OPTION_FLAG, 0, NULL                                          \
    }

/* What every command takes; first member of every arguments struct. */
typedef struct lvlm_common_args {
    bool help;
    bool version;
    bool json;
    bool quiet;
    uint64_t threads; /* 0: all cores */
} lvlm_common_args;

enum { LVLM_MAX_OPERANDS = 8 };

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
    /* Returns an exit status. */
    int (*run)(const void *args, const lvlm_operands *operands);
} lvlm_command;

/* Parse argv[0..argc) (behind the verb) into `args` (args_bytes, whose option fields
 * the caller has set to their defaults) and `operands`. With --help or --version
 * present the number of operands is not checked. */
LVLM_MUST_CHECK int lvlm_options_parse(void *args, lvlm_operands *operands,
                                       const lvlm_command *command, int argc,
                                       char *const argv[], lvlm_error *err);

/* "usage: PROGRAM VERB OPERANDS [options]", the help text, and a row per option. */
void lvlm_options_help(lvlm_strbuf *out, const char *program,
                       const lvlm_command *command);

/* Whole-program help: usage and a row per command. commands[] ends with name NULL. */
void lvlm_commands_help(lvlm_strbuf *out, const char *program, const char *summary,
                        const lvlm_command *commands);

/* The value of option `name`, taken as LVLM_OPTION_TEXT because 0 means something: a
 * finite number of at least 0; `absent` when `text` is NULL. LVLM_EUSAGE. */
LVLM_MUST_CHECK int lvlm_option_number(double *out, const char *name, const char *text,
                                       double absent, lvlm_error *err);

/* Edit distance of two words (Levenshtein), for "did you mean". Strings beyond 256
 * bytes are compared by their first 256. */
size_t lvlm_edit_distance(const char *a, const char *b);

LVLM_END_DECLS

#endif
