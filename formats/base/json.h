/* json.h - the door to cJSON: strict parsing, exact integers, stable output.
 *
 * cJSON tolerates what a checkpoint must not contain. lvlm_json_parse refuses: what
 * RFC 8259 does not allow (a byte order mark, 01, a raw new line in text), bytes after
 * the value, invalid UTF-8, zero characters even when escaped, duplicate keys in any
 * object, nesting over LVLM_JSON_MAX_DEPTH. Lookups are case-sensitive. Integers are
 * exact up to 2^53; a value that is not an exact integer is an error, never rounded.
 * Nodes are walked by the functions below alone, which check what kind a node is: the
 * children of an object are no list. (tests/lint/banned.sh forbids cJSON's own.)
 */
#ifndef LVLM_FORMATS_BASE_JSON_H
#define LVLM_FORMATS_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

enum { LVLM_JSON_MAX_DEPTH = 64 };

/* *out is owned: lvlm_json_free. LVLM_EFORMAT names the rule and, where there
 * is one, the key or the byte offset; LVLM_ENOMEM is memory alone. */
LVLM_MUST_CHECK int lvlm_json_parse(cJSON **out, const char *text, size_t n_bytes,
                                    lvlm_error *err);
void lvlm_json_free(cJSON *json);

/* Text without white space, in the order of insertion, the same on every run;
 * doubles in the shortest form that reads back equal. *out is owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_json_print(char **out, const cJSON *json, lvlm_error *err);
/* The same, indented by two spaces with a final newline, for people. */
LVLM_MUST_CHECK int lvlm_json_print_pretty(char **out, const cJSON *json,
                                           lvlm_error *err);

/* Member `key` of an object, or NULL (also when `object` is NULL or no object).
 * Borrowed. */
const cJSON *lvlm_json_get(const cJSON *object, const char *key);
/* The same along "a.b.c". */
const cJSON *lvlm_json_path(const cJSON *object, const char *dotted);

/* The first element of a list, and the first member of an object; NULL where there
 * is none, and where `json` is of another kind or NULL. Borrowed. The next one, in the
 * order of the text, is item->next. */
const cJSON *lvlm_json_first_item(const cJSON *json);
const cJSON *lvlm_json_first_member(const cJSON *json);
/* How many elements a list has, and members an object; 0 where `json` is of another
 * kind or NULL. */
size_t lvlm_json_count(const cJSON *json);
size_t lvlm_json_count_members(const cJSON *json);
/* Element `i` of a list; NULL where there is none, or `json` is no list. */
const cJSON *lvlm_json_item(const cJSON *json, size_t i);

/* Loops over them: for each element of a list; for each member of an object, whose key
 * is item->string. */
#define LVLM_JSON_ITEMS(item, list)                                                    \
    for ((item) = lvlm_json_first_item(list); (item) != NULL; (item) = (item)->next)
#define LVLM_JSON_MEMBERS(item, object)                                                \
    for ((item) = lvlm_json_first_member(object); (item) != NULL; (item) = (item)->next)

/* Exact non-negative integer; false when it is anything else. */
bool lvlm_json_u64(uint64_t *out, const cJSON *item);
bool lvlm_json_double(double *out, const cJSON *item);
/* The string's bytes, or NULL when it is no string. Borrowed. */
const char *lvlm_json_string(const cJSON *item);

/* Add a number to an object; null where JSON has no word for it (infinite, NaN). */
void lvlm_json_add_number(cJSON *object, const char *key, double value);

#endif
