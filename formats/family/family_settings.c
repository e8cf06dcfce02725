/* family_settings.c - computes the canonical configuration from config.json, one table
 * row at a time.
 *
 *   find the first path that exists -> else the class default -> check -> translate
 *
 * An absent key has the reference's class default, because the files on the hub omit
 * values that equal it. A key that is present and wrong is an error that names it. */
#include "formats/family/family.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/family/config_words.h"

/* More than the longest "a.b.c" and the longest list of words in any table. */
enum { PATH_BYTES = 128, WORDS_BYTES = 256 };

static bool null_is_a_value(lvlm_setting_kind kind)
{
    return kind == LVLM_SETTING_MAYBE_COUNT || kind == LVLM_SETTING_MAYBE_INDEX ||
           kind == LVLM_SETTING_MAYBE_NUMBER;
}

/* The first of "a.b|c.d" that config.json has; `path` receives that path. */
static const cJSON *find(char path[PATH_BYTES], const lvlm_setting *setting,
                         const cJSON *hf_config)
{
    for (const char *at = setting->paths; at != NULL && *at != '\0'; at += *at == '|') {
        at += lvlm_copy_until(path, PATH_BYTES, at, "|");
        const cJSON *item = lvlm_json_path(hf_config, path);
        if (item != NULL && (!cJSON_IsNull(item) || null_is_a_value(setting->kind)))
            return item;
    }
    return NULL;
}

/* Does config.json have the section "a" of the setting's first path "a.b"? */
static bool has_section(const lvlm_setting *setting, const cJSON *hf_config)
{
    assert(setting->paths != NULL);
    char section[PATH_BYTES];
    (void)lvlm_copy_until(section, sizeof section, setting->paths, ".");
    return cJSON_IsObject(lvlm_json_get(hf_config, section));
}

static int refuse(const lvlm_setting *setting, const char *path, const cJSON *item,
                  const char *wanted, lvlm_error *err)
{
    assert(item != NULL);
    char *got = NULL;
    TRY(lvlm_json_print(&got, item, err));
    const int rc = lvlm_fail(err, LVLM_EFORMAT,
                             "config.json: %s: expected %s, got %.200s (it is %s)",
                             path, wanted, got, setting->canonical);
    lvlm_free(got);
    return rc;
}

/* Whole numbers, or lists of them. */
static bool is_list(const cJSON *item)
{
    const cJSON *element;
    uint64_t whole;
    if (!cJSON_IsArray(item)) return false;
    LVLM_JSON_ITEMS (element, item)
        if (!lvlm_json_u64(&whole, element) && !is_list(element)) return false;
    return true;
}

static int accept_word(cJSON **out, const lvlm_setting *setting, const char *path,
                       const cJSON *item, lvlm_error *err)
{
    assert(setting->words != NULL);
    char known[WORDS_BYTES];
    size_t used = (size_t)snprintf(known, sizeof known, "one of");
    const char *got = lvlm_json_string(item);
    for (const lvlm_word *word = setting->words; word->theirs != NULL; word++) {
        if (got != NULL && strcmp(got, word->theirs) == 0) {
            *out = cJSON_CreateString(word->ours);
            return *out != NULL ? 0 : lvlm_fail_memory(err);
        }
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, " %s",
                                     word->theirs);
    }
    return refuse(setting, path, item, known, err);
}

static int accept_words(cJSON **out, const lvlm_setting *setting, const char *path,
                        const cJSON *list, lvlm_error *err)
{
    const cJSON *item;
    int rc = 0;
    if (!cJSON_IsArray(list))
        return refuse(setting, path, list, "a list of words", err);
    if ((*out = cJSON_CreateArray()) == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, list) {
        cJSON *word = NULL;
        if (rc == 0) rc = accept_word(&word, setting, path, item, err);
        if (word != NULL) cJSON_AddItemToArray(*out, word);
    }
    if (rc < 0) lvlm_json_free(*out);
    return rc;
}

/* A whole number that doubles hold, or a list of such. */
static bool is_signed(const cJSON *item)
{
    const cJSON *element;
    double number;
    if (lvlm_json_double(&number, item))
        return number == floor(number) && fabs(number) <= 0x1p53;
    if (!cJSON_IsArray(item) || lvlm_json_count(item) == 0) return false;
    LVLM_JSON_ITEMS (element, item)
        if (cJSON_IsArray(element) || !is_signed(element)) return false;
    return true;
}

/* Is it a value of that kind, null excepted? *wanted describes those. */
static bool is_value(const char **wanted, lvlm_setting_kind kind, const cJSON *item)
{
    uint64_t whole;
    double number;
    switch (kind) {
    case LVLM_SETTING_COUNT:
    case LVLM_SETTING_MAYBE_COUNT:
        *wanted = "a positive whole number";
        return lvlm_json_u64(&whole, item) && whole > 0;
    case LVLM_SETTING_INDEX:
    case LVLM_SETTING_MAYBE_INDEX:
        *wanted = "a whole number";
        return lvlm_json_u64(&whole, item);
    case LVLM_SETTING_NUMBER:
    case LVLM_SETTING_MAYBE_NUMBER:
        *wanted = "a positive number";
        return lvlm_json_double(&number, item) && number > 0;
    case LVLM_SETTING_BOOL: *wanted = "true or false"; return cJSON_IsBool(item);
    case LVLM_SETTING_SIGNED:
        *wanted = "a whole number or a list of such";
        return is_signed(item);
    default:
        assert(kind == LVLM_SETTING_LIST); /* words: above; a constant has no paths */
        *wanted = "a list of whole numbers";
        return is_list(item);
    }
}

/* A validated copy of a value from config.json; null only where that is a value. */
static int accept(cJSON **out, const lvlm_setting *setting, const char *path,
                  const cJSON *item, lvlm_error *err)
{
    assert(!cJSON_IsNull(item) || null_is_a_value(setting->kind));
    const char *wanted;
    double number;
    if (setting->kind == LVLM_SETTING_WORD)
        return accept_word(out, setting, path, item, err);
    if (setting->kind == LVLM_SETTING_WORDS)
        return accept_words(out, setting, path, item, err);
    const bool none =
        cJSON_IsNull(item) || (setting->kind == LVLM_SETTING_MAYBE_INDEX &&
                               lvlm_json_double(&number, item) && number < 0);
    if (!none && !is_value(&wanted, setting->kind, item))
        return refuse(setting, path, item, wanted, err);
    *out = none ? cJSON_CreateNull() : cJSON_Duplicate(item, true);
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

static int fall_back(cJSON **out, const lvlm_setting *setting, const cJSON *hf_config,
                     lvlm_error *err)
{
    const char *text = setting->fallback;
    if (setting->without_section != NULL && !has_section(setting, hf_config))
        text = setting->without_section;
    FAIL_IF(text == NULL, err, LVLM_EFORMAT,
            "config.json: %s is missing and has no default", setting->paths);
    return lvlm_json_parse(out, text, strlen(text), err);
}

/* Store `value`, which is consumed, at "a.b" of the canonical configuration, in place
 * of an earlier one. */
static int put(cJSON *config, const char *canonical, cJSON *value, lvlm_error *err)
{
    char part[PATH_BYTES];
    const size_t length = lvlm_copy_until(part, sizeof part, canonical, ".");
    assert(canonical[length] == '.');
    cJSON *section = cJSON_GetObjectItemCaseSensitive(config, part);
    if (section == NULL) section = cJSON_AddObjectToObject(config, part);
    const char *const name = canonical + length + 1;
    if (section == NULL) lvlm_json_free(value);
    return section != NULL && lvlm_json_replace(section, name, value)
               ? 0
               : lvlm_fail_memory(err);
}

static int add_setting(cJSON *config, const lvlm_setting *s, const cJSON *hf_config,
                       lvlm_error *err)
{
    char path[PATH_BYTES];
    cJSON *value = NULL;
    const cJSON *const item = find(path, s, hf_config);
    TRY(item != NULL ? accept(&value, s, path, item, err)
                     : fall_back(&value, s, hf_config, err));
    return put(config, s->canonical, value, err);
}

const lvlm_setting *lvlm_setting_next(lvlm_setting_walk *w)
{
    for (; w->table->settings != NULL; w->table++, w->next = 0) {
        if (w->table->when != NULL && !lvlm_config_says(w->config, w->table->when))
            continue;
        const lvlm_setting *const s = &w->table->settings[w->next++];
        if (s->canonical != NULL) return s;
    }
    return NULL;
}

static bool has_word(const lvlm_setting *setting, const char *ours)
{
    for (const lvlm_word *word = setting->words; word->theirs != NULL; word++)
        if (ours != NULL && strcmp(word->ours, ours) == 0) return true;
    return false;
}

int lvlm_setting_check(const lvlm_setting *s, const cJSON *value, lvlm_error *err)
{
    assert(value != NULL);
    cJSON *constant = NULL;
    char *got = NULL;
    if (s->kind == LVLM_SETTING_WORD && has_word(s, lvlm_json_string(value))) return 0;
    if (s->kind == LVLM_SETTING_CONSTANT)
        TRY(lvlm_json_parse(&constant, s->fallback, strlen(s->fallback), err));
    const bool same = constant != NULL && cJSON_Compare(constant, value, true);
    lvlm_json_free(constant);
    if (same || (s->kind != LVLM_SETTING_WORD && s->kind != LVLM_SETTING_CONSTANT))
        return 0;
    TRY(lvlm_json_print(&got, value, err));
    const int rc =
        lvlm_fail(err, LVLM_EFORMAT, "%s cannot be %.200s", s->canonical, got);
    lvlm_free(got);
    return rc;
}

int lvlm_family_words(cJSON **out, const lvlm_family *family, const cJSON *hf_config,
                      lvlm_error *err)
{
    *out = cJSON_CreateObject();
    if (*out == NULL) return lvlm_fail_memory(err);
    for (const lvlm_setting_table *t = family->settings; t->settings != NULL; t++)
        for (const lvlm_setting *s = t->settings; s->canonical != NULL; s++) {
            lvlm_error wrong;
            if (t->when != NULL || s->kind != LVLM_SETTING_WORD) continue;
            if (add_setting(*out, s, hf_config, &wrong) != LVLM_ENOMEM) continue;
            lvlm_json_free(*out);
            *out = NULL;
            return lvlm_fail_memory(err);
        }
    return 0;
}

/* The sentence of a family's refusal, in the words of config.json. */
static int in_words(int rc, const lvlm_family *family, const cJSON *hf_config,
                    lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_ERROR_BYTES);
    if (rc >= 0 || err == NULL || rc == LVLM_ENOMEM) return rc;
    lvlm_config_words(&text, err->text, family, NULL, hf_config);
    if (text.text != NULL && !text.failed)
        (void)snprintf(err->text, sizeof err->text, "%s", text.text);
    lvlm_strbuf_free(&text);
    return rc;
}

int lvlm_family_config(cJSON **out, const lvlm_family *family, const cJSON *hf_config,
                       lvlm_error *err)
{
    cJSON *config = cJSON_CreateObject();
    int rc = config != NULL ? 0 : lvlm_fail_memory(err);

    lvlm_setting_walk walk = { .config = config, .table = family->settings };
    const lvlm_setting *s;
    while (rc == 0 && (s = lvlm_setting_next(&walk)) != NULL)
        rc = add_setting(config, s, hf_config, err);
    if (rc == 0 && family->derive != NULL)
        rc = in_words(family->derive(config, hf_config, err), family, hf_config, err);
    if (rc < 0) {
        lvlm_json_free(config);
        return rc;
    }
    *out = config;
    return 0;
}

lvlm_ties lvlm_family_ties(const lvlm_family *family, const cJSON *hf_config)
{
    const cJSON *const section = lvlm_json_get(hf_config, "text_config");
    const cJSON *const top = lvlm_json_get(hf_config, LVLM_TIE_KEY);
    const cJSON *const text = lvlm_json_get(section, LVLM_TIE_KEY);
    const bool unsaid = family->ties == NULL || family->ties(hf_config);
    const bool silent = !cJSON_IsBool(top) && !cJSON_IsBool(text);
    lvlm_ties ties = { .top = cJSON_IsBool(top) ? cJSON_IsTrue(top) : unsaid };
    ties.tied = silent ? unsaid : cJSON_IsTrue(top) || cJSON_IsTrue(text);
    ties.text = cJSON_IsBool(text)        ? cJSON_IsTrue(text)
                : cJSON_IsObject(section) ? unsaid
                                          : ties.top;
    return ties;
}
