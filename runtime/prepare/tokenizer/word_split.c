/* word_split.c - applies the rules with PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/prepare/tokenizer/word_split.h"

#include <assert.h>
#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/tokenizer/unicode_newer.h"

/* Size of a compiled pattern's stack; more than any model's pattern needs. */
enum { MIN_STACK = 32 << 10, MAX_STACK = 8 << 20 };

static void *allocate(size_t n_bytes, void *user)
{
    (void)user;
    return lvlm_malloc(n_bytes);
}

static void release(void *block, void *user)
{
    (void)user;
    lvlm_free(block);
}

/* ---- rules ----------------------------------------------------------------------- */

static int compile(word_split_rule *rule, pcre2_general_context *memory,
                   const char *pattern, bool literal, lvlm_error *err)
{
    PCRE2_UCHAR why[128] = "";
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *const context = pcre2_compile_context_create(memory);
    if (context == NULL) return lvlm_fail_memory(err);
    rule->code = pcre2_compile(
        (PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
        PCRE2_UTF | PCRE2_NO_UTF_CHECK | (literal ? PCRE2_LITERAL : PCRE2_UCP), &code,
        &at, context);
    pcre2_compile_context_free(context);
    if (rule->code != NULL) { /* if JIT is not available, it is interpreted */
        (void)pcre2_jit_compile(rule->code, PCRE2_JIT_COMPLETE);
        return 0;
    }
    if (code == PCRE2_ERROR_HEAP_FAILED) return lvlm_fail_memory(err);
    pcre2_get_error_message(code, why, sizeof why);
    return lvlm_fail(err, LVLM_EFORMAT, "pattern '%.100s': %s at byte %zu", pattern,
                     (const char *)why, (size_t)at);
}

int word_split_add(word_split *split, word_split_kind kind, const char *pattern,
                   bool literal, lvlm_error *err)
{
    FAIL_IF(split->n == WORD_SPLIT_MAX_RULES, err, LVLM_EFORMAT,
            "over %d rules that split", WORD_SPLIT_MAX_RULES);
    assert(pattern != NULL);
    if (split->memory == NULL)
        split->memory = pcre2_general_context_create(allocate, release, NULL);
    if (split->memory == NULL) return lvlm_fail_memory(err);
    word_split_rule *const rule = &split->rules[split->n++];
    *rule = (word_split_rule){ kind, NULL };
    return compile(rule, split->memory, pattern, literal, err);
}

void word_split_free(word_split *split)
{
    for (size_t i = 0; i < split->n; i++) pcre2_code_free(split->rules[i].code);
    pcre2_general_context_free(split->memory);
}

/* ---- matching -------------------------------------------------------------------- */

/* State of splitting one text. */
typedef struct cutter {
    const word_split *split;
    word_split_sink *sink;
    void *user;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    pcre2_match_data *data[WORD_SPLIT_MAX_RULES];
    const char *text;   /* all of it ... */
    const char *shadow; /* ... and as passed to PCRE2, of the same length */
} cutter;

static void close_cutter(cutter *c)
{
    for (size_t i = 0; i < c->split->n; i++) pcre2_match_data_free(c->data[i]);
    pcre2_match_context_free(c->context);
    pcre2_jit_stack_free(c->stack);
}

static int open_cutter(cutter *c, lvlm_error *err)
{
    c->context = pcre2_match_context_create(c->split->memory);
    c->stack = pcre2_jit_stack_create(MIN_STACK, MAX_STACK, c->split->memory);
    bool fine = c->context != NULL && c->stack != NULL;
    for (size_t i = 0; i < c->split->n && fine; i++) {
        c->data[i] = pcre2_match_data_create(1, c->split->memory);
        fine = c->data[i] != NULL;
    }
    if (!fine) return lvlm_fail_memory(err);
    pcre2_jit_stack_assign(c->context, NULL, c->stack);
    return 0;
}

/* The rule's next match at or after `at`: 1, or 0 if there is none. Empty matches are
 * skipped. */
static int next_match(size_t *start, size_t *end, cutter *c, size_t rule,
                      const char *text, size_t n_bytes, size_t at, lvlm_error *err)
{
    const int n =
        pcre2_match(c->split->rules[rule].code, (PCRE2_SPTR)text, n_bytes, at,
                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, c->data[rule], c->context);
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    FAIL_IF(n < 0, err, LVLM_ENOMEM,
            "the tokenizer's pattern gave up at byte %zu (code %d of PCRE2)", at, n);
    const PCRE2_SIZE *const at_of = pcre2_get_ovector_pointer(c->data[rule]);
    *start = at_of[0];
    *end = at_of[1];
    return 1;
}

static int cut(cutter *c, size_t rule, const char *text, size_t n_bytes,
               lvlm_error *err);

static int cut_piece(cutter *c, size_t rule, const char *text, size_t start, size_t end,
                     lvlm_error *err)
{
    return start == end ? 0 : cut(c, rule + 1, text + start, end - start, err);
}

/* Split by rules from `rule`. */
static int cut(cutter *c, size_t rule, const char *text, size_t n_bytes,
               lvlm_error *err)
{
    assert(rule <= c->split->n && n_bytes > 0);
    if (rule == c->split->n)
        return c->sink(c->user, c->text + (text - c->shadow), n_bytes, err);
    const word_split_kind kind = c->split->rules[rule].kind;
    size_t done = 0, start = 0, end = 0;
    int more;
    while ((more = next_match(&start, &end, c, rule, text, n_bytes, end, err)) > 0) {
        if (kind == WORD_SPLIT_MERGED_WITH_PREVIOUS) start = end;
        TRY(cut_piece(c, rule, text, done, start, err));
        if (kind == WORD_SPLIT_ISOLATED) TRY(cut_piece(c, rule, text, start, end, err));
        done = end;
    }
    return more < 0 ? more : cut_piece(c, rule, text, done, n_bytes, err);
}

/* A copy of `text` with replaced characters, or NULL if none is replaced. */
static int make_shadow(char **out, const char *text, size_t n_bytes, lvlm_error *err)
{
    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        const size_t length = unicode_next(&c, text + at, n_bytes - at);
        const uint32_t stand_in = unicode_newer_stand_in(c);
        if (stand_in != c && *out == NULL) {
            if ((*out = lvlm_malloc(n_bytes)) == NULL) return lvlm_fail_memory(err);
            memcpy(*out, text, n_bytes);
        }
        if (stand_in != c) {
            const utf8proc_ssize_t n = utf8proc_encode_char(
                (utf8proc_int32_t)stand_in, (utf8proc_uint8_t *)*out + at);
            assert((size_t)n == length);
            (void)n;
        }
        at += length;
    }
    return 0;
}

int word_split_apply(const word_split *split, const char *text, size_t n_bytes,
                     word_split_sink *sink, void *user, lvlm_error *err)
{
    cutter c = { .split = split, .sink = sink, .user = user };
    char *shadow = NULL;
    int rc;
    if (n_bytes == 0) return 0;
    if (split->n == 0) return sink(user, text, n_bytes, err);
    if ((rc = make_shadow(&shadow, text, n_bytes, err)) == 0 &&
        (rc = open_cutter(&c, err)) == 0) {
        c.text = text;
        c.shadow = shadow != NULL ? shadow : text;
        rc = cut(&c, 0, c.shadow, n_bytes, err);
    }
    close_cutter(&c);
    lvlm_free(shadow);
    return rc;
}
