/* added_tokens.c - sorted patterns, narrowed byte by byte. */
#include "runtime/prepare/tokenizer/added_tokens.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "formats/base/alloc.h"
#include "formats/base/list.h"
#include "runtime/prepare/tokenizer/unicode_newer.h"

bool special_is_off(const lvlm_special *special, int64_t id)
{
    assert(special == NULL || special->except != NULL || special->n_except == 0);
    if (special == NULL || !special->off) return false;
    for (size_t i = 0; i < special->n_except; i++)
        if (special->except[i] == id) return false;
    return true;
}

/* ---- the set --------------------------------------------------------------------- */

static added_token *token_of(const added_tokens *set, const vocabulary_entry *entry)
{
    return entry != NULL ? &set->tokens[entry - set->texts.entries] : NULL;
}

int added_tokens_add(added_tokens *set, const char *text, size_t n_bytes,
                     const added_token *token, lvlm_error *err)
{
    const size_t n = set->texts.n;
    if (n_bytes == 0) return 0;
    added_token *const known =
        token_of(set, vocabulary_by_text(&set->texts, text, n_bytes));
    if (known != NULL) {
        known->special |= token->special;
        return 0;
    }
    TRY(lvlm_list_room(&set->tokens, &set->capacity, n, sizeof *set->tokens, err));
    TRY(vocabulary_add(&set->texts, text, n_bytes, token->id, err));
    set->tokens[n] = *token;
    return 0;
}

const added_token *added_tokens_find(const added_tokens *set, const char *text,
                                     size_t n_bytes)
{
    return token_of(set, vocabulary_by_text(&set->texts, text, n_bytes));
}

const added_token *added_tokens_by_id(const added_tokens *set, int64_t id)
{
    return token_of(set, vocabulary_by_id(&set->texts, (uint64_t)id));
}

/* ---- the patterns ---------------------------------------------------------------- */

static int pattern_by_text(const void *a, const void *b)
{
    const added_pattern *const x = a, *const y = b;
    const size_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    const int order = memcmp(x->text, y->text, n);
    if (order != 0) return order;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Add what is searched for a token: its text, or the normal form of that. */
static int add_pattern(added_tokens *set, size_t i, const normal_form *form,
                       lvlm_error *err)
{
    const added_token *const token = &set->tokens[i];
    const vocabulary_entry *const entry = &set->texts.entries[i];
    const char *const text = set->texts.bytes + entry->start;
    added_matcher *const m = token->normalized ? &set->normalized : &set->raw;
    lvlm_strbuf searched = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    int rc = 0;
    if (token->normalized && !token->verbatim)
        rc = normal_form_apply(form, &searched, text, entry->length, err);
    else
        lvlm_strbuf_append(&searched, text, entry->length);
    if (rc == 0) rc = lvlm_strbuf_check(&searched, err);
    if (rc < 0 || searched.length == 0)
        lvlm_strbuf_free(&searched);
    else
        m->patterns[m->n++] = (added_pattern){ searched.text, searched.length, token };
    return rc;
}

/* Sort, keep the first of equal patterns, and index them by first byte. */
static void index_patterns(added_matcher *m)
{
    size_t kept = 0;
    if (m->n == 0) return;
    qsort(m->patterns, m->n, sizeof *m->patterns, pattern_by_text);
    for (size_t i = 0; i < m->n; i++) {
        added_pattern *const last = kept > 0 ? &m->patterns[kept - 1] : NULL;
        if (last != NULL && last->n_bytes == m->patterns[i].n_bytes &&
            memcmp(last->text, m->patterns[i].text, last->n_bytes) == 0)
            lvlm_free(m->patterns[i].text);
        else
            m->patterns[kept++] = m->patterns[i];
    }
    m->n = kept;
    for (size_t byte = 0, at = 0; byte <= 256; byte++) {
        while (at < m->n && (unsigned char)m->patterns[at].text[0] < byte) at++;
        m->first[byte] = at;
    }
}

int added_tokens_prepare(added_tokens *set, const normal_form *form, lvlm_error *err)
{
    const size_t n = set->texts.n;
    assert(set->raw.patterns == NULL); /* once */
    set->raw.patterns = lvlm_calloc(n + 1, sizeof *set->raw.patterns);
    set->normalized.patterns = lvlm_calloc(n + 1, sizeof *set->raw.patterns);
    if (set->raw.patterns == NULL || set->normalized.patterns == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) TRY(add_pattern(set, i, form, err));
    index_patterns(&set->raw);
    index_patterns(&set->normalized);
    return 0;
}

static void free_matcher(added_matcher *m)
{
    for (size_t i = 0; i < m->n; i++) lvlm_free(m->patterns[i].text);
    lvlm_free(m->patterns);
}

void added_tokens_free(added_tokens *set)
{
    free_matcher(&set->raw);
    free_matcher(&set->normalized);
    vocabulary_free(&set->texts);
    lvlm_free(set->tokens);
}

/* ---- matching -------------------------------------------------------------------- */

/* The first pattern of [low, high), which share `depth` bytes, whose next byte is at
 * least `byte`. */
static size_t lower_bound(const added_matcher *m, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((unsigned char)m->patterns[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest pattern that `text` starts with, or NULL. */
static const added_pattern *longest(const added_matcher *m, const char *text,
                                    size_t n_bytes)
{
    const added_pattern *best = NULL;
    assert(n_bytes > 0);
    size_t low = m->first[(unsigned char)text[0]];
    size_t high = m->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (m->patterns[low].n_bytes == depth) best = &m->patterns[low++];
        if (depth == n_bytes) break;
        const unsigned byte = (unsigned char)text[depth];
        low = lower_bound(m, low, high, depth, byte);
        high = lower_bound(m, low, high, depth, byte + 1);
    }
    return best;
}

/* White_Space of Unicode. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* \w of UTS 18: alphabetic, marks, digits, connectors, joiners. */
static bool is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)unicode_newer_stand_in(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC: return true;
    default: /* joiners; letters in circles and squares, which are symbols */
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
               (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
               (c >= 0x1f170 && c <= 0x1f189);
    }
}

/* The character that ends at `at`, and its start. */
static size_t previous_char(uint32_t *c, const char *text, size_t at)
{
    size_t start = at - 1;
    assert(at > 0);
    while (start > 0 && (text[start] & 0xc0) == 0x80) start--;
    (void)unicode_next(c, text + start, at - start);
    return start;
}

static bool touches_word(const char *text, size_t n_bytes, size_t start, size_t end)
{
    uint32_t c;
    if (start > 0) {
        (void)previous_char(&c, text, start);
        if (is_word(c)) return true;
    }
    if (end == n_bytes) return false;
    (void)unicode_next(&c, text + end, n_bytes - end);
    return is_word(c);
}

static void strip(added_match *match, size_t taken, const char *text, size_t n_bytes)
{
    uint32_t c;
    while (match->token->lstrip && match->start > taken) {
        const size_t to = previous_char(&c, text, match->start);
        if (!is_space(c)) break;
        match->start = to;
    }
    while (match->token->rstrip && match->end < n_bytes) {
        const size_t n = unicode_next(&c, text + match->end, n_bytes - match->end);
        if (!is_space(c)) break;
        match->end += n;
    }
}

bool added_matcher_next(added_match *match, added_cursor *cursor,
                        const added_matcher *m, const char *text, size_t n_bytes,
                        const lvlm_special *special)
{
    assert(cursor->at <= n_bytes && cursor->taken <= n_bytes);
    if (m->n == 0) return false;
    while (cursor->at < n_bytes) {
        const size_t start = cursor->at;
        const added_pattern *const found = longest(m, text + start, n_bytes - start);
        if (found == NULL) {
            cursor->at++;
            continue;
        }
        const size_t end = cursor->at = start + found->n_bytes;
        const added_token *const token = found->token;
        if (token->special && special_is_off(special, token->id)) continue;
        if (token->single_word && touches_word(text, n_bytes, start, end)) continue;
        *match = (added_match){ token, start, end };
        strip(match, cursor->taken, text, n_bytes);
        cursor->taken = match->end;
        return true;
    }
    return false;
}
