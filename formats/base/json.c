/* json.c - cJSON trees: built from the strict reader, printed, looked up.
 *
 * cJSON's own parser accepts too much and its printer loses digits and follows the
 * locale; only its nodes are used. */
#include "formats/base/json.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/strbuf.h"

/* Every whole number up to this one is exact in a double. */
#define MAX_EXACT 9007199254740992.0

/* The limit of output: a safetensors header with its metadata escaped once more. */
#define MAX_PRINTED ((size_t)256 << 20)

static void install_hooks(void)
{
    cJSON_Hooks hooks = { lvlm_malloc, lvlm_free };
    cJSON_InitHooks(&hooks);
}

/* ---- parsing -------------------------------------------------------------------- */

typedef struct builder {
    lvlm_json_reader *reader;
    size_t n_left; /* values still allowed */
    lvlm_error *err;
} builder;

static int build(cJSON **out, builder *b);

static int build_items(cJSON *list, builder *b)
{
    int rc;
    TRY(lvlm_json_begin_list(b->reader, b->err));
    while ((rc = lvlm_json_next_item(b->reader, b->err)) > 0) {
        cJSON *item;
        TRY(build(&item, b));
        cJSON_AddItemToArray(list, item);
    }
    return rc;
}

static int build_members(cJSON *object, builder *b)
{
    const char *text;
    int rc;
    TRY(lvlm_json_begin_object(b->reader, b->err));
    while ((rc = lvlm_json_next_key(&text, b->reader, b->err)) > 0) {
        cJSON *item = NULL;
        char *const key = lvlm_strdup(text);
        rc = key != NULL ? build(&item, b) : lvlm_fail_memory(b->err);
        if (rc < 0) {
            lvlm_free(key);
            return rc;
        }
        item->string = key; /* allocated as cJSON expects: see install_hooks */
        cJSON_AddItemToArray(object, item);
    }
    return rc;
}

/* A bit of a node's type that cJSON does not use and copies: the number was read from a
 * text such as 30.0. */
enum { WITH_POINT = 1 << 12 };

/* A double. If it is a whole number but the text is not the same number, valueint is
 * set to mismatch, so that lvlm_json_u64 refuses it. */
static int build_number(cJSON **out, builder *b)
{
    lvlm_json_number n;
    TRY(lvlm_json_read_number(&n, b->reader, b->err));
    *out = cJSON_CreateNumber(n.value);
    if (*out == NULL) return lvlm_fail_memory(b->err);
    const bool exact =
        n.is_whole && n.whole <= (uint64_t)MAX_EXACT && n.value == (double)n.whole;
    if (n.has_point) (*out)->type |= WITH_POINT;
    if (!exact && n.value >= 0 && n.value == floor(n.value))
        (*out)->valueint = ~(*out)->valueint;
    return 0;
}

static int build_scalar(cJSON **out, builder *b)
{
    const lvlm_json_kind kind = lvlm_json_peek(b->reader);
    const char *text;
    if (kind == LVLM_JSON_NUMBER) return build_number(out, b);
    if (kind == LVLM_JSON_TEXT)
        TRY(lvlm_json_read_text(&text, b->reader, b->err));
    else
        TRY(lvlm_json_skip(b->reader, b->err));
    *out = kind == LVLM_JSON_TEXT   ? cJSON_CreateString(text)
           : kind == LVLM_JSON_NULL ? cJSON_CreateNull()
                                    : cJSON_CreateBool(kind == LVLM_JSON_TRUE);
    return *out != NULL ? 0 : lvlm_fail_memory(b->err);
}

static int build(cJSON **out, builder *b)
{
    const lvlm_json_kind kind = lvlm_json_peek(b->reader);
    FAIL_IF(b->n_left-- == 0, b->err, LVLM_EFORMAT, "too many values at byte %zu",
            b->reader->at);
    if (kind != LVLM_JSON_OBJECT && kind != LVLM_JSON_LIST) return build_scalar(out, b);
    cJSON *json = kind == LVLM_JSON_OBJECT ? cJSON_CreateObject() : cJSON_CreateArray();
    if (json == NULL) return lvlm_fail_memory(b->err);
    const int rc =
        kind == LVLM_JSON_OBJECT ? build_members(json, b) : build_items(json, b);
    if (rc < 0)
        lvlm_json_free(json);
    else
        *out = json;
    return rc;
}

int lvlm_json_read_tree(cJSON **out, size_t max, lvlm_json_reader *reader,
                        lvlm_error *err)
{
    assert(max > 0);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    builder b = { reader, max, err };
    pthread_once(&once, install_hooks);
    return build(out, &b);
}

int lvlm_json_parse(cJSON **out, const void *text, size_t n_bytes, lvlm_error *err)
{
    lvlm_json_reader reader;
    cJSON *json = NULL;
    TRY(lvlm_json_open(&reader, text, n_bytes, err));
    int rc = lvlm_json_read_tree(&json, LVLM_JSON_MAX_NODES, &reader, err);
    if (rc == 0) rc = lvlm_json_end(&reader, err);
    lvlm_json_close(&reader);
    if (rc < 0)
        lvlm_json_free(json);
    else
        *out = json;
    return rc;
}

int lvlm_json_load(cJSON **out, const char *path, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    *out = NULL;
    TRY(lvlm_infile_open(&file, path, err));
    const int rc = lvlm_json_parse(out, file->bytes, (size_t)file->n_bytes, err);
    lvlm_infile_close(file);
    return lvlm_within(rc, err, "%s: ", path);
}

void lvlm_json_free(cJSON *json)
{
    cJSON_Delete(json);
}

/* ---- printing ------------------------------------------------------------------- */

void lvlm_json_put_text(lvlm_strbuf *out, const char *text)
{
    assert(text != NULL);
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

static bool is_printed_whole(double value)
{
    return value == floor(value) && fabs(value) <= MAX_EXACT;
}

/* The fewest digits that read back as the same double; whole numbers as such. */
static void print_number(lvlm_strbuf *out, double value)
{
    char text[40];
    if (!isfinite(value)) {
        lvlm_strbuf_puts(out, "null"); /* JSON cannot represent it */
        return;
    }
    if (is_printed_whole(value)) {
        const bool minus_zero = value == 0 && signbit(value);
        lvlm_strbuf_printf(out, "%s%" PRId64, minus_zero ? "-" : "", (int64_t)value);
        return;
    }
    /* 15 digits are always exact in a normal number, fewer in a subnormal */
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
    assert(depth <= LVLM_JSON_MAX_DEPTH);
    const bool object = cJSON_IsObject(json);
    if (cJSON_IsString(json)) {
        lvlm_json_put_text(out, json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        print_number(out, json->valuedouble);
        if (pretty && json->type & WITH_POINT && is_printed_whole(json->valuedouble))
            lvlm_strbuf_puts(out, ".0");
    } else if (cJSON_IsBool(json)) {
        lvlm_strbuf_puts(out, cJSON_IsTrue(json) ? "true" : "false");
    } else if (!object && !cJSON_IsArray(json)) {
        lvlm_strbuf_puts(out, "null");
    } else {
        lvlm_strbuf_puts(out, object ? "{" : "[");
        for (const cJSON *item = json->child; item != NULL; item = item->next) {
            new_line(out, pretty, depth + 1);
            if (object) {
                lvlm_json_put_text(out, item->string);
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

const cJSON *lvlm_json_given(const cJSON *object, const char *key)
{
    const cJSON *const item = lvlm_json_get(object, key);
    return cJSON_IsNull(item) ? NULL : item;
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

static size_t count_from(const cJSON *item)
{
    size_t n = 0;
    for (; item != NULL; item = item->next) n++;
    return n;
}

size_t lvlm_json_count(const cJSON *json)
{
    return count_from(lvlm_json_first_item(json));
}

size_t lvlm_json_count_members(const cJSON *json)
{
    return count_from(lvlm_json_first_member(json));
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
    const bool whole = value >= 0 && value <= MAX_EXACT && value == floor(value);
    if (!whole || item->valueint != (value >= INT_MAX ? INT_MAX : (int)value))
        return false; /* or rounded: build_number */
    *out = (uint64_t)value;
    return true;
}

uint64_t lvlm_json_whole(const cJSON *object, const char *dotted)
{
    uint64_t value = 0;
    (void)lvlm_json_u64(&value, lvlm_json_path(object, dotted));
    return value;
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

cJSON *lvlm_json_document(void)
{
    cJSON *const document = cJSON_CreateObject();
    cJSON_AddNumberToObject(document, "schema", LVLM_JSON_SCHEMA);
    return document;
}

bool lvlm_json_set(cJSON *object, const char *key, cJSON *item)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (item != NULL && cJSON_AddItemToObject(object, key, item)) return true;
    lvlm_json_free(item);
    return false;
}

bool lvlm_json_replace(cJSON *object, const char *key, cJSON *item)
{
    cJSON *const old = cJSON_GetObjectItemCaseSensitive(object, key);
    if (item == NULL || !cJSON_AddItemToObject(object, key, item)) {
        lvlm_json_free(item);
        return false;
    }
    return old == NULL || cJSON_ReplaceItemViaPointer(
                              object, old, cJSON_DetachItemViaPointer(object, item));
}

bool lvlm_json_set_copy(cJSON *object, const char *key, const cJSON *item)
{
    return lvlm_json_set(object, key, cJSON_Duplicate(item, true));
}
