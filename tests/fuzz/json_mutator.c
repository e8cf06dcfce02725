/* json_mutator.c - libFuzzer's mutator for inputs that are JSON.
 *
 * Random changes of bytes rarely keep JSON valid, and never turn an object into a list.
 * This mutator changes the tree: it removes, duplicates, moves, renames and exchanges
 * members, turns lists into objects, and sets numbers to the limits of their types.
 * Inputs that are not JSON, and one in four of the others, are left to libFuzzer's
 * mutator. A prefix before the first bracket is kept. Fuzz builds only. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);

enum { MAX_NODES = 4096, MAX_PREFIX = 16, MAX_CHANGES = 4 };

typedef struct node {
    cJSON *at, *parent;
} node;

typedef struct tree {
    cJSON *root;
    node nodes[MAX_NODES]; /* all except the root, up to the limit */
    size_t n;
    uint64_t random;
} tree;

/* xorshift64* */
static size_t below(tree *t, size_t n)
{
    t->random ^= t->random >> 12;
    t->random ^= t->random << 25;
    t->random ^= t->random >> 27;
    return n > 0 ? (size_t)((t->random * 0x2545f4914f6cdd1d) >> 33) % n : 0;
}

static cJSON *mutable_json(const cJSON *json)
{
    return (cJSON *)(uintptr_t)json;
}

static void gather(tree *t, cJSON *parent)
{
    const cJSON *item;
    LVLM_JSON_ITEMS (item, parent) {
        if (t->n == MAX_NODES) return;
        t->nodes[t->n++] = (node){ mutable_json(item), parent };
        gather(t, mutable_json(item));
    }
    LVLM_JSON_MEMBERS (item, parent) {
        if (t->n == MAX_NODES) return;
        t->nodes[t->n++] = (node){ mutable_json(item), parent };
        gather(t, mutable_json(item));
    }
}

static cJSON *edge_value(tree *t)
{
    static const double numbers[] = { 0,
                                      -1,
                                      1,
                                      2,
                                      7,
                                      64,
                                      255,
                                      65536,
                                      2147483647,
                                      4294967296,
                                      9007199254740992,
                                      9223372036854775808.0,
                                      18446744073709551615.0,
                                      0.5,
                                      -0.0,
                                      1e-308,
                                      1e308 };
    switch (below(t, 8)) {
    case 0: return cJSON_CreateNull();
    case 1: return cJSON_CreateBool((cJSON_bool)below(t, 2));
    case 2: return cJSON_CreateArray();
    case 3: return cJSON_CreateObject();
    case 4: return cJSON_CreateString("");
    default:
        return cJSON_CreateNumber(numbers[below(t, sizeof numbers / sizeof *numbers)]);
    }
}

/* Replace a node by `value`, with the same key. */
static void replace(node *n, cJSON *value)
{
    if (value == NULL) return;
    if (n->at->string != NULL && value->string == NULL)
        value->string = lvlm_strdup(n->at->string);
    if (!cJSON_ReplaceItemViaPointer(n->parent, n->at, value)) cJSON_Delete(value);
}

static void add(cJSON *parent, const char *key, cJSON *value)
{
    if (value == NULL) return;
    if (cJSON_IsObject(parent))
        cJSON_AddItemToObject(parent, key != NULL ? key : "k", value);
    else
        cJSON_AddItemToArray(parent, value);
}

/* The same elements in the other kind of container. */
static cJSON *other_kind(const cJSON *container)
{
    cJSON *const out =
        cJSON_IsArray(container) ? cJSON_CreateObject() : cJSON_CreateArray();
    const cJSON *item;
    char key[] = "k0";
    LVLM_JSON_ITEMS (item, container) {
        add(out, key, cJSON_Duplicate(item, true));
        key[1] = key[1] < 'z' ? (char)(key[1] + 1) : '0';
    }
    LVLM_JSON_MEMBERS (item, container) add(out, NULL, cJSON_Duplicate(item, true));
    return out;
}

static cJSON *renamed(tree *t, const cJSON *item)
{
    cJSON *const copy = cJSON_Duplicate(item, true);
    const cJSON *const other = t->nodes[below(t, t->n)].at;
    if (copy == NULL || copy->string == NULL) return copy;
    lvlm_free(copy->string);
    copy->string = lvlm_strdup(other->string != NULL ? other->string : "renamed");
    if (below(t, 3) == 0 && copy->string != NULL && copy->string[0] != '\0')
        copy->string[below(t, strlen(copy->string))] = (char)('a' + below(t, 26));
    return copy;
}

static cJSON *nudged(tree *t, const cJSON *item)
{
    static const double factor[] = { 1, 1, 2, 0.5, -1 };
    static const double step[] = { 1, -1, 0, 0, 0 };
    const size_t i = below(t, 5);
    if (!cJSON_IsNumber(item)) return edge_value(t);
    return cJSON_CreateNumber(item->valuedouble * factor[i] + step[i]);
}

static bool is_container(const cJSON *item)
{
    return cJSON_IsArray(item) || cJSON_IsObject(item);
}

static void change(tree *t)
{
    t->n = 0;
    gather(t, t->root);
    if (t->n == 0) return;
    node *const one = &t->nodes[below(t, t->n)];
    const node *const other = &t->nodes[below(t, t->n)];
    switch (below(t, 9)) {
    case 0: cJSON_Delete(cJSON_DetachItemViaPointer(one->parent, one->at)); break;
    case 1: replace(one, edge_value(t)); break;
    case 2: replace(one, nudged(t, one->at)); break;
    case 3: replace(one, cJSON_Duplicate(other->at, true)); break;
    case 4: replace(one, renamed(t, one->at)); break;
    case 5: add(one->parent, "double", cJSON_Duplicate(one->at, true)); break;
    case 6:
        add(other->parent, other->at->string, cJSON_Duplicate(one->at, true));
        break;
    case 7:
        if (is_container(other->at))
            add(other->at, one->at->string, cJSON_Duplicate(one->at, true));
        break;
    default:
        if (is_container(one->at)) replace(one, other_kind(one->at));
    }
}

/* Write the changed text after `prefix`; 0 if it is not JSON or too long. */
static size_t mutate_tree(uint8_t *data, size_t prefix, size_t size, size_t max_size,
                          tree *t)
{
    char *text = NULL;
    size_t n = 0;
    if (lvlm_json_parse(&t->root, (const char *)data + prefix, size - prefix, NULL) < 0)
        return 0;
    for (size_t i = 1 + below(t, MAX_CHANGES); i > 0; i--) change(t);
    if (lvlm_json_print(&text, t->root, NULL) == 0 &&
        strlen(text) <= max_size - prefix) {
        n = prefix + strlen(text);
        memcpy(data + prefix, text, n - prefix);
    }
    lvlm_free(text);
    lvlm_json_free(t->root);
    return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    static tree t; /* large, and a fuzzer has one thread */
    size_t prefix = 0, n = 0;
    t = (tree){ .random = seed + UINT64_C(0x9e3779b97f4a7c15) };
    while (prefix < size && prefix < MAX_PREFIX && data[prefix] != '{' &&
           data[prefix] != '[')
        prefix++;
    if (prefix < size && prefix < MAX_PREFIX && below(&t, 4) > 0)
        n = mutate_tree(data, prefix, size, max_size, &t);
    return n > 0 ? n : LLVMFuzzerMutate(data, size, max_size);
}
