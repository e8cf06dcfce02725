/* dropout_rates.c - rates of dropout by place; see dropout_rates.h. */
#include "runtime/tune/dropout_rates.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "formats/container/side_file.h"

enum { PATH_BYTES = 128, NOTE_BYTES = 2000 };

/* Of each place: its name, and what is dropped there. */
static const char *const places[LVLM_N_DROPOUTS][2] = {
    [LVLM_DROPOUT_VISION_ATTENTION] = { "vision.attention",
                                        "attention probabilities of the tower" },
    [LVLM_DROPOUT_TEXT_EMBED] = { "text.embed", "looked-up words" },
    [LVLM_DROPOUT_TEXT_ATTENTION] = { "text.attention",
                                      "attention probabilities of the "
                                      "language model" },
    [LVLM_DROPOUT_TEXT_BRANCHES] = { "text.branches", "what attention and MLP of the "
                                                      "language model add" },
};

const char *lvlm_dropout_name(lvlm_dropout_place place)
{
    assert(place > LVLM_NO_DROPOUT && place < LVLM_N_DROPOUTS);
    return places[place][0];
}

static bool is_rate(double value)
{
    return value >= 0 && value < 1;
}

int lvlm_dropout_parse(lvlm_dropout *out, const char *text, lvlm_error *err)
{
    char *end;
    *out = (lvlm_dropout){ .given = text != NULL };
    if (text == NULL) return 0;
    out->from_config = strcmp(text, "config") == 0;
    if (out->from_config) return 0;
    out->rate = strtod(text, &end);
    FAIL_IF(end == text || *end != '\0' || !is_rate(out->rate), err, LVLM_EUSAGE,
            "--dropout '%s': expected a number from 0 to below 1, or config", text);
    return 0;
}

/* ---- config.json ----------------------------------------------------------------- */

/* The key that the rate of a place has there, and its value; NULL: none. */
static const cJSON *find(char path[PATH_BYTES], const lvlm_dropout_row *row,
                         const cJSON *config)
{
    for (const char *at = row->paths; at != NULL && *at != '\0';) {
        at += lvlm_copy_until(path, PATH_BYTES, at, "|");
        const cJSON *const item = lvlm_json_path(config, path);
        if (item != NULL && !cJSON_IsNull(item)) return item;
        at += *at == '|';
    }
    return NULL;
}

/* The place that reads this item; place LVLM_NO_DROPOUT: none does. */
static const lvlm_dropout_row *reader_of(const cJSON *item, const cJSON *config,
                                         const lvlm_dropout_row *row)
{
    char path[PATH_BYTES];
    while (row->place != LVLM_NO_DROPOUT && find(path, row, config) != item) row++;
    return row;
}

static int note_item(const cJSON *item, const char *section, const cJSON *config,
                     const lvlm_dropout *d, const lvlm_manifest *m, lvlm_error *err)
{
    static const char *const names[] = { "*dropout*", "*_pdrop", "drop_path_rate",
                                         NULL };
    const lvlm_dropout_row *const row = reader_of(item, config, m->family->dropouts);
    const bool read = row->place != LVLM_NO_DROPOUT;
    double rate;
    if (!read && !lvlm_matches(names, item->string)) return 0;
    if (!lvlm_json_double(&rate, item) || rate <= 0) return 0;
    if (read && (d->from_config || (d->given && !row->only_theirs))) return 0;
    return lvlm_notes_add(m->checkpoint->notes, err,
                          "config.json: %s%s is not followed: %s", section,
                          item->string,
                          read ? "--dropout config does it"
                               : "training drops only what --dropout and --lora say");
}

static int note_section(const cJSON *section, const char *name, const cJSON *config,
                        const lvlm_dropout *d, const lvlm_manifest *m, lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, section) TRY(note_item(item, name, config, d, m, err));
    return 0;
}

/* Rates above 0 that are not followed. */
static int note_others(const cJSON *config, const lvlm_dropout *d,
                       const lvlm_manifest *m, lvlm_error *err)
{
    TRY(note_section(config, "", config, d, m, err));
    TRY(note_section(lvlm_json_get(config, "text_config"), "text_config.", config, d, m,
                     err));
    TRY(note_section(lvlm_json_get(config, "vision_config"), "vision_config.", config,
                     d, m, err));
    return note_section(lvlm_json_get(config, "visual"), "visual.", config, d, m, err);
}

/* ---- rates ----------------------------------------------------------------------- */

/* The rate of a place, and a part of the sentence about it. */
static int read_rate(double *rate, lvlm_strbuf *text, const lvlm_dropout_row *row,
                     const lvlm_dropout *d, const cJSON *config, lvlm_error *err)
{
    const char *const what = places[row->place][1];
    const char *const before = text->length > 0 ? ", " : "";
    char path[PATH_BYTES];
    if (!d->from_config) {
        if (row->only_theirs) return 0;
        *rate = d->rate;
        lvlm_strbuf_printf(text, "%s%s", before, what);
        return 0;
    }
    const cJSON *const item = find(path, row, config);
    FAIL_IF(item != NULL && (!lvlm_json_double(rate, item) || !is_rate(*rate)), err,
            LVLM_EFORMAT, "config.json: %s: expected a number from 0 to below 1", path);
    lvlm_strbuf_printf(text, "%s%s %g (", before, what, *rate);
    if (item != NULL)
        lvlm_strbuf_puts(text, path);
    else
        lvlm_strbuf_puts(text,
                         row->paths != NULL
                             ? "config.json does not say"
                             : "not a setting of config.json: --dropout P sets it");
    lvlm_strbuf_puts(text, ")");
    return 0;
}

static int read_rates(double *rates, const lvlm_dropout *d, const cJSON *config,
                      const lvlm_manifest *m, lvlm_error *err)
{
    lvlm_notes *const notes = m->checkpoint->notes;
    lvlm_strbuf text = LVLM_STRBUF_INIT(NOTE_BYTES);
    const lvlm_dropout_row *row = m->family->dropouts;
    int rc = 0;
    for (; rc == 0 && row->place != LVLM_NO_DROPOUT; row++)
        rc = read_rate(&rates[row->place], &text, row, d, config, err);
    if (rc == 0) rc = lvlm_strbuf_check(&text, err);
    if (rc == 0 && d->from_config)
        rc = lvlm_notes_add(notes, err, "--dropout config: %s", text.text);
    else if (rc == 0 && d->rate > 0)
        rc = lvlm_notes_add(notes, err, "--dropout %g: drops %s", d->rate, text.text);
    lvlm_strbuf_free(&text);
    return rc;
}

int lvlm_dropout_rates(double *rates, const lvlm_dropout *dropout,
                       const lvlm_manifest *manifest, lvlm_error *err)
{
    cJSON *config = NULL;
    assert(manifest->checkpoint != NULL && manifest->family->dropouts != NULL);
    memset(rates, 0, LVLM_N_DROPOUTS * sizeof *rates);
    TRY(lvlm_side_file_json(&config, manifest->checkpoint, "config.json", err));
    int rc = note_others(config, dropout, manifest, err);
    if (rc == 0 && dropout->given)
        rc = read_rates(rates, dropout, config, manifest, err);
    lvlm_json_free(config);
    return rc;
}
