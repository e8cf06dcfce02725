/* terminal.h - properties of the standard streams: colour, width, redrawing. */
#ifndef LVLM_FORMATS_CLI_TERMINAL_H
#define LVLM_FORMATS_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* --color: "always", "never", or "auto" (also NULL): on a terminal that is not dumb,
 * unless the variable NO_COLOR is set and not empty. The default is auto. */
void lvlm_terminal_colour(const char *when);

typedef enum lvlm_colour {
    LVLM_RED,    /* wrong */
    LVLM_GREEN,  /* right */
    LVLM_YELLOW, /* missing */
} lvlm_colour;

/* `text` with the escape sequences of that colour if `stream` shows colour; at most 255
 * bytes. Valid until the eighth next call in the same thread. */
const char *lvlm_coloured(FILE *stream, lvlm_colour colour, const char *text);

/* Print a table on stdout with its verdicts coloured: words after two spaces and before
 * a comma or the end of the line. */
typedef struct lvlm_verdict_colour {
    const char *word;
    lvlm_colour colour;
} lvlm_verdict_colour;
void lvlm_print_verdicts(const char *table, const lvlm_verdict_colour *words, size_t n);

/* Can a line be redrawn in place? True for a terminal that is not dumb. */
bool lvlm_terminal_redraws(FILE *stream);

/* Columns of the terminal; 0: not a terminal, lines may have any length. */
size_t lvlm_terminal_width(FILE *stream);

/* Print `text` on stdout after `first`, which has at most `indent` columns; on a
 * terminal it is folded between words, and later lines are indented. */
void lvlm_print_folded(const char *first, size_t indent, const char *text);

/* Print `n` bytes of text from a model or a file on stdout. On a terminal everything
 * except printable characters, line ends and tabs becomes \xNN, so that no control
 * sequence reaches it; elsewhere the bytes are printed unchanged. */
void lvlm_print_made_text(const char *text, size_t n);

#endif
