/* json_reader.c - the grammar of RFC 8259, value by value.
 *
 *   lvlm_json_open   size, byte order mark, UTF-8, zero bytes of the whole text
 *   read_...         exactly what the caller expects next
 *   leave            at the end of an object: duplicate keys, by sorted hashes */
#include "formats/base/json_reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/list.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/base/utf8.h"

enum {
    MAX_NUMBER = 63,  /* characters; a double needs 24 */
    MAX_EQUAL = 16,   /* keys of one object with the same hash; two are rare */
    MAX_POWER = 1000, /* of ten: beyond any integer or double */
};

struct lvlm_json_key {
    uint64_t hash;
    size_t at; /* of its opening quote */
};

/* ---- characters ----------------------------------------------------------------- */

/* Zero bytes are refused by lvlm_json_open, so '\0' can mean the end. */
static char peek(const lvlm_json_reader *r)
{
    assert(r->at <= r->n_bytes);
    return r->at < r->n_bytes ? r->text[r->at] : '\0';
}

static bool accept(lvlm_json_reader *r, char c)
{
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

static bool accept_digits(lvlm_json_reader *r)
{
    const size_t start = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
    return r->at > start;
}

static void skip_space(lvlm_json_reader *r)
{
    while (accept(r, ' ') || accept(r, '\t') || accept(r, '\n') || accept(r, '\r'))
        continue;
}

static int not_json(const lvlm_json_reader *r, lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT, "not JSON at byte %zu", r->at);
}

/* The next value is not of the kind that the caller expects. */
static int not_kind(const lvlm_json_reader *r, const char *kind, lvlm_error *err)
{
    if (lvlm_json_peek(r) == LVLM_JSON_NONE) return not_json(r, err);
    return lvlm_fail(err, LVLM_EFORMAT, "not %s", kind);
}

/* ---- text ----------------------------------------------------------------------- */

/* The UTF-16 unit of "uXXXX", or -1. */
static long read_unit(lvlm_json_reader *r)
{
    long unit = 0;
    if (!accept(r, 'u')) return -1;
    for (int i = 0; i < 4; i++, r->at++) {
        const char c = peek(r);
        const char lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            unit = unit * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            unit = unit * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return unit;
}

static size_t put_utf8(char *to, unsigned long c)
{
    assert(c < 0x110000);
    const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n == 1) {
        to[0] = (char)c;
        return 1;
    }
    for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(first[n] | c);
    return n;
}

/* "\uXXXX", or two of them. Half a surrogate pair is not a character. */
static int read_unicode(size_t *length, lvlm_json_reader *r, lvlm_error *err)
{
    const size_t start = r->at - 1;
    long unit = read_unit(r);
    FAIL_IF(unit == 0, err, LVLM_EFORMAT, "text with a zero character at byte %zu",
            start);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return not_json(r, err);
    if (unit >= 0xd800 && unit <= 0xdbff) {
        const long low = accept(r, '\\') ? read_unit(r) : -1;
        if (low < 0xdc00 || low > 0xdfff) return not_json(r, err);
        unit = 0x10000 + (unit - 0xd800) * 0x400 + (low - 0xdc00);
    }
    *length += put_utf8(r->string + *length, (unsigned long)unit);
    return 0;
}

/* After a backslash. */
static int read_escape(size_t *length, lvlm_json_reader *r, lvlm_error *err)
{
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (peek(r) == 'u') return read_unicode(length, r, err);
    for (size_t i = 0; escapes[i] != '\0'; i += 2) {
        if (!accept(r, escapes[i])) continue;
        r->string[(*length)++] = escapes[i + 1];
        return 0;
    }
    return not_json(r, err);
}

/* A text into r->string. */
static int read_string(lvlm_json_reader *r, lvlm_error *err)
{
    size_t length = 0;
    if (!accept(r, '"')) return not_json(r, err);
    for (;;) {
        const size_t start = r->at;
        while ((unsigned char)peek(r) >= ' ' && peek(r) != '"' && peek(r) != '\\')
            r->at++;
        const size_t n = r->at - start;
        /* and one escaped character, and the NUL */
        TRY(lvlm_list_room(&r->string, &r->string_capacity, length + n + 4, 1, err));
        memcpy(r->string + length, r->text + start, n);
        length += n;
        if (accept(r, '"')) break;
        if (!accept(r, '\\'))
            return not_json(r, err); /* a raw control character or the end */
        TRY(read_escape(&length, r, err));
    }
    r->string[length] = '\0';
    return 0;
}

/* ---- numbers -------------------------------------------------------------------- */

static int scan_number(lvlm_json_reader *r, lvlm_error *err)
{
    const size_t start = r->at;
    (void)accept(r, '-');
    if (!accept(r, '0') && !accept_digits(r)) return not_json(r, err);
    if (accept(r, '.') && !accept_digits(r)) return not_json(r, err);
    if (accept(r, 'e') || accept(r, 'E')) {
        if (!accept(r, '+')) (void)accept(r, '-');
        if (!accept_digits(r)) return not_json(r, err);
    }
    FAIL_IF(r->at - start > MAX_NUMBER, err, LVLM_EFORMAT,
            "number of more than %d characters at byte %zu", MAX_NUMBER, start);
    return 0;
}

/* strtod with a point, whatever the locale's decimal character is. */
static double to_double(char *text)
{
    char *end;
    const double value = strtod(text, &end);
    if (*end != '.') return value;
    *end = ',';
    return strtod(text, NULL);
}

/* The exponent after the 'e' of a number, saturated. */
static long to_exponent(const char *text)
{
    const long power = strtol(text, NULL, 10);
    return power < -MAX_POWER ? -MAX_POWER : power > MAX_POWER ? MAX_POWER : power;
}

/* Is it exactly a whole number? Digits times a power of ten, in integers. */
static bool to_whole(uint64_t *out, const char *text)
{
    uint64_t digits = 0;
    long power = 0;
    bool fits = true, after_point = false;
    const char *c = text + (*text == '-');
    for (; *c != '\0' && *c != 'e' && *c != 'E'; c++) {
        after_point |= *c == '.';
        if (*c == '.') continue;
        fits = fits && lvlm_mul_u64(&digits, digits, 10) &&
               lvlm_add_u64(&digits, digits, (uint64_t)(*c - '0'));
        power -= after_point;
    }
    if (*c != '\0') power += to_exponent(c + 1);
    if (!fits) return false;
    for (; digits > 0 && digits % 10 == 0 && power < 0; power++) digits /= 10;
    for (; digits > 0 && power > 0 && fits; power--)
        fits = lvlm_mul_u64(&digits, digits, 10);
    *out = digits;
    return fits && (digits == 0 || (power >= 0 && *text != '-'));
}

/* ---- keys ----------------------------------------------------------------------- */

static int keep_key(lvlm_json_reader *r, size_t at, lvlm_error *err)
{
    assert(r->depth > 0 && r->levels[r->depth - 1].is_object);
    TRY(lvlm_list_room(&r->keys, &r->key_capacity, r->n_keys, sizeof *r->keys, err));
    r->keys[r->n_keys++] = (struct lvlm_json_key){ lvlm_hash_text(r->string), at };
    return 0;
}

static int by_hash(const void *a, const void *b)
{
    const struct lvlm_json_key *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Are the characters equal, however they are escaped? Parses both again. */
static int compare_keys(bool *equal, lvlm_json_reader *r, size_t a, size_t b,
                        lvlm_error *err)
{
    const size_t at = r->at;
    r->at = a;
    TRY(read_string(r, err));
    char *const first = lvlm_strdup(r->string);
    if (first == NULL) return lvlm_fail_memory(err);
    r->at = b;
    const int rc = read_string(r, err);
    *equal = rc == 0 && strcmp(first, r->string) == 0;
    lvlm_free(first);
    r->at = at;
    return rc;
}

/* No two of `n` keys with the same hash are equal. */
static int check_equal(lvlm_json_reader *r, const struct lvlm_json_key *keys, size_t n,
                       lvlm_error *err)
{
    FAIL_IF(n > MAX_EQUAL, err, LVLM_EFORMAT,
            "%zu keys have the same hash; this is not a real file", n);
    for (size_t j = 1; j < n; j++)
        for (size_t i = 0; i < j; i++) {
            bool equal = false;
            TRY(compare_keys(&equal, r, keys[i].at, keys[j].at, err));
            FAIL_IF(equal, err, LVLM_EFORMAT, "duplicate key '%s'", r->string);
        }
    return 0;
}

static int check_keys(lvlm_json_reader *r, size_t first, lvlm_error *err)
{
    assert(first <= r->n_keys);
    if (r->n_keys - first < 2) return 0;
    struct lvlm_json_key *const keys = r->keys + first;
    const size_t n = r->n_keys - first;
    qsort(keys, n, sizeof *keys, by_hash);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && keys[end].hash == keys[i].hash; end++) continue;
        if (end > i + 1) TRY(check_equal(r, keys + i, end - i, err));
    }
    return 0;
}

/* ---- levels --------------------------------------------------------------------- */

static int enter(lvlm_json_reader *r, bool is_object, lvlm_error *err)
{
    FAIL_IF(r->depth == LVLM_JSON_MAX_DEPTH, err, LVLM_EFORMAT,
            "nested deeper than %d at byte %zu", LVLM_JSON_MAX_DEPTH, r->at);
    r->levels[r->depth++] = (lvlm_json_level){ is_object, false, r->n_keys };
    r->at++;
    return 0;
}

/* Advance to the next member or element: 1, or 0 at the end of the level. */
static int advance(lvlm_json_reader *r, char close, lvlm_error *err)
{
    assert(r->depth > 0 && r->levels[r->depth - 1].is_object == (close == '}'));
    lvlm_json_level *const level = &r->levels[r->depth - 1];
    skip_space(r);
    if (accept(r, close)) {
        if (level->is_object) TRY(check_keys(r, level->first_key, err));
        r->n_keys = level->first_key;
        r->depth--;
        return 0;
    }
    if (level->begun && !accept(r, ',')) return not_json(r, err);
    level->begun = true;
    skip_space(r);
    return 1;
}

/* ---- public --------------------------------------------------------------------- */

int lvlm_json_open(lvlm_json_reader *out, const char *text, size_t n_bytes,
                   lvlm_error *err)
{
    assert(text != NULL || n_bytes == 0);
    static const struct {
        const char *mark, *name;
    } marks[] = { { "\xef\xbb\xbf", "UTF-8" },
                  { "\xff\xfe", "UTF-16" },
                  { "\xfe\xff", "UTF-16" } };
    *out = (lvlm_json_reader){ .text = text, .n_bytes = n_bytes };
    FAIL_IF(n_bytes > LVLM_JSON_MAX_BYTES, err, LVLM_EFORMAT,
            "%zu bytes of JSON are over the limit of %d", n_bytes, LVLM_JSON_MAX_BYTES);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        FAIL_IF(n_bytes >= strlen(marks[i].mark) &&
                    memcmp(text, marks[i].mark, strlen(marks[i].mark)) == 0,
                err, LVLM_EFORMAT,
                "not JSON: begins with a byte order mark of %s; save it as UTF-8 "
                "without one",
                marks[i].name);
    const size_t bad = lvlm_utf8_invalid_at(text, n_bytes);
    FAIL_IF(bad < n_bytes, err, LVLM_EFORMAT, "not UTF-8 at byte %zu", bad);
    const char *zero = n_bytes > 0 ? memchr(text, '\0', n_bytes) : NULL;
    FAIL_IF(zero != NULL, err, LVLM_EFORMAT, "zero byte at byte %zu",
            (size_t)(zero - text));
    skip_space(out);
    return 0;
}

int lvlm_json_end(lvlm_json_reader *r, lvlm_error *err)
{
    assert(r->depth == 0);
    skip_space(r);
    const size_t left = r->n_bytes - r->at;
    FAIL_IF(left > 0, err, LVLM_EFORMAT, "%zu byte%s after the value, at byte %zu",
            left, left == 1 ? "" : "s", r->at);
    return 0;
}

void lvlm_json_close(lvlm_json_reader *r)
{
    lvlm_free(r->keys);
    lvlm_free(r->string);
    *r = (lvlm_json_reader){ 0 };
}

lvlm_json_kind lvlm_json_peek(const lvlm_json_reader *r)
{
    const char c = peek(r);
    switch (c) {
    case '{': return LVLM_JSON_OBJECT;
    case '[': return LVLM_JSON_LIST;
    case '"': return LVLM_JSON_TEXT;
    case 't': return LVLM_JSON_TRUE;
    case 'f': return LVLM_JSON_FALSE;
    case 'n': return LVLM_JSON_NULL;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? LVLM_JSON_NUMBER : LVLM_JSON_NONE;
    }
}

int lvlm_json_begin_object(lvlm_json_reader *r, lvlm_error *err)
{
    return peek(r) == '{' ? enter(r, true, err) : not_kind(r, "an object", err);
}

int lvlm_json_begin_list(lvlm_json_reader *r, lvlm_error *err)
{
    return peek(r) == '[' ? enter(r, false, err) : not_kind(r, "a list", err);
}

int lvlm_json_next_key(const char **key, lvlm_json_reader *r, lvlm_error *err)
{
    const int more = advance(r, '}', err);
    if (more <= 0) return more;
    const size_t at = r->at;
    TRY(read_string(r, err));
    TRY(keep_key(r, at, err));
    skip_space(r);
    if (!accept(r, ':')) return not_json(r, err);
    skip_space(r);
    *key = r->string;
    return 1;
}

int lvlm_json_next_item(lvlm_json_reader *r, lvlm_error *err)
{
    return advance(r, ']', err);
}

int lvlm_json_read_text(const char **text, lvlm_json_reader *r, lvlm_error *err)
{
    if (peek(r) != '"') return not_kind(r, "text", err);
    TRY(read_string(r, err));
    *text = r->string;
    return 0;
}

int lvlm_json_read_number(lvlm_json_number *out, lvlm_json_reader *r, lvlm_error *err)
{
    char text[MAX_NUMBER + 1];
    const size_t start = r->at;
    if (lvlm_json_peek(r) != LVLM_JSON_NUMBER) return not_kind(r, "a number", err);
    TRY(scan_number(r, err));
    memcpy(text, r->text + start, r->at - start);
    text[r->at - start] = '\0';
    out->is_whole = to_whole(&out->whole, text);
    out->has_point = strpbrk(text, ".eE") != NULL;
    out->value = to_double(text);
    return 0;
}

int lvlm_json_read_u64(uint64_t *out, lvlm_json_reader *r, lvlm_error *err)
{
    lvlm_json_number number;
    if (lvlm_json_peek(r) != LVLM_JSON_NUMBER)
        return not_kind(r, "a whole number", err);
    TRY(lvlm_json_read_number(&number, r, err));
    FAIL_IF(!number.is_whole, err, LVLM_EFORMAT, "not a whole number");
    *out = number.whole;
    return 0;
}

static int read_word(lvlm_json_reader *r, const char *word, lvlm_error *err)
{
    for (; *word != '\0'; word++)
        if (!accept(r, *word)) return not_json(r, err);
    return 0;
}

int lvlm_json_read_bool(bool *out, lvlm_json_reader *r, lvlm_error *err)
{
    *out = peek(r) == 't';
    if (*out) return read_word(r, "true", err);
    return peek(r) == 'f' ? read_word(r, "false", err)
                          : not_kind(r, "true or false", err);
}

int lvlm_json_skip(lvlm_json_reader *r, lvlm_error *err)
{
    const char *text;
    lvlm_json_number number;
    bool flag;
    int rc;
    switch (lvlm_json_peek(r)) {
    case LVLM_JSON_OBJECT:
        TRY(lvlm_json_begin_object(r, err));
        while ((rc = lvlm_json_next_key(&text, r, err)) > 0)
            TRY(lvlm_json_skip(r, err));
        return rc;
    case LVLM_JSON_LIST:
        TRY(lvlm_json_begin_list(r, err));
        while ((rc = lvlm_json_next_item(r, err)) > 0) TRY(lvlm_json_skip(r, err));
        return rc;
    case LVLM_JSON_TEXT: return lvlm_json_read_text(&text, r, err);
    case LVLM_JSON_NUMBER: return lvlm_json_read_number(&number, r, err);
    case LVLM_JSON_TRUE:
    case LVLM_JSON_FALSE: return lvlm_json_read_bool(&flag, r, err);
    case LVLM_JSON_NULL: return read_word(r, "null", err);
    case LVLM_JSON_NONE: break;
    }
    return not_json(r, err);
}
