/* program.h - what the programs share: dispatch, help, errors, exit status, JSON.
 *
 * Only this folder and the commands in <layer>/cli/ print or exit. */
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
    const char *(*about)(void); /* --version: a line of its own; NULL: none */
} lvlm_program;

/* A whole main(): "PROGRAM VERB ...", options before or after the verb, "--help", "help
 * VERB", "--version". Returns the exit status: 0 success, 1 a check failed, 2 wrong
 * usage, 3 bad input or I/O, 128 plus the number of the signal that stopped it; 3 also
 * if stdout could not be written. An error is printed as "PROGRAM: MESSAGE" on stderr,
 * and if --json was given and no result has been printed, as a document on stdout:
 * {"schema": 1, "error": {"code": "format", "text": ..., "exit_status": 3}}. Closed
 * descriptors 0, 1 and 2 are opened on /dev/null in the wrong direction, so that no
 * other file gets their numbers and using them still fails. */
int lvlm_program_main(const lvlm_program *program, int argc, char *argv[]);

/* Add a member to the document of an error, beside "error". Takes `value`, which may be
 * NULL. */
void lvlm_report_with(const char *key, cJSON *value);

/* A name from a file, or a text that contains one, made safe to print (lvlm_visible).
 * Valid until the eighth next call in the same thread. */
const char *lvlm_shown(const char *text);

/* Print the notes that have not been printed yet on stderr, one line per note, even
 * with --quiet: "PROGRAM: note: SENTENCE". */
void lvlm_print_notes(const char *program, lvlm_notes *notes);

/* Is the document of --json still to be printed? Async-signal-safe. */
bool lvlm_json_pending(void);

/* Print a result as indented JSON on stdout, and free it. LVLM_ENOMEM, with nothing
 * printed, if adding any member failed: code that adds them need not check. */
LVLM_MUST_CHECK int lvlm_print_json(cJSON *json, lvlm_error *err);

/* --threads, or the number of processors that this process may use (processors.h). */
size_t lvlm_thread_count(const lvlm_common_args *args);

#endif
