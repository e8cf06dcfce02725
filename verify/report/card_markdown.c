/* card_markdown.c - an evidence card as a page of Markdown; see card.h.
 *
 *   verdict -> the model -> checks -> recordings, and what they leave unproven ->
 *   projections -> account -> history
 *
 * Everything from a file is escaped: it cannot become a link, a heading or a column. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/utf8.h"
#include "verify/report/card.h"

enum { SHOWN_BYTES = 4096, MOST_COLUMNS = 9 };

static void put_escaped(lvlm_strbuf *out, const char *text)
{
    char shown[SHOWN_BYTES];
    for (text = lvlm_visible(shown, sizeof shown, text); *text != '\0'; text++) {
        if (strchr("\\`*<>[]|&", *text) != NULL) lvlm_strbuf_puts(out, "\\");
        lvlm_strbuf_append(out, text, 1);
    }
}

/* A text, or anything else as JSON; nothing if there is none. */
static void put_value(lvlm_strbuf *out, const cJSON *value)
{
    const char *const text = lvlm_json_string(value);
    char *printed = NULL;
    if (value == NULL) return;
    if (text != NULL) {
        put_escaped(out, text);
        return;
    }
    if (lvlm_json_print(&printed, value, NULL) < 0)
        out->failed = true;
    else
        put_escaped(out, printed);
    lvlm_free(printed);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *const text = lvlm_json_string(lvlm_json_get(object, key));
    return text != NULL ? text : "";
}

static void put_row(lvlm_strbuf *out, const char *label, const cJSON *value)
{
    if (value == NULL) return;
    lvlm_strbuf_puts(out, "| ");
    put_escaped(out, label);
    lvlm_strbuf_puts(out, " | ");
    put_value(out, value);
    lvlm_strbuf_puts(out, " |\n");
}

/* Has any row a value in this column? */
static bool is_filled(const cJSON *list, const char *key)
{
    const cJSON *row;
    LVLM_JSON_ITEMS (row, list)
        if (lvlm_json_get(row, key) != NULL) return true;
    return false;
}

/* Columns of a row. */
static void put_cells(lvlm_strbuf *out, const cJSON *row, const char *const *keys,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lvlm_strbuf_puts(out, "| ");
        put_value(out, lvlm_json_get(row, keys[i]));
        lvlm_strbuf_puts(out, " ");
    }
    lvlm_strbuf_puts(out, "|\n");
}

/* A table of a list of objects, if it has any; without columns that are empty. */
static void put_table(lvlm_strbuf *out, const char *heading, const cJSON *list,
                      const char *const *keys, size_t n)
{
    const char *filled[MOST_COLUMNS];
    const cJSON *row;
    size_t n_filled = 0;
    if (lvlm_json_count(list) == 0) return;
    assert(n <= MOST_COLUMNS);
    for (size_t i = 0; i < n; i++)
        if (is_filled(list, keys[i])) filled[n_filled++] = keys[i];
    lvlm_strbuf_printf(out, "\n## %s\n\n", heading);
    for (size_t i = 0; i < n_filled; i++) lvlm_strbuf_printf(out, "| %s ", filled[i]);
    lvlm_strbuf_puts(out, "|\n");
    for (size_t i = 0; i < n_filled; i++) lvlm_strbuf_puts(out, "|---");
    lvlm_strbuf_puts(out, "|\n");
    LVLM_JSON_ITEMS (row, list) put_cells(out, row, filled, n_filled);
}

static void put_sentences(lvlm_strbuf *out, const char *label, const cJSON *list)
{
    const cJSON *sentence;
    LVLM_JSON_ITEMS (sentence, list) {
        lvlm_strbuf_printf(out, "- %s: ", label);
        put_value(out, sentence);
        lvlm_strbuf_puts(out, "\n");
    }
}

/* What each recording leaves unproven. */
static void put_coverage(lvlm_strbuf *out, const cJSON *goldens)
{
    const cJSON *golden;
    LVLM_JSON_ITEMS (golden, goldens) {
        if (lvlm_json_get(golden, "not_compared") == NULL) continue;
        lvlm_strbuf_puts(out, "\n## Left unproven by ");
        put_escaped(out, text_of(golden, "name"));
        lvlm_strbuf_puts(out, "\n\n");
        put_sentences(out, "not compared", lvlm_json_get(golden, "not_compared"));
        put_sentences(out, "not exercised by its inputs",
                      lvlm_json_get(golden, "not_exercised"));
    }
}

/* Pairs of a name and a value. */
static void put_pairs(lvlm_strbuf *out, const char *heading, const cJSON *object)
{
    const cJSON *item;
    if (lvlm_json_count_members(object) == 0) return;
    lvlm_strbuf_printf(out, "\n## %s\n\n| | |\n|---|---|\n", heading);
    LVLM_JSON_MEMBERS (item, object)
        if (strcmp(item->string, "history") != 0) put_row(out, item->string, item);
}

static void put_history(lvlm_strbuf *out, const cJSON *history)
{
    const cJSON *step, *item;
    size_t n = 0;
    LVLM_JSON_ITEMS (step, history) {
        lvlm_strbuf_printf(out, "\n## Step %zu: ", ++n);
        put_escaped(out, text_of(step, "did"));
        lvlm_strbuf_puts(out, "\n\n| | |\n|---|---|\n");
        LVLM_JSON_MEMBERS (item, step)
            if (strcmp(item->string, "did") != 0) put_row(out, item->string, item);
    }
}

static void put_verdict(lvlm_strbuf *out, const cJSON *card)
{
    lvlm_strbuf_puts(out, "# Evidence: ");
    put_escaped(out, text_of(lvlm_json_get(card, "model"), "name"));
    lvlm_strbuf_puts(out, cJSON_IsTrue(lvlm_json_get(card, "passed"))
                              ? "\n\n**Passed**: "
                              : "\n\n**Not passed**: ");
    put_escaped(out, text_of(card, "verdict"));
    lvlm_strbuf_puts(out, ". Made by ");
    put_escaped(out, text_of(card, "made_by"));
    lvlm_strbuf_puts(out, "; `lvlm-verify card` checks it again.\n");
}

void lvlm_card_markdown(lvlm_strbuf *out, const cJSON *card)
{
    static const char *const checks[] = { "check", "state", "summary" };
    static const char *const goldens[] = { "name", "state", "summary", "reference",
                                           "sha256" };
    static const char *const maps[] = { "role",    "name",    "shape",
                                        "form",    "values",  "value",
                                        "same_as", "sources", "sha256" };
    const cJSON *const provenance = lvlm_json_get(card, "provenance");
    put_verdict(out, card);
    put_pairs(out, "The model", lvlm_json_get(card, "model"));
    put_table(out, "Checks", lvlm_json_get(card, "checks"), checks, 3);
    put_table(out, "Recordings", lvlm_json_get(card, "goldens"), goldens, 5);
    put_coverage(out, lvlm_json_get(card, "goldens"));
    put_table(out, "Projections", lvlm_json_get(card, "projections"), maps, 9);
    put_pairs(out, "Account of the source", lvlm_json_get(card, "accounting"));
    put_pairs(out, "Provenance", provenance);
    put_history(out, lvlm_json_get(provenance, "history"));
    put_pairs(out, "Side files, SHA-256", lvlm_json_get(card, "side_files"));
}
