/* card_compare.c - reads an evidence card and compares it with a new one; see card.h.
 *
 *   two trees, member by member; recordings are paired by their digests */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "verify/report/card.h"

int lvlm_card_read(cJSON **out, const char *path, lvlm_error *err)
{
    TRY(lvlm_json_load(out, path, err));
    const char *const format = lvlm_json_string(lvlm_json_get(*out, "format"));
    FAIL_IF(format == NULL || strcmp(format, LVLM_CARD_FORMAT) != 0, err, LVLM_EFORMAT,
            "%s: is not an evidence card: its format is '%.40s', expected "
            "'" LVLM_CARD_FORMAT "'",
            path, format != NULL ? format : "(none)");
    FAIL_IF(!cJSON_IsArray(lvlm_json_get(*out, "goldens")), err, LVLM_EFORMAT,
            "%s: has no list of goldens", path);
    return 0;
}

bool lvlm_card_golden(const char **name, const char **sha256, const cJSON *card,
                      size_t i)
{
    const cJSON *const golden = lvlm_json_item(lvlm_json_get(card, "goldens"), i);
    const char *const file = lvlm_json_string(lvlm_json_get(golden, "name"));
    const char *const hex = lvlm_json_string(lvlm_json_get(golden, "sha256"));
    if (golden == NULL) return false;
    *name = file != NULL ? file : "";
    *sha256 = hex != NULL ? hex : "";
    return true;
}

/* ---- trees ---------------------------------------------------------------------- */

enum { PATH_BYTES = 256, VALUE_BYTES = 160 };

typedef struct walk {
    void (*sentence)(void *user, const char *text);
    void *user;
    size_t n;
} walk;

/* Names of files, versions, and what is compared by itself. */
static const char *const ignored[] = {
    "made_by", "passed", "verdict", "model.name", "checks[[]*[]].summary", "goldens",
};

static bool is_ignored(const char *path)
{
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (fnmatch(ignored[i], path, 0) == 0) return true;
    return false;
}

static void print_value(char text[VALUE_BYTES], const cJSON *value)
{
    char *printed = NULL;
    if (value == NULL || lvlm_json_print(&printed, value, NULL) < 0)
        (void)snprintf(text, VALUE_BYTES, "%s", value == NULL ? "nothing" : "a value");
    else
        (void)snprintf(text, VALUE_BYTES, "%s", printed);
    lvlm_free(printed);
}

static void tell(walk *w, const char *path, const cJSON *was, const cJSON *is)
{
    char text[PATH_BYTES + 2 * VALUE_BYTES + 64], before[VALUE_BYTES], now[VALUE_BYTES];
    print_value(before, was);
    print_value(now, is);
    (void)snprintf(text, sizeof text, "%s: the card has %s, the model %s", path, before,
                   now);
    w->n++;
    w->sentence(w->user, text);
}

static void compare(walk *w, const char *path, const cJSON *was, const cJSON *is);

static void compare_member(walk *w, const char *path, const char *key, const cJSON *was,
                           const cJSON *is)
{
    char inner[PATH_BYTES];
    (void)snprintf(inner, sizeof inner, "%s%s%s", path, *path != '\0' ? "." : "", key);
    compare(w, inner, was, is);
}

static void compare_objects(walk *w, const char *path, const cJSON *was,
                            const cJSON *is)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, was)
        compare_member(w, path, item->string, item, lvlm_json_get(is, item->string));
    LVLM_JSON_MEMBERS (item, is)
        if (lvlm_json_get(was, item->string) == NULL)
            compare_member(w, path, item->string, NULL, item);
}

static void compare_lists(walk *w, const char *path, const cJSON *was, const cJSON *is)
{
    const cJSON *x = lvlm_json_first_item(was), *y = lvlm_json_first_item(is);
    for (size_t i = 0; x != NULL || y != NULL; i++) {
        char inner[PATH_BYTES];
        (void)snprintf(inner, sizeof inner, "%s[%zu]", path, i);
        compare(w, inner, x, y);
        if (x != NULL) x = x->next;
        if (y != NULL) y = y->next;
    }
}

/* As deep as the reader of JSON permits. */
static void compare(walk *w, const char *path, const cJSON *was, const cJSON *is)
{
    if (is_ignored(path)) return;
    if (cJSON_IsObject(was) && cJSON_IsObject(is))
        compare_objects(w, path, was, is);
    else if (cJSON_IsArray(was) && cJSON_IsArray(is))
        compare_lists(w, path, was, is);
    else if (was == NULL || is == NULL || !cJSON_Compare(was, is, true))
        tell(w, path, was, is);
}

/* ---- recordings ----------------------------------------------------------------- */

static const cJSON *find_golden(const cJSON *card, const char *sha256)
{
    const char *name, *hex;
    for (size_t i = 0; lvlm_card_golden(&name, &hex, card, i); i++)
        if (strcmp(hex, sha256) == 0)
            return lvlm_json_item(lvlm_json_get(card, "goldens"), i);
    return NULL;
}

static void compare_goldens(walk *w, const cJSON *card, const cJSON *now)
{
    static const char *const keys[] = { "state",        "exact",     "compute",
                                        "reference",    "n_stages",  "n_failed",
                                        "differences",  "first_bad", "not_compared",
                                        "not_exercised" };
    const char *name, *hex;
    for (size_t i = 0; lvlm_card_golden(&name, &hex, card, i); i++) {
        const cJSON *const was = lvlm_json_item(lvlm_json_get(card, "goldens"), i);
        const cJSON *const is = *hex != '\0' ? find_golden(now, hex) : NULL;
        for (size_t k = 0; is != NULL && k < sizeof keys / sizeof *keys; k++) {
            const cJSON *const x = lvlm_json_get(was, keys[k]);
            const cJSON *const y = lvlm_json_get(is, keys[k]);
            if (x != NULL || y != NULL) compare_member(w, name, keys[k], x, y);
        }
    }
}

size_t lvlm_card_compare(const cJSON *card, const cJSON *now,
                         void (*sentence)(void *user, const char *text), void *user)
{
    walk w = { sentence, user, 0 };
    compare(&w, "", card, now);
    compare_goldens(&w, card, now);
    return w.n;
}
