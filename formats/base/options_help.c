/* options_help.c - usage and help by table; see options.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/options.h"

enum { COLUMN = 28, WIDTH = 80, MAX_WORD = 256, MAX_TEXT = 1024 };

/* ---- ranges --------------------------------------------------------------------- */

static const char *limits(char text[LVLM_RANGE_TEXT], const lvlm_range *r)
{
    const bool both = r->bounds & (LVLM_MOST | LVLM_BELOW);
    char to[LVLM_RANGE_TEXT / 2] = "";
    if (r->bounds & LVLM_LEAST && r->bounds & LVLM_MOST) {
        snprintf(text, LVLM_RANGE_TEXT, "from %.15g to %.15g", r->from, r->to);
        return text;
    }
    if (both)
        snprintf(to, sizeof to, " and %s %.15g",
                 r->bounds & LVLM_MOST ? "at most" : "below", r->to);
    snprintf(text, LVLM_RANGE_TEXT, "%s %.15g%s",
             r->bounds & LVLM_LEAST ? "at least" : "above", r->from, to);
    return text;
}

const char *lvlm_option_range(char text[LVLM_RANGE_TEXT], const lvlm_option *option,
                              bool short_form)
{
    const lvlm_range *const r = &option->range;
    const bool whole = option->kind == LVLM_OPTION_COUNT || r->bounds & LVLM_WHOLE;
    const bool number = whole || option->kind == LVLM_OPTION_REAL;
    const bool limited = r->bounds & (LVLM_LEAST | LVLM_ABOVE);
    char of[LVLM_RANGE_TEXT] = "";
    if (limited) limits(of, r);
    if (short_form) {
        memcpy(text, of, sizeof of);
        return text;
    }
    if (option->kind == LVLM_OPTION_BYTES) return "a size such as 500MB or 5GiB";
    if (!number) return option->value;
    snprintf(text, LVLM_RANGE_TEXT, "a %snumber%s%.*s", whole ? "whole " : "",
             !limited                     ? ""
             : strncmp(of, "at ", 3) == 0 ? " of "
                                          : " ",
             LVLM_RANGE_TEXT / 2, of);
    return text;
}

/* ---- rows ----------------------------------------------------------------------- */

/* How many bytes of a text are its next line: whole words, at least one. */
static size_t line_of(const char *text, size_t most)
{
    assert(most > 0);
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
    assert(left != NULL && help != NULL);
    size_t at = strlen(left) + 2; /* the column that the line has reached */
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
        char left[MAX_WORD], help[MAX_TEXT], range[LVLM_RANGE_TEXT];
        const char *const value = options->value;
        const char letter = lvlm_option_letter(options->name);
        const bool limited = *lvlm_option_range(range, options, true) != '\0';
        snprintf(left, sizeof left, "--%s%s%s%s%c", options->name,
                 value != NULL ? " " : "", value != NULL ? value : "",
                 letter != '\0' ? ", -" : "", letter);
        snprintf(help, sizeof help, "%s%s%s%s", options->help, limited ? " [" : "",
                 range, limited ? "]" : "");
        print_row(out, left, help);
    }
}

/* A word of the usage, on a line of its own that is indented where there is no room. */
static void put_need(lvlm_strbuf *out, size_t *column, size_t indent, size_t width,
                     const char *need, size_t n)
{
    if (*column + 1 + n > width) {
        lvlm_strbuf_printf(out, "\n%*s", (int)indent, "");
        *column = indent;
    }
    lvlm_strbuf_printf(out, " %.*s", (int)n, need);
    *column += 1 + n;
}

void lvlm_options_usage(lvlm_strbuf *out, size_t width, const char *program,
                        const lvlm_command *command)
{
    assert(width > 0);
    const size_t start = out->length;
    const char *need = command->needs;
    size_t n;
    lvlm_strbuf_printf(out, "usage: %s %s", program, command->name);
    const size_t indent = out->length - start;
    size_t column = indent + 1 + strlen(command->operands);
    lvlm_strbuf_printf(out, " %s", command->operands);
    for (; (n = lvlm_option_need(need)) > 0; need += n + strspn(need + n, " "))
        put_need(out, &column, indent, width, need, n);
    put_need(out, &column, indent, width, "[options]", strlen("[options]"));
}

void lvlm_options_help(lvlm_strbuf *out, const char *program,
                       const lvlm_command *command)
{
    lvlm_options_usage(out, WIDTH, program, command);
    lvlm_strbuf_printf(out, "\n\n%s.\n", command->summary);
    if (command->help != NULL) lvlm_strbuf_printf(out, "\n%s\n", command->help);
    if (command->options != NULL && command->options->name != NULL) {
        lvlm_strbuf_puts(out, "\noptions\n");
        print_options(out, command->options);
    }
    lvlm_strbuf_puts(out, "\noptions of every command\n");
    print_options(out, lvlm_common_options);
}

void lvlm_commands_help(lvlm_strbuf *out, const char *program, const char *summary,
                        const lvlm_command *commands)
{
    lvlm_strbuf_printf(out, "usage: %s COMMAND OPERANDS [options]\n\n%s.\n\ncommands\n",
                       program, summary);
    for (; commands->name != NULL; commands++)
        print_row(out, commands->name, commands->summary);
    lvlm_strbuf_printf(out,
                       "\n\"%s COMMAND --help\", or \"%s help COMMAND\", tells more.\n"
                       "exit status: 0 success, 1 a check failed, 2 wrong usage, 3 bad "
                       "input or I/O\n",
                       program, program);
}
