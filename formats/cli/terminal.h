/* terminal.h - where standard streams lead: colour, width, a cursor that moves. */
#ifndef LVLM_FORMATS_CLI_TERMINAL_H
#define LVLM_FORMATS_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* --color: "always", "never", or "auto" (NULL too): on a terminal that is not dumb,
 * unless the variable NO_COLOR is set and not empty. Until it is called: auto. */
void lvlm_terminal_colour(const char *when);

typedef enum lvlm_colour {
    LVLM_RED,    /* wrong */
    LVLM_GREEN,  /* right */
    LVLM_YELLOW, /* not there */
} lvlm_colour;

/* `text` as `stream` shows it. Valid until eight more are asked for in the same thread;
 * at most 255 bytes of it. */
const char *lvlm_coloured(FILE *stream, lvlm_colour colour, const char *text);

/* Print a table on stdout with its verdicts coloured: words that two spaces precede and
 * a comma or the end of the line follows. */
typedef struct lvlm_verdict_colour {
    const char *word;
    lvlm_colour colour;
} lvlm_verdict_colour;
void lvlm_print_verdicts(const char *table, const lvlm_verdict_colour *words, size_t n);

/* May a line be drawn again in its place? A terminal that is not dumb. */
bool lvlm_terminal_redraws(FILE *stream);

/* Columns; 0: not a terminal, lines may be as long as they are. */
size_t lvlm_terminal_width(FILE *stream);

/* Print `text` on stdout after `first`, which has as many columns as `indent` or fewer;
 * on a terminal in lines of whole words, the others indented as well. */
void lvlm_print_folded(const char *first, size_t indent, const char *text);

/* Print `n` bytes of text that a model or a file made on stdout. On a terminal what is
 * neither a character nor the end of a line or a tab becomes \xNN, so that no sequence
 * of control characters reaches it; elsewhere they are what they are. */
void lvlm_print_made_text(const char *text, size_t n);

#endif
