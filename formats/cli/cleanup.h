/* cleanup.h - temporaries of the running command, removed when a signal ends it.
 *
 * Ctrl-C and its like (INT, TERM, HUP, QUIT, PIPE, XCPU) remove what is listed here and
 * then end the program as they would have. SIGXFSZ is ignored: a write beyond a limit
 * on file sizes is an error like a full disk. From one thread.
 *
 * Work that can stop in order catches the first of INT, TERM and HUP, looks for it
 * where it can stop, and returns LVLM_ESTOPPED; the second one ends the program as
 * above. */
#ifndef LVLM_FORMATS_CLI_CLEANUP_H
#define LVLM_FORMATS_CLI_CLEANUP_H

/* Once, at the start of a program. */
void lvlm_cleanup_install(void);

/* List a temporary file, or folder of files, that only this run uses. Returns a handle
 * for lvlm_cleanup_drop; -1: it is not listed, since there are too many or its name is
 * too long. */
int lvlm_cleanup_add(const char *temporary);
void lvlm_cleanup_drop(int handle);

/* Between these a signal waits: what is created must be listed before one comes. Not
 * nested, and short. */
void lvlm_cleanup_hold(void);
void lvlm_cleanup_release(void);

/* Catch them from now on. `notice` is written to stderr when the first one comes; it
 * must stay as it is. NULL: nothing is written. */
void lvlm_stop_catch(const char *notice);
/* The signal that came; 0: none did, or none is caught. */
int lvlm_stop_requested(void);

/* Remove all of them now. Async-signal-safe, for other handlers that end the program.
 * */
void lvlm_cleanup_run(void);

#endif
