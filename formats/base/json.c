/* json.c - what cJSON lets through is checked here; what it prints badly is printed
 * here.
 *
 *   scan   UTF-8, depth, no escaped zero byte      before cJSON sees the text
 *   cJSON  the grammar
 *   check  no key twice in an object, nothing behind the value
 *
 * The printer is our own because cJSON's numbers lose digits and follow the locale. */
#include "formats/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/strbuf.h"

/* The largest whole number up to which every one is a double. */
#define MAX_EXACT 9007199254740992.0

/* Output is bounded by what a safetensors header may be, metadata escaped once more. */
#define MAX_PRINTED ((size_t)256 << 20)

static void install_hooks(void)
{
    cJSON_Hooks hooks = { lvlm_malloc, lvlm_free };
    cJSON_InitHooks(&hooks);
}

/* ---- before the parse ----------------------------------------------------------- */

/* Length of the well-formed UTF-8 sequence at `s`, or 0 (RFC 3629, table 3-7 of
 * Unicode). */
static size_t sequence_length(const unsigned char *s, size_t n)
{
    static const unsigned char low[] = { 0xa0, 0x90 }; /* behind E0, F0: no overlong */
    if (s[0] < 0x80) return 1;
    const size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < low[0]) || (s[0] == 0xf0 && s[1] < low[1])) return 0;
    if ((s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return length;
}

static size_t first_invalid(const char *bytes, size_t n_bytes)
{
    size_t at = 0;
    while (at < n_bytes) {
        const size_t length =
            sequence_length((const unsigned char *)bytes + at, n_bytes - at);
        if (length == 0) break;
        at += length;
    }
    return at;
}

bool lvlm_utf8_valid(const char *bytes, size_t n_bytes)
{
    return first_invalid(bytes, n_bytes) == n_bytes;
}

static int scan(const char *text, size_t n_bytes, lvlm_error *err)
{
    const size_t bad = first_invalid(text, n_bytes);
    FAIL_IF(bad < n_bytes, err, LVLM_EFORMAT, "not UTF-8 at byte %zu", bad);
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes; i++) {
        const char c = text[i];
        FAIL_IF(c == '\0', err, LVLM_EFORMAT, "zero byte at byte %zu", i);
        if (in_string && c == '\\') {
            FAIL_IF(n_bytes - i > 5 && memcmp(text + i, "\\u0000", 6) == 0, err,
                    LVLM_EFORMAT, "text with a zero character at byte %zu", i);
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            FAIL_IF(++depth > LVLM_JSON_MAX_DEPTH, err, LVLM_EFORMAT,
                    "nested deeper than %d at byte %zu", LVLM_JSON_MAX_DEPTH, i);
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return 0;
}

/* ---- after the parse ------------------------------------------------------------ */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_keys(const cJSON *object, lvlm_error *err)
{
    const size_t n = (size_t)cJSON_GetArraySize(object);
    const char **keys = lvlm_calloc(n, sizeof *keys);
    const cJSON *item;
    size_t i = 0;
    int rc = 0;
    if (keys == NULL) return lvlm_fail_memory(err);
    cJSON_ArrayForEach (item, object) keys[i++] = item->string;
    qsort(keys, n, sizeof *keys, by_text);
    for (i = 1; i < n && rc == 0; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            rc = lvlm_fail(err, LVLM_EFORMAT, "key '%s' stands twice", keys[i]);
    lvlm_free(keys);
    return rc;
}

/* Depth is bounded by scan. */
static int check_tree(const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    if (cJSON_IsObject(json)) TRY(check_keys(json, err));
    if (cJSON_IsObject(json) || cJSON_IsArray(json))
        cJSON_ArrayForEach (item, json) TRY(check_tree(item, err));
    return 0;
}

int lvlm_json_parse(cJSON **out, const char *text, size_t n_bytes, lvlm_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *end = text;
    int rc;

    pthread_once(&once, install_hooks);
    TRY(scan(text, n_bytes, err));
    cJSON *json =
        n_bytes > 0 ? cJSON_ParseWithLengthOpts(text, n_bytes, &end, false) : NULL;
    FAIL_IF(json == NULL, err, LVLM_EFORMAT, "not JSON at byte %zu",
            (size_t)(end - text));
    for (; end < text + n_bytes; end++) {
        if (strchr(" \t\r\n", *end) != NULL) continue;
        lvlm_json_free(json);
        return lvlm_fail(err, LVLM_EFORMAT,
                         "something stands behind the value at byte %zu",
                         (size_t)(end - text));
    }
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
        lvlm_strbuf_printf(out, "%" PRId64, (int64_t)value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
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
