/* program.h - what the programs share: dispatch, help, errors, exit status, JSON.
 *
 * Together with the commands in <layer>/cli/ the only code that prints or exits. */
#ifndef LVLM_FORMATS_CLI_PROGRAM_H
#define LVLM_FORMATS_CLI_PROGRAM_H

#include <cjson/cJSON.h>

#include "formats/base/notes.h"
#include "formats/base/options.h"
#include "formats/base/utf8.h"
#include "formats/cli/amounts.h"
#include "formats/cli/progress.h"
#include "formats/cli/terminal.h"

typedef struct lvlm_program {
    const char *name;
    const char *summary;
    const lvlm_command
        *commands; /* ends with name NULL; all-zero arguments are defaults */
} lvlm_program;

/* A whole main(): "PROGRAM VERB ...", options before or after the verb, "--help", "help
 * VERB", "--version". Returns the exit status; 3 when stdout could not be written.
 * Descriptors 0, 1 and 2 that are closed are opened so that they only fail: no file of
 * ours gets their numbers. */
int lvlm_program_main(const lvlm_program *program, int argc, char *argv[]);

/* 0 success, 1 a check failed, 2 wrong usage, 3 bad input or I/O, 128 and the number of
 * the signal that stopped it. `rc` is 0 or negative. */
int lvlm_exit_status(int rc);

/* Print "PROGRAM: MESSAGE" on stderr; returns the exit status of err->code. With
 * --json, and no result printed yet, stdout gets what a pipeline waits for:
 * {"schema": 1, "error": {"code": "format", "text": ..., "exit_status": 3}}. */
int lvlm_report(const char *program, const lvlm_error *err);
/* Add a member to that document, beside "error". Takes `value`, which may be NULL. */
void lvlm_report_with(const char *key, cJSON *value);

/* A name from a file, or a text with one in it, as it may be printed (lvlm_visible).
 * Valid until eight more are asked for in the same thread. */
const char *lvlm_shown(const char *text);

/* Print the notes that have not been printed yet on stderr, one line per note, under
 * --quiet too: "PROGRAM: note: SENTENCE". */
void lvlm_print_notes(const char *program, lvlm_notes *notes);

/* Does stdout still owe --json a document? Async-signal-safe. */
bool lvlm_json_owed(void);

/* Print a result as indented JSON on stdout, and free it. LVLM_ENOMEM, with nothing
 * printed, when memory was short for any member: code that adds them need not check. */
LVLM_MUST_CHECK int lvlm_print_json(cJSON *json, lvlm_error *err);
/* Print one that is text already. What a terminal would obey is escaped, in a way that
 * reads back as the same value; bytes that are not UTF-8 become U+FFFD. */
void lvlm_print_json_text(const char *text);

/* --threads, or as many as there are processors for us (processors.h). */
size_t lvlm_thread_count(const lvlm_common_args *args);

#endif
