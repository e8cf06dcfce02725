/* plant_settings.c - changes of config.json by names of settings; see mistakes.h. */
#include <stdio.h>
#include <stdlib.h>

#include "formats/base/text.h"
#include "tests/convert/converted.h"
#include "tests/planted/mistakes.h"

enum { PATH = 256 };

/* The last that config.json has. */
static const lvlm_setting *setting_of(const plant *p, const char *canonical)
{
    lvlm_setting_walk walk = { .config = p->manifest.config,
                               .table = p->manifest.family->settings };
    const lvlm_setting *setting, *found = NULL;
    while ((setting = lvlm_setting_next(&walk)) != NULL)
        if (setting->paths != NULL && strcmp(setting->canonical, canonical) == 0)
            found = setting;
    return found;
}

/* The object that has the last key of a path, and that key; NULL: there is no such
 * object. */
static cJSON *object_of(cJSON *config, const char *path, const char **key)
{
    char section[PATH];
    const char *const dot = strrchr(path, '.');
    *key = dot != NULL ? dot + 1 : path;
    if (dot == NULL) return config;
    (void)snprintf(section, sizeof section, "%.*s", (int)(dot - path), path);
    return (cJSON *)(uintptr_t)lvlm_json_path(config, section);
}

/* Of the alternatives the first that config.json has, else the first whose section it
 * has. False: none. */
static bool choose(char path[PATH], const plant *p, const char *paths)
{
    bool found = false;
    for (const char *at = paths; *at != '\0'; at += *at == '|') {
        char one[PATH];
        const char *key;
        at += lvlm_copy_until(one, sizeof one, at, "|");
        const bool there = lvlm_json_path(p->config, one) != NULL;
        const bool has_section = object_of(p->config, one, &key) != NULL;
        if (there || (!found && has_section)) (void)snprintf(path, PATH, "%s", one);
        if (there) return true;
        found |= has_section;
    }
    return found;
}

static cJSON *parsed(const char *text)
{
    cJSON *value = NULL;
    lvlm_error err;
    if (lvlm_json_parse(&value, text, strlen(text), &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return value;
}

static double computed(double now, char how, double by)
{
    return how == '*' ? now * by : how == '/' ? now / by : now + by;
}

/* What config.json, or its default, says, changed. */
static cJSON *changed(const cJSON *now, char how, const char *text)
{
    double x = 0;
    const double by = strtod(text, NULL);
    const cJSON *item;
    if (how == '=') return parsed(text);
    if (lvlm_json_double(&x, now)) return cJSON_CreateNumber(computed(x, how, by));
    cJSON *const list = cJSON_CreateArray();
    if (how == '<') {
        const size_t n = lvlm_json_count(now);
        for (size_t i = 0; i < n; i++)
            (void)cJSON_AddItemToArray(
                list, cJSON_Duplicate(lvlm_json_item(now, (i + 1) % n), true));
        return list;
    }
    LVLM_JSON_ITEMS (item, now)
        (void)cJSON_AddItemToArray(
            list, cJSON_CreateNumber(computed(item->valuedouble, how, by)));
    return list;
}

/* Change one setting: "PATH HOW VALUE". */
static bool set(plant *p, const char *change)
{
    char name[PATH], path[PATH];
    const char *key;
    const bool raw = change[0] == '$';
    const size_t n = raw + lvlm_copy_until(name, sizeof name, change + raw, "=*/+<!");
    const char how = change[n];
    assert_true(how != '\0');
    const lvlm_setting *const setting = raw ? NULL : setting_of(p, name);
    const char *const paths = raw ? name : setting != NULL ? setting->paths : NULL;
    if (paths == NULL || !choose(path, p, paths)) return false;
    cJSON *const object = object_of(p->config, path, &key);
    if (how == '!') {
        cJSON_DeleteItemFromObjectCaseSensitive(object, key);
        return true;
    }
    const cJSON *now = lvlm_json_get(object, key);
    if (now == NULL && !raw) now = lvlm_json_path(p->manifest.config, name);
    assert_true(lvlm_json_set(object, key, changed(now, how, change + n + 1)));
    return true;
}

bool plant_set(plant *p, const char *changes)
{
    char one[PATH];
    for (const char *at = changes; *at != '\0'; at += *at == ';') {
        at += lvlm_copy_until(one, sizeof one, at, ";");
        if (!set(p, one)) return false;
    }
    return true;
}
