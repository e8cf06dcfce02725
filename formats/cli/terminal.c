/* terminal.c - escape sequences and the size of a window; see terminal.h. */
#include "formats/cli/terminal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "formats/base/utf8.h"

enum {
    USUAL_WIDTH = 80,
    LEAST_WIDTH = 20, /* of folded text; narrower windows wrap it themselves */
    MAX_COLOURED = 256,
};

static enum { AUTO, ALWAYS, NEVER } wanted;

void lvlm_terminal_colour(const char *when)
{
    const char *const none = getenv("NO_COLOR");
    wanted = none != NULL && *none != '\0' ? NEVER : AUTO;
    if (when == NULL || strcmp(when, "auto") == 0) return;
    wanted = strcmp(when, "always") == 0 ? ALWAYS : NEVER;
}

bool lvlm_terminal_redraws(FILE *stream)
{
    const char *const kind = getenv("TERM");
    return isatty(fileno(stream)) == 1 && (kind == NULL || strcmp(kind, "dumb") != 0);
}

static bool has_colour(FILE *stream)
{
    return wanted == ALWAYS || (wanted == AUTO && lvlm_terminal_redraws(stream));
}

const char *lvlm_coloured(FILE *stream, lvlm_colour colour, const char *text)
{
    static _Thread_local char texts[8][MAX_COLOURED];
    static _Thread_local size_t next;
    static const char *const codes[] = { "31", "32", "33" };
    assert((size_t)colour < sizeof codes / sizeof *codes);
    if (!has_colour(stream)) return text;
    char *const to = texts[next++ % 8];
    snprintf(to, MAX_COLOURED, "\033[%sm%.*s\033[m", codes[colour], MAX_COLOURED - 16,
             text);
    return to;
}

/* The verdict at `at`, or NULL. */
static const lvlm_verdict_colour *verdict_at(const char *at,
                                             const lvlm_verdict_colour *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(words[i].word);
        if (strncmp(at, words[i].word, length) == 0 &&
            (at[length] == '\n' || at[length] == ',' || at[length] == '\0'))
            return &words[i];
    }
    return NULL;
}

void lvlm_print_verdicts(const char *table, const lvlm_verdict_colour *words, size_t n)
{
    const char *from = table;
    for (const char *at = table; (at = strstr(at, "  ")) != NULL;) {
        at += strspn(at, " ");
        const lvlm_verdict_colour *const word = verdict_at(at, words, n);
        if (word == NULL) continue;
        fwrite(from, 1, (size_t)(at - from), stdout);
        fputs(lvlm_coloured(stdout, word->colour, word->word), stdout);
        from = at += strlen(word->word);
    }
    fputs(from, stdout);
}

size_t lvlm_terminal_width(FILE *stream)
{
    struct winsize window;
    const int fd = fileno(stream);
    if (isatty(fd) != 1) return 0;
    if (ioctl(fd, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) return USUAL_WIDTH;
    return window.ws_col;
}

void lvlm_print_folded(const char *first, size_t indent, const char *text)
{
    const size_t width = lvlm_terminal_width(stdout);
    const size_t columns = width > indent + LEAST_WIDTH ? width - indent : LEAST_WIDTH;
    printf("%-*s", (int)indent, first);
    while (width > 0) {
        const size_t n = lvlm_utf8_line(text, columns);
        printf("%.*s\n", (int)n, text);
        text += n + strspn(text + n, " ");
        if (*text == '\0') return;
        printf("%*s", (int)indent, "");
    }
    printf("%s\n", text);
}

/* Number of bytes to print at once: whole characters up to a line end or tab. */
static size_t piece_of(const char *text, size_t n, size_t most)
{
    assert(most >= 4); /* any character */
    size_t at = 0, length;
    while (at < n && text[at] != '\n' && text[at] != '\t') {
        (void)lvlm_utf8_next(&length, text + at, n - at);
        if (at + length > most) break;
        at += length;
    }
    return at;
}

void lvlm_print_made_text(const char *text, size_t n)
{
    enum { PIECE = 64 };
    char piece[PIECE + 1], shown[4 * PIECE + 1];
    if (isatty(fileno(stdout)) != 1) {
        fwrite(text, 1, n, stdout);
        return;
    }
    for (size_t at = 0; at < n;) {
        const size_t length = piece_of(text + at, n - at, PIECE);
        if (length == 0) {
            const bool breaks = text[at] == '\n' || text[at] == '\t';
            if (breaks) putchar(text[at]);
            at++; /* a zero byte is not printed */
            continue;
        }
        memcpy(piece, text + at, length);
        piece[length] = '\0';
        fputs(lvlm_visible(shown, sizeof shown, piece), stdout);
        at += length;
    }
}
