/* added_tokens.c - sorted patterns, narrowed byte by byte. */
#include "runtime/prepare/tokenizer/added_tokens.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/tokenizer/unicode_newer.h"

bool special_is_off(const lvlm_special *special, int64_t id)
{
    if (special == NULL || !special->off) return false;
    for (size_t i = 0; i < special->n_except; i++)
        if (special->except[i] == id) return false;
    return true;
}

/* ---- the set --------------------------------------------------------------------- */

static bool make_room(added_tokens *set)
{
    if (set->n < set->capacity) return true;
    const size_t capacity = set->capacity > 0 ? set->capacity * 2 : 64;
    added_token *const tokens = lvlm_realloc(set->tokens, capacity, sizeof *tokens);
    if (tokens == NULL) return false;
    set->tokens = tokens;
    set->capacity = capacity;
    return true;
}

/* The id of a text in `texts` is its index here. */
int added_tokens_add(added_tokens *set, const char *text, size_t n_bytes,
                     const added_token *token, lvlm_error *err)
{
    assert(set->by_id == NULL);
    if (n_bytes == 0) return 0;
    const uint32_t at = vocabulary_find(&set->texts, text, n_bytes);
    if (at != VOCABULARY_NO_ID) {
        set->tokens[at].special |= token->special;
        return 0;
    }
    if (!make_room(set)) return lvlm_fail_memory(err);
    TRY(vocabulary_add(&set->texts, text, n_bytes, set->n, err));
    set->tokens[set->n++] = *token;
    if (token->id >= set->n_ids) set->n_ids = (size_t)token->id + 1;
    return 0;
}

const added_token *added_tokens_find(const added_tokens *set, const char *text,
                                     size_t n_bytes)
{
    const uint32_t at = vocabulary_find(&set->texts, text, n_bytes);
    return at == VOCABULARY_NO_ID ? NULL : &set->tokens[at];
}

const char *added_tokens_text(const added_tokens *set, const added_token *token,
                              size_t *n_bytes)
{
    return vocabulary_text(&set->texts, (uint64_t)(token - set->tokens), n_bytes);
}

static int token_by_id(const void *a, const void *b)
{
    const added_token *const x = *(const added_token *const *)a;
    const added_token *const y = *(const added_token *const *)b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int id_of_token(const void *id, const void *token)
{
    const uint32_t wanted = *(const uint32_t *)id;
    const uint32_t here = (*(const added_token *const *)token)->id;
    return wanted < here ? -1 : wanted > here;
}

const added_token *added_tokens_by_id(const added_tokens *set, int64_t id)
{
    if (id < 0 || id >= VOCABULARY_MAX_IDS || set->n == 0) return NULL;
    const uint32_t key = (uint32_t)id;
    const added_token **const found =
        bsearch(&key, set->by_id, set->n, sizeof *set->by_id, id_of_token);
    return found != NULL ? *found : NULL;
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

static int add_pattern(added_matcher *matcher, const added_token *token,
                       const char *text, size_t n_bytes, lvlm_error *err)
{
    if (n_bytes == 0) return 0; /* empty after normalisation */
    char *const copy = lvlm_malloc(n_bytes);
    if (copy == NULL) return lvlm_fail_memory(err);
    memcpy(copy, text, n_bytes);
    matcher->patterns[matcher->n++] = (added_pattern){ copy, n_bytes, token };
    return 0;
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

static int add_normalized(added_tokens *set, const added_token *token,
                          added_normalize *normalize, void *user, lvlm_error *err)
{
    lvlm_strbuf form = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    size_t n;
    const char *const text = added_tokens_text(set, token, &n);
    int rc;
    if ((rc = normalize(user, &form, text, n, err)) == 0 &&
        (rc = lvlm_strbuf_check(&form, err)) == 0)
        rc = add_pattern(&set->normalized, token, form.text, form.length, err);
    lvlm_strbuf_free(&form);
    return rc;
}

int added_tokens_prepare(added_tokens *set, added_normalize *normalize, void *user,
                         lvlm_error *err)
{
    set->by_id = lvlm_calloc(set->n + 1, sizeof *set->by_id);
    set->raw.patterns = lvlm_calloc(set->n + 1, sizeof *set->raw.patterns);
    set->normalized.patterns = lvlm_calloc(set->n + 1, sizeof *set->raw.patterns);
    if (set->by_id == NULL || set->raw.patterns == NULL ||
        set->normalized.patterns == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < set->n; i++) {
        const added_token *const token = set->by_id[i] = &set->tokens[i];
        size_t n;
        const char *const text = added_tokens_text(set, token, &n);
        if (token->normalized && !token->verbatim)
            TRY(add_normalized(set, token, normalize, user, err));
        else
            TRY(add_pattern(token->normalized ? &set->normalized : &set->raw, token,
                            text, n, err));
    }
    if (set->n > 0) qsort(set->by_id, set->n, sizeof *set->by_id, token_by_id);
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
    lvlm_free(set->by_id);
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

/* The longest pattern that `text` starts with, or NULL. n_bytes > 0. */
static const added_pattern *longest(const added_matcher *m, const char *text,
                                    size_t n_bytes)
{
    const added_pattern *best = NULL;
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
static bool is_space(utf8proc_int32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* \w of UTS 18: alphabetic, marks, digits, connectors, joiners. */
static bool is_word(utf8proc_int32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)unicode_newer_stand_in((uint32_t)c))) {
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

/* The character at `at`, and the start of the next one. */
static size_t next_char(utf8proc_int32_t *c, const char *text, size_t n_bytes,
                        size_t at)
{
    const utf8proc_ssize_t length = utf8proc_iterate(
        (const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n_bytes - at), c);
    return at + (length > 0 ? (size_t)length : 1);
}

/* The character that ends at `at`, and its start. */
static size_t previous_char(utf8proc_int32_t *c, const char *text, size_t at)
{
    size_t start = at - 1;
    while (start > 0 && (text[start] & 0xc0) == 0x80) start--;
    (void)next_char(c, text, at, start);
    return start;
}

static bool touches_word(const char *text, size_t n_bytes, size_t start, size_t end)
{
    utf8proc_int32_t c;
    if (start > 0) {
        (void)previous_char(&c, text, start);
        if (is_word(c)) return true;
    }
    if (end == n_bytes) return false;
    (void)next_char(&c, text, n_bytes, end);
    return is_word(c);
}

static void strip(added_match *match, size_t taken, const char *text, size_t n_bytes)
{
    utf8proc_int32_t c;
    size_t to;
    while (match->token->lstrip && match->start > taken) {
        to = previous_char(&c, text, match->start);
        if (!is_space(c)) break;
        match->start = to;
    }
    while (match->token->rstrip && match->end < n_bytes) {
        to = next_char(&c, text, n_bytes, match->end);
        if (!is_space(c)) break;
        match->end = to;
    }
}

bool added_matcher_next(added_match *match, added_cursor *cursor,
                        const added_matcher *m, const char *text, size_t n_bytes,
                        const lvlm_special *special)
{
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
