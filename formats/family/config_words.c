/* config_words.c - settings as config.json calls them; see config_words.h. */
#include "formats/family/config_words.h"

#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"

enum { WORD = 192 };

/* The last of that name, whatever decides whether it is there. */
static const lvlm_setting *find_setting(const lvlm_family *family, const char *name)
{
    const lvlm_setting *last = NULL;
    for (const lvlm_setting_table *t = family->settings; t->settings != NULL; t++)
        for (const lvlm_setting *s = t->settings; s->canonical != NULL; s++)
            if (s->paths != NULL && strcmp(s->canonical, name) == 0) last = s;
    return last;
}

/* The key of a setting; "": it has none. */
static void find_key(char key[WORD], const lvlm_setting *s, const cJSON *hf_config)
{
    char first[WORD] = "";
    key[0] = '\0';
    for (const char *at = s != NULL ? s->paths : ""; *at != '\0'; at += *at == '|') {
        at += lvlm_copy_until(key, WORD, at, "|");
        if (lvlm_json_path(hf_config, key) != NULL) return;
        if (first[0] == '\0') memcpy(first, key, sizeof first);
    }
    memcpy(key, first, sizeof first);
}

static void put_word(lvlm_strbuf *out, const char *word, const lvlm_family *family,
                     const cJSON *config, const cJSON *hf_config)
{
    char key[WORD];
    uint64_t value;
    find_key(key, find_setting(family, word), hf_config);
    if (key[0] != '\0')
        lvlm_strbuf_puts(out, key);
    else if (lvlm_json_u64(&value, lvlm_json_path(config, word)))
        lvlm_strbuf_printf(out, "%" PRIu64, value);
    else
        lvlm_strbuf_puts(out, word);
}

void lvlm_config_words(lvlm_strbuf *out, const char *text, const lvlm_family *family,
                       const cJSON *config, const cJSON *hf_config)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.";
    char word[WORD];
    while (*text != '\0') {
        size_t n = strspn(text, letters);
        const size_t gap = strcspn(text + n, letters);
        while (n > 0 && text[n - 1] == '.') n--; /* the end of a sentence */
        if (n > 0 && n < sizeof word) {
            memcpy(word, text, n);
            word[n] = '\0';
            if (strchr(word, '.') != NULL)
                put_word(out, word, family, config, hf_config);
            else
                lvlm_strbuf_puts(out, word);
        } else {
            lvlm_strbuf_printf(out, "%.*s", (int)n, text);
        }
        text += n;
        const size_t rest = strspn(text, ".") + gap;
        lvlm_strbuf_printf(out, "%.*s", (int)rest, text);
        text += rest;
    }
}
