/* cleanup.h - removes the temporaries of the running command when a signal ends it.
 *
 * INT, TERM, HUP, QUIT, PIPE and XCPU remove what is listed here and then have their
 * default effect. SIGXFSZ is ignored: a write beyond the limit on file sizes is an
 * error like a full disk. Call these functions from one thread.
 *
 * Work that can stop cleanly catches the first of INT, TERM and HUP, checks for it
 * regularly, and returns LVLM_ESTOPPED; the second one ends the program as above. */
#ifndef LVLM_FORMATS_CLI_CLEANUP_H
#define LVLM_FORMATS_CLI_CLEANUP_H

/* Once, at the start of a program. */
void lvlm_cleanup_install(void);

/* List a temporary file, or folder of files, of this run. Returns a handle for
 * lvlm_cleanup_drop; -1 if it is not listed, because there are too many or its name is
 * too long. */
int lvlm_cleanup_add(const char *temporary);
void lvlm_cleanup_drop(int handle);

/* Signals are delayed between these two, so that a temporary is listed before one is
 * handled. Not nested; keep the section short. */
void lvlm_cleanup_hold(void);
void lvlm_cleanup_release(void);

/* Catch them from now on. `notice` (may be NULL) is written to stderr when the first
 * one arrives; it must remain valid. */
void lvlm_stop_catch(const char *notice);
/* The signal that was caught; 0: none. */
int lvlm_stop_requested(void);

/* Remove all listed temporaries now. Async-signal-safe, for other handlers that end the
 * program. */
void lvlm_cleanup_run(void);

#endif
