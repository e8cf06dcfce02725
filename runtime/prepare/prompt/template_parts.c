/* template_parts.c - a lexer of Jinja, sufficient to compare templates.
 *
 *   text -> literal | tag; tag -> tokens -> canonical spelling -> parts */
#include "runtime/prepare/prompt/template_parts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/list.h"
#include "formats/base/strbuf.h"
#include "runtime/prepare/prompt/strip.h"

/* MAX_TEMPLATE: the longest known ones have some 10 KB. */
enum { MAX_TEMPLATE = 1 << 20, MAX_TEXT = 16 << 20, MAX_DEPTH = 64 };

typedef enum token_kind { TOKEN_WORD, TOKEN_STRING, TOKEN_SIGN } token_kind;

/* One token of a tag. */
typedef struct token {
    token_kind kind;
    size_t first, n; /* its text in cutter.tokens; the value of a string */
    size_t depth;    /* brackets around it */
} token;

typedef struct cutter {
    const char *text, *at, *end; /* the whole text, with "\n" for every new line */
    const char *tag;             /* start of the current tag */
    bool line_starts;            /* `at` is at the start of its line */
    template_parts *out;
    lvlm_strbuf literal; /* text written before the next part */
    lvlm_strbuf tokens;  /* texts of the tag's tokens */
    lvlm_strbuf spelt;   /* tokens in canonical spelling */
    token *list;         /* (n) */
    size_t n, capacity;
} cutter;

static int refuse(const cutter *c, const char *what, lvlm_error *err)
{
    size_t line = 1;
    for (const char *at = c->text; at < c->tag; at++) line += *at == '\n';
    return lvlm_fail(err, LVLM_EFORMAT, "line %zu: %s", line, what);
}

/* ---- parts ---------------------------------------------------------------------- */

static int add_part(cutter *c, template_kind kind, const lvlm_strbuf *text,
                    lvlm_error *err)
{
    template_parts *const out = c->out;
    TRY(lvlm_strbuf_check(text, err));
    TRY(lvlm_list_room(&out->at, &out->capacity, out->n, sizeof *out->at, err));
    const char *const kept = lvlm_arena_strndup(
        &out->arena, text->length > 0 ? text->text : "", text->length);
    if (kept == NULL) return lvlm_fail_memory(err);
    out->at[out->n++] = (template_part){ kind, kept, text->length };
    return 0;
}

static int end_literal(cutter *c, lvlm_error *err)
{
    TRY(lvlm_strbuf_check(&c->literal, err));
    if (c->literal.length == 0) return 0;
    TRY(add_part(c, TEMPLATE_LITERAL, &c->literal, err));
    c->literal.length = 0;
    return 0;
}

/* ---- one spelling --------------------------------------------------------------- */

static const char *text_of(const cutter *c, const token *t)
{
    return c->tokens.text + t->first;
}

static bool is_token(const cutter *c, const token *t, const char *text)
{
    return t->kind != TOKEN_STRING && t->n == strlen(text) &&
           memcmp(text_of(c, t), text, t->n) == 0;
}

/* 'text' on one line. */
static void quote(lvlm_strbuf *out, const char *text, size_t n)
{
    lvlm_strbuf_puts(out, "'");
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte == '\n')
            lvlm_strbuf_puts(out, "\\n");
        else if (byte < ' ' || byte == 0x7f)
            lvlm_strbuf_printf(out, "\\x%02x", byte);
        else if (byte == '\'' || byte == '\\')
            lvlm_strbuf_printf(out, "\\%c", byte);
        else
            lvlm_strbuf_append(out, text + i, 1);
    }
    lvlm_strbuf_puts(out, "'");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_bracket(const char *text, size_t n)
{
    return n == 1 && strchr("()[]{}", *text) != NULL;
}

/* a.b, but not a.b(): the same as a['b']. */
static bool is_member(const cutter *c, size_t i, size_t end)
{
    return i > 0 && i + 1 < end && is_token(c, &c->list[i], ".") &&
           c->list[i + 1].kind == TOKEN_WORD &&
           !is_digit(*text_of(c, &c->list[i + 1])) &&
           !(i + 2 < c->n && is_token(c, &c->list[i + 2], "("));
}

/* Spell tokens [first, end): a space between two of them, none next to brackets. */
static void spell(cutter *c, size_t first, size_t end)
{
    lvlm_strbuf *const out = &c->spelt;
    bool apart = false;
    assert(first <= end && end <= c->n);
    out->length = 0;
    for (size_t i = first; i < end; i++) {
        const token *t = &c->list[i];
        if (is_member(c, i, end)) {
            t = &c->list[++i];
            lvlm_strbuf_puts(out, "[");
            quote(out, text_of(c, t), t->n);
            lvlm_strbuf_puts(out, "]");
            apart = true;
            continue;
        }
        const bool bracket = t->kind == TOKEN_SIGN && is_bracket(text_of(c, t), t->n);
        if (apart && !bracket) lvlm_strbuf_puts(out, " ");
        apart = !bracket || strchr(")]}", *text_of(c, t)) != NULL;
        if (t->kind == TOKEN_STRING)
            quote(out, text_of(c, t), t->n);
        else
            lvlm_strbuf_append(out, text_of(c, t), t->n);
    }
}

/* ---- what a tag says ------------------------------------------------------------ */

/* Is token `i` an operator that concatenates two values? */
static bool is_join(const cutter *c, size_t i)
{
    const token *const t = &c->list[i];
    return t->depth == 0 && (is_token(c, t, "+") || is_token(c, t, "~"));
}

/* Operators that bind less than "+" or do not produce text. */
static bool is_other_operator(const cutter *c, const token *t)
{
    static const char *const others[] = {
        "if", "else", "or", "and", "not", "in", "is", "==", "!=", "<", ">",
        "<=", ">=",   "-",  "*",   "/",   "//", "%",  "**", ",",  "=", ":"
    };
    if (t->depth > 0) return false;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (is_token(c, t, others[i])) return true;
    return false;
}

static size_t end_of_operand(const cutter *c, size_t first)
{
    size_t end = first;
    while (end < c->n && !is_join(c, end)) end++;
    return end;
}

static bool is_lone_string(const cutter *c, size_t first, size_t end)
{
    return end == first + 1 && c->list[first].kind == TOKEN_STRING;
}

/* Does the expression concatenate its operands? A string among the first two makes
 * every "+" a concatenation. */
static bool is_chain(const cutter *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (is_other_operator(c, &c->list[i])) return false;
    const size_t end = end_of_operand(c, 0);
    return is_lone_string(c, 0, end) ||
           (end < c->n && end > 0 &&
            is_lone_string(c, end + 1, end_of_operand(c, end + 1)));
}

static int add_operand(cutter *c, size_t first, size_t end, lvlm_error *err)
{
    if (is_lone_string(c, first, end)) {
        const token *const t = &c->list[first];
        lvlm_strbuf_append(&c->literal, text_of(c, t), t->n);
        return 0;
    }
    if (first == end) return refuse(c, "an operator without a value", err);
    TRY(end_literal(c, err));
    spell(c, first, end);
    return add_part(c, TEMPLATE_EXPRESSION, &c->spelt, err);
}

static int add_expression(cutter *c, lvlm_error *err)
{
    const bool chain = is_chain(c);
    for (size_t first = 0, end; first <= c->n; first = end + 1) {
        end = chain ? end_of_operand(c, first) : c->n;
        TRY(add_operand(c, first, end, err));
    }
    return 0;
}

static int add_statement(cutter *c, lvlm_error *err)
{
    if (c->n == 0) return refuse(c, "an empty statement", err);
    TRY(end_literal(c, err));
    spell(c, 0, c->n);
    return add_part(c, TEMPLATE_STATEMENT, &c->spelt, err);
}

/* ---- tokens --------------------------------------------------------------------- */

static int add_token(cutter *c, token_kind kind, size_t first, size_t depth,
                     lvlm_error *err)
{
    TRY(lvlm_strbuf_check(&c->tokens, err));
    TRY(lvlm_list_room(&c->list, &c->capacity, c->n, sizeof *c->list, err));
    c->list[c->n++] = (token){ kind, first, c->tokens.length - first, depth };
    return 0;
}

/* Consume the escape at c->at, after its backslash, and return its value; -1: one that
 * no known template has (\u0041, \N{...}, octal). */
static int read_escape(cutter *c)
{
    static const char digits[] = "0123456789abcdef";
    static const char from[] = "nrt\\'\"", to[] = "\n\r\t\\'\"";
    const char escape = *c->at++;
    const char *const found = escape != '\0' ? strchr(from, escape) : NULL;
    int value = 0;
    if (found != NULL) return to[found - from];
    if (escape != 'x' || c->end - c->at < 2) return -1;
    for (int i = 0; i < 2; i++) {
        const char *const digit = memchr(digits, *c->at++, sizeof digits - 1);
        if (digit == NULL) return -1;
        value = 16 * value + (int)(digit - digits);
    }
    return value < 0x80 ? value : -1;
}

static int read_string(cutter *c, size_t depth, lvlm_error *err)
{
    const char mark = *c->at++;
    const size_t first = c->tokens.length;
    while (c->at < c->end && *c->at != mark) {
        char byte = *c->at++;
        if (byte == '\\' && c->at < c->end) {
            const int value = read_escape(c);
            if (value < 0) return refuse(c, "an escape in a string is not known", err);
            byte = (char)value;
        }
        lvlm_strbuf_append(&c->tokens, &byte, 1);
    }
    if (c->at == c->end) return refuse(c, "a string is not closed", err);
    c->at++;
    return add_token(c, TOKEN_STRING, first, depth, err);
}

/* Letters of names, and digits; anything that is not ASCII counts as a letter. */
static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '_' || (unsigned char)c >= 0x80;
}

static int read_word(cutter *c, size_t depth, lvlm_error *err)
{
    const char *const from = c->at;
    const size_t first = c->tokens.length;
    while (c->at < c->end && is_word(*c->at)) c->at++;
    if (is_digit(*from) && c->end - c->at > 1 && c->at[0] == '.' && is_digit(c->at[1]))
        for (c->at++; c->at < c->end && is_word(*c->at);) c->at++;
    lvlm_strbuf_append(&c->tokens, from, (size_t)(c->at - from));
    return add_token(c, TOKEN_WORD, first, depth, err);
}

static int read_sign(cutter *c, size_t depth, lvlm_error *err)
{
    static const char *const pairs[] = { "==", "!=", "<=", ">=", "//", "**" };
    size_t n = 1;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (c->end - c->at > 1 && memcmp(c->at, pairs[i], 2) == 0) n = 2;
    if (strchr("+-/*%~[](){}=!<>.:|,;", *c->at) == NULL || *c->at == '\0' ||
        (n == 1 && *c->at == '!'))
        return refuse(c, "a character in a tag that Jinja does not know", err);
    const size_t first = c->tokens.length;
    lvlm_strbuf_append(&c->tokens, c->at, n);
    c->at += n;
    return add_token(c, TOKEN_SIGN, first, depth, err);
}

/* ---- tags ----------------------------------------------------------------------- */

/* The length of the end of a tag at c->at ("%}", "-%}", "+%}"), or 0. */
static size_t tag_end(const cutter *c, char close)
{
    const size_t left = (size_t)(c->end - c->at);
    if (left >= 2 && c->at[0] == close && c->at[1] == '}') return 2;
    if (left >= 3 && (*c->at == '-' || (*c->at == '+' && close == '%')) &&
        c->at[1] == close && c->at[2] == '}')
        return 3;
    return 0;
}

/* Skip the end of a tag and the text that it drops after it. */
static void pass_end(cutter *c, size_t n, bool drops_line)
{
    const char sign = n == 3 ? *c->at : '\0';
    assert((n == 2 || n == 3) && n <= (size_t)(c->end - c->at));
    c->at += n;
    if (sign == '-')
        c->at += lvlm_space_at_start(c->at, (size_t)(c->end - c->at));
    else if (sign == '\0' && drops_line && c->at < c->end && *c->at == '\n')
        c->at++;
    c->line_starts = c->at[-1] == '\n';
}

/* Read tokens up to and including the end of the tag. */
static int read_tokens(cutter *c, char close, lvlm_error *err)
{
    char open[MAX_DEPTH];
    size_t depth = 0, n;
    c->n = 0;
    c->tokens.length = 0;
    lvlm_strbuf_puts(&c->tokens, "");
    for (;;) {
        c->at += lvlm_space_at_start(c->at, (size_t)(c->end - c->at));
        if (c->at == c->end) return refuse(c, "a tag is not closed", err);
        if (depth == 0 && (n = tag_end(c, close)) > 0) break;
        const char sign = *c->at;
        if (strchr(")]}", sign) != NULL && sign != '\0') {
            if (depth == 0 || open[--depth] != sign)
                return refuse(c, "brackets that do not match", err);
            TRY(read_sign(c, depth, err));
        } else if (sign == '\'' || sign == '"') {
            TRY(read_string(c, depth, err));
        } else if (is_word(sign)) {
            TRY(read_word(c, depth, err));
        } else {
            TRY(read_sign(c, depth, err));
            if (strchr("([{", sign) == NULL) continue;
            if (depth == MAX_DEPTH) return refuse(c, "brackets in brackets", err);
            open[depth++] = sign == '(' ? ')' : sign == '[' ? ']' : '}';
        }
    }
    pass_end(c, n, close == '%');
    return 0;
}

static int pass_comment(cutter *c, lvlm_error *err)
{
    const char *const first = c->at;
    const char *const found = memmem(first, (size_t)(c->end - first), "#}", 2);
    if (found == NULL) return refuse(c, "a comment is not closed", err);
    const bool sign = found > first && (found[-1] == '-' || found[-1] == '+');
    c->at = found - sign;
    pass_end(c, 2 + (size_t)sign, true);
    return 0;
}

/* The text before a tag, without the part that the tag drops. */
static void add_text(cutter *c, const char *first, size_t n, char sign, bool drops_line)
{
    if (sign == '-') {
        n -= lvlm_space_at_end(first, n);
    } else if (sign != '+' && drops_line) {
        size_t line = n;
        while (line > 0 && first[line - 1] != '\n') line--;
        if ((line > 0 || c->line_starts) &&
            lvlm_space_at_start(first + line, n - line) == n - line)
            n = line;
    }
    lvlm_strbuf_append(&c->literal, first, n);
}

/* The start of the next tag, or the end. */
static const char *next_tag(const cutter *c)
{
    for (const char *at = c->at; c->end - at > 1; at++) {
        at = memchr(at, '{', (size_t)(c->end - at - 1));
        if (at == NULL) break;
        if (at[1] == '{' || at[1] == '%' || at[1] == '#') return at;
    }
    return c->end;
}

static int cut(cutter *c, lvlm_error *err)
{
    while (c->at < c->end) {
        const char *const first = c->at;
        c->tag = next_tag(c);
        if (c->tag == c->end) {
            lvlm_strbuf_append(&c->literal, first, (size_t)(c->end - first));
            break;
        }
        const char kind = c->tag[1];
        c->at = c->tag + 2;
        const char sign = c->at < c->end ? *c->at : '\0';
        if (sign == '-' || sign == '+') c->at++;
        add_text(c, first, (size_t)(c->tag - first), sign, kind != '{');
        if (kind == '#') {
            TRY(pass_comment(c, err));
            continue;
        }
        TRY(read_tokens(c, kind == '{' ? '}' : '%', err));
        TRY(kind == '{' ? add_expression(c, err) : add_statement(c, err));
    }
    return end_literal(c, err);
}

/* ---- the interface -------------------------------------------------------------- */

/* Convert every new line to "\n" and drop the last one. Returns the length. */
static size_t copy_lines(char *out, const char *text, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        const bool pair = text[i] == '\r' && i + 1 < n && text[i + 1] == '\n';
        if (!pair) out[to++] = text[i] == '\r' ? '\n' : text[i];
    }
    return to > 0 && out[to - 1] == '\n' ? to - 1 : to;
}

int template_parts_cut(template_parts *out, const char *text, size_t n, lvlm_error *err)
{
    *out = (template_parts){ .n = 0 };
    FAIL_IF(n > MAX_TEMPLATE, err, LVLM_EFORMAT, "%zu bytes, at most %d", n,
            MAX_TEMPLATE);
    char *const copy = lvlm_malloc(n + 1);
    if (copy == NULL) return lvlm_fail_memory(err);
    n = copy_lines(copy, text, n);
    cutter c = { .text = copy,
                 .at = copy,
                 .end = copy + n,
                 .line_starts = true,
                 .out = out,
                 .literal = LVLM_STRBUF_INIT(MAX_TEXT),
                 .tokens = LVLM_STRBUF_INIT(MAX_TEXT),
                 .spelt = LVLM_STRBUF_INIT(MAX_TEXT) };
    const int rc = cut(&c, err);
    lvlm_strbuf_free(&c.literal);
    lvlm_strbuf_free(&c.tokens);
    lvlm_strbuf_free(&c.spelt);
    lvlm_free(c.list);
    lvlm_free(copy);
    return rc;
}

void template_parts_free(template_parts *parts)
{
    lvlm_free(parts->at);
    lvlm_arena_free(&parts->arena);
    *parts = (template_parts){ .n = 0 };
}

bool template_part_equal(const template_part *a, const template_part *b)
{
    return a->kind == b->kind && a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

const char *template_part_show(char out[TEMPLATE_SHOWN], const template_part *part)
{
    static const char *const around[][2] = { { "", "" },
                                             { "{{ ", " }}" },
                                             { "{% ", " %}" } };
    enum { DOTS = 3 };
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_TEXT);
    lvlm_strbuf_puts(&text, around[part->kind][0]);
    if (part->kind == TEMPLATE_LITERAL)
        quote(&text, part->text, part->n);
    else
        lvlm_strbuf_append(&text, part->text, part->n);
    lvlm_strbuf_puts(&text, around[part->kind][1]);
    size_t n = text.length;
    const bool whole = n < TEMPLATE_SHOWN;
    if (!whole)
        for (n = TEMPLATE_SHOWN - 1 - DOTS;
             ((unsigned char)text.text[n] & 0xc0) == 0x80;)
            n--;
    (void)snprintf(out, TEMPLATE_SHOWN, "%.*s%s", (int)n,
                   text.text != NULL ? text.text : "", whole ? "" : "...");
    lvlm_strbuf_free(&text);
    return out;
}
