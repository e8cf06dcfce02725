/* json.c - what cJSON lets through is checked here; what it prints badly is printed
 * here.
 *
 *   check_text  UTF-8, the grammar of RFC 8259 to the letter, depth, no zero character
 *   cJSON       the tree; all that can fail now is memory, which it cannot tell apart
 *   check_tree  no key twice in an object
 *
 * The printer is our own because cJSON's numbers lose digits and follow the locale. */
#include "formats/base/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/strbuf.h"
#include "formats/base/utf8.h"

/* The largest whole number up to which every one is a double. */
#define MAX_EXACT 9007199254740992.0

/* Some versions of cJSON cut a longer number. */
enum { MAX_NUMBER = 63 };

/* Output is bounded by what a safetensors header may be, metadata escaped once more. */
#define MAX_PRINTED ((size_t)256 << 20)

static void install_hooks(void)
{
    cJSON_Hooks hooks = { lvlm_malloc, lvlm_free };
    cJSON_InitHooks(&hooks);
}

/* ---- before the parse ----------------------------------------------------------- */

/* What is left of the text: `at` is the next byte. Zero bytes are refused before, so
 * that '\0' can stand for the end. */
typedef struct reader {
    const char *text;
    size_t n;
    size_t at;
} reader;

static char peek(const reader *r)
{
    return r->at < r->n ? r->text[r->at] : '\0';
}

static bool take(reader *r, char c)
{
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

static bool take_digits(reader *r)
{
    const size_t start = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
    return r->at > start;
}

static void skip_space(reader *r)
{
    while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r')) continue;
}

static int not_json(const reader *r, lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT, "not JSON at byte %zu", r->at);
}

static int read_number(reader *r, lvlm_error *err)
{
    const size_t start = r->at;
    (void)take(r, '-');
    if (!take(r, '0') && !take_digits(r)) return not_json(r, err);
    if (take(r, '.') && !take_digits(r)) return not_json(r, err);
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) (void)take(r, '-');
        if (!take_digits(r)) return not_json(r, err);
    }
    FAIL_IF(r->at - start > MAX_NUMBER, err, LVLM_EFORMAT,
            "number of more than %d characters at byte %zu", MAX_NUMBER, start);
    return 0;
}

/* The UTF-16 unit of "uXXXX", or -1. */
static long read_unit(reader *r)
{
    long unit = 0;
    if (!take(r, 'u')) return -1;
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

/* Behind a backslash. Half a surrogate pair is no character. */
static int read_escape(reader *r, lvlm_error *err)
{
    const size_t start = r->at - 1;
    if (peek(r) != 'u') {
        if (peek(r) == '\0' || strchr("\"\\/bfnrt", peek(r)) == NULL)
            return not_json(r, err);
        r->at++;
        return 0;
    }
    const long unit = read_unit(r);
    FAIL_IF(unit == 0, err, LVLM_EFORMAT, "text with a zero character at byte %zu",
            start);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return not_json(r, err);
    if (unit >= 0xd800 && unit <= 0xdbff) {
        const long low = take(r, '\\') ? read_unit(r) : -1;
        if (low < 0xdc00 || low > 0xdfff) return not_json(r, err);
    }
    return 0;
}

static int read_string(reader *r, lvlm_error *err)
{
    if (!take(r, '"')) return not_json(r, err);
    while (!take(r, '"')) {
        if ((unsigned char)peek(r) < ' ') return not_json(r, err); /* or the end */
        if (take(r, '\\'))
            TRY(read_escape(r, err));
        else
            r->at++;
    }
    return 0;
}

static int read_word(reader *r, const char *word, lvlm_error *err)
{
    for (; *word != '\0'; word++)
        if (!take(r, *word)) return not_json(r, err);
    return 0;
}

static int read_value(reader *r, size_t depth, lvlm_error *err);

/* Behind '{' or '['. */
static int read_members(reader *r, char close, size_t depth, lvlm_error *err)
{
    FAIL_IF(depth > LVLM_JSON_MAX_DEPTH, err, LVLM_EFORMAT,
            "nested deeper than %d at byte %zu", LVLM_JSON_MAX_DEPTH, r->at - 1);
    skip_space(r);
    if (take(r, close)) return 0;
    do {
        skip_space(r);
        if (close == '}') {
            TRY(read_string(r, err));
            skip_space(r);
            if (!take(r, ':')) return not_json(r, err);
            skip_space(r);
        }
        TRY(read_value(r, depth, err));
        skip_space(r);
    } while (take(r, ','));
    return take(r, close) ? 0 : not_json(r, err);
}

static int read_value(reader *r, size_t depth, lvlm_error *err)
{
    switch (peek(r)) {
    case '{': r->at++; return read_members(r, '}', depth + 1, err);
    case '[': r->at++; return read_members(r, ']', depth + 1, err);
    case '"': return read_string(r, err);
    case 't': return read_word(r, "true", err);
    case 'f': return read_word(r, "false", err);
    case 'n': return read_word(r, "null", err);
    default: return read_number(r, err);
    }
}

static int check_text(const char *text, size_t n_bytes, lvlm_error *err)
{
    reader r = { text, n_bytes, 0 };
    const size_t bad = lvlm_utf8_invalid_at(text, n_bytes);
    FAIL_IF(bad < n_bytes, err, LVLM_EFORMAT, "not UTF-8 at byte %zu", bad);
    const char *zero = n_bytes > 0 ? memchr(text, '\0', n_bytes) : NULL;
    FAIL_IF(zero != NULL, err, LVLM_EFORMAT, "zero byte at byte %zu",
            (size_t)(zero - text));
    skip_space(&r);
    TRY(read_value(&r, 0, err));
    skip_space(&r);
    FAIL_IF(r.at < n_bytes, err, LVLM_EFORMAT,
            "something stands behind the value at byte %zu", r.at);
    return 0;
}

/* ---- after the parse ------------------------------------------------------------ */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_keys(const cJSON *object, lvlm_error *err)
{
    const size_t n = lvlm_json_count_members(object);
    const char **keys = lvlm_calloc(n, sizeof *keys);
    const cJSON *item;
    size_t i = 0;
    int rc = 0;
    if (keys == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_MEMBERS (item, object) keys[i++] = item->string;
    qsort(keys, n, sizeof *keys, by_text);
    for (i = 1; i < n && rc == 0; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            rc = lvlm_fail(err, LVLM_EFORMAT, "key '%s' stands twice", keys[i]);
    lvlm_free(keys);
    return rc;
}

/* Depth is bounded by check_text. */
static int check_tree(const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    if (cJSON_IsObject(json)) TRY(check_keys(json, err));
    LVLM_JSON_ITEMS (item, json) TRY(check_tree(item, err));
    LVLM_JSON_MEMBERS (item, json) TRY(check_tree(item, err));
    return 0;
}

int lvlm_json_parse(cJSON **out, const char *text, size_t n_bytes, lvlm_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc;

    pthread_once(&once, install_hooks);
    TRY(check_text(text, n_bytes, err));
    cJSON *json = cJSON_ParseWithLengthOpts(text, n_bytes, NULL, false);
    if (json == NULL) return lvlm_fail_memory(err);
    if ((rc = check_tree(json, err)) < 0) {
        lvlm_json_free(json);
        return rc;
    }
    *out = json;
    return 0;
}

void lvlm_json_free(cJSON *json)
{
    cJSON_Delete(json);
}

/* ---- printing ------------------------------------------------------------------- */

static void print_string(lvlm_strbuf *out, const char *text)
{
    lvlm_strbuf_puts(out, "\"");
    for (const char *at = text; *at != '\0';) {
        const size_t plain =
            strcspn(at, "\"\\\b\f\n\r\t\001\002\003\004\005\006\007\013"
                        "\016\017\020\021\022\023\024\025\026\027\030"
                        "\031\032\033\034\035\036\037");
        lvlm_strbuf_append(out, at, plain);
        at += plain;
        if (*at == '\0') break;
        const char *escape = strchr("\"\"\\\\\bb\ff\nn\rr\tt", *at);
        if (escape != NULL)
            lvlm_strbuf_printf(out, "\\%c", escape[1]);
        else
            lvlm_strbuf_printf(out, "\\u%04x", (unsigned)*at);
        at++;
    }
    lvlm_strbuf_puts(out, "\"");
}

/* The fewest digits that read back as the same double; whole numbers as such. */
static void print_number(lvlm_strbuf *out, double value)
{
    char text[40];
    if (!isfinite(value)) {
        lvlm_strbuf_puts(out, "null"); /* JSON has no other word for it */
        return;
    }
    if (value == floor(value) && fabs(value) <= MAX_EXACT) {
        const bool minus_zero = value == 0 && signbit(value);
        lvlm_strbuf_printf(out, "%s%" PRId64, minus_zero ? "-" : "", (int64_t)value);
        return;
    }
    /* 15 digits always fit in a normal number, fewer in one that has lost precision */
    for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    char *comma = strchr(text, ','); /* a locale's decimal point */
    if (comma != NULL) *comma = '.';
    lvlm_strbuf_puts(out, text);
}

static void new_line(lvlm_strbuf *out, bool pretty, size_t depth)
{
    if (!pretty) return;
    lvlm_strbuf_puts(out, "\n");
    for (size_t i = 0; i < depth; i++) lvlm_strbuf_puts(out, "  ");
}

static void print_value(lvlm_strbuf *out, const cJSON *json, bool pretty, size_t depth)
{
    const bool object = cJSON_IsObject(json);
    if (cJSON_IsString(json)) {
        print_string(out, json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        print_number(out, json->valuedouble);
    } else if (cJSON_IsBool(json)) {
        lvlm_strbuf_puts(out, cJSON_IsTrue(json) ? "true" : "false");
    } else if (!object && !cJSON_IsArray(json)) {
        lvlm_strbuf_puts(out, "null");
    } else {
        lvlm_strbuf_puts(out, object ? "{" : "[");
        for (const cJSON *item = json->child; item != NULL; item = item->next) {
            new_line(out, pretty, depth + 1);
            if (object) {
                print_string(out, item->string);
                lvlm_strbuf_puts(out, pretty ? ": " : ":");
            }
            print_value(out, item, pretty, depth + 1);
            if (item->next != NULL) lvlm_strbuf_puts(out, ",");
        }
        if (json->child != NULL) new_line(out, pretty, depth);
        lvlm_strbuf_puts(out, object ? "}" : "]");
    }
}

static int print(char **out, const cJSON *json, bool pretty, lvlm_error *err)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(MAX_PRINTED);
    print_value(&buf, json, pretty, 0);
    if (pretty) lvlm_strbuf_puts(&buf, "\n");
    const int rc = lvlm_strbuf_check(&buf, err);
    if (rc < 0)
        lvlm_strbuf_free(&buf);
    else
        *out = buf.text;
    return rc;
}

int lvlm_json_print(char **out, const cJSON *json, lvlm_error *err)
{
    return print(out, json, false, err);
}

int lvlm_json_print_pretty(char **out, const cJSON *json, lvlm_error *err)
{
    return print(out, json, true, err);
}

/* ---- looking up ----------------------------------------------------------------- */

const cJSON *lvlm_json_get(const cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key)
                                  : NULL;
}

const cJSON *lvlm_json_path(const cJSON *object, const char *dotted)
{
    char key[128];
    while (object != NULL && *dotted != '\0') {
        const size_t length = strcspn(dotted, ".");
        if (length >= sizeof key) return NULL;
        memcpy(key, dotted, length);
        key[length] = '\0';
        object = lvlm_json_get(object, key);
        dotted += length + (dotted[length] == '.');
    }
    return object;
}

const cJSON *lvlm_json_first_item(const cJSON *json)
{
    return cJSON_IsArray(json) ? json->child : NULL;
}

const cJSON *lvlm_json_first_member(const cJSON *json)
{
    return cJSON_IsObject(json) ? json->child : NULL;
}

size_t lvlm_json_count(const cJSON *json)
{
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_ITEMS (item, json) n++;
    return n;
}

size_t lvlm_json_count_members(const cJSON *json)
{
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_MEMBERS (item, json) n++;
    return n;
}

const cJSON *lvlm_json_item(const cJSON *json, size_t i)
{
    const cJSON *item = lvlm_json_first_item(json);
    while (item != NULL && i-- > 0) item = item->next;
    return item;
}

bool lvlm_json_u64(uint64_t *out, const cJSON *item)
{
    if (!cJSON_IsNumber(item)) return false;
    const double value = item->valuedouble;
    if (!(value >= 0 && value <= MAX_EXACT) || value != floor(value)) return false;
    *out = (uint64_t)value;
    return true;
}

bool lvlm_json_double(double *out, const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return false;
    *out = item->valuedouble;
    return true;
}

const char *lvlm_json_string(const cJSON *item)
{
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

void lvlm_json_add_number(cJSON *object, const char *key, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}
