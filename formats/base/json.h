/* json.h - JSON trees of cJSON nodes, built by the strict reader (json_reader.h).
 *
 * Lookups are case-sensitive. Integers are exact up to 2^53; a value that is not an
 * exact integer is an error, never rounded. Use only the functions below to access
 * nodes: they check the kind of a node, because the children of an object are not a
 * list (tests/lint/banned.sh forbids cJSON's own). Files that may have a million
 * entries are parsed by the reader, without a tree. Distinct objects may be used from
 * distinct threads. */
#ifndef LVLM_FORMATS_BASE_JSON_H
#define LVLM_FORMATS_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"
#include "formats/base/json_reader.h"
#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

/* A node takes some 80 bytes. The largest real file, a tokenizer's, has two million. */
enum { LVLM_JSON_MAX_NODES = 10000000 };

/* *out is owned: lvlm_json_free. LVLM_EFORMAT names the rule and, if there is one, the
 * key or the byte offset; LVLM_ENOMEM means only that memory ran out. */
LVLM_MUST_CHECK int lvlm_json_parse(cJSON **out, const void *text, size_t n_bytes,
                                    lvlm_error *err);
/* The same for the text of a file. Errors begin with its path. */
LVLM_MUST_CHECK int lvlm_json_load(cJSON **out, const char *path, lvlm_error *err);
/* The same for a reader's next value, which may contain at most `max` values. */
LVLM_MUST_CHECK int lvlm_json_read_tree(cJSON **out, size_t max,
                                        lvlm_json_reader *reader, lvlm_error *err);
void lvlm_json_free(cJSON *json);

/* Text without white space, in the order of insertion, the same on every run;
 * doubles in the shortest form that reads back equal. *out is owned: lvlm_free. */
LVLM_MUST_CHECK int lvlm_json_print(char **out, const cJSON *json, lvlm_error *err);
/* The same, indented by two spaces with a final newline, for people and for other
 * programs' strict readers: what was read as 30.0 is printed so, not as 30. */
LVLM_MUST_CHECK int lvlm_json_print_pretty(char **out, const cJSON *json,
                                           lvlm_error *err);

/* Appends `text` as a JSON string with its quotes. */
void lvlm_json_put_text(lvlm_strbuf *out, const char *text);

/* Member `key` of an object, or NULL (also if `object` is NULL or not an object).
 * Borrowed. */
const cJSON *lvlm_json_get(const cJSON *object, const char *key);
/* The same, but NULL for a null too. */
const cJSON *lvlm_json_given(const cJSON *object, const char *key);
/* The same along "a.b.c". */
const cJSON *lvlm_json_path(const cJSON *object, const char *dotted);

/* The first element of a list and the first member of an object; NULL if there is none
 * or `json` is of another kind or NULL. Borrowed. The next one, in the order of the
 * text, is item->next. */
const cJSON *lvlm_json_first_item(const cJSON *json);
const cJSON *lvlm_json_first_member(const cJSON *json);
/* The number of elements of a list and of members of an object; 0 if `json` is of
 * another kind or NULL. */
size_t lvlm_json_count(const cJSON *json);
size_t lvlm_json_count_members(const cJSON *json);
/* Element `i` of a list; NULL if there is none or `json` is not a list. */
const cJSON *lvlm_json_item(const cJSON *json, size_t i);

/* Loops over the elements of a list, and over the members of an object, whose key is
 * item->string. */
#define LVLM_JSON_ITEMS(item, list)                                                    \
    for ((item) = lvlm_json_first_item(list); (item) != NULL; (item) = (item)->next)
#define LVLM_JSON_MEMBERS(item, object)                                                \
    for ((item) = lvlm_json_first_member(object); (item) != NULL; (item) = (item)->next)

/* Exact non-negative integer up to 2^53; false for anything else. */
bool lvlm_json_u64(uint64_t *out, const cJSON *item);
/* The one along "a.b.c", as a canonical configuration has them; 0 if there is none. */
uint64_t lvlm_json_whole(const cJSON *object, const char *dotted);
bool lvlm_json_double(double *out, const cJSON *item);
/* The string's bytes, or NULL if it is not a string. Borrowed. */
const char *lvlm_json_string(const cJSON *item);

/* The output of a program with --json: an object that begins with "schema", the version
 * of the schema in formats/cli/JSON.md. NULL: out of memory. */
enum { LVLM_JSON_SCHEMA = 1 };
cJSON *lvlm_json_document(void);

/* Make `item`, which is owned then, the last member of an object, called `key`; the one
 * that it has is removed. False: out of memory, and `item` is freed; also if it is
 * NULL. */
bool lvlm_json_set(cJSON *object, const char *key, cJSON *item);
/* The same in the place of the one that it has, if it has one. (cJSON's own function
 * loses the key when memory runs out.) */
bool lvlm_json_replace(cJSON *object, const char *key, cJSON *item);
/* As lvlm_json_set with a copy. */
bool lvlm_json_set_copy(cJSON *object, const char *key, const cJSON *item);

LVLM_END_DECLS

#endif
